#include "tree/tree.h"

#include <set>

#include "base/seeded_bug.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

TEST(Tree, AnEmptyOne) {
  TreeHarness h;
  EXPECT_EQ(h.Get("a", kReadAll), "absent");
  EXPECT_FALSE(h.tree()->Rotate());
  EXPECT_FALSE(h.tree()->HasSealed());
  EXPECT_OK(h.tree()->Flush(nullptr, nullptr, nullptr));
  EXPECT_EQ(h.tree()->MajorPlan(1000), std::nullopt);
  EXPECT_EQ(h.tree()->ChooseAndClaim(0), std::nullopt);
  EXPECT_EQ(h.tree()->highest_seqno(), 0u);
  EXPECT_EQ(h.tree()->approximate_len(), 0u);
  EXPECT_TRUE(h.Files(FileKind::kTable).empty());
}

// Edge case 1: a read at R sees what is below R.
TEST(Tree, AReadSeesWhatIsBelowItsSeqno) {
  TreeHarness h;
  h.Put("k", "five", 5);
  for (int flushed = 0; flushed < 2; flushed++) {
    EXPECT_EQ(h.Get("k", 0), "absent");
    EXPECT_EQ(h.Get("k", 5), "absent");
    EXPECT_EQ(h.Get("k", 6), "five");
    ASSERT_OK(h.RotateAndFlush());
  }
}

TEST(Tree, NewerComponentsHideOlderOnes) {
  TreeHarness h;
  h.Put("a", "1", 1);
  h.Put("b", "1", 2);
  ASSERT_OK(h.RotateAndFlush());
  h.Remove("a", 3);
  h.tree()->Rotate();
  EXPECT_EQ(h.Get("a", kReadAll), "absent");
  EXPECT_EQ(h.Get("a", 3), "1");
  ASSERT_OK(h.tree()->Flush(nullptr, nullptr, nullptr));
  EXPECT_EQ(h.Get("a", kReadAll), "absent");
  h.Put("a", "4", 4);
  h.tree()->Rotate();
  EXPECT_EQ(h.Get("a", kReadAll), "4");
  EXPECT_EQ(h.Get("b", kReadAll), "1");
}

// Edge case 17: a flush of which nothing is left.
TEST(Tree, AFlushOfNothingThatAnyoneSeesLeavesNoTable) {
  TreeHarness h;
  h.Put("k", "v", 1);
  h.tree()->Add("k", Slice(), 2, Kind::kWeakTombstone);
  h.retention = {{}, 3};
  ASSERT_OK(h.RotateAndFlush());
  EXPECT_FALSE(h.tree()->HasSealed());
  EXPECT_TRUE(h.Files(FileKind::kTable).empty());
  EXPECT_EQ(h.tree()->flushed_seqno(), 3u);
  ASSERT_OK(h.Reopen());
  EXPECT_EQ(h.tree()->flushed_seqno(), 3u);
  EXPECT_EQ(h.tree()->highest_seqno(), 2u);
}

// Keys are inserted and removed weakly, as in a queue: nothing is left of them.
TEST(Tree, AQueueLeavesNothing) {
  TreeHarness h;
  Seqno s = 0;
  for (int i = 0; i < 2000; i++) {
    h.Put("job" + std::to_string(i), "payload", ++s);
    if (i >= 50) {
      h.tree()->Add("job" + std::to_string(i - 50), Slice(), ++s, Kind::kWeakTombstone);
    }
    h.retention = {{}, s + 1};
    if (i % 100 == 99) {
      ASSERT_OK(h.RotateAndFlush());
      ASSERT_OK(h.CompactAll());
    }
  }
  EXPECT_EQ(h.Scan(kReadAll).size(), 50u);
  EXPECT_LT(h.tree()->approximate_len(), 400u);
  for (int i = 1950; i < 2000; i++) {
    h.tree()->Add("job" + std::to_string(i), Slice(), ++s, Kind::kWeakTombstone);
  }
  h.retention = {{}, s + 1};
  ASSERT_OK(h.RotateAndFlush());
  ASSERT_OK(h.Major());
  EXPECT_TRUE(h.Scan(kReadAll).empty());
  EXPECT_TRUE(h.Files(FileKind::kTable).empty());
}

