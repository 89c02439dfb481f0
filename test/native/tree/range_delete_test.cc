// Range deletes from the memtable to the last level, against a model of every version.
#include "tree/covered.h"
#include "tree/range_fragments.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

using Direction = Cursor::Direction;

std::string ShortKey(uint64_t n) { return "k" + std::to_string(100 + n); }

// A tree, what it should show, and the snapshots that are open.
class RangeDeleteTest : public testing::Test {
 protected:
  void Put(const std::string& key) {
    seqno_++;
    Write({key, seqno_, Kind::kValue, "v" + std::to_string(seqno_)});
  }
  void Write(const OwnedEntry& e) {
    harness_->tree()->Add(e.key, e.value, e.seqno, e.kind);
    model_.Add(e);
    harness_->retention.visible = e.seqno + 1;
  }
  void RemoveRange(const std::string& start, const std::string& end) {
    harness_->tree()->AddRange(start, end, ++seqno_);
    model_.AddRange(start, end, seqno_);
    harness_->retention.visible = seqno_ + 1;
  }
  void OpenSnapshot() { harness_->retention.snapshots.push_back(seqno_ + 1); }

  void Expect(Seqno r, const Bounds& bounds = {}) {
    const auto expected = model_.Scan(r, bounds);
    ASSERT_EQ(harness_->Scan(r, bounds), expected) << "forward at " << r;
    auto reversed = expected;
    std::reverse(reversed.begin(), reversed.end());
    ASSERT_EQ(harness_->Scan(r, bounds, Direction::kReverse), reversed) << "reverse at " << r;
  }
  void ExpectAll(uint64_t keys) {
    std::vector<Seqno> reads = harness_->retention.snapshots;
    reads.push_back(seqno_ + 1);
    for (const Seqno r : reads) {
      Expect(r);
      for (uint64_t k = 0; k < keys; k++) {
        ASSERT_EQ(harness_->Get(ShortKey(k), r), model_.Get(ShortKey(k), r))
            << ShortKey(k) << " at " << r;
      }
    }
  }
  uint64_t TableCount() { return harness_->tree()->Pin()->version->table_count(); }
  uint64_t RangeCount() {
    uint64_t count = 0;
    const Ref<SuperVersion> sv = harness_->tree()->Pin();
    for (int i = 0; i < kLevelCount; i++) {
      for (const shale::Run& run : sv->version->level(i)) {
        for (const auto& table : run.tables) count += table->meta().range_tombstone_count;
      }
    }
    return count;
  }
  uint64_t BlockLoads() {
    const TableCounters& c = *harness_->tree()->counters();
    return c.Sum(TableCount::kLoadsIo) + c.Sum(TableCount::kLoadsCached);
  }

  std::unique_ptr<TreeHarness> harness_ = std::make_unique<TreeHarness>();
  HistoryModel model_;
  Seqno seqno_ = 0;
};

