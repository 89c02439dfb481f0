// WriteBatch: the bytes of one commit. The same bytes are the payload of the journal record and
// what the memtables are filled from; JavaScript encodes them too (lib/write-batch.ts).
//
//   entry   0  1  kind            (Kind; 0x40.. keyspace records)
//           1  1  codec           (0: value as it is; else value = raw length u32, compressed
//                                 bytes)
//           2  2  key length
//           4  4  keyspace id
//           8  4  value length    (stored bytes)
//          12  n  key, then value
#pragma once

#include <cstdint>
#include <string>

#include "base/compression.h"
#include "base/internal_key.h"
#include "base/range_tombstone.h"
#include "base/status.h"

namespace shale {

inline constexpr size_t kEntryHeaderBytes = 12;
inline constexpr size_t kJournalCompressionMin = 4096;
inline constexpr size_t kJournalCompressionMax = size_t{64} << 20;

inline void EncodeEntryHeader(char* dst, Kind kind, Codec codec, size_t key_length,
                              uint32_t keyspace, size_t value_length) {
  dst[0] = static_cast<char>(kind);
  dst[1] = static_cast<char>(codec);
  const auto k = static_cast<uint16_t>(key_length);
  const auto v = static_cast<uint32_t>(value_length);
  __builtin_memcpy(dst + 2, &k, 2);
  __builtin_memcpy(dst + 4, &keyspace, 4);
  __builtin_memcpy(dst + 8, &v, 4);
}

// Keyspace records: kinds that only journals hold. Key = name, value = encoded options (create
// only).
inline constexpr Kind kKeyspaceCreate = static_cast<Kind>(0x40);
inline constexpr Kind kKeyspaceDelete = static_cast<Kind>(0x41);
inline constexpr Kind kKeyspaceClear = static_cast<Kind>(0x42);
inline constexpr Kind kTablesChanged = static_cast<Kind>(0x43);
constexpr bool IsKeyspaceRecord(Kind kind) {
  return kind >= kKeyspaceCreate && kind <= kTablesChanged;
}

struct BatchEntry {
  Kind kind = Kind::kValue;
  Codec codec = Codec::kNone;
  uint32_t keyspace = 0;
  Slice key;
  Slice value;  // stored bytes
};

// What an entry of kind 3 says, its seqno aside; false if the entry is no sound one.
bool DecodeRange(const BatchEntry& entry, RangeTombstone* range);

// Walks the entries; every length is checked against the end. kCorruption on anything odd.
class BatchReader {
 public:
  explicit BatchReader(Slice bytes) : rest_(bytes) {}
  bool Next(BatchEntry* entry);
  const Status& status() const { return status_; }

 private:
  Slice rest_;
  Status status_;
};

// Appends `entry` (uncompressed) as the journal stores it: its value compressed with `codec` where
// that pays.
void AppendForJournal(const BatchEntry& entry, Codec codec, std::string* scratch, std::string* out);
// Whether `entry` keeps the rules of its kind for a journal: kCorruption if it does not.
// *raw_length: of its value, uncompressed, as the entry states it; nothing is decoded.
Status CheckJournalEntry(const BatchEntry& entry, uint64_t* raw_length);
// The value as it was written; points into the entry or into *scratch. kCorruption if it does not
// decode.
Status DecodeValue(const BatchEntry& entry, std::string* scratch, Slice* value);

class WriteBatch {
 public:
  void Add(Kind kind, uint32_t keyspace, Slice key, Slice value);
  void Clear();
  uint32_t count() const { return count_; }
  Slice bytes() const { return bytes_; }

 private:
  std::string bytes_;
  uint32_t count_ = 0;
};

}  // namespace shale
