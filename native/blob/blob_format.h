// Blob format: header, frames and footer of a blob file. docs/format.md, section 9.
//
//   header   32 bytes, base/file_header.h; magic "SHALEBLB"
//   frames   back to back, in internal order of their entries:
//            0  4  crc32c keyed (file number, offset of the frame) over bytes 4 to the end
//            4  2  key length
//            6  1  codec of the value
//            7  1  reserved, zero
//            8  4  raw length of the value
//           12  4  stored length
//           16  8  seqno of the entry
//           24     key, then the value as stored
//   footer   64 bytes, magic "SHALEBLF"
//
// Functions that find damage return kCorruption without a path: the caller adds it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/blob_pointer.h"
#include "base/compression.h"
#include "base/file_header.h"
#include "base/internal_key.h"
#include "base/slice.h"
#include "base/status.h"

namespace shale {

inline constexpr char kBlobMagic[9] = "SHALEBLB";
inline constexpr char kBlobFooterMagic[9] = "SHALEBLF";
inline constexpr size_t kBlobFooterBytes = 64;
// What a blob file has besides its frames.
inline constexpr size_t kBlobFileOverhead = kFileHeaderBytes + kBlobFooterBytes;

// What stands before key and value of a frame.
struct BlobFrameHeader {
  uint16_t key_length = 0;
  Codec codec = Codec::kNone;
  uint32_t raw_length = 0;
  uint32_t stored_length = 0;
  Seqno seqno = 0;

  uint64_t frame_bytes() const {
    return kBlobFrameHeaderBytes + uint64_t{key_length} + stored_length;
  }
};

// A value with what its frame says of it; the slices point into whatever holds the frame.
struct BlobFrame {
  Slice key;
  Seqno seqno = 0;  // of the entry when it was written: 0 if that was ingested
  Codec codec = Codec::kNone;
  uint32_t raw_length = 0;
  Slice stored;  // as `codec` left it

  uint64_t bytes() const { return kBlobFrameHeaderBytes + key.size() + stored.size(); }
};

// Writes the kBlobFrameHeaderBytes of a frame that will lie at `offset` of the file.
void EncodeBlobFrameHeader(const BlobFrame& frame, uint64_t file_number, uint64_t offset,
                           char* dst);
// Reads the first kBlobFrameHeaderBytes of a frame. False if a field breaks a rule, the checksum
// apart.
bool DecodeBlobFrameHeader(const char* src, BlobFrameHeader* header);
// `bytes` are the frame at `offset` and must be all of it. Checks everything but what the value
// decompresses to.
Status DecodeBlobFrame(Slice bytes, uint64_t file_number, uint64_t offset, BlobFrame* frame);
// Writes the frame.raw_length bytes of the value to `dst`.
inline Status DecodeBlobValue(const BlobFrame& frame, char* dst) {
  return Decompress(frame.codec, frame.stored, dst, frame.raw_length);
}

// What the footer states of the file.
struct BlobFooter {
  uint64_t item_count = 0;   // frames
  uint64_t frame_bytes = 0;  // of all frames
  uint64_t raw_bytes = 0;    // of all values
  uint64_t created_at_ms = 0;
};

// Writes kBlobFooterBytes.
void EncodeBlobFooter(const BlobFooter& footer, uint64_t file_number, uint64_t offset, char* dst);
// `bytes` are the kBlobFooterBytes at `offset`, the end of the frames.
Status DecodeBlobFooter(Slice bytes, uint64_t file_number, uint64_t offset, BlobFooter* footer);

}  // namespace shale
