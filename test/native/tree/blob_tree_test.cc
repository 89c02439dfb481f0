// Values in blob files, through a tree: what is separated, what is read, what becomes of garbage.
#include <random>
#include <set>

#include "tree/blob_garbage.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

// Nothing is compacted but on demand, or because of garbage.
TreeOptions Separated(uint64_t threshold = 16) {
  TreeOptions o = TreeHarness::SmallOptions();
  o.strategy.l0_threshold = 1000;
  o.kv_separation.emplace();
  o.kv_separation->threshold = threshold;
  o.kv_separation->file_size = 4096;
  return o;
}

std::string Key(uint64_t i) { return "key" + std::to_string(1000 + i); }

// Does not compress.
std::string Noise(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::string value(size, '\0');
  for (char& c : value) c = static_cast<char>(random());
  return value;
}

class BlobTreeTest : public testing::Test {
 protected:
  void Open(const TreeOptions& options = Separated()) {
    harness_ = std::make_unique<TreeHarness>(options);
    harness_->retention = {{}, kReadAll};
  }
  void Put(uint64_t key, const std::string& value) {
    harness_->Put(Key(key), value, next_++);
    expected_[Key(key)] = value;
  }
  void Check() {
    EXPECT_EQ(harness_->Scan(kReadAll), TreeHarness::Pairs(expected_.begin(), expected_.end()));
    for (const auto& [key, value] : expected_) EXPECT_EQ(harness_->Get(key, kReadAll), value);
    const Ref<SuperVersion> sv = harness_->tree()->Pin();
    EXPECT_OK(sv->version->CheckInvariants());
  }
  uint64_t BlobReads() const {
    const auto counters = harness_->tree()->blob_counters();
    return counters->loads_io() + counters->loads_cached();
  }
  uint64_t Stale() const { return harness_->tree()->stale_blob_bytes(); }
  // The manifest says what follows from the tables, and there are exactly the files that it names.
  void CheckAccounts() {
    while (!EpochCollect()) {
    }
    const ManifestState state = harness_->manifest()->state();
    const auto& files = state.trees.begin()->second.blob_files;
    const Ref<SuperVersion> sv = harness_->tree()->Pin();
    ASSERT_EQ(files.size(), sv->version->blob_files().size());
    for (const BlobFileUse& use : sv->version->blob_files()) {
      const BlobFileState& file = files.at(use.number());
      EXPECT_EQ(file.stale_frame_bytes, use.stale_bytes());
      EXPECT_EQ(file.stale_items, use.stale_items());
      EXPECT_NE(use.live_items, 0u);
    }
    EXPECT_EQ(harness_->Files(FileKind::kBlob).size(), files.size());
  }

  std::unique_ptr<TreeHarness> harness_;
  std::map<std::string, std::string> expected_;
  Seqno next_ = 1;
};

TEST_F(BlobTreeTest, ValuesFromTheThresholdOnAreSeparated) {
  Open();
  Put(0, "");
  Put(1, std::string(15, 'a'));
  Put(2, std::string(16, 'b'));
  Put(3, std::string(17, 'c'));
  ASSERT_OK(harness_->RotateAndFlush());
  const Ref<SuperVersion> sv = harness_->tree()->Pin();
  ASSERT_EQ(sv->version->blob_files().size(), 1u);
  EXPECT_EQ(sv->version->blob_files()[0].live_items, 2u);
  EXPECT_EQ(Stale(), 0u);
  Check();
  ASSERT_OK(harness_->Reopen());
  Check();
  CheckAccounts();
}