TEST(Tree, InputsGoWithTheirLastReader) {
  TreeHarness h;
  for (int i = 0; i < 100; i++) h.Put("k" + std::to_string(i), std::string(50, 'v'), Seqno(i + 1));
  ASSERT_OK(h.RotateAndFlush());
  const auto before = h.Files(FileKind::kTable);
  Ref<SuperVersion> pin = h.tree()->Pin();
  ASSERT_OK(h.Major());
  EpochCollect();
  const auto during = h.Files(FileKind::kTable);
  for (const auto& name : before) EXPECT_EQ(std::count(during.begin(), during.end(), name), 1);
  EXPECT_EQ(h.tree()->history().size(), 2u);
  pin.reset();
  EXPECT_EQ(h.tree()->history().size(), 1u);
  for (const auto& name : h.Files(FileKind::kTable)) {
    EXPECT_EQ(std::count(before.begin(), before.end(), name), 0);
  }
}

// Edge case 26: versions of one key are never spread over two tables.
TEST(Tree, ATableEndsBetweenKeysAndAtItsSize) {
  TreeHarness h;
  h.retention = {{}, 0};
  Seqno s = 0;
  for (int i = 0; i < 40; i++) {
    for (int version = 0; version < 30; version++) {
      h.Put("key" + std::to_string(100 + i), std::string(20, 'v'), ++s);
    }
  }
  ASSERT_OK(h.RotateAndFlush());
  ASSERT_OK(h.Major());
  const Ref<SuperVersion> sv = h.tree()->Pin();
  ASSERT_EQ(sv->version->level(6).size(), 1u);
  EXPECT_GT(sv->version->level(6)[0].tables.size(), 8u);
  ASSERT_OK(sv->version->CheckInvariants());
  for (Seqno r = 1; r <= s; r += 13) EXPECT_EQ(h.Scan(r).size(), (r + 28) / 30) << r;
}

TEST(Tree, AStoppedJobChangesNothing) {
  TreeHarness h;
  Seqno s = 0;
  for (int run = 0; run < 3; run++) {
    for (int i = 0; i < 1000; i++) h.Put("k" + std::to_string(i), std::to_string(run), ++s);
    ASSERT_OK(h.RotateAndFlush());
  }
  const auto files = h.Files(FileKind::kTable);
  auto plan = h.tree()->MajorPlan(1000);
  ASSERT_OK(h.tree()->Claim(*plan));
  JobControl control;
  control.stop = true;
  EXPECT_EQ(h.tree()->Compact(*plan, &control, nullptr).code(), Code::kAborted);
  EXPECT_EQ(h.Files(FileKind::kTable), files);
  EXPECT_EQ(h.Get("k7", kReadAll), "2");
  // The claim is free again.
  ASSERT_OK(h.tree()->Claim(*plan));
  control.stop = false;
  JobStats stats;
  ASSERT_OK(h.tree()->Compact(*plan, &control, &stats));
  EXPECT_EQ(stats.items_read, 3000u);
  EXPECT_GT(stats.bytes_written, 0u);
  EXPECT_EQ(control.done_bytes, control.total_bytes);
  EXPECT_EQ(h.Get("k7", kReadAll), "2");

  h.Put("x", "y", ++s);
  h.tree()->Rotate();
  for (int i = 0; i < 1000; i++) h.Put("k" + std::to_string(i), "3", ++s);
  h.tree()->Rotate();
  control.stop = true;
  const auto compacted = h.Files(FileKind::kTable);
  EXPECT_EQ(h.tree()->Flush(&control, nullptr, nullptr).code(), Code::kAborted);
  EXPECT_EQ(h.Files(FileKind::kTable), compacted);
  EXPECT_EQ(h.tree()->sealed_count(), 2u);
  EXPECT_EQ(h.Get("x", kReadAll), "y");
}

