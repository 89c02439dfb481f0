// Flushes and compactions of a tree that fail or are cut off by a crash, at every call.
#include <cstdio>

#include "tree/tree_support.h"
#include "vfs/fault_vfs.h"

namespace shale {
namespace {

// A flush or a compaction of which any call fails leaves the tree as it was, without files of its
// own, and succeeds when tried again (unless the manifest is at an end: then a reopen shows either
// state).
void FailEveryCall(bool separated) {
  const auto life = [separated](FaultVfs* vfs, MemVfs* memory, const FaultPlan& plan,
                                uint64_t* fired) {
    const std::string what = ToString(plan);
    std::unique_ptr<Manifest> manifest;
    ASSERT_OK(memory->MakeDir("/db"));
    ASSERT_OK(Manifest::Create(vfs, "/db", DirectoryKind::kTree, &manifest));
    TreeState state;
    state.id = manifest->NewTreeId();
    TreeOptions options = TreeHarness::SmallOptions();
    if (separated) options.kv_separation.emplace().threshold = 30;
    state.options = options.Encode();
    ManifestEdit edit;
    edit.created_trees = {state};
    ASSERT_OK(manifest->Commit(edit));
    auto cache = std::make_shared<Cache>(1 << 20);
    auto files = std::make_shared<FileCache>(vfs, 64);
    TreeContext context{vfs,   "/db", manifest.get(),
                        cache, files, [] { return RetentionView{{}, kReadAll}; },
                        {},    {}};
    Ref<Tree> tree;
    ASSERT_OK(Tree::Open(context, state, &tree));
    Seqno s = 0;
    const auto fill = [&] {
      for (int i = 0; i < 60; i++) {
        tree->Add("k" + std::to_string(i), std::string(30, 'v') + std::to_string(s), s + 1,
                  Kind::kValue);
        s++;
      }
      tree->Rotate();
    };
    const auto check = [&](Tree* t) {
      for (int i = 0; i < 60; i++) {
        TreeHit hit;
        const Ref<SuperVersion> sv = t->Pin();
        ASSERT_OK(t->Get(sv.get(), "k" + std::to_string(i), kReadAll, ReadMode::kMayBlock, &hit));
        ASSERT_EQ(hit.value.ToString(), std::string(30, 'v') + std::to_string(s - 60 + uint64_t(i)))
            << what;
      }
    };
    const auto major = [&]() -> Status {
      auto major_plan = tree->MajorPlan(1000);
      SHALE_RETURN_IF_ERROR(tree->Claim(*major_plan));
      return tree->Compact(*major_plan, nullptr, nullptr);
    };
    fill();
    ASSERT_OK(tree->Flush(nullptr, nullptr, nullptr));
    fill();

    vfs->SetPlan(plan);
    const Status flushed = tree->Flush(nullptr, nullptr, nullptr);
    const Status compacted = flushed.ok() ? major() : flushed;
    *fired = vfs->fired();
    vfs->SetPlan({});
    check(tree.get());
    if (manifest->failure().ok()) {
      ASSERT_EQ(compacted.ok(), tree->Pin()->version->level(0).empty()) << what;
      ASSERT_OK(tree->Flush(nullptr, nullptr, nullptr));
      ASSERT_OK(major());
      check(tree.get());
    }
    tree.reset();
    while (!EpochCollect()) {
    }
    files = std::make_shared<FileCache>(vfs, 64);
    manifest.reset();
    ASSERT_OK(Manifest::Load(vfs, "/db", false, &manifest));
    context.manifest = manifest.get();
    context.files = files;
    const TreeState after = manifest->state().trees.at(1);
    const Status opened = Tree::Open(context, after, &tree);
    ASSERT_TRUE(opened.ok()) << what << ": " << opened.ToString();
    if (after.flushed_seqno > s) check(tree.get());
    tree.reset();
    while (!EpochCollect()) {
    }
    // No failed job has left a file, but where it is unknown whether the manifest names it.
    std::vector<std::string> names;
    ASSERT_OK(memory->List("/db", &names));
    size_t tables = 0;
    size_t blob_files = 0;
    for (const auto& name : names) {
      tables += ParseFileName(name).kind == FileKind::kTable;
      blob_files += ParseFileName(name).kind == FileKind::kBlob;
    }
    const bool removals_failed = !plan.empty() && plan[0].op == FaultOp::kRemove;
    if (flushed.code() != Code::kSyncFailed && compacted.code() != Code::kSyncFailed &&
        !removals_failed) {
      ASSERT_EQ(tables, after.tables.size()) << what;
      ASSERT_EQ(blob_files, after.blob_files.size()) << what;
    }
  };
  uint64_t cases = 0;
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kOpen, FaultOp::kRead, FaultOp::kWrite,
                           FaultOp::kSync, FaultOp::kSyncDir, FaultOp::kSize, FaultOp::kRemove}) {
    for (const FaultKind kind :
         {FaultKind::kEio, FaultKind::kEnospc, FaultKind::kShortWrite, FaultKind::kShortRead,
          FaultKind::kBitFlipRead, FaultKind::kEmfile, FaultKind::kSyncKept}) {
      if (!FaultApplies(kind, op)) continue;
      for (const bool sticky : {false, true}) {
        // Until the plan names a call that is never made.
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
  EXPECT_GT(cases, 200u);
  std::printf("%llu faults\n", static_cast<unsigned long long>(cases));
}

TEST(Tree, JobsOfWhichAnyCallFails) { FailEveryCall(false); }

TEST(Tree, JobsWithBlobFilesOfWhichAnyCallFails) { FailEveryCall(true); }

// ---- crashes ----

// A crash image at every operation of a flush, an ingestion and a compaction: the tables that the
// manifest names are there, and hold what was flushed and ingested. With separated values, also of
// the jobs that move them.
void CrashAtEveryOperation(bool separated) {
  TestRandom random(2);
  TreeOptions options = TreeHarness::SmallOptions();
  if (separated) {
    options.kv_separation.emplace().threshold = 2;
    options.kv_separation->file_size = 4096;
  }
  TreeHarness h(options);
  h.retention = {{}, kReadAll};
  Seqno s = 0;
  HistoryModel model;
  const auto fill = [&] {
    for (int i = 0; i < 80; i++) {
      ++s;
      OwnedEntry e("k" + std::to_string(random.Below(60)), s, Kind::kValue, std::to_string(s));
      if (separated) e.value.append(random.Below(100), 'v');
      h.Put(e.key, e.value, e.seqno);
      model.Add(e);
    }
  };
  fill();
  ASSERT_OK(h.RotateAndFlush());
  uint64_t images = 0;
  h.vfs()->SetHook([&](const MemVfs::Operation& op) {
    if (testing::Test::HasFailure()) return;
    for (const CrashPolicy& policy :
         {CrashPolicy::None(), CrashPolicy::All(), CrashPolicy::Random(50),
          CrashPolicy::SizeFirst(), CrashPolicy::MetaFirst(), CrashPolicy::DataFirst()}) {
      const auto after = h.vfs()->CrashClone(policy, random.Next());
      std::unique_ptr<Manifest> manifest;
      ASSERT_OK(Manifest::Load(after.get(), "/db", false, &manifest));
      TreeContext context{after.get(),
                          "/db",
                          manifest.get(),
                          std::make_shared<Cache>(1 << 20),
                          std::make_shared<FileCache>(after.get(), 64),
                          [] { return RetentionView{}; },
                          {},
                          {}};
      Ref<Tree> tree;
      const TreeState state = manifest->state().trees.at(1);
      const Status opened = Tree::Open(context, state, &tree);
      ASSERT_TRUE(opened.ok()) << "operation " << op.index << ", " << policy.ToString() << ": "
                               << opened.ToString();
      Cursor cursor(tree->Pin(), kReadAll, {}, Cursor::Direction::kForward);
      TreeHarness::Pairs got;
      while (cursor.Next(ReadMode::kMayBlock) == Code::kOk &&
             cursor.LoadValue(ReadMode::kMayBlock) == Code::kOk) {
        got.emplace_back(cursor.key().ToString(), cursor.value().ToString());
      }
      ASSERT_OK(cursor.status());
      ASSERT_EQ(got, model.Scan(state.flushed_seqno)) << policy.ToString();
      images++;
      tree.reset();
    }
    while (!EpochCollect()) {
    }
  });
  // Over what is in memory and in tables, with tombstones.
  const auto ingest = [&] {
    ++s;
    std::vector<OwnedEntry> rows;
    for (const char* key : {"k1", "k22", "k3", "k44", "k5"}) {
      OwnedEntry& row = rows.emplace_back(key, s, Kind::kValue, std::to_string(s));
      if (separated) row.value.append(random.Below(100), 'i');
      if (random.Below(3) == 0) row = {key, s, Kind::kTombstone};
      model.Add(row);
    }
    ASSERT_OK(h.Ingest(rows, s));
  };
  for (int round = 0; round < 4; round++) {
    fill();
    if (round != 1) ASSERT_OK(h.RotateAndFlush());
    if (round != 0) ingest();
    if (round % 2 == 1) {
      ASSERT_OK(h.Major());
    }
    int jobs = 0;
    if (separated) {
      ASSERT_OK(h.CompactAll(&jobs));
      EXPECT_TRUE(jobs > 0 || round % 2 == 0);
    }
  }
  h.vfs()->SetHook(nullptr);
  EXPECT_GT(images, 200u);
  std::printf("%llu crash images\n", static_cast<unsigned long long>(images));
}

TEST(Tree, CrashedAtEveryOperation) { CrashAtEveryOperation(false); }

TEST(Tree, WithBlobFilesCrashedAtEveryOperation) { CrashAtEveryOperation(true); }

}  // namespace
}  // namespace shale