TEST_F(BlobTreeTest, SizesAndKeysReadNoBlob) {
  Open();
  for (uint64_t i = 0; i < 50; i++) Put(i, Noise(i, 100 + i));
  ASSERT_OK(harness_->RotateAndFlush());
  for (uint64_t i = 0; i < 50; i++) EXPECT_EQ(harness_->SizeOf(Key(i), kReadAll), 100 + i);
  EXPECT_EQ(harness_->SizeOf("nothing", kReadAll), std::nullopt);
  Cursor cursor(harness_->tree()->Pin(), kReadAll, {}, Cursor::Direction::kReverse);
  for (uint64_t i = 50; i-- > 0;) {
    ASSERT_EQ(cursor.Next(ReadMode::kMayBlock), Code::kOk);
    EXPECT_EQ(cursor.value_size(), 100 + i);
  }
  EXPECT_EQ(BlobReads(), 0u);
  Check();
  EXPECT_NE(BlobReads(), 0u);
}

TEST_F(BlobTreeTest, NothingLeftNoBlobFile) {
  Open();
  Put(0, Noise(0, 100));
  harness_->Remove(Key(0), next_++);
  expected_.clear();
  ASSERT_OK(harness_->RotateAndFlush());
  EXPECT_EQ(harness_->Files(FileKind::kBlob).size(), 0u);
  Check();
}

TEST_F(BlobTreeTest, CompactionsMovePointersAndNoValues) {
  Open();
  for (uint64_t i = 0; i < 40; i += 2) Put(i, Noise(i, 200));
  ASSERT_OK(harness_->RotateAndFlush());
  for (uint64_t i = 1; i < 40; i += 2) Put(i, Noise(i, 200));
  ASSERT_OK(harness_->RotateAndFlush());
  const std::vector<std::string> before = harness_->Files(FileKind::kBlob);
  ASSERT_OK(harness_->Major());
  EXPECT_EQ(harness_->Files(FileKind::kBlob), before);
  EXPECT_EQ(BlobReads(), 0u);
  EXPECT_EQ(Stale(), 0u);
  Check();
}

