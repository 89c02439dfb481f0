#include "table/data_block.h"

#include <map>

#include "table/table_support.h"

namespace shale {
namespace {

struct Shape {
  uint32_t restart_interval;
  double hash_ratio;
};

std::string BuildRaw(const Records& records, Shape shape) {
  DataBlockBuilder builder(shape.restart_interval, shape.hash_ratio);
  for (size_t i = 0; i < records.size(); i++) {
    const Record& v = records[i];
    builder.Add(v.entry(), i == 0 || records[i - 1].key != v.key, Hash64(v.key));
  }
  return builder.Finish().ToString();
}

Ref<DataBlock> Build(const Records& records, Shape shape) {
  const std::string raw = BuildRaw(records, shape);
  BlockBuffer buffer;
  Ref<DataBlock> block;
  const Status status = DataBlock::Parse(raw, &buffer, &block);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return block;
}

// The shapes that exercise every path: dense restarts, one interval, strides, with and without hash
// index.
const Shape kShapes[] = {{1, 0}, {2, 0.75}, {3, 0}, {16, 0}, {16, 1.5}, {255, 0}, {255, 4}, {1, 1}};

void CheckGet(const DataBlock& block, const Records& records, const std::string& key,
              Seqno read_seqno) {
  Entry entry;
  const Needle needle{key, static_cast<int64_t>(read_seqno) - 1};
  const bool found = block.Get(needle, Hash64(key), &entry);
  const Record* expected = Visible(records, key, read_seqno);
  ASSERT_EQ(found, expected != nullptr) << testing::PrintToString(key) << " @" << read_seqno;
  if (found) {
    EXPECT_EQ(ToRecord(entry), *expected);
  }
}

void CheckLowerBound(const DataBlock& block, const Records& records, const std::string& key,
                     Seqno seqno) {
  EXPECT_EQ(block.LowerBound({key, static_cast<int64_t>(seqno)}), LowerBound(records, key, seqno))
      << testing::PrintToString(key) << " @" << seqno;
}

// Seeks and gets at every key, right before and right behind it, at several seqnos.
void CheckSearch(const DataBlock& block, const Records& records) {
  for (const Record& v : records) {
    std::string before = v.key;
    before.pop_back();
    std::string below = v.key;
    below.back() = static_cast<char>(below.back() - 1);
    for (const std::string& key : {v.key, v.key + '\0', v.key + "\xff", before, below}) {
      if (key.empty()) continue;
      for (const Seqno seqno : {v.seqno, v.seqno + 1, Seqno{0}, kReadAll - 1}) {
        CheckLowerBound(block, records, key, seqno);
        CheckGet(block, records, key, seqno + 1);
      }
    }
  }
  CheckLowerBound(block, records, std::string(1, '\0'), kSeqnoMax);
  CheckLowerBound(block, records, std::string(300, '\xff'), 0);
}

void CheckCursor(const DataBlock& block, const Records& records, TestRandom* random) {
  DataBlockCursor cursor;
  cursor.Attach(&block);
  EXPECT_FALSE(cursor.valid());
  size_t i = 0;
  for (cursor.MoveTo(0); cursor.valid(); cursor.Next(), i++) {
    ASSERT_EQ(ToRecord(cursor.entry()), records[i]);
  }
  EXPECT_EQ(i, records.size());
  for (cursor.MoveTo(block.entry_count() - 1); cursor.valid(); cursor.Prev(), i--) {
    ASSERT_EQ(ToRecord(cursor.entry()), records[i - 1]);
  }
  EXPECT_EQ(i, 0u);
  // A walk that turns round and jumps.
  size_t at = random->Below(records.size());
  cursor.MoveTo(static_cast<uint32_t>(at));
  for (size_t step = 0; step < 4 * records.size(); step++) {
    const uint64_t move = random->Below(10);
    if (move == 0) {
      at = random->Below(records.size());
      cursor.MoveTo(static_cast<uint32_t>(at));
    } else if (move < 6 && at + 1 < records.size()) {
      at++;
      cursor.Next();
    } else if (at != 0) {
      at--;
      cursor.Prev();
    }
    ASSERT_EQ(ToRecord(cursor.entry()), records[at]);
  }
}

// Two cursors, one from each end, take turns until they meet: every entry exactly once.
void CheckPingPong(const DataBlock& block, const Records& records, TestRandom* random) {
  DataBlockCursor front;
  DataBlockCursor back;
  front.Attach(&block);
  back.Attach(&block);
  front.MoveTo(0);
  back.MoveTo(block.entry_count() - 1);
  Records head;
  Records tail;
  while (front.valid() && back.valid() && front.ordinal() <= back.ordinal()) {
    if (random->OneIn(2)) {
      head.push_back(ToRecord(front.entry()));
      front.Next();
    } else {
      tail.push_back(ToRecord(back.entry()));
      back.Prev();
    }
  }
  head.insert(head.end(), tail.rbegin(), tail.rend());
  EXPECT_EQ(head, records);
}

void CheckAll(const Records& records, TestRandom* random) {
  for (const Shape shape : kShapes) {
    SCOPED_TRACE(testing::Message()
                 << "restart interval " << shape.restart_interval << ", hash ratio "
                 << shape.hash_ratio << ", " << records.size() << " entries");
    const Ref<DataBlock> block = Build(records, shape);
    ASSERT_TRUE(block);
    ASSERT_EQ(block->entry_count(), records.size());
    EXPECT_TRUE(block->VerifyBuckets().ok());
    CheckSearch(*block, records);
    CheckCursor(*block, records, random);
    CheckPingPong(*block, records, random);
  }
}

TEST(DataBlock, OneEntry) {
  TestRandom random;
  CheckAll({{"key", 7, Kind::kValue, "value"}}, &random);
  CheckAll({{"k", 0, Kind::kTombstone, ""}}, &random);
  CheckAll({{std::string(kKeyBytesMax, 'k'), kSeqnoMax, Kind::kValue, std::string(3000, 'v')}},
           &random);
}

TEST(DataBlock, ManyVersionsOfOneKey) {
  TestRandom random;
  Records records;
  for (Seqno s = 300; s != 0; s--) records.push_back({"key", s * 3, Kind::kValue, ""});
  records.push_back({"key2", 5, Kind::kValue, "x"});
  CheckAll(records, &random);
}

TEST(DataBlock, KeysThatDifferOnlyBehindTheirHeads) {
  TestRandom random;
  Records records;
  for (const char* middle : {"", "12345678", "12345678abcdefgh", "zzzzzzzzz"}) {
    for (int i = 0; i < 20; i++) {
      records.push_back(
          {std::string("p") + middle + std::string(static_cast<size_t>(i), '\0') + "z",
           static_cast<Seqno>(i), Kind::kValue, "v"});
    }
  }
  records.push_back({"p", 3, Kind::kWeakTombstone, ""});
  Sort(&records);
  CheckAll(records, &random);
}

TEST(DataBlock, ShortKeysThatAreZeroPadded) {
  TestRandom random;
  Records records;
  for (size_t n = 1; n < 30; n++) records.push_back({std::string(n, '\0'), n, Kind::kValue, "v"});
  CheckAll(records, &random);
}

// Edge case 19: from both ends of a block in any order, every entry exactly once.
TEST(DataBlock, RandomBlocks) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(60); round++) {
    const size_t count = 1 + random.Below(round % 3 == 0 ? 300 : 40);
    const uint64_t space = 1 + random.Below(3 * count);
    CheckAll(RandomRecords(&random, count, space, round % 2 == 0 ? 0 : 200), &random);
  }
}