TEST(Tree, TheJournalIsSyncedBeforeTheManifestNamesAFlush) {
  TreeHarness h;
  h.Put("a", "1", 7);
  h.Put("b", "1", 9);
  h.tree()->Rotate();
  int calls = 0;
  const auto refuse = [&](Seqno highest) {
    calls++;
    EXPECT_EQ(highest, 9u);
    EXPECT_EQ(h.manifest()->state().trees.begin()->second.flushed_seqno, 0u);
    return Status(Code::kSyncFailed, "journal");
  };
  EXPECT_EQ(h.tree()->Flush(nullptr, refuse, nullptr).code(), Code::kSyncFailed);
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(h.Files(FileKind::kTable).empty());
  EXPECT_TRUE(h.tree()->HasSealed());
  ASSERT_OK(h.tree()->Flush(
      nullptr, [](Seqno) { return Status(); }, nullptr));
  EXPECT_EQ(h.manifest()->state().trees.begin()->second.flushed_seqno, 10u);
}

TEST(Tree, ClaimsAreExclusive) {
  TreeHarness h;
  Seqno s = 0;
  for (int run = 0; run < 4; run++) {
    h.Put("a", "1", ++s);
    h.Put("z", "1", ++s);
    ASSERT_OK(h.RotateAndFlush());
  }
  const auto numbers = [&](int level) {
    std::vector<uint64_t> result;
    for (const shale::Run& run : h.tree()->Pin()->version->level(level)) {
      for (const auto& t : run.tables) result.push_back(t->meta().number);
    }
    return result;  // newest first
  };
  const auto l0 = numbers(0);
  ASSERT_EQ(l0.size(), 4u);
  const auto plan = [&](std::vector<uint64_t> tables, int level) {
    CompactionPlan p;
    p.tables = std::move(tables);
    p.destination_level = level;
    p.target_size = 1000;
    return p;
  };
  EXPECT_EQ(h.tree()->Claim(plan({}, 1)).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.tree()->Claim(plan({l0[0], l0[0]}, 1)).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.tree()->Claim(plan({l0[3]}, 7)).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.tree()->Claim(plan({9999}, 1)).code(), Code::kPlanStale);
  // Newer entries would come to lie below older ones.
  EXPECT_EQ(h.tree()->Claim(plan({l0[0]}, 1)).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.tree()->Claim(plan({l0[0], l0[2]}, 0)).code(), Code::kInvalidArgument);
  ASSERT_OK(h.tree()->Claim(plan({l0[2], l0[3]}, 6)));
  EXPECT_EQ(h.tree()->Claim(plan({l0[3]}, 6)).code(), Code::kPlanStale);
  ASSERT_OK(h.tree()->Claim(plan({l0[0], l0[1]}, 0)));
  ASSERT_OK(h.tree()->Compact(plan({l0[2], l0[3]}, 6), nullptr, nullptr));
  // A newer run comes while the other one is under way; it stays in front.
  h.Put("a", "2", ++s);
  ASSERT_OK(h.RotateAndFlush());
  ASSERT_OK(h.tree()->Compact(plan({l0[0], l0[1]}, 0), nullptr, nullptr));
  EXPECT_EQ(numbers(0).size(), 2u);
  EXPECT_EQ(numbers(6).size(), 1u);
  EXPECT_EQ(h.Get("a", kReadAll), "2");
  EXPECT_EQ(h.Get("z", kReadAll), "1");
  ASSERT_OK(h.tree()->Pin()->version->CheckInvariants());
}

