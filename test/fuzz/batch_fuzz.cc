// Commits as journals hold them: the entries of arbitrary bytes, and of a good commit that was
// edited. What is read lies within the input, keeps the rules of its kind, and is read the same
// once more when it is written again.
#include <iterator>
#include <string>
#include <vector>

#include "db/batch_ranges.h"
#include "db/write_batch.h"
#include "edits.h"

namespace shale {
namespace {

constexpr uint64_t kRawMax = uint64_t{1} << 20;

std::string GoodCommit(uint8_t choice) {
  WriteBatch batch;
  const Kind kinds[] = {Kind::kValue,    Kind::kTombstone, Kind::kWeakTombstone,
                        kKeyspaceCreate, kKeyspaceClear,   Kind::kRangeTombstone,
                        kKeyspaceDelete, kTablesChanged};
  for (uint32_t i = 0; i < 12; i++) {
    const Kind kind = kinds[(i * (1 + choice % 3) + choice / 8) % std::size(kinds)];
    std::string value;
    if (kind == Kind::kValue) value.assign(i == 5 ? kJournalCompressionMin + choice : i, 'v');
    if (kind == Kind::kRangeTombstone) value = std::string(1, '\0') + "l";  // up to there
    const bool has_key = !IsKeyspaceRecord(kind) || kind == kKeyspaceCreate;
    batch.Add(kind, 1 + i % 3, has_key ? "key" + std::to_string(100 + i) : "", value);
  }
  std::string stored;
  std::string scratch;
  BatchReader reader(batch.bytes());
  for (BatchEntry entry; reader.Next(&entry);) {
    AppendForJournal(entry, static_cast<Codec>(choice % (kCodecMax + 1)), &scratch, &stored);
  }
  FuzzRequire(reader.status().ok());
  return stored;
}

void CheckEntry(const BatchEntry& entry) {
  uint64_t raw_length = 0;
  const Status sound = CheckJournalEntry(entry, &raw_length);
  if (!sound.ok()) return FuzzRequireCorruption(sound);
  RangeTombstone range;
  if (entry.kind == Kind::kRangeTombstone && DecodeRange(entry, &range)) {
    FuzzRequire(range.EndsBehind(range.start));
  }
  // A value that states to be larger would only cost time.
  if (raw_length > kRawMax) return;
  std::string scratch;
  Slice value;
  const Status decoded = DecodeValue(entry, &scratch, &value);
  if (!decoded.ok()) return FuzzRequireCorruption(decoded);
  FuzzRequire(value.size() == raw_length);
  // Stored anew it is the same value.
  std::string compressed;
  std::string again;
  AppendForJournal({entry.kind, Codec::kNone, entry.keyspace, entry.key, value}, Codec::kLz4,
                   &compressed, &again);
  BatchReader reader(again);
  BatchEntry copy;
  std::string copied;
  Slice copied_value;
  FuzzRequire(reader.Next(&copy) && DecodeValue(copy, &copied, &copied_value).ok());
  FuzzRequire(copy.kind == entry.kind && copy.keyspace == entry.keyspace);
  FuzzRequire(copy.key == entry.key && copied_value == value);
}

void Check(const std::string& bytes) {
  BatchReader reader(bytes);
  std::vector<BatchEntry> entries;
  size_t read = 0;
  for (BatchEntry entry; reader.Next(&entry);) {
    FuzzRequire(entry.key.data() >= bytes.data());
    read += kEntryHeaderBytes + entry.key.size() + entry.value.size();
    FuzzRequire(read <= bytes.size());
    CheckEntry(entry);
    entries.push_back(entry);
  }
  if (reader.status().ok()) {
    FuzzRequire(read == bytes.size());
  } else {
    FuzzRequireCorruption(reader.status());
  }
  const BatchRanges ranges(bytes);
  for (size_t i = 0; i < entries.size(); i++) static_cast<void>(ranges.Cancels(entries[i], i));
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  const uint8_t choice = input.U8();
  if (choice % 4 == 0) {
    shale::Check(input.Rest().ToString());
    return 0;
  }
  std::string bytes = shale::GoodCommit(input.U8());
  shale::ApplyEdits(&input, &bytes);
  shale::Check(bytes);
  return 0;
}