TEST(DataBlock, LargeBlocksUseWideOffsetsAndAdoptTheirBuffer) {
  TestRandom random;
  Records records;
  for (uint64_t i = 0; i < 3000; i++) {
    records.push_back({"key" + std::to_string(100000 + i), i, Kind::kValue, std::string(150, 'v')});
  }
  const std::string raw = BuildRaw(records, {16, 1});
  ASSERT_GT(raw.size(), BlockBuffer::kAdoptBytes);
  BlockBuffer buffer;
  std::memcpy(buffer.Reserve(raw.size()), raw.data(), raw.size());
  Ref<DataBlock> block;
  ASSERT_TRUE(DataBlock::Parse(Slice(buffer.data(), raw.size()), &buffer, &block).ok());
  EXPECT_EQ(buffer.data(), nullptr);
  CheckSearch(*block, records);
  CheckCursor(*block, records, &random);
}

TEST(DataBlock, HashIndexIsLeftOutWhereItCannotNameAllRestarts) {
  Records records;
  for (uint64_t i = 0; i < 300; i++) {
    records.push_back({"key" + std::to_string(1000 + i), i, Kind::kValue, ""});
  }
  EXPECT_EQ(BuildRaw(records, {1, 2}), BuildRaw(records, {1, 0}));
  EXPECT_GT(BuildRaw(records, {2, 2}).size(), BuildRaw(records, {2, 0}).size() + 500);
}

