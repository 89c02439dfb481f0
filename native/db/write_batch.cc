#include "db/write_batch.h"

#include "base/coding.h"
#include "base/utf8.h"

namespace shale {
namespace {

// How a range tombstone ends: docs/format.md, enum range-flag.
constexpr uint8_t kBounded = 0;
constexpr uint8_t kUnbounded = 1;

bool IsRange(Slice start, Slice value) {
  if (value.empty()) return false;
  const Slice end = value.Skip(1);
  if (end.size() > kKeyBytesMax) return false;
  return value[0] == kUnbounded ? end.empty() : value[0] == kBounded && start < end;
}

// Of a compressed value; 0 if it states none that can be.
uint64_t StatedRawLength(Slice value) {
  Reader reader(value);
  const uint64_t raw = reader.U32();
  return reader.ok() && !reader.AtEnd() && raw <= kJournalCompressionMax ? raw : 0;
}

bool KeepsTheRulesOfItsKind(const BatchEntry& entry) {
  const Slice key = entry.key;
  const Slice value = entry.value;
  if (entry.keyspace == 0) return false;
  if (entry.codec != Codec::kNone && entry.kind != Kind::kValue) return false;
  if (entry.kind == kKeyspaceCreate) {
    return !key.empty() && key.size() <= kNameBytesMax && IsUtf8(key);
  }
  if (IsKeyspaceRecord(entry.kind)) return key.empty() && value.empty();
  if (key.empty()) return false;
  if (IsTombstone(entry.kind)) return value.empty();
  if (entry.kind == Kind::kRangeTombstone) return IsRange(key, value);
  if (entry.kind != Kind::kValue) return false;  // no journal holds it
  if (value.size() > kValueBytesMax) return false;
  return entry.codec == Codec::kNone || StatedRawLength(value) != 0;
}

}  // namespace

bool DecodeRange(const BatchEntry& entry, RangeTombstone* range) {
  if (entry.kind != Kind::kRangeTombstone || entry.codec != Codec::kNone) return false;
  if (entry.key.empty() || !IsRange(entry.key, entry.value)) return false;
  range->start = entry.key;
  range->end = entry.value.Skip(1);
  return true;
}

bool BatchReader::Next(BatchEntry* entry) {
  if (rest_.empty() || !status_.ok()) return false;
  if (rest_.size() < kEntryHeaderBytes) {
    status_ = Status::Corruption("a batch entry is cut off in its header");
    return false;
  }
  const char* p = rest_.data();
  const auto kind = static_cast<uint8_t>(p[0]);
  const auto codec = static_cast<uint8_t>(p[1]);
  const size_t key_length = LoadLe<uint16_t>(p + 2);
  const uint64_t value_length = LoadLe<uint32_t>(p + 8);
  const uint64_t body = rest_.size() - kEntryHeaderBytes;
  if (kind > kKindMax && !IsKeyspaceRecord(static_cast<Kind>(kind))) {
    status_ = Status::Corruption("a batch entry has an unknown kind");
    return false;
  }
  if (codec > kCodecMax) {
    status_ = Status::Corruption("a batch entry has an unknown codec");
    return false;
  }
  if (key_length > body || value_length > body - key_length) {
    status_ = Status::Corruption("a batch entry is longer than its batch");
    return false;
  }
  entry->kind = static_cast<Kind>(kind);
  entry->codec = static_cast<Codec>(codec);
  entry->keyspace = LoadLe<uint32_t>(p + 4);
  entry->key = Slice(p + kEntryHeaderBytes, key_length);
  entry->value = Slice(entry->key.end(), static_cast<size_t>(value_length));
  const size_t size = kEntryHeaderBytes + key_length + static_cast<size_t>(value_length);
  rest_ = Slice(rest_.data() + size, rest_.size() - size);
  return true;
}

void WriteBatch::Add(Kind kind, uint32_t keyspace, Slice key, Slice value) {
  char header[kEntryHeaderBytes];
  EncodeEntryHeader(header, kind, Codec::kNone, key.size(), keyspace, value.size());
  bytes_.append(header, sizeof header);
  bytes_.append(key.data(), key.size());
  bytes_.append(value.data(), value.size());
  count_++;
}

void WriteBatch::Clear() {
  bytes_.clear();
  count_ = 0;
}

void AppendForJournal(const BatchEntry& entry, Codec codec, std::string* scratch,
                      std::string* out) {
  char header[kEntryHeaderBytes];
  if (codec != Codec::kNone && entry.kind == Kind::kValue &&
      entry.value.size() >= kJournalCompressionMin &&
      entry.value.size() <= kJournalCompressionMax && Compress(codec, entry.value, scratch)) {
    const uint32_t raw = static_cast<uint32_t>(entry.value.size());
    EncodeEntryHeader(header, entry.kind, codec, entry.key.size(), entry.keyspace,
                      scratch->size() + sizeof raw);
    out->append(header, sizeof header);
    out->append(entry.key.data(), entry.key.size());
    PutU32(out, raw);
    out->append(*scratch);
    return;
  }
  EncodeEntryHeader(header, entry.kind, Codec::kNone, entry.key.size(), entry.keyspace,
                    entry.value.size());
  out->append(header, sizeof header);
  out->append(entry.key.data(), entry.key.size());
  out->append(entry.value.data(), entry.value.size());
}

Status CheckJournalEntry(const BatchEntry& entry, uint64_t* raw_length) {
  if (!KeepsTheRulesOfItsKind(entry)) {
    return Status::Corruption("a batch entry breaks a rule of its kind");
  }
  *raw_length = entry.codec == Codec::kNone ? entry.value.size() : StatedRawLength(entry.value);
  return Status::Ok();
}

Status DecodeValue(const BatchEntry& entry, std::string* scratch, Slice* value) {
  if (entry.codec == Codec::kNone) {
    *value = entry.value;
    return Status::Ok();
  }
  const uint64_t raw = StatedRawLength(entry.value);
  if (raw == 0) {
    return Status::Corruption("a compressed batch value states an impossible length");
  }
  scratch->resize(static_cast<size_t>(raw));
  SHALE_RETURN_IF_ERROR(Decompress(entry.codec, entry.value.Skip(sizeof(uint32_t)), scratch->data(),
                                   scratch->size()));
  *value = Slice(*scratch);
  return Status::Ok();
}

}  // namespace shale