// Random histories with snapshots, jobs and reopens. SmallOptions make outputs of many tables, so
// that range tombstones are cut.
TEST_F(RangeDeleteTest, RandomHistories) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(60); round++) {
    TreeOptions options = TreeHarness::SmallOptions();
    options.strategy.l0_threshold = 2;
    options.strategy.target_size = random.OneIn(2) ? 400 : 2048;
    if (random.OneIn(2)) options.memtable_auto = false;
    options.memtable = MemtableKind::kSkiplist;
    harness_ = std::make_unique<TreeHarness>(options);
    model_ = {};
    seqno_ = 0;
    const uint64_t keys = 10 + random.Below(60);
    std::map<std::string, bool> written;  // once since its last removal: it may be removed weakly
    const uint64_t steps = 50 + random.Below(300);
    for (uint64_t i = 0; i < steps; i++) {
      const std::string key = ShortKey(random.Below(keys));
      const uint64_t what = random.Below(20);
      if (what < 10) {
        written[key] = written.count(key) == 0;
        Put(key);
      } else if (what < 12) {
        Write({key, ++seqno_, Kind::kTombstone, ""});
        written.erase(key);
      } else if (what < 13) {
        const auto it = written.find(key);
        if (it == written.end() || !it->second) continue;
        Write({key, ++seqno_, Kind::kWeakTombstone, ""});
        written.erase(it);
      } else if (what < 15) {
        std::string end = ShortKey(random.Below(keys));
        if (random.OneIn(4)) end.clear();
        if (!end.empty() && end <= key) continue;
        RemoveRange(random.OneIn(10) ? "a" : key, end);
        for (auto it = written.begin(); it != written.end();) {
          it = model_.Get(it->first, seqno_ + 1) == "absent" ? written.erase(it) : std::next(it);
        }
      } else if (what == 15) {
        OpenSnapshot();
        auto& s = harness_->retention.snapshots;
        s.erase(std::unique(s.begin(), s.end()), s.end());
      } else if (what == 16) {
        auto& s = harness_->retention.snapshots;
        if (!s.empty()) s.erase(s.begin() + static_cast<ptrdiff_t>(random.Below(s.size())));
        harness_->tree()->DropCovered();
      } else if (what == 17) {
        harness_->tree()->Rotate();
      } else if (what == 18) {
        ASSERT_OK(harness_->RotateAndFlush());
        if (random.OneIn(3)) {
          const RetentionView view = harness_->retention;
          ASSERT_OK(harness_->Reopen());
          harness_->retention = view;
        }
      } else {
        ASSERT_OK(random.OneIn(3) ? harness_->Major() : harness_->CompactAll());
      }
      if (random.OneIn(25)) ExpectAll(keys);
      if (random.OneIn(10)) {
        Bounds bounds;
        if (random.OneIn(2)) bounds.lower = ShortKey(random.Below(keys));
        if (random.OneIn(2)) bounds.upper = ShortKey(random.Below(keys));
        Expect(seqno_ + 1, bounds);
      }
      ASSERT_FALSE(HasFailure());
    }
    ASSERT_OK(harness_->RotateAndFlush());
    ASSERT_OK(harness_->CompactAll());
    ExpectAll(keys);
    const Ref<SuperVersion> sv = harness_->tree()->Pin();
    for (int i = 0; i < kLevelCount; i++) {
      for (const shale::Run& run : sv->version->level(i)) {
        for (const auto& table : run.tables) ASSERT_OK(table->Verify());
      }
    }
    // Nothing is left of what everybody sees.
    harness_->retention.snapshots.clear();
    ASSERT_OK(harness_->Major());
    harness_->tree()->DropCovered();
    ExpectAll(keys);
    EXPECT_EQ(RangeCount(), 0u);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(RangeDeleteTest, ACursorGoesOnAfterEveryStepThatWouldBlock) {
  TestRandom random(2);
  harness_ = std::make_unique<TreeHarness>(TreeHarness::SmallOptions(), 1);
  const std::vector<Seqno>& snapshots = harness_->retention.snapshots;
  for (int i = 0; i < 400; i++) {
    if (random.OneIn(12)) {
      RemoveRange(ShortKey(random.Below(50)), random.OneIn(3) ? "" : "k150~");
    } else {
      Put(ShortKey(random.Below(100)));
    }
    if (random.OneIn(10) && (snapshots.empty() || snapshots.back() <= seqno_)) OpenSnapshot();
    if (random.OneIn(60)) {
      ASSERT_OK(harness_->RotateAndFlush());
    }
  }
  Expect(seqno_ + 1);
  for (const Seqno r : snapshots) Expect(r);
}

// A few blocks per source, whatever lies under the range.
TEST_F(RangeDeleteTest, ScansJumpOverWhatIsCovered) {
  constexpr uint64_t kKeys = 5000;
  const auto key = [](uint64_t n) { return "k" + std::to_string(10000 + n); };
  for (uint64_t i = 0; i < kKeys; i++) Put(key(i));
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->CompactAll());
  OpenSnapshot();  // so that nothing is dropped
  for (uint64_t i = 0; i < kKeys; i += 2) Put(key(i));
  ASSERT_OK(harness_->RotateAndFlush());
  OpenSnapshot();
  RemoveRange(key(0), key(kKeys - 1));
  Put(key(kKeys));
  for (const bool flushed : {false, true}) {
    if (flushed) {
      ASSERT_OK(harness_->RotateAndFlush());
    }
    for (const Direction direction : {Direction::kForward, Direction::kReverse}) {
      const uint64_t before = BlockLoads();
      EXPECT_EQ(harness_->Scan(seqno_ + 1, {}, direction).size(), 2u);
      EXPECT_LT(BlockLoads() - before, 30u);
    }
  }
}

