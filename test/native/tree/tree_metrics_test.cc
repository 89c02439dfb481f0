// What a tree counts, exactly.
#include "tree/tree_metrics.h"

#include <gtest/gtest.h>

#include <string>

#include "tree/tree_support.h"

namespace shale {
namespace {

TreeOptions Unpinned(bool separated) {
  TreeOptions options;
  options.pin_index = {false};
  options.pin_filter = {false};
  options.partition_index = {false};
  options.partition_filter = {false};
  if (separated) {
    options.kv_separation.emplace();
    options.kv_separation->threshold = 100;
  }
  return options;
}

// As the door does it: from memory, and if that says "would block" once more.
Status GetAsTheDoor(const Tree& tree, Slice key, bool* missed) {
  TreeHit hit;
  {
    const EpochGuard guard;
    Status status = Tree::Get(tree.current(), key, kReadAll, ReadMode::kMemoryOnly, &hit);
    *missed = status.Is(Code::kWouldBlock);
    if (!*missed) return status;
  }
  const Ref<SuperVersion> pin = tree.Pin();
  return Tree::Get(pin.get(), key, kReadAll, ReadMode::kMayBlock, &hit);
}

TEST(TreeMetrics, AnAttemptThatWouldBlockCountsForNothing) {
  TreeHarness harness(Unpinned(false));
  for (Seqno s = 1; s <= 20; ++s) {
    harness.Put("a" + std::to_string(s), "v", s);
    if (s % 10 == 0) ASSERT_OK(harness.RotateAndFlush());  // two tables over the same range
  }
  const Tree& tree = *harness.tree();
  EXPECT_EQ(tree.metrics().block_loads.io, 0u);  // opening them is no read
  bool missed = false;
  ASSERT_OK(GetAsTheDoor(tree, "a15", &missed));
  EXPECT_TRUE(missed);
  TreeMetrics m = tree.metrics();
  // The newer table has it: filter, index and block.
  EXPECT_EQ(m.filter_queries, 1u);
  EXPECT_EQ(m.block_loads.io, 3u);
  EXPECT_EQ(m.block_loads.cached, 0u);
  EXPECT_EQ(m.read_amplification, 3);
  ASSERT_OK(GetAsTheDoor(tree, "a15", &missed));
  EXPECT_FALSE(missed);
  m = tree.metrics();
  EXPECT_EQ(m.filter_queries, 2u);
  EXPECT_EQ(m.block_loads.io, 3u);
  EXPECT_EQ(m.block_loads.cached, 3u);
  // The older table: the filter of the newer one rules it out. That is in memory, the rest is not.
  ASSERT_OK(GetAsTheDoor(tree, "a2", &missed));
  EXPECT_TRUE(missed);
  m = tree.metrics();
  EXPECT_EQ(m.filter_queries, 4u);
  EXPECT_EQ(m.filter_negatives, 1u);
  EXPECT_EQ(m.filter_false_positives, 0u);
  EXPECT_EQ(m.block_loads.io, 6u);
  EXPECT_EQ(m.block_loads.cached, 4u);
  EXPECT_DOUBLE_EQ(m.read_amplification, 10.0 / 3);
  // What memtables answer looks into no table.
  harness.Put("b", "v", 21);
  ASSERT_OK(GetAsTheDoor(tree, "b", &missed));
  EXPECT_EQ(tree.metrics().filter_queries, 4u);
  EXPECT_DOUBLE_EQ(tree.metrics().read_amplification, 10.0 / 3);
}

TEST(TreeMetrics, ScansAndCompactionsAreNoLookups) {
  TreeHarness harness(Unpinned(false));
  for (Seqno s = 1; s <= 20; ++s) {
    harness.Put("a" + std::to_string(s), "v", s);
    if (s % 10 == 0) ASSERT_OK(harness.RotateAndFlush());
  }
  const Tree& tree = *harness.tree();
  EXPECT_EQ(harness.Scan(kReadAll).size(), 20u);
  const TreeMetrics scanned = tree.metrics();
  EXPECT_EQ(scanned.block_loads.io + scanned.block_loads.cached, 4u);  // an index and a block each
  EXPECT_EQ(scanned.filter_queries, 0u);
  EXPECT_EQ(scanned.read_amplification, 0);
  const auto plan = harness.tree()->MajorPlan(0);
  ASSERT_TRUE(plan.has_value());
  ASSERT_OK(harness.tree()->Claim(*plan));
  ASSERT_OK(harness.tree()->Compact(*plan, nullptr, nullptr));
  const TreeMetrics compacted = tree.metrics();
  EXPECT_EQ(compacted.block_loads.io, scanned.block_loads.io);
  EXPECT_EQ(compacted.block_loads.cached, scanned.block_loads.cached);
}

TEST(TreeMetrics, ABlobThatIsMissedCountsOnce) {
  TreeHarness harness(Unpinned(true));
  harness.Put("a", std::string(1000, 'v'), 1);
  ASSERT_OK(harness.RotateAndFlush());
  const Tree& tree = *harness.tree();
  bool missed = false;
  uint64_t size = 0;
  const Ref<SuperVersion> pin = tree.Pin();
  ASSERT_OK(Tree::SizeOf(pin.get(), "a", kReadAll, ReadMode::kMayBlock, &size));
  EXPECT_EQ(size, 1000u);
  TreeMetrics m = tree.metrics();
  EXPECT_EQ(m.blob_loads.io + m.blob_loads.cached, 0u);
  EXPECT_EQ(m.filter_queries, 1u);
  ASSERT_OK(GetAsTheDoor(tree, "a", &missed));
  EXPECT_TRUE(missed);
  m = tree.metrics();
  EXPECT_EQ(m.filter_queries, 2u);
  EXPECT_EQ(m.block_loads.cached, 3u);
  EXPECT_EQ(m.blob_loads.io, 1u);
  ASSERT_OK(GetAsTheDoor(tree, "a", &missed));
  EXPECT_FALSE(missed);
  EXPECT_EQ(tree.metrics().blob_loads.cached, 1u);
}

TEST(TreeMetrics, Amplification) {
  TreeHarness harness(Unpinned(false));
  harness.retention = {{}, kReadAll};
  Tree* const tree = harness.tree();
  EXPECT_EQ(tree->metrics().write_amplification, 1);
  EXPECT_EQ(tree->metrics().space_amplification, 1);
  const std::string value(1000, 'v');
  for (Seqno s = 1; s <= 100; ++s) {
    harness.Put("key" + std::to_string(s), value, s);
    tree->CountWrite(1005, 0);
  }
  EXPECT_EQ(tree->metrics().write_amplification, 0);  // a bare tree has no journal
  ASSERT_OK(harness.RotateAndFlush());
  TreeMetrics m = tree->metrics();
  EXPECT_EQ(m.write_amplification, static_cast<double>(m.table_bytes) / 100500);
  EXPECT_EQ(m.space_amplification, 1);
  const uint64_t flushed = m.table_bytes;
  // A second run, whose keys are those of the first.
  for (Seqno s = 101; s <= 200; ++s) {
    harness.Put("key" + std::to_string(s - 100), value, s);
    tree->CountWrite(1005, 12);
  }
  ASSERT_OK(harness.RotateAndFlush());
  m = tree->metrics();
  EXPECT_EQ(m.write_amplification, static_cast<double>(m.table_bytes + 1200) / 201000);
  uint64_t runs = 0;
  for (const TreeMetrics::Level& level : m.levels) runs += level.runs;
  EXPECT_EQ(runs, 2u);
  const auto plan = tree->MajorPlan(0);
  ASSERT_OK(tree->Claim(*plan));
  ASSERT_OK(tree->Compact(*plan, nullptr, nullptr));
  const uint64_t before = m.table_bytes;
  m = tree->metrics();
  EXPECT_EQ(m.write_amplification, static_cast<double>(before + m.table_bytes + 1200) / 201000);
  EXPECT_EQ(m.levels.back().bytes, m.table_bytes);
  EXPECT_EQ(m.space_amplification, 1);
  // A run above the last level is space that the last level does not need.
  harness.Put("key1", value, 201);
  ASSERT_OK(harness.RotateAndFlush());
  m = tree->metrics();
  EXPECT_EQ(m.space_amplification,
            static_cast<double>(m.table_bytes) / static_cast<double>(m.levels.back().bytes));
  EXPECT_GT(m.space_amplification, 1);
  EXPECT_GT(flushed, 100000u);
}

}  // namespace
}  // namespace shale
