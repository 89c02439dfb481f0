// Ingestions of a database and of a bare tree: their queue, their commit, their end.
#include "db/ingestions.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "db/database_support.h"
#include "db/standalone_tree.h"
#include "vfs/fault_vfs.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

std::string RowKey(uint64_t i) { return "k" + std::to_string(100'000 + i); }

std::string ManyRows(uint64_t from, uint64_t to, const std::string& value) {
  std::string rows;
  for (uint64_t i = from; i < to; ++i) AppendRow(&rows, Kind::kValue, RowKey(i), value);
  return rows;
}

class IngestionTest : public testing::Test {
 protected:
  IngestionTest() : vfs_(TestSeed()), fault_(&vfs_) {}

  void Open(DatabaseOptions options = SmallOptions()) {
    auto executor = MakeManualExecutor(&fault_, TestSeed());
    executor_ = executor.get();
    DB_ASSERT_OK(Database::Open(&fault_, std::move(executor), "/db", options, &database_));
    keyspace_ =
        options.read_only ? database_->FindKeyspace("a") : MustOpenKeyspace(database_.get(), "a");
  }
  Ref<Ingestion> Start() {
    Ref<Ingestion> ingestion;
    DB_EXPECT_OK(database_->StartIngestion(keyspace_.get(), &ingestion));
    return ingestion;
  }
  uint64_t Finish(Ingestion* ingestion) {
    uint64_t count = 0;
    DB_EXPECT_OK(ingestion->Finish(&count));
    return count;
  }
  Status Put(const std::string& key, const std::string& value) {
    return database_->WriteOne(keyspace_.get(), Kind::kValue, key, value, Durability::kOs);
  }
  Rows At(Seqno seqno) {
    Rows rows;
    DB_EXPECT_OK(ReadRows(*keyspace_, keyspace_->tree()->Pin(), seqno, &rows));
    return rows;
  }
  Rows Now() { return At(database_->visible()); }
  size_t FilesOf(FileKind kind) {
    std::vector<std::string> names;
    DB_EXPECT_OK(vfs_.List("/db", &names));
    size_t count = 0;
    for (const std::string& name : names) count += ParseFileName(name).kind == kind;
    return count;
  }
  // Of an ingestion that meets `fault` at its end nothing is seen before the next open, and then
  // all or nothing.
  void EndsWriting(const Fault& fault) {
    Open();
    DB_ASSERT_OK(Put("before", "1"));
    DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
    const Ref<Ingestion> ingestion = Start();
    DB_ASSERT_OK(ingestion->Write(ManyRows(0, 100, "v")));
    RunAll(executor_);
    fault_.SetPlan({fault});
    uint64_t count = 0;
    EXPECT_TRUE(ingestion->Finish(&count).Is(Code::kSyncFailed));
    EXPECT_EQ(fault_.fired(), 1u);
    fault_.SetPlan({});
    EXPECT_EQ(database_->status(), DatabaseStatus::kFailed);
    EXPECT_TRUE(Put("after", "2").Is(Code::kDbFailed));
    EXPECT_EQ(Now().size(), 1u);
    Ref<Ingestion> other;
    EXPECT_TRUE(database_->StartIngestion(keyspace_.get(), &other).Is(Code::kDbFailed));
    keyspace_.reset();
    static_cast<void>(database_->Close());
    Open();
    EXPECT_TRUE(Now().size() == 1 || Now().size() == 101) << Now().size();
    DB_ASSERT_OK(database_->Close());
  }
  void Reopen() {
    keyspace_.reset();
    DB_ASSERT_OK(database_->Close());
    Open();
  }

  MemVfs vfs_;
  FaultVfs fault_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
};

TEST_F(IngestionTest, NothingIsVisibleBeforeItEndsAndAllOfItAfter) {
  Open();
  DB_ASSERT_OK(Put(RowKey(3), "old"));
  const Seqno before = database_->snapshots().Open();
  const Ref<Ingestion> ingestion = Start();
  DB_ASSERT_OK(ingestion->Write(ManyRows(0, 500, "new")));
  RunAll(executor_);
  DB_ASSERT_OK(ingestion->Write(ManyRows(500, 1000, "new")));
  EXPECT_EQ(Now().size(), 1u);
  const Seqno seqno = database_->next_seqno();
  EXPECT_EQ(Finish(ingestion.get()), 1000u);
  EXPECT_EQ(database_->next_seqno(), seqno + 1);
  EXPECT_EQ(database_->visible(), seqno + 1);
  EXPECT_EQ(Now().size(), 1000u);
  EXPECT_EQ(Now()[RowKey(3)], "new");
  EXPECT_EQ(At(before), (Rows{{RowKey(3), "old"}}));
  EXPECT_EQ(At(seqno)[RowKey(3)], "old");
  DB_ASSERT_OK(Put(RowKey(3), "newer"));
  DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
  DB_ASSERT_OK(database_->MajorCompaction(keyspace_.get(), 0, nullptr));
  EXPECT_EQ(At(before), (Rows{{RowKey(3), "old"}}));
  database_->snapshots().Close(before);
  Reopen();
  EXPECT_EQ(Now().size(), 1000u);
  EXPECT_EQ(Now()[RowKey(3)], "newer");
  EXPECT_GT(database_->next_seqno(), seqno + 1);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, ItIsDurableWhenItHasEnded) {
  Open();
  DB_ASSERT_OK(Put("before", "1"));
  const Ref<Ingestion> ingestion = Start();
  DB_ASSERT_OK(ingestion->Write(ManyRows(0, 100, "v")));
  EXPECT_EQ(Finish(ingestion.get()), 100u);
  DB_ASSERT_OK(Put("after", "2"));
  for (const CrashPolicy& policy : {CrashPolicy::None(), CrashPolicy::Kill()}) {
    const auto clone = vfs_.CrashClone(policy, 1);
    Ref<Database> other;
    DB_ASSERT_OK(OpenSmall(clone.get(), 1, SmallOptions(), &other));
    Contents contents;
    DB_EXPECT_OK(ReadAll(other.get(), &contents));
    const bool killed = policy.kind == CrashPolicy::Kind::kKill;
    EXPECT_EQ(contents["a"].size(), killed ? 102u : 101u);
    EXPECT_EQ(contents["a"]["before"], "1");
    DB_EXPECT_OK(other->Close());
  }
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, OneWithoutRowsChangesNothing) {
  Open();
  const Seqno seqno = database_->next_seqno();
  const Ref<Ingestion> ingestion = Start();
  EXPECT_EQ(Finish(ingestion.get()), 0u);
  EXPECT_EQ(database_->next_seqno(), seqno);
  EXPECT_EQ(FilesOf(FileKind::kTable), 0u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, AfterItsEndItTakesNothing) {
  Open();
  const Ref<Ingestion> finished = Start();
  DB_ASSERT_OK(finished->Write(ManyRows(0, 10, "v")));
  EXPECT_EQ(Finish(finished.get()), 10u);
  const Ref<Ingestion> aborted = Start();
  DB_ASSERT_OK(aborted->Write(ManyRows(0, 1000, "w")));
  RunAll(executor_);
  EXPECT_EQ(FilesOf(FileKind::kTable), 2u);
  aborted->Abort();
  RunAll(executor_);
  EXPECT_EQ(FilesOf(FileKind::kTable), 1u);
  for (Ingestion* ingestion : {finished.get(), aborted.get()}) {
    uint64_t count = 0;
    EXPECT_TRUE(ingestion->Write(ManyRows(10, 20, "v")).Is(Code::kInvalidArgument));
    EXPECT_TRUE(ingestion->Finish(&count).Is(Code::kInvalidArgument));
    ingestion->Abort();
  }
  EXPECT_EQ(Now().size(), 10u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, MalformedRowsEndIt) {
  Open();
  std::string unknown;
  AppendRow(&unknown, Kind::kBlobPointer, "k", "v");
  std::string reserved = ManyRows(0, 1, "v");
  reserved[1] = 1;
  const std::string whole = ManyRows(0, 2, "v");
  std::string descending = ManyRows(5, 6, "v") + ManyRows(4, 5, "v");
  for (const std::string& rows :
       {unknown, reserved, descending, whole.substr(0, whole.size() - 1), whole.substr(0, 3)}) {
    const Ref<Ingestion> ingestion = Start();
    DB_ASSERT_OK(ingestion->Write(rows));
    RunAll(executor_);
    EXPECT_TRUE(ingestion->Write(ManyRows(10, 11, "v")).Is(Code::kInvalidArgument));
    uint64_t count = 0;
    EXPECT_TRUE(ingestion->Finish(&count).Is(Code::kInvalidArgument));
    EXPECT_EQ(count, 0u);
  }
  EXPECT_EQ(FilesOf(FileKind::kTable), 0u);
  EXPECT_EQ(Now().size(), 0u);
  DB_ASSERT_OK(database_->Close());
}

// Of rows of any size no more than the queue takes is ahead of the thread that builds.
TEST_F(IngestionTest, AFullQueueIsWaitedFor) {
  Open();
  const Ref<Ingestion> ingestion = Start();
  const std::string value(100'000, 'v');
  for (uint64_t i = 0; i < 300; ++i) DB_ASSERT_OK(ingestion->Write(ManyRows(i, i + 1, value)));
  // Part of it had to be built meanwhile, though nobody ran the background.
  EXPECT_GT(FilesOf(FileKind::kTable), 0u);
  DB_ASSERT_OK(ingestion->Write(ManyRows(300, 301, std::string(kIngestionQueueBytes + 1, 'w'))));
  EXPECT_EQ(Finish(ingestion.get()), 301u);
  EXPECT_EQ(Now().size(), 301u);
  DB_ASSERT_OK(database_->Close());
}

// Async writes that were called before come before it, whether they are in the journal or not.
TEST_F(IngestionTest, ItComesBehindTheWritesBeforeIt) {
  Open();
  const Ref<Ingestion> ingestion = Start();
  DB_ASSERT_OK(ingestion->Write(ManyRows(0, 2, "ingested")));
  int told = 0;
  const auto tell = [&told](const Status& status) {
    DB_EXPECT_OK(status);
    told++;
  };
  std::string large;
  WriteBatch batch;
  batch.Add(Kind::kValue, keyspace_->id(), RowKey(0), std::string(300'000, 'b'));
  EXPECT_TRUE(database_->WriteAsync(batch.bytes(), Durability::kOs, tell).Is(Code::kWouldBlock));
  EXPECT_TRUE(
      database_
          ->WriteOneAsync(keyspace_.get(), Kind::kValue, RowKey(1), "s", Durability::kSync, tell)
          .Is(Code::kWouldBlock));
  EXPECT_EQ(Finish(ingestion.get()), 2u);
  EXPECT_EQ(Now(), (Rows{{RowKey(0), "ingested"}, {RowKey(1), "ingested"}}));
  RunAll(executor_);
  EXPECT_EQ(told, 2);
  DB_ASSERT_OK(database_->Close());
}

// What is committed between the seqno of an ingestion and its tables is not visible before it is.
TEST_F(IngestionTest, WhatIsWrittenBehindItWaits) {
  Open();
  DB_ASSERT_OK(Put("before", "1"));
  const Ref<Ingestion> ingestion = Start();
  DB_ASSERT_OK(ingestion->Write(ManyRows(0, 2, "v")));
  RunAll(executor_);
  const Seqno seqno = database_->next_seqno();
  int issued = 0;
  int told = 0;
  vfs_.SetHook([&](const MemVfs::Operation& operation) {
    if (database_->next_seqno() == seqno) return;  // it has not taken its seqno yet
    const FileKind kind = ParseFileName(operation.path.substr(operation.path.rfind('/') + 1)).kind;
    if (operation.kind != MemVfs::Mutation::kSync || kind != FileKind::kManifest) return;
    const Status status =
        database_->WriteOneAsync(keyspace_.get(), Kind::kValue, RowKey(0), std::to_string(issued),
                                 Durability::kOs, [&told](const Status& s) {
                                   DB_EXPECT_OK(s);
                                   told++;
                                 });
    EXPECT_TRUE(status.Is(Code::kWouldBlock));
    EXPECT_TRUE(database_->RotateMemtable(keyspace_.get()));
    issued++;
    EXPECT_EQ(told, 0);
    EXPECT_EQ(database_->visible(), seqno);
    EXPECT_EQ(Now(), (Rows{{"before", "1"}}));
  });
  EXPECT_EQ(Finish(ingestion.get()), 2u);
  vfs_.SetHook(nullptr);
  EXPECT_EQ(issued, 1);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(database_->visible(), seqno + 2);
  EXPECT_EQ(Now(), (Rows{{"before", "1"}, {RowKey(0), "0"}, {RowKey(1), "v"}}));
  EXPECT_EQ(At(seqno + 1)[RowKey(0)], "v");
  RunAll(executor_);
  EXPECT_EQ(keyspace_->tree()->sealed_count(), 0u);
  EXPECT_EQ(Now()[RowKey(0)], "0");
  Reopen();
  EXPECT_EQ(Now()[RowKey(0)], "0");
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, SeveralIntoOneKeyspaceTheLastToEndIsTheNewest) {
  Open();
  const Ref<Ingestion> first = Start();
  const Ref<Ingestion> second = Start();
  DB_ASSERT_OK(first->Write(ManyRows(0, 20, "first")));
  DB_ASSERT_OK(second->Write(ManyRows(10, 30, "second")));
  EXPECT_EQ(Finish(second.get()), 20u);
  EXPECT_EQ(Finish(first.get()), 20u);
  EXPECT_EQ(Now()[RowKey(15)], "first");
  EXPECT_EQ(Now()[RowKey(25)], "second");
  EXPECT_EQ(Now().size(), 30u);
  DB_ASSERT_OK(database_->Close());
}

// Journals are given up although the tree holds no entry of theirs.
TEST_F(IngestionTest, ItPinsNoJournal) {
  Open();
  const auto other = MustOpenKeyspace(database_.get(), "b");
  for (int i = 0; i < 3; ++i) {
    const Ref<Ingestion> ingestion = Start();
    DB_ASSERT_OK(ingestion->Write(ManyRows(0, 5, "v")));
    if (i == 1) fault_.SetPlan({{FaultOp::kWrite, PathClass::kManifest, 0, FaultKind::kEnospc}});
    uint64_t count = 0;
    EXPECT_EQ(ingestion->Finish(&count).code(), i == 1 ? Code::kDiskFull : Code::kOk);
    fault_.SetPlan({});
    for (int k = 0; k < 400; ++k) {
      DB_ASSERT_OK(database_->WriteOne(other.get(), Kind::kValue, std::to_string(k),
                                       std::string(500, 'v'), Durability::kOs));
      RunAll(executor_);
    }
  }
  DB_ASSERT_OK(database_->FlushKeyspace(other.get()));
  RunAll(executor_);
  EXPECT_EQ(database_->figures().journal_count, 1u);
  DB_ASSERT_OK(database_->Close());
}

// ---- failures ----

TEST_F(IngestionTest, AFullDiskLeavesNothingBehind) {
  Open();
  DB_ASSERT_OK(Put("before", "1"));
  DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
  const size_t tables = FilesOf(FileKind::kTable);
  // While it is written, and at each of its ends: tables, journal, manifest.
  for (const PathClass where : {PathClass::kTable, PathClass::kJournal, PathClass::kManifest}) {
    const Ref<Ingestion> ingestion = Start();
    fault_.SetPlan({{FaultOp::kWrite, where, 0, FaultKind::kEnospc, true}});
    DB_ASSERT_OK(ingestion->Write(ManyRows(0, 100, std::string(10'000, 'v'))));
    RunAll(executor_);
    uint64_t count = 0;
    const Status late = ingestion->Write(ManyRows(100, 101, "v"));
    EXPECT_EQ(late.Is(Code::kDiskFull), where == PathClass::kTable);
    EXPECT_TRUE(ingestion->Finish(&count).Is(Code::kDiskFull)) << static_cast<int>(where);
    fault_.SetPlan({});
    RunAll(executor_);
    EXPECT_EQ(FilesOf(FileKind::kTable), tables);
    EXPECT_EQ(Now().size(), 1u);
    DB_ASSERT_OK(Put("before", "1"));
    vfs_.AdvanceClock(uint64_t{10'000'000'000});
    RunAll(executor_);
    EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
    // The same again, with room.
    DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
    DB_ASSERT_OK(database_->MajorCompaction(keyspace_.get(), 0, nullptr));
    RunAll(executor_);
    EXPECT_EQ(FilesOf(FileKind::kTable), tables);
  }
  const Ref<Ingestion> ingestion = Start();
  DB_ASSERT_OK(ingestion->Write(ManyRows(0, 100, "v")));
  EXPECT_EQ(Finish(ingestion.get()), 100u);
  EXPECT_EQ(Now().size(), 101u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, AFailedSyncOfTheJournalEndsWriting) {
  EndsWriting({FaultOp::kSync, PathClass::kJournal, 0, FaultKind::kSyncKept, false});
}

TEST_F(IngestionTest, AFailedSyncOfTheManifestEndsWriting) {
  EndsWriting({FaultOp::kSync, PathClass::kManifest, 0, FaultKind::kSyncKept, false});
}

TEST_F(IngestionTest, AFailedSyncOfTheDirectoryEndsWriting) {
  EndsWriting({FaultOp::kSyncDir, PathClass::kDirectory, 0, FaultKind::kEio, false});
}

// ---- close ----

TEST_F(IngestionTest, ClosingRollsBackWhatIsOpen) {
  Open();
  const Ref<Ingestion> built = Start();
  const Ref<Ingestion> queued = Start();
  const Ref<Ingestion> begun = Start();
  DB_ASSERT_OK(built->Write(ManyRows(0, 2000, std::string(200, 'v'))));
  RunAll(executor_);
  EXPECT_EQ(FilesOf(FileKind::kTable), 1u);
  DB_ASSERT_OK(queued->Write(ManyRows(0, 2000, "v")));
  DB_ASSERT_OK(begun->Write(ManyRows(0, 10, "v")));
  {
    // Its second half will not come.
    std::shared_ptr<Ingestion::Finishing> finishing;
    DB_ASSERT_OK(begun->BeginFinish(&finishing));
  }
  DB_ASSERT_OK(database_->Close());
  EXPECT_EQ(FilesOf(FileKind::kTable), 0u);
  for (Ingestion* ingestion : {built.get(), queued.get(), begun.get()}) {
    uint64_t count = 0;
    EXPECT_TRUE(ingestion->Write(ManyRows(0, 1, "v")).Is(Code::kDbClosed));
    EXPECT_TRUE(ingestion->Finish(&count).Is(Code::kDbClosed));
    ingestion->Abort();
  }
  Ref<Ingestion> late;
  EXPECT_TRUE(database_->StartIngestion(keyspace_.get(), &late).Is(Code::kDbClosed));
  Open();
  EXPECT_EQ(Now().size(), 0u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(IngestionTest, AReadOnlyDatabaseTakesNone) {
  Open();
  keyspace_.reset();
  DB_ASSERT_OK(database_->Close());
  DatabaseOptions options = SmallOptions();
  options.read_only = true;
  Open(options);
  Ref<Ingestion> ingestion;
  EXPECT_TRUE(database_->StartIngestion(keyspace_.get(), &ingestion).Is(Code::kReadOnly));
  DB_ASSERT_OK(database_->Close());
}

// ---- bare trees ----

class TreeIngestionTest : public testing::Test {
 protected:
  TreeIngestionTest() : vfs_(TestSeed()) {}

  void Open() {
    StandaloneOptions options;
    options.tree = SmallTreeOptions();
    DB_ASSERT_OK(StandaloneTree::Open(
        &vfs_, MakeManualExecutor(&vfs_, TestSeed()), "/tree", options,
        [](bool, TreeOptions*) { return Status::Ok(); }, &tree_));
  }
  Status Add(const std::string& key, Seqno seqno) {
    uint64_t item_size = 0;
    uint64_t memtable_size = 0;
    return tree_->Add(Kind::kValue, key, "v", seqno, &item_size, &memtable_size);
  }
  Status Start(Seqno seqno) { return tree_->StartIngestion(seqno, &ingestion_); }
  Status FinishTen() {
    SHALE_RETURN_IF_ERROR(ingestion_->Write(ManyRows(0, 10, "ingested")));
    uint64_t count = 0;
    return ingestion_->Finish(&count);
  }
  std::string Get(Slice key, Seqno seqno) {
    const Ref<SuperVersion> pin = tree_->tree()->Pin();
    TreeHit hit;
    const Status status = Tree::Get(pin.get(), key, seqno, ReadMode::kMayBlock, &hit);
    return status.ok() ? hit.value.ToString() : CodeName(status.code());
  }

  MemVfs vfs_;
  Ref<StandaloneTree> tree_;
  Ref<Ingestion> ingestion_;
};

TEST_F(TreeIngestionTest, ItsSeqnoIsAboveAllOthersAtTheBeginningAndAtTheEnd) {
  Open();
  DB_ASSERT_OK(Start(0));  // nothing is there yet
  DB_ASSERT_OK(FinishTen());
  EXPECT_TRUE(Start(0).Is(Code::kInvalidArgument));
  DB_ASSERT_OK(Add("a", 5));
  EXPECT_TRUE(Start(4).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Start(5).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Start(kSeqnoMax).Is(Code::kInvalidArgument));
  DB_ASSERT_OK(Start(8));
  DB_ASSERT_OK(Add("b", 7));
  DB_ASSERT_OK(FinishTen());
  EXPECT_TRUE(Add("c", 7).Is(Code::kInvalidArgument));
  DB_ASSERT_OK(Add("c", 8));
  EXPECT_EQ(tree_->highest_persisted_seqno(), 8u);
  EXPECT_EQ(Get(RowKey(1), 8), "ingested");  // of the first one
  DB_ASSERT_OK(Start(10));
  DB_ASSERT_OK(Add("d", 11));
  EXPECT_TRUE(FinishTen().Is(Code::kInvalidArgument));
  // Nothing of it stays, nor of what it would have forbidden.
  DB_ASSERT_OK(Add("e", 9));
  DB_ASSERT_OK(tree_->Flush());
  EXPECT_EQ(tree_->tree()->highest_seqno(), 11u);
  DB_ASSERT_OK(tree_->Close());
}

TEST_F(TreeIngestionTest, ItIsFoundAgainWithWhatWasInMemory) {
  Open();
  DB_ASSERT_OK(Add(RowKey(1), 1));
  DB_ASSERT_OK(Add("in memory", 2));
  DB_ASSERT_OK(Start(6));
  DB_ASSERT_OK(FinishTen());
  DB_ASSERT_OK(Add("lost", 7));
  ingestion_.reset();
  DB_ASSERT_OK(tree_->Close());
  Open();
  EXPECT_EQ(Get(RowKey(1), 7), "ingested");
  EXPECT_EQ(Get(RowKey(1), 6), "v");
  EXPECT_EQ(Get("in memory", kReadAll), "v");
  EXPECT_EQ(Get("lost", kReadAll), "NOT_FOUND");
  EXPECT_EQ(tree_->tree()->highest_seqno(), 6u);
  DB_ASSERT_OK(Start(7));
  DB_ASSERT_OK(ingestion_->Write(ManyRows(0, 10, "w")));
  DB_ASSERT_OK(tree_->Close());
  EXPECT_TRUE(ingestion_->Write(ManyRows(10, 11, "w")).Is(Code::kDbClosed));
  Open();
  EXPECT_EQ(Get(RowKey(1), kReadAll), "ingested");
  DB_ASSERT_OK(tree_->Close());
}

}  // namespace
}  // namespace shale
