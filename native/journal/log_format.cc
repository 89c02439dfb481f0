#include "journal/log_format.h"

#include "base/coding.h"
#include "base/crc32c.h"

namespace shale {

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