TEST(Tree, APlanCanMoveAndDropTables) {
  TreeHarness h;
  h.Put("a", "1", 1);
  ASSERT_OK(h.RotateAndFlush());
  h.Put("m", "1", 2);
  ASSERT_OK(h.RotateAndFlush());
  CompactionPlan plan;
  plan.type = CompactionPlan::Type::kMove;
  plan.destination_level = 3;
  for (const shale::Run& run : h.tree()->Pin()->version->level(0)) {
    plan.tables.push_back(run.tables[0]->meta().number);
  }
  const auto files = h.Files(FileKind::kTable);
  ASSERT_OK(h.tree()->Claim(plan));
  ASSERT_OK(h.tree()->Compact(plan, nullptr, nullptr));
  EXPECT_EQ(h.Files(FileKind::kTable), files);
  ASSERT_EQ(h.tree()->Pin()->version->level(3).size(), 1u);
  EXPECT_EQ(h.tree()->Pin()->version->level(3)[0].tables.size(), 2u);
  ASSERT_OK(h.Reopen());
  EXPECT_EQ(h.Scan(kReadAll).size(), 2u);

  plan.type = CompactionPlan::Type::kDrop;
  plan.tables.resize(1);
  ASSERT_OK(h.tree()->Claim(plan));
  ASSERT_OK(h.tree()->Compact(plan, nullptr, nullptr));
  EXPECT_EQ(h.Scan(kReadAll), (TreeHarness::Pairs{{"a", "1"}}));
  h.retention.visible = 3;
  h.tree()->ReleaseHeld();
  EpochCollect();
  EXPECT_EQ(h.Files(FileKind::kTable).size(), 1u);
}

TEST(Tree, DamageAndMissingFilesAreReportedAtOpen) {
  TreeHarness h;
  h.Put("a", "1", 1);
  ASSERT_OK(h.RotateAndFlush());
  const std::string path =
      std::string(TreeHarness::kDirectory) + "/" + h.Files(FileKind::kTable)[0];
  h.CloseTree();
  ASSERT_OK(h.vfs()->Rename(path, "/elsewhere"));
  const Status s = h.Reopen();
  EXPECT_EQ(s.code(), Code::kCorruption);
  ASSERT_NE(s.details(), nullptr);
  EXPECT_EQ(s.details()->path, path);
  ASSERT_OK(h.vfs()->Rename("/elsewhere", path));
  ASSERT_OK(h.Reopen());
  EXPECT_EQ(h.Get("a", kReadAll), "1");
}

TEST(Tree, EstimatesSizes) {
  TreeHarness h;
  for (int i = 0; i < 400; i++) {
    h.Put("k" + std::to_string(1000 + i), std::string(100, 'v'), Seqno(i + 1));
  }
  EXPECT_EQ(h.tree()->approximate_len(), 400u);
  h.tree()->Rotate();
  EXPECT_EQ(h.tree()->approximate_len(), 400u);
  EXPECT_GT(h.tree()->memtable_bytes(), 40000u);
  ASSERT_OK(h.tree()->Flush(nullptr, nullptr, nullptr));
  ASSERT_OK(h.Major());
  EXPECT_EQ(h.tree()->approximate_len(), 400u);
  const auto size = [&](Bounds bounds) {
    uint64_t bytes = 0;
    EXPECT_OK(h.tree()->ApproximateSize(bounds, ReadMode::kMayBlock, &bytes));
    return bytes;
  };
  const uint64_t all = size({});
  EXPECT_EQ(all, h.tree()->table_bytes());
  EXPECT_GT(all, 40000u);
  EXPECT_NEAR(double(size({"k1100", "k1300"})), double(all) / 2, double(all) / 8);
  EXPECT_LT(size({"k1100", "k1101"}), 4000u);
  EXPECT_EQ(size({"k1200", "k1200"}), 0u);
  EXPECT_EQ(size({"x", {}}), 0u);
}

TEST(Tree, ADeletedTreeLeavesNoFiles) {
  TreeHarness h;
  h.Put("a", "1", 1);
  ASSERT_OK(h.RotateAndFlush());
  h.Put("b", "1", 2);
  h.tree()->Rotate();
  Ref<SuperVersion> pin = h.tree()->Pin();
  ManifestEdit edit;
  edit.deleted_trees = {1};
  ASSERT_OK(h.manifest()->Commit(edit));
  h.tree()->MarkDeleted();
  EXPECT_EQ(h.tree()->Flush(nullptr, nullptr, nullptr).code(), Code::kAborted);
  EXPECT_EQ(h.Files(FileKind::kTable).size(), 1u);
  pin.reset();
  h.CloseTree();
  EXPECT_TRUE(h.Files(FileKind::kTable).empty());
}

// ---- random lives ----

