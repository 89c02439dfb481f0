// Dropped tables: what goes, and who still reads it.
#include "base/epoch.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

TEST(Drops, ReadsOfBeforeADropSeeWhatWasThere) {
  using Pairs = TreeHarness::Pairs;
  TreeHarness h;
  const auto drop_oldest = [&] {
    CompactionPlan plan;
    plan.type = CompactionPlan::Type::kDrop;
    plan.tables = {h.tree()->Pin()->version->level(0).back().tables[0]->meta().number};
    ASSERT_OK(h.tree()->Claim(plan));
    ASSERT_OK(h.tree()->Compact(plan, nullptr, nullptr));
  };
  h.Put("a", "1", 1);
  ASSERT_OK(h.RotateAndFlush());
  h.Put("m", "2", 2);
  ASSERT_OK(h.RotateAndFlush());
  h.Put("z", "5", 5);
  drop_oldest();
  EXPECT_EQ(h.Scan(kReadAll), (Pairs{{"m", "2"}, {"z", "5"}}));
  EXPECT_EQ(h.Scan(6), (Pairs{{"m", "2"}, {"z", "5"}}));
  EXPECT_EQ(h.Scan(5), (Pairs{{"a", "1"}, {"m", "2"}}));
  EXPECT_EQ(h.Get("a", 2), "1");
  EXPECT_EQ(h.Get("a", 6), "absent");

  // What comes later is not part of it, and does not stay in memory with it.
  h.Put("b", "7", 7);
  EXPECT_EQ(h.Scan(5), (Pairs{{"a", "1"}, {"m", "2"}}));
  ASSERT_OK(h.RotateAndFlush());
  EXPECT_EQ(h.tree()->memtable_bytes(), 0u);
  EXPECT_EQ(h.tree()->PinFor(5)->active->item_count(), 0u);
  h.Put("c", "8", 8);
  drop_oldest();
  EXPECT_EQ(h.Scan(kReadAll), (Pairs{{"b", "7"}, {"c", "8"}, {"z", "5"}}));
  EXPECT_EQ(h.Scan(8), (Pairs{{"b", "7"}, {"m", "2"}, {"z", "5"}}));
  EXPECT_EQ(h.Scan(5), (Pairs{{"a", "1"}, {"m", "2"}}));
  EXPECT_EQ(h.tree()->history().size(), 3u);
  ASSERT_EQ(h.Files(FileKind::kTable).size(), 3u);

  // A snapshot holds what it maps to and nothing else; then the reads that may come.
  h.retention.snapshots = {3};
  h.retention.visible = 9;
  h.tree()->ReleaseHeld();
  EXPECT_EQ(h.Scan(3), (Pairs{{"a", "1"}, {"m", "2"}}));
  EXPECT_EQ(h.tree()->history().size(), 2u);
  h.retention.snapshots = {6};
  h.tree()->ReleaseHeld();
  EXPECT_FALSE(h.tree()->holds());
  EpochCollect();
  EXPECT_EQ(h.Files(FileKind::kTable).size(), 1u);
}

}  // namespace
}  // namespace shale
