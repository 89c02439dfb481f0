#include "db/write_batch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/coding.h"
#include "support/seed.h"

namespace shale {
namespace {

struct Parsed {
  std::vector<BatchEntry> entries;
  Status status;
};

Parsed Parse(Slice bytes) {
  Parsed parsed;
  BatchReader reader(bytes);
  BatchEntry entry;
  while (reader.Next(&entry)) parsed.entries.push_back(entry);
  parsed.status = reader.status();
  return parsed;
}

TEST(WriteBatchTest, EncodesWhatTheFormatSays) {
  WriteBatch batch;
  batch.Add(Kind::kValue, 1, "k1", "red");
  batch.Add(Kind::kWeakTombstone, 2, "q", "");
  const std::string expected(
      "\x00\x00\x02\x00\x01\x00\x00\x00\x03\x00\x00\x00k1red"
      "\x02\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00q",
      30);
  EXPECT_EQ(batch.bytes().ToString(), expected);
  EXPECT_EQ(batch.count(), 2u);
  const Parsed parsed = Parse(batch.bytes());
  EXPECT_TRUE(parsed.status.ok());
  ASSERT_EQ(parsed.entries.size(), 2u);
  EXPECT_EQ(parsed.entries[0].key.ToString(), "k1");
  EXPECT_EQ(parsed.entries[0].value.ToString(), "red");
  EXPECT_EQ(parsed.entries[1].kind, Kind::kWeakTombstone);
  EXPECT_EQ(parsed.entries[1].keyspace, 2u);
  batch.Clear();
  EXPECT_EQ(batch.count(), 0u);
  EXPECT_TRUE(Parse(batch.bytes()).entries.empty());
}

TEST(WriteBatchTest, EveryCutIsNoticed) {
  WriteBatch batch;
  batch.Add(Kind::kValue, 7, "key", "value");
  batch.Add(Kind::kTombstone, 7, "other", "");
  const size_t first = kEntryHeaderBytes + 8;
  for (size_t size = 0; size < batch.bytes().size(); ++size) {
    const Parsed parsed = Parse(Slice(batch.bytes().data(), size));
    EXPECT_EQ(parsed.status.ok(), size == 0 || size == first) << size;
    EXPECT_LE(parsed.entries.size(), 1u);
  }
}

TEST(WriteBatchTest, UnknownKindsAndCodecsAreDamage) {
  for (int byte = 0; byte < 256; ++byte) {
    WriteBatch batch;
    batch.Add(static_cast<Kind>(byte), 1, "k", "v");
    const bool known = byte <= kKindMax || IsKeyspaceRecord(static_cast<Kind>(byte));
    EXPECT_EQ(Parse(batch.bytes()).status.ok(), known) << byte;
    std::string bytes = batch.bytes().ToString();
    bytes[0] = 0;
    bytes[1] = static_cast<char>(byte);
    EXPECT_EQ(Parse(bytes).status.ok(), byte <= kCodecMax) << byte;
  }
}

TEST(WriteBatchTest, HostileBytesStayInside) {
  TestRandom random;
  for (uint64_t i = 0; i < Scaled(20000); ++i) {
    // In memory of its exact size, so that a sanitizer sees every step outside.
    std::vector<char> bytes(random.Below(80));
    for (char& c : bytes) c = static_cast<char>(random.OneIn(2) ? random.Below(4) : random.Next());
    const Slice input(bytes.data(), bytes.size());
    BatchReader reader(input);
    BatchEntry entry;
    std::string scratch;
    Slice value;
    while (reader.Next(&entry)) {
      EXPECT_GE(entry.key.data(), input.data());
      EXPECT_LE(entry.value.end(), input.end());
      static_cast<void>(DecodeValue(entry, &scratch, &value));
      EXPECT_LE(scratch.size(), kJournalCompressionMax);
    }
  }
}

TEST(WriteBatchTest, LargeValuesAreCompressedForTheJournal) {
  std::string scratch;
  std::string form;
  BatchEntry entry;
  entry.keyspace = 3;
  entry.key = "key";
  const std::string small(kJournalCompressionMin - 1, 'a');
  const std::string large(kJournalCompressionMin, 'a');
  entry.value = small;
  AppendForJournal(entry, Codec::kLz4, &scratch, &form);
  EXPECT_EQ(form.size(), kEntryHeaderBytes + 3 + small.size());
  form.clear();
  entry.value = large;
  AppendForJournal(entry, Codec::kLz4, &scratch, &form);
  EXPECT_LT(form.size(), 200u);
  Parsed parsed = Parse(form);
  ASSERT_EQ(parsed.entries.size(), 1u);
  EXPECT_EQ(parsed.entries[0].codec, Codec::kLz4);
  Slice value;
  ASSERT_TRUE(DecodeValue(parsed.entries[0], &scratch, &value).ok());
  EXPECT_EQ(value.ToString(), large);
  // What does not shrink stays as it is.
  TestRandom random;
  std::string noise(kJournalCompressionMin, '\0');
  for (char& c : noise) c = static_cast<char>(random.Next());
  form.clear();
  entry.value = noise;
  AppendForJournal(entry, Codec::kLz4, &scratch, &form);
  parsed = Parse(form);
  EXPECT_EQ(parsed.entries[0].codec, Codec::kNone);
  EXPECT_EQ(parsed.entries[0].value.ToString(), noise);
}

TEST(WriteBatchTest, ImpossibleRawLengthsAreRefused) {
  for (const uint32_t raw : {uint32_t{0}, uint32_t{0xffffffff}, (uint32_t{64} << 20) + 1}) {
    std::string stored;
    PutU32(&stored, raw);
    stored += "abc";
    BatchEntry entry;
    entry.codec = Codec::kLz4;
    entry.value = stored;
    std::string scratch;
    Slice value;
    EXPECT_TRUE(DecodeValue(entry, &scratch, &value).Is(Code::kCorruption));
    EXPECT_TRUE(scratch.empty());
  }
  BatchEntry entry;
  entry.codec = Codec::kLz4;
  entry.value = "ab";
  std::string scratch;
  Slice value;
  EXPECT_TRUE(DecodeValue(entry, &scratch, &value).Is(Code::kCorruption));
}

}  // namespace
}  // namespace shale
