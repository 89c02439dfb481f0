// Rows that are built beside a tree and put on top of it under one seqno.
#include <set>

#include "tree/tree_support.h"
#include "vfs/fault_vfs.h"

namespace shale {
namespace {

using Entries = std::vector<OwnedEntry>;

std::string IngestedKey(int i) { return "k" + std::to_string(1000 + i); }

Entries Values(int from, int to, const std::string& value) {
  Entries rows;
  for (int i = from; i < to; i++) rows.emplace_back(IngestedKey(i), 0, Kind::kValue, value);
  return rows;
}

TEST(TreeIngestion, RowsHaveTheSeqnoThatTheyGetAtTheEnd) {
  TreeHarness h;
  h.Put(IngestedKey(3), "old", 1);
  ASSERT_OK(h.Ingest(Values(0, 200, "new"), 7));
  EXPECT_EQ(h.Get(IngestedKey(3), 7), "old");
  EXPECT_EQ(h.Get(IngestedKey(4), 7), "absent");
  EXPECT_EQ(h.Get(IngestedKey(3), 8), "new");
  EXPECT_EQ(h.Scan(7).size(), 1u);
  EXPECT_EQ(h.Scan(8).size(), 200u);
  EXPECT_EQ(h.Scan(8, {}, Cursor::Direction::kReverse).size(), 200u);
  EXPECT_EQ(h.tree()->highest_seqno(), 7u);
  EXPECT_EQ(h.tree()->highest_sealed_seqno(), 7u);
  EXPECT_EQ(h.tree()->flushed_seqno(), 8u);
  EXPECT_EQ(h.tree()->approximate_len(), 201u);
  EXPECT_EQ(h.tree()->sealed_count(), 0u);
  // What was in memory lies below, in a run of its own.
  EXPECT_EQ(h.tree()->level0_runs(), 2u);
  const Ref<SuperVersion> sv = h.tree()->Pin();
  for (const auto& run : sv->version->level(0)) {
    for (const auto& table : run.tables) {
      EXPECT_OK(table->Verify());
      const bool ingested = table->meta().highest_seqno == 7;
      EXPECT_EQ(table->meta().lowest_seqno, ingested ? 7u : 1u);
      EXPECT_EQ(table->meta().global_seqno, ingested ? 7u : 0u);
    }
  }
}

TEST(TreeIngestion, TheyLieBetweenWhatWasBeforeAndWhatComesAfter) {
  TreeHarness h;
  for (int i = 0; i < 5; i++) h.Put(IngestedKey(i), "below", 1 + Seqno(i));
  ASSERT_OK(h.RotateAndFlush());
  h.Put(IngestedKey(1), "in memory", 6);
  ASSERT_OK(h.Ingest({{IngestedKey(0), 0, Kind::kTombstone},
                      {IngestedKey(1), 0, Kind::kValue, "ingested"},
                      {IngestedKey(2), 0, Kind::kWeakTombstone},
                      {IngestedKey(3), 0, Kind::kValue, "ingested"}},
                     10));
  h.Put(IngestedKey(3), "above", 11);
  const auto check = [&] {
    EXPECT_EQ(h.Get(IngestedKey(0), kReadAll), "absent");
    EXPECT_EQ(h.Get(IngestedKey(1), kReadAll), "ingested");
    EXPECT_EQ(h.Get(IngestedKey(2), kReadAll), "absent");
    EXPECT_EQ(h.Get(IngestedKey(3), kReadAll), "above");
    EXPECT_EQ(h.Get(IngestedKey(3), 11), "ingested");
    EXPECT_EQ(h.Get(IngestedKey(4), kReadAll), "below");
    EXPECT_EQ(h.Get(IngestedKey(1), 10), "in memory");
    EXPECT_EQ(h.Scan(10).size(), 5u);
    EXPECT_EQ(h.Scan(kReadAll).size(), 3u);
  };
  h.retention = {{10, 11}, 12};
  check();
  ASSERT_OK(h.RotateAndFlush());
  check();
  ASSERT_OK(h.Major());
  check();
  ASSERT_OK(h.Reopen());
  check();
}

// A range tombstone covers them exactly if it is newer.
TEST(TreeIngestion, RangeTombstonesOfBeforeAndAfter) {
  TreeHarness h;
  h.Put(IngestedKey(1), "old", 1);
  h.tree()->AddRange("k", "", 2);
  ASSERT_OK(h.Ingest(Values(0, 10, "new"), 3));
  EXPECT_EQ(h.Scan(kReadAll).size(), 10u);
  ASSERT_OK(h.Reopen());
  EXPECT_EQ(h.Scan(kReadAll).size(), 10u);
  EXPECT_EQ(h.Scan(2).size(), 1u);
  h.tree()->AddRange(IngestedKey(5), "", 4);
  EXPECT_EQ(h.Scan(kReadAll).size(), 5u);
  EXPECT_EQ(h.Scan(4).size(), 10u);
  ASSERT_OK(h.RotateAndFlush());
  h.retention = {{}, kReadAll};
  h.tree()->DropCovered();
  ASSERT_OK(h.Major());
  EXPECT_EQ(h.Scan(kReadAll).size(), 5u);
}

TEST(TreeIngestion, LargeValuesGoToBlobFiles) {
  TreeOptions options = TreeHarness::SmallOptions();
  options.kv_separation.emplace().threshold = 20;
  options.kv_separation->file_size = 4096;
  options.kv_separation->compression = Codec::kNone;
  TreeHarness h(options);
  ASSERT_OK(h.Ingest(Values(0, 50, std::string(400, 'v')), 5));
  EXPECT_GT(h.Files(FileKind::kBlob).size(), 2u);
  EXPECT_EQ(h.Get(IngestedKey(7), 6), std::string(400, 'v'));
  EXPECT_EQ(h.SizeOf(IngestedKey(7), 6), 400u);
  EXPECT_EQ(h.SizeOf(IngestedKey(7), 5), std::nullopt);
  const auto verify = [&] {
    const Ref<SuperVersion> sv = h.tree()->Pin();
    for (const BlobFileUse& use : sv->version->blob_files()) EXPECT_OK(use.file->Verify());
  };
  verify();
  for (int i = 0; i < 37; i++) h.Put(IngestedKey(i), std::string(30, 'w'), 6);
  ASSERT_OK(h.RotateAndFlush());
  h.retention = {{}, kReadAll};
  ASSERT_OK(h.Major());
  EXPECT_GT(h.tree()->stale_blob_bytes(), 0u);
  ASSERT_OK(h.Major());
  verify();
  EXPECT_EQ(h.tree()->stale_blob_bytes(), 0u);
  EXPECT_EQ(h.Get(IngestedKey(7), kReadAll), std::string(30, 'w'));
  EXPECT_EQ(h.Get(IngestedKey(45), kReadAll), std::string(400, 'v'));
}

// Whoever writes rows waits for no device.
TEST(TreeIngestion, NothingIsSyncedBeforeItIsComplete) {
  TreeOptions options = TreeHarness::SmallOptions();
  options.kv_separation.emplace().threshold = 1000;
  options.kv_separation->file_size = 1 << 16;
  options.kv_separation->compression = Codec::kNone;
  TreeHarness h(options);
  size_t syncs = 0;
  h.vfs()->SetHook([&](const MemVfs::Operation& operation) {
    syncs += operation.kind == MemVfs::Mutation::kSync;
  });
  const auto run = h.tree()->StartIngestion();
  for (int i = 0; i < 300; i++) {
    ASSERT_OK(run->Add(Kind::kValue, IngestedKey(i), std::string(i % 2 == 0 ? 2000 : 900, 'v')));
  }
  EXPECT_GT(h.Files(FileKind::kBlob).size(), 3u);
  EXPECT_EQ(syncs, 0u);
  ASSERT_OK(run->Complete());
  h.vfs()->SetHook(nullptr);
  EXPECT_EQ(syncs, h.Files(FileKind::kBlob).size() + h.Files(FileKind::kTable).size());
  EXPECT_EQ(h.Scan(kReadAll).size(), 0u);
  ASSERT_OK(h.IngestRun(run.get(), 1));
  EXPECT_EQ(h.Scan(kReadAll).size(), 300u);
}

TEST(TreeIngestion, NothingIsLeftOfOneThatIsGivenUp) {
  TreeOptions options = TreeHarness::SmallOptions();
  options.kv_separation.emplace().threshold = 20;
  TreeHarness h(options);
  for (const bool complete : {false, true}) {
    auto run = h.tree()->StartIngestion();
    for (int i = 0; i < 100; i++) {
      ASSERT_OK(run->Add(Kind::kValue, IngestedKey(i), std::string(size_t(i), 'v')));
    }
    if (complete) ASSERT_OK(run->Complete());
    EXPECT_EQ(h.Files(FileKind::kBlob).size(), 1u);
    run.reset();
    EXPECT_EQ(h.Files(FileKind::kTable).size(), 0u);
    EXPECT_EQ(h.Files(FileKind::kBlob).size(), 0u);
  }
}

TEST(TreeIngestion, KeysMustAscend) {
  TreeHarness h;
  for (const char* second : {"a", "b"}) {
    const auto run = h.tree()->StartIngestion();
    ASSERT_OK(run->Add(Kind::kValue, "b", "1"));
    EXPECT_TRUE(run->Add(Kind::kValue, second, "2").Is(Code::kInvalidArgument));
    EXPECT_TRUE(run->Complete().Is(Code::kInvalidArgument));
  }
}

// Writes, ingestions, flushes and compactions in any order, against every version ever written.
TEST(TreeIngestion, InAnyOrderWithEverythingElse) {
  for (uint64_t round = 0; round < Scaled(8); round++) {
    TestRandom random(100 + round);
    TreeOptions options = TreeHarness::SmallOptions();
    options.strategy.l0_threshold = 2;
    if (round % 2 == 1) options.kv_separation.emplace().threshold = 12;
    TreeHarness h(options);
    HistoryModel model;
    std::set<Seqno> snapshots;
    Seqno s = 0;
    const auto row = [&](int i) {
      OwnedEntry e(IngestedKey(i), s, Kind::kValue,
                   std::to_string(s) + std::string(random.Below(20), 'v'));
      if (random.Below(4) == 0) e = {IngestedKey(i), s, Kind::kTombstone};
      model.Add(e);
      return e;
    };
    const auto retain = [&] { h.retention = {{snapshots.begin(), snapshots.end()}, s + 1}; };
    for (int step = 0; step < 120; step++) {
      const uint64_t what = random.Below(10);
      if (what < 4) {
        for (uint64_t i = random.Below(20); i > 0; i--) {
          ++s;
          const OwnedEntry e = row(static_cast<int>(random.Below(40)));
          h.tree()->Add(e.key, e.value, e.seqno, e.kind);
        }
      } else if (what < 6) {
        ++s;
        Entries rows;
        const uint64_t density = 1 + random.Below(4);
        for (int i = 0; i < 40; i++) {
          if (random.Below(density) == 0) rows.push_back(row(i));
        }
        if (!rows.empty()) ASSERT_OK(h.Ingest(rows, s));
      } else if (what == 6) {
        ASSERT_OK(h.RotateAndFlush());
      } else if (what == 7) {
        ASSERT_OK(h.CompactAll());
      } else if (what == 8) {
        snapshots.insert(s + 1);
        if (snapshots.size() > 4) snapshots.erase(snapshots.begin());
      } else {
        ASSERT_OK(h.RotateAndFlush());
        ASSERT_OK(random.Below(2) == 0 ? h.Reopen() : h.Major());
      }
      retain();
      for (const Seqno r : snapshots) ASSERT_EQ(h.Scan(r), model.Scan(r)) << "at " << r;
      ASSERT_EQ(h.Scan(s + 1), model.Scan(s + 1)) << "step " << step;
      const std::string key = IngestedKey(static_cast<int>(random.Below(40)));
      ASSERT_EQ(h.Get(key, s + 1), model.Get(key, s + 1)) << key;
    }
  }
}

// Of an ingestion of which any call fails nothing is left, and what it has sealed is flushed by the
// next flush; unless the manifest is at an end: then a reopen shows all of it or nothing.
void FailEveryCallOfAnIngestion(bool separated) {
  TreeOptions options = TreeHarness::SmallOptions();
  if (separated) options.kv_separation.emplace().threshold = 10;
  const auto life = [&](FaultVfs* vfs, MemVfs* memory, const FaultPlan& plan, uint64_t* fired) {
    std::unique_ptr<Manifest> manifest;
    ASSERT_OK(memory->MakeDir("/db"));
    ASSERT_OK(Manifest::Create(vfs, "/db", DirectoryKind::kTree, &manifest));
    TreeState state;
    state.id = manifest->NewTreeId();
    state.options = options.Encode();
    ManifestEdit edit;
    edit.created_trees = {state};
    ASSERT_OK(manifest->Commit(edit));
    TreeContext context{vfs,
                        "/db",
                        manifest.get(),
                        std::make_shared<Cache>(1 << 20),
                        std::make_shared<FileCache>(vfs, 64),
                        [] {
                          return RetentionView{{}, kReadAll};
                        },
                        {},
                        {}};
    Ref<Tree> tree;
    ASSERT_OK(Tree::Open(context, state, &tree));
    for (Seqno s = 1; s <= 30; s++) {
      tree->Add(IngestedKey(static_cast<int>(s)), std::string(15, 'o'), s, Kind::kValue);
    }
    vfs->SetPlan(plan);
    auto run = tree->StartIngestion();
    Status status;
    for (int i = 0; i < 60 && status.ok(); i++) {
      status = run->Add(Kind::kValue, IngestedKey(i), std::string(15, 'n'));
    }
    if (status.ok()) status = run->Complete();
    const auto take_seqno = [&](Seqno* seqno) {
      *seqno = 40;
      tree->Rotate();
      return Status::Ok();
    };
    if (status.ok()) status = tree->Ingest(run.get(), take_seqno, nullptr, nullptr);
    run.reset();
    *fired = vfs->fired();
    vfs->SetPlan({});
    const auto check = [&](bool ingested) {
      TreeHit hit;
      const Ref<SuperVersion> sv = tree->Pin();
      ASSERT_OK(Tree::Get(sv.get(), IngestedKey(9), 40, ReadMode::kMayBlock, &hit));
      ASSERT_EQ(hit.value.ToString(), std::string(15, 'o'));
      ASSERT_OK(Tree::Get(sv.get(), IngestedKey(9), 41, ReadMode::kMayBlock, &hit));
      ASSERT_EQ(hit.value.ToString(), std::string(15, ingested ? 'n' : 'o'));
      ASSERT_EQ(Tree::Get(sv.get(), IngestedKey(50), 41, ReadMode::kMayBlock, &hit).ok(), ingested);
    };
    check(status.ok());
    EXPECT_EQ(tree->highest_seqno() == 40, status.ok());
    const bool over = !manifest->failure().ok();
    if (!over) {
      tree->Rotate();
      ASSERT_OK(tree->Flush(nullptr, nullptr, nullptr));
    }
    tree.reset();
    while (!EpochCollect()) {
    }
    manifest.reset();
    ASSERT_OK(Manifest::Load(vfs, "/db", false, &manifest));
    context.manifest = manifest.get();
    const TreeState after = manifest->state().trees.at(1);
    ASSERT_OK(Tree::Open(context, after, &tree));
    ASSERT_TRUE(over || after.flushed_seqno == (status.ok() ? 41u : 31u)) << after.flushed_seqno;
    if (after.flushed_seqno != 0) check(after.flushed_seqno == 41);
    tree.reset();
    while (!EpochCollect()) {
    }
    if (over || (!plan.empty() && plan[0].op == FaultOp::kRemove)) return;
    std::vector<std::string> names;
    ASSERT_OK(memory->List("/db", &names));
    for (const auto& name : names) {
      const ParsedName parsed = ParseFileName(name);
      const bool ours = parsed.kind == FileKind::kTable || parsed.kind == FileKind::kBlob;
      ASSERT_TRUE(!ours || manifest->state().Uses(parsed.number)) << name;
    }
  };
  uint64_t cases = 0;
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kOpen, FaultOp::kRead, FaultOp::kWrite,
                           FaultOp::kSync, FaultOp::kSyncDir, FaultOp::kSize, FaultOp::kRemove}) {
    for (const FaultKind kind : {FaultKind::kEio, FaultKind::kEnospc, FaultKind::kShortWrite,
                                 FaultKind::kEmfile, FaultKind::kSyncKept}) {
      if (!FaultApplies(kind, op)) continue;
      for (const bool sticky : {false, true}) {
        uint64_t fired = 1;
        for (uint64_t nth = 0; fired != 0; nth++) {
          const FaultPlan plan = {{op, PathClass::kAny, nth, kind, sticky}};
          MemVfs memory(TestSeed());
          FaultVfs vfs(&memory, TestSeed() + nth);
          life(&vfs, &memory, plan, &fired);
          ASSERT_FALSE(testing::Test::HasFailure()) << ToString(plan);
          cases++;
        }
      }
    }
  }
  EXPECT_GT(cases, 80u);
}

TEST(TreeIngestion, AnyCallFails) { FailEveryCallOfAnIngestion(false); }

TEST(TreeIngestion, WithBlobFilesAnyCallFails) { FailEveryCallOfAnIngestion(true); }

}  // namespace
}  // namespace shale