class RandomLife {
 public:
  RandomLife(TestRandom* random, TreeOptions options)
      : random_(random), harness_(options, random->OneIn(2) ? 1 << 20 : 1 << 10) {}

  void Run(uint64_t steps) {
    for (uint64_t i = 0; i < steps && !testing::Test::HasFailure(); i++) Step();
    if (testing::Test::HasFailure()) return;
    CheckAll();
  }

 private:
  static constexpr uint64_t kKeys = 50;

  std::string RandomKey() { return "key" + std::to_string(random_->Below(kKeys)); }

  void Step() {
    const uint64_t dice = random_->Below(1000);
    if (dice < 700) return Write();
    if (dice < 850) return CheckOne();
    if (dice < 870) return OpenSnapshot();
    if (dice < 890) return CloseSnapshot();
    if (dice < 920) {
      harness_.tree()->Rotate();
    } else if (dice < 950) {
      RefreshView();
      EXPECT_OK(harness_.RotateAndFlush());
    } else if (dice < 980) {
      RefreshView();
      EXPECT_OK(harness_.CompactAll());
      EXPECT_OK(harness_.tree()->Pin()->version->CheckInvariants());
    } else if (dice < 985) {
      RefreshView();
      EXPECT_OK(harness_.Major());
    } else if (dice < 993) {
      CheckRange();
    } else {
      Reopen();
    }
  }

  void Write() {
    OwnedEntry e(RandomKey(), next_);
    next_ += random_->OneIn(10) ? 3 : 1;
    const uint64_t dice = random_->Below(10);
    int& writes = writes_[e.key];
    if (dice < 2) {
      e.kind = Kind::kTombstone;
    } else if (dice < 4 && writes <= 1) {
      e.kind = Kind::kWeakTombstone;
    } else {
      e.value = std::string(random_->Below(40), 'v') + std::to_string(e.seqno);
    }
    writes = IsTombstone(e.kind) ? 0 : writes + 1;
    harness_.tree()->Add(e.key, e.value, e.seqno, e.kind);
    model_.Add(e);
  }

  void OpenSnapshot() { snapshots_.insert(next_); }
  void CloseSnapshot() {
    if (snapshots_.empty()) return;
    auto it = snapshots_.begin();
    std::advance(it, random_->Below(snapshots_.size()));
    snapshots_.erase(it);
  }
  // What a database would tell a job that begins now.
  void RefreshView() {
    if (!random_->OneIn(4)) visible_ = next_;
    harness_.retention = {{snapshots_.begin(), snapshots_.end()}, visible_};
  }
  Seqno RandomReadSeqno() {
    if (!snapshots_.empty() && random_->OneIn(2)) {
      auto it = snapshots_.begin();
      std::advance(it, random_->Below(snapshots_.size()));
      return *it;
    }
    return random_->OneIn(4) ? kReadAll : visible_ + random_->Below(next_ - visible_ + 1);
  }

  void CheckOne() {
    const std::string key = RandomKey();
    const Seqno r = RandomReadSeqno();
    const std::string expected = model_.Get(key, r);
    const bool absent = expected == "absent";
    ASSERT_EQ(harness_.SizeOf(key, r), absent ? std::nullopt : std::optional(expected.size()))
        << key << " at " << r;
    ASSERT_EQ(harness_.Get(key, r), expected) << key << " at " << r;
  }
  void CheckRange() {
    const Seqno r = RandomReadSeqno();
    Bounds bounds;
    if (random_->OneIn(2)) bounds.lower = RandomKey();
    if (random_->OneIn(2)) bounds.upper = RandomKey();
    auto expected = model_.Scan(r, bounds);
    ASSERT_EQ(harness_.Scan(r, bounds), expected) << "at " << r;
    std::reverse(expected.begin(), expected.end());
    ASSERT_EQ(harness_.Scan(r, bounds, Cursor::Direction::kReverse), expected) << "at " << r;
  }
  void CheckAll() {
    std::vector<Seqno> seqnos(snapshots_.begin(), snapshots_.end());
    seqnos.push_back(visible_);
    seqnos.push_back(kReadAll);
    for (Seqno r : seqnos) {
      ASSERT_EQ(harness_.Scan(r), model_.Scan(r)) << "at " << r;
      for (uint64_t k = 0; k < kKeys; k++) {
        const std::string key = "key" + std::to_string(k);
        ASSERT_EQ(harness_.Get(key, r), model_.Get(key, r)) << key << " at " << r;
      }
    }
  }

