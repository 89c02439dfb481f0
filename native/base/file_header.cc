#include "base/file_header.h"

#include <cstring>

#include "base/coding.h"
#include "base/crc32c.h"

namespace shale {
namespace {

constexpr size_t kMagicBytes = 8;
constexpr size_t kHeaderCrcOffset = 28;

}  // namespace

void EncodeFileHeader(const char* magic, uint64_t file_number, char* dst) {
  std::memcpy(dst, magic, kMagicBytes);
  StoreLe<uint16_t>(dst + 8, kFormatMajor);
  StoreLe<uint16_t>(dst + 10, kFormatMinor);
  StoreLe<uint32_t>(dst + 12, 0);  // no feature is needed by this version
  StoreLe<uint64_t>(dst + 16, file_number);
  StoreLe<uint32_t>(dst + 24, 0);
  StoreLe<uint32_t>(dst + kHeaderCrcOffset,
                    Crc32cKeyed(file_number, 0, Slice(dst, kHeaderCrcOffset)));
}

Status DecodeFileHeader(Slice bytes, const char* magic, uint64_t file_number) {
  if (bytes.size() < kFileHeaderBytes) return Status::Corruption("the file has no whole header");
  const char* p = bytes.data();
  if (std::memcmp(p, magic, kMagicBytes) != 0) {
    return Status(Code::kNotADatabase, "the file does not begin as a file of shale");
  }
  const uint32_t crc = Crc32cKeyed(file_number, 0, bytes.Prefix(kHeaderCrcOffset));
  if (crc != LoadLe<uint32_t>(p + kHeaderCrcOffset)) {
    return Status::Corruption("the checksum of the header is wrong", {}, 0);
  }
  const uint16_t major = LoadLe<uint16_t>(p + 8);
  const uint32_t features = LoadLe<uint32_t>(p + 12);
  if (major > kFormatMajor || (features & ~kKnownFeatures) != 0) {
    return Status(Code::kFormatTooNew, "the file was written by a newer version");
  }
  if (major == 0 || LoadLe<uint64_t>(p + 16) != file_number || LoadLe<uint32_t>(p + 24) != 0) {
    return Status::Corruption("the header is not that of this file", {}, 0);
  }
  return Status::Ok();
}

}  // namespace shale
