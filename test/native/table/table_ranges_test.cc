// Tables with range tombstones.
#include <functional>

#include "table/range_block.h"
#include "table/table_support.h"

namespace shale {
namespace {

constexpr uint64_t kRangedNumber = 9;

struct RangeTable {
  TableEnv env;
  TableMeta meta;

  RangeTable(const Records& records, const std::vector<RangeTombstone>& ranges,
             const TableWriteOptions& options = {}) {
    std::unique_ptr<TableWriter> writer;
    EXPECT_TRUE(
        TableWriter::Create(&env.vfs, env.Path(kRangedNumber), kRangedNumber, options, &writer)
            .ok());
    for (const Record& r : records) EXPECT_TRUE(writer->Add(r.entry()).ok());
    for (const RangeTombstone& r : ranges) EXPECT_TRUE(writer->AddRange(r).ok());
    const Status status = writer->Finish(&meta);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
};

Records Three() {
  return {{"b", 5, Kind::kValue, "1"}, {"d", 9, Kind::kValue, "2"}, {"f", 6, Kind::kValue, "3"}};
}

TEST(TableRanges, WidenTheBoundsOfTheTable) {
  struct Case {
    std::vector<RangeTombstone> ranges;
    const char* first;
    const char* last;
    KeyBound bound;
    Seqno lowest;
    Seqno highest;
  };
  const Case cases[] = {
      {{{"c", "e", 7}}, "b", "f", KeyBound::kInclusive, 5, 9},
      {{{"a", "b", 4}}, "a", "f", KeyBound::kInclusive, 4, 9},
      {{{"c", "f", 7}}, "b", "f", KeyBound::kInclusive, 5, 9},
      {{{"c", "g", 12}}, "b", "g", KeyBound::kExclusive, 5, 12},
      {{{"z", "", 8}, {"c", "g", 12}}, "b", "", KeyBound::kUnbounded, 5, 12},
  };
  for (const Case& c : cases) {
    RangeTable t(Three(), c.ranges);
    EXPECT_EQ(t.meta.first_key, c.first);
    EXPECT_EQ(t.meta.last_key, c.last);
    EXPECT_EQ(t.meta.last_key_bound, c.bound);
    EXPECT_EQ(t.meta.lowest_seqno, c.lowest);
    EXPECT_EQ(t.meta.highest_seqno, c.highest);
    EXPECT_EQ(t.meta.item_count, 3u);
    EXPECT_EQ(t.meta.range_tombstone_count, c.ranges.size());
    const Ref<TableReader> table = t.env.MustOpen(t.meta);
    ASSERT_NE(table->ranges(), nullptr);
    EXPECT_EQ(table->ranges()->items().size(), c.ranges.size());
    const Status status = table->Verify();
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
}

TEST(TableRanges, MayBeAlone) {
  for (const bool partitioned : {false, true}) {
    TableWriteOptions options;
    options.partition_index = partitioned;
    options.partition_filter = partitioned;
    RangeTable t({}, {{"c", "e", 7}, {"a", "b", 9}}, options);
    EXPECT_EQ(t.meta.item_count, 0u);
    EXPECT_EQ(t.meta.block_count, 0u);
    EXPECT_EQ(t.meta.first_key, "a");
    EXPECT_EQ(t.meta.last_key, "e");
    for (const bool pinned : {false, true}) {
      const Ref<TableReader> table = t.env.MustOpen(t.meta, {pinned, pinned});
      TableHit hit;
      EXPECT_TRUE(table->Get("c", Hash64("c"), kReadAll, kReadAny, &hit).Is(Code::kNotFound));
      EXPECT_TRUE(table->RulesOut("c", Hash64("c")));
      Records seen;
      EXPECT_TRUE(Collect(table->NewIterator(&kReadAny).get(), false, &seen).ok());
      EXPECT_TRUE(seen.empty());
      const auto it = table->NewIterator(&kReadAny);
      it->Seek("b", kTagNewest);
      EXPECT_FALSE(it->valid());
      it->SeekBefore("z", kTagNewest);
      EXPECT_FALSE(it->valid());
      uint64_t bytes = 1;
      EXPECT_TRUE(table->ApproximateBytes("a", nullptr, kReadAny, &bytes).ok());
      EXPECT_EQ(bytes, 0u);
      EXPECT_TRUE(table->Verify().ok());
      ASSERT_NE(table->ranges()->FindNewest("a", kReadAll, 0), nullptr);
      EXPECT_EQ(table->ranges()->FindNewest("b", kReadAll, 0), nullptr);
    }
  }
}

TEST(TableRanges, TheWriterRefusesWhatIsNoRange) {
  const RangeTombstone wrong[] = {{"", "b", 1}, {"b", "b", 1}, {"c", "b", 1}, {"a", "b", kReadAll}};
  for (const RangeTombstone& range : wrong) {
    TableEnv env;
    std::unique_ptr<TableWriter> writer;
    ASSERT_TRUE(
        TableWriter::Create(&env.vfs, env.Path(kRangedNumber), kRangedNumber, {}, &writer).ok());
    EXPECT_TRUE(writer->AddRange(range).Is(Code::kInvalidArgument));
  }
}

TEST(RangeBlock, RefusesDamage) {
  const std::string good = EncodeRangeBlock({{"a", "c", 5}, {"a", "b", 4}, {"b", "", 3}});
  std::unique_ptr<RangeBlock> block;
  ASSERT_TRUE(RangeBlock::Parse(good, 0, &block).ok());
  EXPECT_EQ(block->index().highest_seqno(), 5u);
  ASSERT_TRUE(RangeBlock::Parse(good, 10, &block).ok());
  EXPECT_EQ(block->index().highest_seqno(), 15u);
  const auto refused = [&](const std::string& raw, Seqno global = 0) {
    return RangeBlock::Parse(raw, global, &block).Is(Code::kCorruption);
  };
  EXPECT_TRUE(refused(good, kSeqnoMax));
  EXPECT_TRUE(refused(good + "x"));
  for (size_t n = 0; n < good.size(); n++) EXPECT_TRUE(refused(good.substr(0, n))) << n;
  const auto item = [](const std::string& start, char flags, const std::string& end) {
    std::string raw("\1\0\0\0", 4);
    raw += static_cast<char>(start.size());
    raw += start + flags;
    raw += static_cast<char>(end.size());
    return raw + end + '\1';
  };
  EXPECT_FALSE(refused(item("a", 0, "b")));
  EXPECT_TRUE(refused(item("", 0, "b")));
  EXPECT_TRUE(refused(item("a", 2, "b")));
  EXPECT_TRUE(refused(item("a", 1, "b")));
  EXPECT_TRUE(refused(item("a", 0, "")));
  EXPECT_TRUE(refused(item("b", 0, "b")));
  EXPECT_TRUE(refused(EncodeRangeBlock({{"b", "c", 5}, {"a", "b", 4}})));
  EXPECT_TRUE(refused(EncodeRangeBlock({{"a", "c", 4}, {"a", "c", 5}})));
  EXPECT_TRUE(refused(EncodeRangeBlock({{"a", "b", 5}, {"a", "c", 5}})));
  EXPECT_TRUE(refused(std::string("\xff\xff\xff\xff", 4) + std::string(100, 'a')));
}

TEST(TableRanges, FlippedBytesAreFound) {
  RangeTable t(Three(), {{"c", "g", 12}, {"a", "", 3}});
  const std::string good = t.env.ReadFile(kRangedNumber);
  for (size_t i = 0; i < good.size(); i++) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    t.env.WriteFile(kRangedNumber, bad);
    Ref<TableReader> table;
    Status status = t.env.Open(t.meta, {}, &table);
    if (status.ok()) status = table->Verify();
    ASSERT_FALSE(status.ok()) << i;
  }
}

// The checksums made right again: what the block says must still be what the table says of it.
TEST(TableRanges, ResealedBytesStayInside) {
  RangeTable t(Three(), {{"c", "g", 12}, {"a", "", 3}});
  const std::string good = t.env.ReadFile(kRangedNumber);
  const TableFooter footer = FooterOf(good, kRangedNumber);
  TableProperties properties;
  ASSERT_TRUE(
      DecodeTableProperties(
          Slice(good).Skip(footer.properties.offset).Prefix(footer.properties.length), &properties)
          .ok());
  const BlockHandle handle = properties.range_tombstones;
  for (size_t i = 0; i < handle.length; i++) {
    for (int bit = 0; bit < 8; bit++) {
      std::string bad = good;
      bad[handle.offset + i] = static_cast<char>(bad[handle.offset + i] ^ (1 << bit));
      Reseal(&bad, handle, kRangedNumber);
      t.env.WriteFile(kRangedNumber, bad);
      Ref<TableReader> table;
      const Status status = t.env.Open(t.meta, {}, &table);
      if (!status.ok()) {
        ASSERT_TRUE(status.Is(Code::kCorruption)) << status.ToString();
        continue;
      }
      for (const RangeTombstone& r : table->ranges()->items()) {
        ASSERT_FALSE(r.start < Slice(t.meta.first_key));
      }
      static_cast<void>(table->Verify());
    }
  }
}

}  // namespace
}  // namespace shale
