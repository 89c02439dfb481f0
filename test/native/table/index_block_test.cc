#include "table/index_block.h"

#include "table/table_support.h"

namespace shale {
namespace {

struct Item {
  std::string key;
  Seqno seqno;
  BlockHandle handle;
};

std::string BuildRaw(const std::vector<Item>& items) {
  IndexBlockBuilder builder;
  for (const Item& item : items) builder.Add(item.key, item.seqno, item.handle);
  const size_t estimate = builder.EstimatedSize();
  const std::string raw = builder.Finish().ToString();
  EXPECT_LE(raw.size(), estimate);
  return raw;
}

std::vector<Item> RandomItems(TestRandom* random, size_t count) {
  Records records = RandomRecords(random, count, 2 * count, 0);
  std::vector<Item> items;
  uint64_t offset = random->Below(1000);
  for (const Record& v : records) {
    const BlockHandle handle{offset, static_cast<uint32_t>(1 + random->Below(70000))};
    items.push_back({v.key, v.seqno, handle});
    offset = handle.end() + random->Below(10);
  }
  return items;
}

TEST(IndexBlock, FindsTheFirstSeparatorNotBeforeTheNeedle) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(60); round++) {
    const std::vector<Item> items = RandomItems(&random, 1 + random.Below(400));
    Ref<IndexBlock> block;
    const uint64_t limit = items.back().handle.end();
    ASSERT_TRUE(IndexBlock::Parse(BuildRaw(items), BlockType::kData, limit, &block).ok());
    ASSERT_EQ(block->entry_count(), items.size());
    std::string key;
    for (uint32_t i = 0; i < items.size(); i++) {
      EXPECT_EQ(block->handle(i), items[i].handle);
      EXPECT_EQ(block->seqno(i), items[i].seqno);
      block->AssignKey(i, &key);
      EXPECT_EQ(key, items[i].key);
    }
    for (int probe = 0; probe < 300; probe++) {
      const Item& near = items[random.Below(items.size())];
      const std::string needle = random.OneIn(2) ? near.key : RandomKey(&random, 500);
      const Seqno seqno = random.OneIn(2) ? near.seqno + random.Below(2) : random.Below(500);
      const auto expected = std::partition_point(items.begin(), items.end(), [&](const Item& item) {
        return Before({item.key, item.seqno, Kind::kValue, ""}, needle, seqno);
      });
      EXPECT_EQ(block->LowerBound({needle, static_cast<int64_t>(seqno)}),
                static_cast<size_t>(expected - items.begin()));
    }
  }
}

TEST(IndexBlock, NeedlesMayLieBelowEverySeqno) {
  const std::vector<Item> items = {{"a", 0, {0, 10}}, {"b", 0, {19, 10}}};
  Ref<IndexBlock> block;
  ASSERT_TRUE(IndexBlock::Parse(BuildRaw(items), BlockType::kData, 1000, &block).ok());
  EXPECT_EQ(block->LowerBound({"a", 0}), 0u);
  EXPECT_EQ(block->LowerBound({"a", -1}), 1u);
  EXPECT_EQ(block->LowerBound({"b", -1}), 2u);
}

TEST(IndexBlock, RefusesImpossibleHandles) {
  const auto parse = [](const std::vector<Item>& items, BlockType target, uint64_t limit) {
    Ref<IndexBlock> block;
    return IndexBlock::Parse(BuildRaw(items), target, limit, &block);
  };
  const std::vector<Item> good = {{"a", 0, {0, 10}}, {"b", 0, {19, 10}}};
  EXPECT_TRUE(parse(good, BlockType::kData, 38).ok());
  EXPECT_TRUE(parse(good, BlockType::kData, 37).Is(Code::kCorruption));
  EXPECT_TRUE(parse({{"a", 0, {0, 10}}, {"b", 0, {18, 10}}}, BlockType::kData, 100)
                  .Is(Code::kCorruption));  // overlap
  EXPECT_TRUE(parse({{"a", 0, {0, 0}}}, BlockType::kData, 100).Is(Code::kCorruption));
  EXPECT_TRUE(parse({{"a", 0, {UINT64_MAX, 10}}}, BlockType::kData, 100).Is(Code::kCorruption));
  EXPECT_TRUE(parse({{"a", 0, {0, 10}}, {"a", 0, {19, 10}}}, BlockType::kData, 100)
                  .Is(Code::kCorruption));  // equal separators
  EXPECT_TRUE(parse({{"a", 1, {0, 10}}, {"a", 0, {19, 10}}}, BlockType::kData, 100).ok());
  // Only data blocks may be longer than 32 MiB.
  const std::vector<Item> large = {{"a", 0, {0, kBlockStoredBytesMax + 1}}};
  EXPECT_TRUE(parse(large, BlockType::kData, uint64_t{1} << 40).ok());
  EXPECT_TRUE(parse(large, BlockType::kIndex, uint64_t{1} << 40).Is(Code::kCorruption));
  EXPECT_TRUE(parse(large, BlockType::kFilter, uint64_t{1} << 40).Is(Code::kCorruption));
}

TEST(IndexBlock, HostileBytesNeverLeaveTheBlock) {
  TestRandom random;
  const std::vector<Item> items = RandomItems(&random, 40);
  const std::string good = BuildRaw(items);
  uint64_t refused = 0;
  for (size_t i = 0; i < good.size(); i++) {
    for (const int delta : {1, 0x7f, 0x80, 0xff, static_cast<int>(random.Below(255)) + 1}) {
      std::string raw = good;
      raw[i] = static_cast<char>(raw[i] + delta);
      Ref<IndexBlock> block;
      if (!IndexBlock::Parse(raw, BlockType::kData, items.back().handle.end(), &block).ok()) {
        refused++;
        continue;
      }
      std::string key;
      for (uint32_t n = 0; n < block->entry_count(); n++) block->AssignKey(n, &key);
      for (const Item& item : items) {
        const uint32_t n = block->LowerBound({item.key, static_cast<int64_t>(item.seqno)});
        ASSERT_LE(n, block->entry_count());
      }
    }
  }
  EXPECT_GT(refused, 0u);
}

// The restart head of an entry may be far longer than the entry: what a hostile index claims to
// hold must not be expanded in memory.
TEST(IndexBlock, LongSharedKeysAreNotExpanded) {
  IndexBlockBuilder builder;
  std::string key(60000, 'k');
  for (uint32_t i = 0; i < 16 * 40; i++) {
    key.back() = static_cast<char>(i & 0xff);
    key[key.size() - 2] = static_cast<char>(i >> 8);
    builder.Add(key, 0, {uint64_t{i} * 10, 1});
  }
  const std::string raw = builder.Finish().ToString();
  Ref<IndexBlock> block;
  ASSERT_TRUE(IndexBlock::Parse(raw, BlockType::kData, 100000, &block).ok());
  EXPECT_LT(block->charge(), raw.size() + 640 * 40 + 1000);
  EXPECT_EQ(block->LowerBound({key, 0}), 639u);
}

}  // namespace
}  // namespace shale