  // Everything is flushed first; what follows is a clean reopen or a crash that loses nothing
  // synced.
  void Reopen() {
    RefreshView();
    ASSERT_OK(harness_.RotateAndFlush());
    if (random_->OneIn(2)) {
      ASSERT_OK(harness_.Reopen());
    } else {
      const CrashPolicy policy = random_->OneIn(2) ? CrashPolicy::None() : CrashPolicy::Random(50);
      ASSERT_OK(harness_.Crash(policy, random_->Next()));
    }
    ASSERT_OK(harness_.tree()->Pin()->version->CheckInvariants());
    CheckAll();
  }

  TestRandom* random_;
  TreeHarness harness_;
  HistoryModel model_;
  std::map<std::string, int> writes_;  // since the last removal
  std::set<Seqno> snapshots_;
  Seqno next_ = 1;
  Seqno visible_ = 0;
};

TreeOptions RandomOptions(TestRandom* random) {
  TreeOptions o = TreeHarness::SmallOptions();
  o.memtable_auto = false;
  o.memtable = random->OneIn(2) ? MemtableKind::kSkiplist : MemtableKind::kRadix;
  o.data_block_size = {static_cast<uint32_t>(1 + random->Below(300))};
  o.restart_interval = {static_cast<uint32_t>(1 + random->Below(5))};
  o.hash_index_ratio = {random->OneIn(2) ? 0 : 0.9};
  o.compression = {static_cast<Codec>(random->Below(3)), static_cast<Codec>(random->Below(3))};
  o.index_compression = {static_cast<Codec>(random->Below(3))};
  o.filter = {{random->OneIn(2) ? 0.0 : 10.0, 0}, {double(random->Below(12)), 0}};
  o.pin_index = {random->OneIn(2)};
  o.pin_filter = {random->OneIn(2)};
  o.partition_index = {random->OneIn(2), random->OneIn(2)};
  o.partition_filter = {random->OneIn(2), random->OneIn(2)};
  o.expect_point_read_hits = random->OneIn(2);
  o.strategy.l0_threshold = static_cast<uint32_t>(1 + random->Below(5));
  o.strategy.target_size = 500 + random->Below(3000);
  o.strategy.level_ratio = {double(1 + random->Below(10))};
  if (random->OneIn(2)) {
    KvSeparation& separation = o.kv_separation.emplace();
    separation.threshold = 1 + random->Below(40);
    separation.file_size = 4096;
    separation.compression = static_cast<Codec>(random->Below(3));
    separation.staleness_threshold = double(random->Below(11)) / 10;
    separation.age_cutoff = double(random->Below(11)) / 10;
  }
  return o;
}

TEST(Tree, LivesAtRandomLikeAMap) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(25); round++) {
    RandomLife life(&random, RandomOptions(&random));
    life.Run(1500);
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
}

// The switches that prove other suites' oracles do what they say.
TEST(Tree, SeededBugsAreVisible) {
  {
    TreeHarness h;
    h.Put("k", "old", 1);
    h.Put("k", "new", 2);
    h.retention = {{2}, 3};
    ScopedBug bug(SeededBug::kCompactionIgnoresSnapshots);
    ASSERT_OK(h.RotateAndFlush());
    EXPECT_EQ(h.Get("k", 2), "absent");
  }
  {
    TreeHarness h;
    h.retention = {{}, kReadAll};
    h.Put("k", "v", 1);
    h.Put("z", "v", 1);
    ASSERT_OK(h.RotateAndFlush());
    ASSERT_OK(h.Major());
    h.Remove("k", 2);
    ScopedBug bug(SeededBug::kDropTombstoneAboveLast);
    ASSERT_OK(h.RotateAndFlush());
    EXPECT_EQ(h.Get("k", kReadAll), "v");
  }
}

}  // namespace
}  // namespace shale
