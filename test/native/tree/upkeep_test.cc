// The upkeep in a real tree: it comes to its end, no read can tell, and it leaves no tombstone that
// is of use to nobody.
#include "tree/tree_support.h"

namespace shale {
namespace {

std::string UpkeepKey(uint64_t n) { return "k" + std::to_string(100 + n); }

class UpkeepTest : public testing::Test {
 protected:
  void Begin(const TreeOptions& options) {
    harness_ = std::make_unique<TreeHarness>(options);
    model_ = {};
    seqno_ = 0;
  }
  void Write(const std::string& key, Kind kind) {
    seqno_++;
    const OwnedEntry e{key, seqno_, kind, kind == Kind::kValue ? "v" + std::to_string(seqno_) : ""};
    harness_->tree()->Add(e.key, e.value, e.seqno, e.kind);
    model_.Add(e);
    harness_->retention.visible = seqno_ + 1;
  }
  void RemoveRange(const std::string& start, const std::string& end) {
    harness_->tree()->AddRange(start, end, ++seqno_);
    model_.AddRange(start, end, seqno_);
    harness_->retention.visible = seqno_ + 1;
  }
  void ExpectAll() {
    std::vector<Seqno> reads = harness_->retention.snapshots;
    reads.push_back(seqno_ + 1);
    for (const Seqno r : reads) ASSERT_EQ(harness_->Scan(r), model_.Scan(r)) << "at " << r;
  }
  // Jobs that it took. No job of the upkeep leaves as much to do as there was.
  int Settle() {
    int jobs = 0;
    while (const auto plan = harness_->tree()->ChooseAndClaim(0)) {
      EXPECT_OK(harness_->tree()->Compact(*plan, nullptr, nullptr));
      if (++jobs > 1000) {
        ADD_FAILURE() << "it has no end";
        break;
      }
    }
    return jobs;
  }
  VersionSummary Summary() { return Summarise(*harness_->tree()->Pin()->version); }
  std::vector<TableSummary> Tables() {
    std::vector<TableSummary> tables;
    for (const auto& level : Summary().levels) {
      for (const RunSummary& run : level) {
        tables.insert(tables.end(), run.tables.begin(), run.tables.end());
      }
    }
    return tables;
  }
  uint64_t TombstoneCount() {
    uint64_t count = 0;
    for (const TableSummary& table : Tables()) count += table.AllTombstones();
    return count;
  }

