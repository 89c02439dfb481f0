#include "journal/log_format.h"

#include <cstring>

#include "base/coding.h"
#include "base/crc32c.h"

namespace shale {

namespace {

constexpr size_t kMagicBytes = 8;
constexpr size_t kHeaderCrcOffset = 28;

}  // namespace

void EncodeLogHeader(const char* magic, uint64_t file_number, char* dst) {
  std::memcpy(dst, magic, kMagicBytes);
  StoreLe<uint16_t>(dst + 8, kFormatMajor);
  StoreLe<uint16_t>(dst + 10, kFormatMinor);
  StoreLe<uint32_t>(dst + 12, 0);  // no feature is needed by this version
  StoreLe<uint64_t>(dst + 16, file_number);
  StoreLe<uint32_t>(dst + 24, 0);
  StoreLe<uint32_t>(dst + kHeaderCrcOffset,
                    Crc32cKeyed(file_number, 0, Slice(dst, kHeaderCrcOffset)));
}

void EncodeLogRecordHeader(const LogRecordHeader& h, uint64_t file_number, uint64_t offset,
                           Slice payload, char* dst) {
  StoreLe<uint32_t>(dst + 4, static_cast<uint32_t>(payload.size()));
  StoreLe<uint32_t>(dst + 8, static_cast<uint8_t>(h.type));  // and three reserved bytes
  StoreLe<uint32_t>(dst + 12, h.count);
  StoreLe<uint64_t>(dst + 16, h.synced_to);
  StoreLe<uint64_t>(dst + 24, h.seqno);
  uint32_t crc = Crc32cKeyed(file_number, offset, Slice(dst + 4, kLogRecordHeaderBytes - 4));
  crc = Crc32cExtend(crc, payload.data(), payload.size());
  StoreLe<uint32_t>(dst, crc);
}

Status DecodeLogHeader(Slice bytes, const char* magic, uint64_t file_number) {
  if (bytes.size() < kLogHeaderBytes) return Status::Corruption("the file has no whole header");
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

bool DecodeLogRecordHeader(const char* src, uint64_t offset, LogRecordHeader* h) {
  h->payload_length = LoadLe<uint32_t>(src + 4);
  const uint32_t type = LoadLe<uint32_t>(src + 8);  // with the reserved bytes
  h->type = static_cast<RecordType>(type);
  h->count = LoadLe<uint32_t>(src + 12);
  h->synced_to = LoadLe<uint64_t>(src + 16);
  h->seqno = LoadLe<uint64_t>(src + 24);
  if (h->synced_to > offset) return false;
  if (type == static_cast<uint32_t>(RecordType::kData)) {
    return h->payload_length <= kLogPayloadBytesMax && h->seqno <= kSeqnoMax;
  }
  return type == static_cast<uint32_t>(RecordType::kSyncedTo) && h->payload_length == 0 &&
         h->count == 0 && h->seqno == 0;
}

}  // namespace shale
