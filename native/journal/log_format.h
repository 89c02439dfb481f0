// Log format: how journals and manifests frame their records. docs/format.md, section 4.
//
// File header (32 bytes), then records back to back. After the last record a file may hold zeros
// (space reserved in advance).
//
//   header   see base/file_header.h; magic "SHALEJNL" or "SHALEMAN"
//
//   record   0  4  crc32c keyed (file number, offset of the record) over bytes 4 to the end
//            4  4  payload length
//            8  1  record type (journals and manifests give data records a meaning)
//            9  3  reserved, zero
//           12  4  entry count (data of a journal: operations; else 0)
//           16  8  synced_to: length of this file known durable when the record was written
//           24  8  seqno (data of a journal: of the commit; else 0)
//           32  n  payload
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/file_header.h"
#include "base/internal_key.h"
#include "base/slice.h"

namespace shale {

inline constexpr size_t kLogHeaderBytes = kFileHeaderBytes;
inline constexpr size_t kLogRecordHeaderBytes = 32;
inline constexpr uint64_t kLogPayloadBytesMax = kBatchBytesMax;
inline constexpr char kJournalMagic[9] = "SHALEJNL";
inline constexpr char kManifestMagic[9] = "SHALEMAN";

enum class RecordType : uint8_t { kData = 1, kSyncedTo = 2 };

struct LogRecordHeader {
  uint32_t payload_length = 0;
  RecordType type = RecordType::kData;
  uint32_t count = 0;
  uint64_t synced_to = 0;
  Seqno seqno = 0;
};

// Writes the 32 header bytes of a record, whose checksum covers `payload`.
void EncodeLogRecordHeader(const LogRecordHeader& h, uint64_t file_number, uint64_t offset,
                           Slice payload, char* dst);

// Reads the fields of the 32 bytes at `src`, a record header at file offset `offset`. True if they
// obey the format (the checksum is the caller's to check, and whether the payload lies in the
// file).
bool DecodeLogRecordHeader(const char* src, uint64_t offset, LogRecordHeader* h);

}  // namespace shale