  std::unique_ptr<TreeHarness> harness_;
  HistoryModel model_;
  Seqno seqno_ = 0;
};

// No level is ever too large.
TreeOptions Patient() {
  TreeOptions options = TreeHarness::SmallOptions();
  options.strategy.l0_threshold = 1000;
  return options;
}

TEST_F(UpkeepTest, RandomHistories) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(60); round++) {
    TreeOptions options = Patient();
    StrategyOptions& strategy = options.strategy;
    if (random.OneIn(3)) strategy.kind = StrategyKind::kSizeTiered;
    if (random.OneIn(3)) strategy.l0_threshold = 2;
    strategy.target_size = random.OneIn(2) ? 400 : 1 << 20;
    strategy.base_size = strategy.target_size;
    strategy.tombstone_share = std::array{0.1, 0.5, 1.0}[random.Below(3)];
    Begin(options);
    const uint64_t keys = 10 + random.Below(60);
    for (uint64_t i = 0; i < 200; i++) {
      const std::string key = UpkeepKey(random.Below(keys));
      const uint64_t what = random.Below(20);
      std::vector<Seqno>& snapshots = harness_->retention.snapshots;
      if (what < 8) {
        Write(key, Kind::kValue);
      } else if (what < 13) {
        Write(key, Kind::kTombstone);
      } else if (what < 14) {
        RemoveRange(key, key + "z");
      } else if (what < 15 && (snapshots.empty() || snapshots.back() <= seqno_)) {
        snapshots.push_back(seqno_ + 1);
      } else if (what < 16 && !snapshots.empty()) {
        snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(random.Below(snapshots.size())));
      } else if (what < 19) {
        ASSERT_OK(harness_->RotateAndFlush());
      } else {
        Settle();
        // Nothing has changed, so there is nothing to do.
        ASSERT_EQ(Settle(), 0);
        ExpectAll();
      }
      ASSERT_FALSE(HasFailure());
    }
    harness_->retention.snapshots.clear();
    ASSERT_OK(harness_->RotateAndFlush());
    Settle();
    ExpectAll();
    for (const TableSummary& table : Tables()) {
      // Where outputs are small, some may cost more than they are worth.
      if (strategy.target_size == 400) break;
      EXPECT_FALSE(IsDense(table.AllTombstones(), table.EntryCount(), strategy));
    }
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(UpkeepTest, WhatReadsWaitForIsTold) {
  Begin(Patient());
  EXPECT_EQ(harness_->tree()->AwaitedBelow(), 0u);
  for (int i = 0; i < 8; i++) Write(UpkeepKey(i), Kind::kValue);
  ASSERT_OK(harness_->RotateAndFlush());
  EXPECT_EQ(harness_->tree()->AwaitedBelow(), 0u);
  harness_->retention.snapshots = {seqno_ + 1};
  for (int i = 0; i < 8; i++) Write(UpkeepKey(i), Kind::kTombstone);
  ASSERT_OK(harness_->RotateAndFlush());
  EXPECT_EQ(harness_->tree()->AwaitedBelow(), seqno_ + 1);
  Settle();
  EXPECT_EQ(TombstoneCount(), 8u);
  EXPECT_EQ(harness_->tree()->AwaitedBelow(), seqno_ + 1);
  harness_->retention.snapshots.clear();
  EXPECT_EQ(Settle(), 1);
  EXPECT_TRUE(Tables().empty());
  EXPECT_EQ(harness_->tree()->AwaitedBelow(), 0u);
}

TEST_F(UpkeepTest, RangeTombstonesGoWithWhatTheyHide) {
  Begin(Patient());
  for (int i = 0; i < 50; i++) Write(UpkeepKey(i), Kind::kValue);
  ASSERT_OK(harness_->RotateAndFlush());
  RemoveRange(UpkeepKey(10), UpkeepKey(40));
  ASSERT_OK(harness_->RotateAndFlush());
  Settle();
  EXPECT_EQ(TombstoneCount(), 0u);
  uint64_t entries = 0;
  for (const TableSummary& table : Tables()) entries += table.EntryCount();
  EXPECT_EQ(entries, 20u);
  ExpectAll();
}

TEST_F(UpkeepTest, OldTablesAreWrittenAgain) {
  TreeOptions options = Patient();
  options.strategy.max_age_seconds = 10;
  Begin(options);
  Tree* const tree = harness_->tree();
  EXPECT_EQ(tree->DueIn(harness_->vfs()->WallMillis()), std::nullopt);
  for (const char* key : {"a", "c"}) {
    Write(key, Kind::kValue);
    ASSERT_OK(harness_->RotateAndFlush());
    Settle();
  }
  const std::vector<TableSummary> before = Tables();
  ASSERT_EQ(before.size(), 2u);
  const uint64_t end = before[0].created_at_ms + 10000;
  EXPECT_EQ(tree->DueIn(end - 1500), 1500);
  EXPECT_EQ(tree->ChooseAndClaim(end - 1), std::nullopt);
  harness_->vfs()->AdvanceClock(11'000'000'000);
  const uint64_t now = harness_->vfs()->WallMillis();
  for (int i = 0; i < 2; i++) {
    const auto plan = tree->ChooseAndClaim(now);
    ASSERT_TRUE(plan.has_value());
    ASSERT_OK(tree->Compact(*plan, nullptr, nullptr));
  }
  EXPECT_EQ(tree->ChooseAndClaim(now), std::nullopt);
  for (const TableSummary& table : Tables()) EXPECT_GE(table.created_at_ms, now);
  EXPECT_EQ(Tables().size(), 2u);
  EXPECT_EQ(tree->DueIn(now), 10000);
  ExpectAll();
}

}  // namespace
}  // namespace shale