TEST_F(RangeDeleteTest, ScansJumpInsideAMemtable) {
  for (uint64_t i = 0; i < 20000; i++) Put("m" + std::to_string(100000 + i));
  RemoveRange("m", "n");
  for (const Direction direction : {Direction::kForward, Direction::kReverse}) {
    // A walk over so many hidden entries is nothing that memory alone may do.
    Cursor cursor(harness_->tree()->Pin(), seqno_ + 1, {}, direction);
    EXPECT_EQ(cursor.Next(ReadMode::kMemoryOnly), Code::kNotFound);
  }
}

// Gigabytes go with a few edits: what is covered leaves the version unread, and then what covered
// it does, as soon as no snapshot is in between.
TEST_F(RangeDeleteTest, CoveredTablesAreDropped) {
  for (uint64_t i = 0; i < 600; i++) Put(ShortKey(i));
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  for (uint64_t i = 0; i < 600; i += 3) Put(ShortKey(i));
  ASSERT_OK(harness_->RotateAndFlush());
  const uint64_t tables = TableCount();
  ASSERT_GT(tables, 3u);
  OpenSnapshot();
  RemoveRange("\1", "");
  const uint64_t loads = BlockLoads();
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->tree()->DropCovered();
  EXPECT_EQ(TableCount(), tables + 1);
  Expect(harness_->retention.snapshots[0]);
  const uint64_t behind = BlockLoads();
  harness_->retention.snapshots.clear();
  harness_->tree()->DropCovered();
  EXPECT_EQ(TableCount(), 0u);
  EXPECT_EQ(BlockLoads(), behind);
  EXPECT_GE(behind, loads);
  EXPECT_TRUE(harness_->Scan(seqno_ + 1).empty());
  ASSERT_OK(harness_->Reopen());
  EXPECT_EQ(TableCount(), 0u);
}

TEST_F(RangeDeleteTest, TablesThatAreCoveredInPartStay) {
  for (uint64_t i = 0; i < 100; i++) Put(ShortKey(i));
  ASSERT_OK(harness_->RotateAndFlush());
  RemoveRange(ShortKey(0), ShortKey(99));
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->tree()->DropCovered();
  EXPECT_EQ(TableCount(), 2u);
  ExpectAll(100);
  RemoveRange(ShortKey(99), ShortKey(99) + "x");
  ASSERT_OK(harness_->RotateAndFlush());
  ExpectAll(100);
  harness_->tree()->DropCovered();
  EXPECT_EQ(TableCount(), 3u);  // no single one covers the whole table
  RemoveRange(ShortKey(0), ShortKey(99) + "x");
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->tree()->DropCovered();
  EXPECT_EQ(TableCount(), 0u);
}

TEST_F(RangeDeleteTest, OutputsAreCutWhereTheyEnd) {
  OpenSnapshot();
  for (uint64_t i = 0; i < 400; i++) Put(ShortKey(i));
  OpenSnapshot();
  RemoveRange(ShortKey(10), ShortKey(390));
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  const Ref<SuperVersion> sv = harness_->tree()->Pin();
  const shale::Run& run = sv->version->level(kLevelCount - 1).at(0);
  ASSERT_GT(run.tables.size(), 3u);
  for (size_t i = 0; i + 1 < run.tables.size(); i++) {
    const TableMeta& m = run.tables[i]->meta();
    const TableMeta& next = run.tables[i + 1]->meta();
    EXPECT_EQ(m.range_tombstone_count, 1u);
    EXPECT_EQ(m.last_key_bound, KeyBound::kExclusive);
    EXPECT_EQ(m.last_key, next.first_key);
  }
  ExpectAll(400);
}