TEST(DataBlock, FreeBucketsAnswerWithoutASearch) {
  Records records;
  for (uint64_t i = 0; i < 40; i++) {
    records.push_back({"key" + std::to_string(1000 + i), i, Kind::kValue, ""});
  }
  std::string raw = BuildRaw(records, {16, 1});
  // Every bucket made free: keys that are there are no longer found, so it is the buckets that
  // answer; the check of the whole block notices.
  for (size_t i = raw.size() - 12 - 40; i < raw.size() - 12; i++) raw[i] = '\xff';
  BlockBuffer buffer;
  Ref<DataBlock> block;
  ASSERT_TRUE(DataBlock::Parse(raw, &buffer, &block).ok());
  Entry entry;
  EXPECT_FALSE(block->Get({records[5].key, 100}, Hash64(records[5].key), &entry));
  EXPECT_TRUE(block->VerifyBuckets().Is(Code::kCorruption));
}

// Every byte of a block set to other values: it parses to something readable in full, or it is
// refused. The sanitizers watch the reads.
TEST(DataBlock, HostileBytesNeverLeaveTheBlock) {
  TestRandom random;
  Records records = RandomRecords(&random, 24, 40, 20);
  uint64_t refused = 0;
  uint64_t accepted = 0;
  for (const Shape shape : {Shape{1, 0}, Shape{4, 1}, Shape{16, 0}}) {
    const std::string good = BuildRaw(records, shape);
    for (size_t i = 0; i < good.size(); i++) {
      for (const int delta : {1, 0x7f, 0x80, 0xff, static_cast<int>(random.Below(255)) + 1}) {
        std::string raw = good;
        raw[i] = static_cast<char>(raw[i] + delta);
        BlockBuffer buffer;
        Ref<DataBlock> block;
        if (!DataBlock::Parse(raw, &buffer, &block).ok()) {
          refused++;
          continue;
        }
        accepted++;
        DataBlockCursor cursor;
        cursor.Attach(block.get());
        Records seen;
        for (cursor.MoveTo(0); cursor.valid(); cursor.Next()) {
          seen.push_back(ToRecord(cursor.entry()));
        }
        ASSERT_EQ(seen.size(), block->entry_count());
        ASSERT_TRUE(std::is_sorted(seen.begin(), seen.end(), InOrder));
        for (const Record& v : records) {
          Entry entry;
          static_cast<void>(
              block->Get({v.key, static_cast<int64_t>(v.seqno)}, Hash64(v.key), &entry));
          ASSERT_EQ(block->LowerBound({v.key, static_cast<int64_t>(v.seqno)}),
                    LowerBound(seen, v.key, v.seqno));
        }
      }
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_GT(accepted, 0u);  // flipped values and seqnos are for the checksum to find
}

TEST(DataBlock, RefusesWhatTheFormatForbids) {
  const Records good = {{"a", 2, Kind::kValue, "1"}, {"b", 1, Kind::kValue, "2"}};
  const auto refused = [](const std::string& raw) {
    BlockBuffer buffer;
    Ref<DataBlock> block;
    return DataBlock::Parse(raw, &buffer, &block).Is(Code::kCorruption);
  };
  const std::string raw = BuildRaw(good, {16, 0});
  EXPECT_FALSE(refused(raw));
  for (size_t n = 0; n < raw.size(); n++) EXPECT_TRUE(refused(raw.substr(0, n))) << n;
  EXPECT_TRUE(refused(raw + '\0'));
  EXPECT_TRUE(refused(std::string(12, '\0')));  // no entries
  EXPECT_TRUE(refused(BuildRaw({good[1], good[0]}, {16, 0})));
  EXPECT_TRUE(refused(BuildRaw({good[0], good[0]}, {16, 0})));
  EXPECT_TRUE(refused(BuildRaw({{"a", 1, Kind::kTombstone, "value"}}, {16, 0})));
  EXPECT_TRUE(refused(BuildRaw({{"a", 1, Kind::kBlobPointer, "short"}}, {16, 0})));
  const auto pointer = [](uint64_t file, uint64_t offset) {
    const auto bytes = BlobPointer{file, offset, 5, 5}.Encode();
    return BuildRaw({{"a", 1, Kind::kBlobPointer, std::string(bytes.data(), bytes.size())}},
                    {16, 0});
  };
  EXPECT_FALSE(refused(pointer(7, kFileHeaderBytes)));
  EXPECT_TRUE(refused(pointer(7, kFileHeaderBytes - 1)));
  EXPECT_TRUE(refused(pointer(0, kFileHeaderBytes)));
  EXPECT_TRUE(refused(BuildRaw({{"a", 1, Kind::kRangeTombstone, ""}}, {16, 0})));
  EXPECT_TRUE(refused(BuildRaw({{"a", 1, Kind::kMergeOperand, ""}}, {16, 0})));
  EXPECT_TRUE(refused(BuildRaw({{"a", kSeqnoMax + 1, Kind::kValue, ""}}, {16, 0})));
  EXPECT_TRUE(refused(BuildRaw({{"", 1, Kind::kValue, ""}}, {16, 0})));
}

}  // namespace
}  // namespace shale
