// BlobPointer: the value of an entry of Kind::kBlobPointer: where in which blob file its real value
// lies. docs/format.md, section 9.
//
// Tables hold pointers and blob files are what they point into; neither room knows the other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/coding.h"
#include "base/file_header.h"
#include "base/internal_key.h"
#include "base/slice.h"

namespace shale {

inline constexpr size_t kBlobPointerBytes = 24;
inline constexpr size_t kBlobFrameHeaderBytes = 24;
// Raw bytes of a value that is compressed; larger ones are stored as they are.
inline constexpr size_t kBlobCompressionMax = size_t{64} << 20;

// Whether a value may have these lengths: raw_length is that of what it decompresses to.
constexpr bool BlobLengthsAllowed(uint64_t stored_length, uint64_t raw_length) {
  return stored_length <= kValueBytesMax &&
         (raw_length == stored_length || raw_length <= kBlobCompressionMax);
}

struct BlobPointer {
  uint64_t file_number = 0;
  uint64_t offset = 0;  // of the frame
  uint32_t stored_length = 0;
  uint32_t raw_length = 0;

  // The whole frame: what garbage is counted in.
  uint64_t FrameBytes(size_t key_size) const {
    return kBlobFrameHeaderBytes + key_size + uint64_t{stored_length};
  }

  std::array<char, kBlobPointerBytes> Encode() const {
    std::array<char, kBlobPointerBytes> bytes;
    StoreLe(bytes.data(), file_number);
    StoreLe(bytes.data() + 8, offset);
    StoreLe(bytes.data() + 16, stored_length);
    StoreLe(bytes.data() + 20, raw_length);
    return bytes;
  }
  // Requires kBlobPointerBytes.
  static BlobPointer Decode(const char* bytes) {
    return {LoadLe<uint64_t>(bytes), LoadLe<uint64_t>(bytes + 8), LoadLe<uint32_t>(bytes + 16),
            LoadLe<uint32_t>(bytes + 20)};
  }
  // Whether `value` is a pointer that may exist.
  static bool IsSound(Slice value) {
    if (value.size() != kBlobPointerBytes) return false;
    const BlobPointer p = Decode(value.data());
    return p.file_number != 0 && p.file_number <= kSeqnoMax && p.offset >= kFileHeaderBytes &&
           p.offset <= kSeqnoMax && BlobLengthsAllowed(p.stored_length, p.raw_length);
  }
};
inline bool operator==(const BlobPointer& a, const BlobPointer& b) {
  return a.file_number == b.file_number && a.offset == b.offset &&
         a.stored_length == b.stored_length && a.raw_length == b.raw_length;
}

}  // namespace shale