// A flood of them makes tables of bounded size.
TEST_F(RangeDeleteTest, ManyRangesAreSpreadOverTables) {
  for (uint64_t i = 0; i < 2000; i++) {
    RemoveRange("k" + std::to_string(10000 + 2 * i), "k" + std::to_string(10001 + 2 * i));
  }
  OpenSnapshot();
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->retention.snapshots = {1};  // all of them stay
  auto plan = harness_->tree()->MajorPlan(2048);
  ASSERT_TRUE(plan.has_value() || TableCount() == 0);
  if (plan) {
    ASSERT_OK(harness_->tree()->Claim(*plan));
    ASSERT_OK(harness_->tree()->Compact(*plan, nullptr, nullptr));
  }
  ExpectAll(1);
}

TEST_F(RangeDeleteTest, AnEntryOfTheSameCommitStaysVisible) {
  Put("k1");
  RemoveRange("k", "l");
  harness_->tree()->Add("k1", "new", seqno_, Kind::kValue);
  model_.Add({"k1", seqno_, Kind::kValue, "new"});
  for (int i = 0; i < 3; i++) {
    EXPECT_EQ(harness_->Get("k1", seqno_ + 1), "new");
    Expect(seqno_ + 1);
    ASSERT_OK(i == 0 ? harness_->RotateAndFlush() : harness_->Major());
  }
}

// ---- fragments ----

TEST(RangeFragments, SayOfEveryKeyWhatTheSourcesSay) {
  TestRandom random(3);
  for (uint64_t round = 0; round < Scaled(300); round++) {
    std::vector<std::pair<std::string, std::string>> keys;
    std::vector<RangeTombstone> ranges;
    const size_t count = 1 + random.Below(30);
    RetentionView view;
    view.visible = 1 + random.Below(70);
    for (Seqno s = 1; s <= view.visible; s++) {
      if (random.OneIn(10)) view.snapshots.push_back(s);
    }
    while (keys.size() < count) {
      const uint64_t a = random.Below(40);
      keys.emplace_back(ShortKey(a), random.OneIn(6) ? "" : ShortKey(a + 1 + random.Below(15)));
    }
    for (const auto& [start, end] : keys) ranges.push_back({start, end, 1 + random.Below(60)});
    const std::vector<RangeTombstone> fragments = FragmentRanges(ranges, view);
    EXPECT_LE(fragments.size(), 2 * ranges.size());
    std::map<Seqno, std::vector<RangeTombstone>> strata;
    for (size_t i = 0; i < fragments.size(); i++) {
      ASSERT_TRUE(fragments[i].EndsBehind(fragments[i].start));
      if (i > 0) {
        ASSERT_TRUE(ComesBefore(fragments[i - 1], fragments[i]));
      }
      auto& stratum = strata[view.StratumEnd(fragments[i].seqno)];
      if (!stratum.empty()) {
        ASSERT_FALSE(stratum.back().EndsBehind(fragments[i].start));
        const bool joined =
            stratum.back().seqno == fragments[i].seqno && stratum.back().end == fragments[i].start;
        ASSERT_FALSE(joined);
      }
      stratum.push_back(fragments[i]);
    }
    for (uint64_t k = 0; k < 60; k++) {
      std::map<Seqno, Seqno> expected;
      std::map<Seqno, Seqno> seen;
      const std::string key = ShortKey(k);
      for (const RangeTombstone& r : ranges) {
        if (!r.Covers(key)) continue;
        Seqno& newest = expected[view.StratumEnd(r.seqno)];
        newest = std::max(newest, r.seqno);
      }
      for (const RangeTombstone& r : fragments) {
        if (r.Covers(key)) seen[view.StratumEnd(r.seqno)] = r.seqno;
      }
      ASSERT_EQ(seen, expected) << key;
    }
  }
}

}  // namespace
}  // namespace shale