// Overwritten values become garbage; what is due goes without the strategy, and that ends.
TEST_F(BlobTreeTest, GarbageGoesByItself) {
  Open();
  for (uint64_t i = 0; i < 100; i++) Put(i, Noise(i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  EXPECT_GT(harness_->Files(FileKind::kBlob).size(), 5u);
  for (uint64_t i = 0; i < 100; i += 2) Put(i, Noise(1000 + i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  EXPECT_EQ(Stale(), 0u);
  ASSERT_OK(harness_->Major());
  const uint64_t stale = Stale();
  EXPECT_EQ(stale, 50 * (24 + 7 + 300u));
  CheckAccounts();
  Check();
  int jobs = 0;
  ASSERT_OK(harness_->CompactAll(&jobs));
  EXPECT_GT(jobs, 0);
  EXPECT_LT(Stale(), stale / 4);
  const Ref<SuperVersion> sv = harness_->tree()->Pin();
  for (const BlobFileUse& use : sv->version->blob_files()) EXPECT_LT(use.StaleShare(), 0.25);
  Check();
  CheckAccounts();
  ASSERT_OK(harness_->Reopen());
  Check();
  CheckAccounts();
}

// Less than is due: only a major compaction moves it.
TEST_F(BlobTreeTest, MajorCompactionsMoveWhateverHasGarbage) {
  TreeOptions options = Separated();
  options.kv_separation->staleness_threshold = 1;
  options.kv_separation->compression = Codec::kLz4;
  Open(options);
  for (uint64_t i = 0; i < 60; i++) Put(i, std::string(400, static_cast<char>('a' + i % 26)));
  ASSERT_OK(harness_->RotateAndFlush());
  for (uint64_t i = 0; i < 60; i += 10) Put(i, Noise(i, 400));
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  ASSERT_NE(Stale(), 0u);
  ASSERT_OK(harness_->CompactAll());
  ASSERT_NE(Stale(), 0u);
  ASSERT_OK(harness_->Major());
  EXPECT_EQ(Stale(), 0u);
  Check();
  CheckAccounts();
  // What was moved still compressed is read by a process that knows only the files.
  ASSERT_OK(harness_->Reopen());
  Check();
}

TEST_F(BlobTreeTest, OldReadersKeepTheFilesThatAreMoved) {
  Open();
  for (uint64_t i = 0; i < 30; i++) Put(i, Noise(i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  const Seqno then = next_;
  Ref<SuperVersion> pin = harness_->tree()->Pin();
  const std::vector<std::string> before = harness_->Files(FileKind::kBlob);
  for (uint64_t i = 0; i < 30; i++) Put(i, Noise(500 + i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  EXPECT_EQ(Stale(), 0u);  // whole files have left
  for (uint64_t i = 0; i < 30; i++) {
    TreeHit hit;
    ASSERT_OK(Tree::Get(pin.get(), Key(i), then, ReadMode::kMayBlock, &hit));
    EXPECT_EQ(hit.value.ToString(), Noise(i, 300));
  }
  pin.reset();
  CheckAccounts();
  for (const std::string& name : harness_->Files(FileKind::kBlob)) {
    EXPECT_EQ(std::count(before.begin(), before.end(), name), 0) << name;
  }
  Check();
}

TEST_F(BlobTreeTest, SnapshotsReadWhatWasMoved) {
  Open();
  for (uint64_t i = 0; i < 30; i++) Put(i, Noise(i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  const Seqno snapshot = next_;
  harness_->retention = {{snapshot}, kReadAll};
  for (int round = 1; round < 4; round++) {
    for (uint64_t i = 0; i < 30; i++) Put(i, Noise(uint64_t(round) * 500 + i, 300));
    ASSERT_OK(harness_->RotateAndFlush());
    ASSERT_OK(harness_->Major());
    ASSERT_OK(harness_->CompactAll());
    for (uint64_t i = 0; i < 30; i++) EXPECT_EQ(harness_->Get(Key(i), snapshot), Noise(i, 300));
    Check();
  }
  CheckAccounts();
}

TEST_F(BlobTreeTest, AClearedTreeHasNoBlobFiles) {
  Open();
  for (uint64_t i = 0; i < 60; i++) Put(i, Noise(i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->tree()->AddRange(std::string(1, '\0'), "", next_++);
  expected_.clear();
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->tree()->DropCovered();
  EXPECT_TRUE(harness_->tree()->Pin()->version->blob_files().empty());
  CheckAccounts();
  Put(7, Noise(7, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Reopen());
  Check();
  CheckAccounts();
}

TEST_F(BlobTreeTest, AWeakTombstoneTakesItsPointerAlong) {
  Open();
  Put(0, Noise(0, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  harness_->tree()->Add(Key(0), Slice(), next_++, Kind::kWeakTombstone);
  expected_.clear();
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  EXPECT_TRUE(harness_->tree()->Pin()->version->empty());
  CheckAccounts();
  Check();
}

// A job over some of the tables moves their values alone.
TEST_F(BlobTreeTest, AFileIsMovedInParts) {
  TreeOptions options = Separated();
  options.kv_separation->file_size = 1 << 20;
  options.strategy.target_size = 500;
  Open(options);
  for (uint64_t i = 0; i < 200; i++) Put(i, Noise(i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  for (uint64_t i = 0; i < 200; i += 3) Put(i, "small");
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  ASSERT_EQ(harness_->tree()->Pin()->version->blob_files().size(), 1u);
  ASSERT_GT(harness_->tree()->Pin()->version->table_count(), 2u);
  const std::optional<CompactionPlan> plan = harness_->tree()->ChooseAndClaim(0);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->tables.size(), 1u);
  ASSERT_OK(harness_->tree()->Compact(*plan, nullptr, nullptr));
  EXPECT_EQ(harness_->tree()->Pin()->version->blob_files().size(), 2u);
  Check();
  CheckAccounts();
  ASSERT_OK(harness_->CompactAll());
  EXPECT_EQ(Stale(), 0u);
  Check();
  CheckAccounts();
}

// ---- which files ----

TEST_F(BlobTreeTest, TheOldestOfTheFilesThatAreDueAreMoved) {
  TreeOptions options = Separated();
  options.kv_separation->file_size = 4096;
  Open(options);
  for (uint64_t i = 0; i < 100; i++) Put(i, Noise(i, 400));
  ASSERT_OK(harness_->RotateAndFlush());
  for (uint64_t i = 0; i < 100; i += 2) Put(i, "small");
  ASSERT_OK(harness_->RotateAndFlush());
  ASSERT_OK(harness_->Major());
  const Ref<SuperVersion> sv = harness_->tree()->Pin();
  const Version& version = *sv->version;
  CompactionPlan plan;
  for (const auto& run : version.level(6)) {
    for (const auto& table : run.tables) plan.tables.push_back(table->meta().number);
  }
  plan.destination_level = 6;
  Placement placement;
  ASSERT_OK(Placement::Make(version, plan, &placement));
  KvSeparation how = *options.kv_separation;
  std::vector<uint64_t> due;
  for (const BlobFileUse& use : version.blob_files()) {
    if (use.StaleShare() >= how.staleness_threshold) due.push_back(use.number());
  }
  ASSERT_GT(due.size(), 5u);
  const auto chosen = [&](double cutoff, bool all) {
    how.age_cutoff = cutoff;
    std::vector<uint64_t> numbers;
    for (const auto& file : ChooseRelocated(version, placement.inputs(), how, all)) {
      numbers.push_back(file->meta().number);
    }
    return numbers;
  };
  const auto oldest = [&](size_t n) {
    return std::vector<uint64_t>(due.begin(), due.begin() + ptrdiff_t(n));
  };
  EXPECT_EQ(chosen(0, false), oldest(1));
  EXPECT_EQ(chosen(0.5, false), oldest((due.size() + 1) / 2));
  EXPECT_EQ(chosen(1, false), due);
  EXPECT_GE(chosen(0, true).size(), due.size());
  // Busy tables are left alone.
  std::set<uint64_t> busy(plan.tables.begin(), plan.tables.end());
  EXPECT_FALSE(ChooseStale(version, options, busy).has_value());
  ASSERT_TRUE(ChooseStale(version, options, {}).has_value());
  options.strategy.kind = StrategyKind::kFifo;
  EXPECT_FALSE(ChooseStale(version, options, {}).has_value());
  options.strategy.kind = StrategyKind::kLeveled;
  options.kv_separation->staleness_threshold = 1;
  EXPECT_FALSE(ChooseStale(version, options, {}).has_value());
}

TEST(BlobFifo, CountsWithATableWhatItPointsTo) {
  StrategyOptions options;
  options.kind = StrategyKind::kFifo;
  options.limit = 1000;
  VersionSummary version;
  version.levels.resize(kLevelCount);
  for (uint64_t i = 0; i < 3; i++) {
    TableSummary t;
    t.number = i + 1;
    t.size = 100;
    t.blob_bytes = 300;
    t.first_key = t.last_key = Key(i);
    t.created_at_ms = i;
    version.levels[0].insert(version.levels[0].begin(), RunSummary{{t}});
  }
  const auto plan = Choose(version, options, {});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->tables, std::vector<uint64_t>{1});
}

// ---- damage ----

TEST_F(BlobTreeTest, AMissingFileIsDamageThatNamesIt) {
  Open();
  Put(0, Noise(0, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  const std::string path =
      std::string(TreeHarness::kDirectory) + "/" + harness_->Files(FileKind::kBlob).at(0);
  harness_->CloseTree();
  ASSERT_OK(harness_->vfs()->Remove(path));
  const Status s = harness_->Reopen();
  EXPECT_TRUE(s.Is(Code::kCorruption)) << s.ToString();
  EXPECT_NE(s.ToString().find(path), std::string::npos) << s.ToString();
}

TEST_F(BlobTreeTest, AFlippedByteIsFoundWhereItIs) {
  Open();
  for (uint64_t i = 0; i < 3; i++) Put(i, Noise(i, 300));
  ASSERT_OK(harness_->RotateAndFlush());
  const std::string path =
      std::string(TreeHarness::kDirectory) + "/" + harness_->Files(FileKind::kBlob).at(0);
  harness_->CloseTree();
  const uint64_t frame = 24 + 7 + 300;
  const uint64_t second = kFileHeaderBytes + frame;
  {
    std::unique_ptr<File> file;
    char byte = 0;
    size_t got = 0;
    ASSERT_OK(harness_->vfs()->Open(path, OpenMode::kReadWrite, &file));
    ASSERT_OK(file->Read(second + 100, 1, &byte, &got));
    byte = static_cast<char>(byte ^ 1);
    ASSERT_OK(file->Write(second + 100, Slice(&byte, 1)));
  }
  ASSERT_OK(harness_->Reopen());
  EXPECT_EQ(harness_->Get(Key(0), kReadAll), expected_[Key(0)]);
  EXPECT_EQ(harness_->Get(Key(2), kReadAll), expected_[Key(2)]);
  const auto check = [&](const Status& s) {
    EXPECT_TRUE(s.Is(Code::kCorruption)) << s.ToString();
    ASSERT_NE(s.details(), nullptr);
    EXPECT_EQ(s.details()->path, path);
    EXPECT_EQ(s.details()->offset, second);
  };
  const Ref<SuperVersion> sv = harness_->tree()->Pin();
  TreeHit hit;
  check(Tree::Get(sv.get(), Key(1), kReadAll, ReadMode::kMayBlock, &hit));
  Cursor cursor(sv, kReadAll, {}, Cursor::Direction::kForward);
  ASSERT_EQ(cursor.Next(ReadMode::kMayBlock), Code::kOk);
  ASSERT_EQ(cursor.LoadValue(ReadMode::kMayBlock), Code::kOk);
  ASSERT_EQ(cursor.Next(ReadMode::kMayBlock), Code::kOk);
  EXPECT_EQ(cursor.LoadValue(ReadMode::kMayBlock), Code::kCorruption);
  check(cursor.status());
  // The scan goes on behind it.
  ASSERT_EQ(cursor.Next(ReadMode::kMayBlock), Code::kOk);
  ASSERT_EQ(cursor.LoadValue(ReadMode::kMayBlock), Code::kOk);
  EXPECT_EQ(cursor.value().ToString(), expected_[Key(2)]);
}

// ---- options ----

TEST(KvSeparationOptions, ComeBackAndAreChecked) {
  TreeOptions o;
  EXPECT_FALSE(o.kv_separation.has_value());
  TreeOptions back;
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  EXPECT_FALSE(back.kv_separation.has_value());
  KvSeparation& separation = o.kv_separation.emplace();
  separation.threshold = 77;
  separation.file_size = 5000;
  separation.compression = Codec::kZstd;
  separation.staleness_threshold = 0.5;
  separation.age_cutoff = 0.125;
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  ASSERT_TRUE(back.kv_separation.has_value());
  EXPECT_EQ(back.kv_separation->threshold, 77u);
  EXPECT_EQ(back.kv_separation->file_size, 5000u);
  EXPECT_EQ(back.kv_separation->compression, Codec::kZstd);
  EXPECT_EQ(back.kv_separation->staleness_threshold, 0.5);
  EXPECT_EQ(back.kv_separation->age_cutoff, 0.125);
  const auto refused = [&](const std::function<void(KvSeparation*)>& change) {
    TreeOptions bad = o;
    change(&*bad.kv_separation);
    return bad.Check().Is(Code::kInvalidOption);
  };
  EXPECT_TRUE(refused([](KvSeparation* s) { s->threshold = 0; }));
  EXPECT_TRUE(refused([](KvSeparation* s) { s->threshold = (uint64_t{1} << 30) + 1; }));
  EXPECT_TRUE(refused([](KvSeparation* s) { s->file_size = 4095; }));
  EXPECT_TRUE(refused([](KvSeparation* s) { s->staleness_threshold = 1.5; }));
  EXPECT_TRUE(refused([](KvSeparation* s) { s->staleness_threshold = -0.5; }));
  EXPECT_TRUE(refused([](KvSeparation* s) { s->age_cutoff = 2; }));
}

}  // namespace
}  // namespace shale
