// After something failed: what heals by itself, what does not, and what is said of it.
#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "db/database_support.h"
#include "tree/filter_support.h"
#include "vfs/fault_vfs.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

class HealingTest : public testing::Test {
 protected:
  HealingTest() : vfs_(TestSeed()), fault_(&vfs_) {}

  void Open(const DatabaseOptions& options = SmallOptions()) {
    auto executor = MakeManualExecutor(&fault_, TestSeed());
    executor_ = executor.get();
    DB_ASSERT_OK(Database::Open(&fault_, std::move(executor), "/db", options, &database_));
    keyspace_ = MustOpenKeyspace(database_.get(), "a");
  }
  Status Put(const std::string& key, const std::string& value,
             Durability durability = Durability::kOs) {
    return database_->WriteOne(keyspace_.get(), Kind::kValue, key, value, durability);
  }
  void Pass(uint64_t ms) {
    for (uint64_t i = 0; i < ms; ++i) {
      RunAll(executor_);
      vfs_.AdvanceClock(1'000'000);
    }
    RunAll(executor_);
  }
  // The rows of a machine that lost power now.
  static Rows RowsAfterPowerLoss(const MemVfs& vfs) {
    const auto clone = vfs.CrashClone(CrashPolicy::None(), 1);
    Ref<Database> other;
    DB_EXPECT_OK(OpenSmall(clone.get(), 1, SmallOptions(), &other));
    Contents contents;
    DB_EXPECT_OK(ReadAll(other.get(), &contents));
    DB_EXPECT_OK(other->Close());
    return contents["a"];
  }

  MemVfs vfs_;
  FaultVfs fault_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
};

// Buffered commits that could not be handed over are tried again, synced within the interval, and
// the state heals, although nobody writes any more.
TEST_F(HealingTest, ABufferedTailIsSyncedOnceTheDiskHasRoom) {
  Open();
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kJournal, 0, FaultKind::kEnospc, true}});
  DB_ASSERT_OK(Put("k", "v", Durability::kBuffered));
  Pass(SmallOptions().sync_interval_ms + 100);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  fault_.SetPlan({});
  Pass(SmallOptions().sync_interval_ms + 100);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  EXPECT_EQ(RowsAfterPowerLoss(vfs_), (Rows{{"k", "v"}}));
  DB_ASSERT_OK(database_->Close());
}

TEST_F(HealingTest, AWitnessThatFailedIsTriedAgain) {
  Open();
  Pass(100);
  DB_ASSERT_OK(Put("k", "v", Durability::kSync));
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kJournal, 0, FaultKind::kEnospc, false}});
  Pass(20);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  Pass(1000);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  DB_ASSERT_OK(database_->Close());
}

// How often one has failed says nothing of the other.
TEST_F(HealingTest, FlushesAndCompactionsHaveTheirOwnPauses) {
  Open();
  const auto completed = [&] { return database_->figures().compactions_completed; };
  const auto flush = [&] {
    DB_ASSERT_OK(Put("k", "v"));
    ASSERT_TRUE(database_->RotateMemtable(keyspace_.get()));
    Pass(1);
  };
  std::vector<std::unique_ptr<File>> damaged;
  const auto flip = [&] {
    for (const auto& table : damaged) {
      char byte = 0;
      size_t got = 0;
      DB_ASSERT_OK(table->Read(0, 1, &byte, &got));
      byte = static_cast<char>(~byte);
      DB_ASSERT_OK(table->Write(0, Slice(&byte, 1)));
    }
  };
  // Compactions meet damaged tables, flushes do not.
  const auto make_compactions_fail = [&] {
    flush();
    damaged.clear();
    std::vector<std::string> names;
    DB_ASSERT_OK(vfs_.List("/db", &names));
    for (const std::string& name : names) {
      if (ParseFileName(name).kind != FileKind::kTable) continue;
      DB_ASSERT_OK(vfs_.Open("/db/" + name, OpenMode::kReadWrite, &damaged.emplace_back()));
    }
    flip();
    while (database_->status() == DatabaseStatus::kOpen) flush();
  };
  make_compactions_fail();
  Pass(2000);
  // A flush that fails for the first time is tried again soon.
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kTable, 0, FaultKind::kEnospc, false}});
  flush();
  EXPECT_EQ(database_->figures().outstanding_flushes, 1u);
  Pass(100);
  EXPECT_EQ(database_->figures().outstanding_flushes, 0u);
  // Compactions go on with their long pauses.
  flip();
  const uint64_t before = completed();
  Pass(100);
  EXPECT_EQ(completed(), before);
  Pass(5000);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  EXPECT_GT(completed(), before);
  // One that fails after a success is tried again soon.
  make_compactions_fail();
  flip();
  Pass(100);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  DB_ASSERT_OK(database_->Close());
}

// However many calls fail meanwhile, and whatever else happens: it is tried again after pauses
// that grow.
TEST_F(HealingTest, AFailingFlushIsTriedAgainAtItsPaces) {
  Open();
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kTable, 0, FaultKind::kEnospc, true}});
  DB_ASSERT_OK(Put("k", "v"));
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(database_->FlushKeyspace(keyspace_.get()).ok());
  Pass(20'000);
  const uint64_t before = fault_.fired();
  Pass(20'000);
  EXPECT_GE(fault_.fired() - before, 2u);
  EXPECT_LE(fault_.fired() - before, 8u);
  fault_.SetPlan({});
  Pass(10'000);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(HealingTest, AFailingCompactionIsTriedAgainAtItsPaces) {
  Open();
  const auto filter = std::make_shared<TestFilter>([&](const FilterEntry&) -> FilterVerdict {
    return {Verdict::kKeep, {}};
  });
  filter->failure = ApplicationFailure("no verdict");
  keyspace_->tree()->AddFilter(filter);
  const auto flush = [&] {
    DB_ASSERT_OK(Put("k", "v"));
    ASSERT_TRUE(database_->RotateMemtable(keyspace_.get()));
    Pass(1);
  };
  for (int i = 0; i < 20 && database_->status() == DatabaseStatus::kOpen; ++i) flush();
  ASSERT_EQ(database_->status(), DatabaseStatus::kDegraded);
  filter->batches.clear();
  // Each is a reason to look for something to do.
  for (int i = 0; i < 6; ++i) flush();
  EXPECT_LE(filter->batches.size(), 2u);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  Pass(20'000);
  filter->batches.clear();
  Pass(20'000);
  EXPECT_GE(filter->batches.size(), 2u);
  EXPECT_LE(filter->batches.size(), 8u);
  DB_ASSERT_OK(database_->Close());
}

// What a drop takes away stays in the snapshots of before, also where no journal tells them apart.
TEST_F(HealingTest, ASnapshotSurvivesADropThatNoJournalTakes) {
  Open();
  DB_ASSERT_OK(Put("k", "v"));
  DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
  const Seqno before = database_->snapshots().Open();
  const auto rows = [&](Seqno seqno) {
    Rows found;
    DB_EXPECT_OK(ReadRows(*keyspace_, keyspace_->tree()->PinFor(seqno), seqno, &found));
    return found;
  };
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kJournal, 0, FaultKind::kEnospc, true}});
  const auto all = [](const Tree& tree) { return tree.DropRangePlan({}); };
  DB_ASSERT_OK(database_->Run(keyspace_.get(), all, WhenBusy::kWait, nullptr));
  EXPECT_EQ(rows(before), (Rows{{"k", "v"}}));
  fault_.SetPlan({});
  DB_ASSERT_OK(Put("later", "v"));
  EXPECT_EQ(rows(before), (Rows{{"k", "v"}}));
  EXPECT_EQ(rows(database_->visible()), (Rows{{"later", "v"}}));
  database_->snapshots().Close(before);
  DB_ASSERT_OK(Put("last", "v"));
  Pass(10);
  EXPECT_FALSE(keyspace_->tree()->holds());
  DB_ASSERT_OK(database_->Close());
}

// The system may report only once that the entries of a directory are not durable; that it had no
// room for them makes no difference.
TEST_F(HealingTest, AFailedSyncOfTheDirectoryIsNotTriedAgain) {
  for (const FaultKind kind : {FaultKind::kEio, FaultKind::kEnospc, FaultKind::kEdquot}) {
    Open();
    DB_ASSERT_OK(Put("k", "v", Durability::kSync));
    fault_.SetPlan({{FaultOp::kSyncDir, PathClass::kAny, 0, kind, false}});
    const Status flushed = database_->FlushKeyspace(keyspace_.get());
    EXPECT_EQ(fault_.fired(), 1u);
    EXPECT_TRUE(flushed.Is(Code::kSyncFailed)) << flushed.ToString();
    Pass(1000);
    EXPECT_EQ(database_->status(), DatabaseStatus::kFailed);
    EXPECT_TRUE(Put("l", "v").Is(Code::kDbFailed));
    EXPECT_TRUE(database_->Close().Is(Code::kSyncFailed));
    EXPECT_EQ(RowsAfterPowerLoss(vfs_), (Rows{{"k", "v"}}));
  }
}

TEST_F(HealingTest, WhatIsRefusedAfterAFailureNamesTheFirstCause) {
  Open();
  fault_.SetPlan({{FaultOp::kSync, PathClass::kJournal, 0, FaultKind::kEio, false}});
  EXPECT_TRUE(Put("k", "v", Durability::kSync).Is(Code::kSyncFailed));
  const Status refused = Put("l", "v");
  ASSERT_TRUE(refused.Is(Code::kDbFailed));
  ASSERT_NE(refused.details()->cause, nullptr);
  EXPECT_TRUE(refused.details()->cause->Is(Code::kSyncFailed));
  EXPECT_EQ(refused.details()->cause->details()->error_number, EIO);
  for (const Durability durability : {Durability::kBuffered, Durability::kOs, Durability::kSync}) {
    EXPECT_TRUE(database_->Persist(durability).Is(Code::kSyncFailed));
    const Status persisted = database_->PersistAsync(durability, [](Status status) {
      EXPECT_TRUE(status.Is(Code::kSyncFailed)) << status.ToString();
    });
    EXPECT_FALSE(persisted.ok());
  }
  RunAll(executor_);
  EXPECT_TRUE(database_->Close().Is(Code::kSyncFailed));
}

// All that was salvaged is in tables: the damaged journal is gone before anything else happens.
TEST_F(HealingTest, ASalvagedDatabaseOpensAgainWithoutBackgroundWork) {
  Open();
  for (int i = 0; i < 20; ++i) {
    DB_ASSERT_OK(Put("k" + std::to_string(i), std::string(50, 'v'), Durability::kSync));
  }
  const auto machine = vfs_.CrashClone(CrashPolicy::All(), 1);
  DB_ASSERT_OK(database_->Close());
  std::vector<std::string> names;
  DB_ASSERT_OK(machine->List("/db", &names));
  for (const std::string& name : names) {
    if (ParseFileName(name).kind != FileKind::kJournal) continue;
    std::unique_ptr<File> file;
    DB_ASSERT_OK(machine->Open("/db/" + name, OpenMode::kReadWrite, &file));
    DB_ASSERT_OK(file->Write(600, "damage"));
  }
  Ref<Database> salvaged;
  ASSERT_TRUE(OpenSmall(machine.get(), 1, SmallOptions(), &salvaged).Is(Code::kCorruption));
  DatabaseOptions options = SmallOptions();
  options.recovery = RecoveryMode::kSalvage;
  DB_ASSERT_OK(OpenSmall(machine.get(), 1, options, &salvaged));
  Contents expected;
  DB_ASSERT_OK(ReadAll(salvaged.get(), &expected));
  EXPECT_GT(expected["a"].size(), 0u);
  EXPECT_EQ(RowsAfterPowerLoss(*machine), expected["a"]);
  DB_ASSERT_OK(salvaged->Close());
}

TEST_F(HealingTest, FiguresAreTheSameAfterAReopen) {
  Open();
  DB_ASSERT_OK(Put("k", std::string(500, 'v')));
  ASSERT_TRUE(database_->RotateMemtable(keyspace_.get()));
  EXPECT_EQ(database_->figures().outstanding_flushes, 1u);
  RunAll(executor_);
  EXPECT_EQ(database_->figures().outstanding_flushes, 0u);
  const auto bytes_of_files = [&] {
    std::vector<std::string> names;
    DB_EXPECT_OK(vfs_.List("/db", &names));
    uint64_t bytes = 0;
    for (const std::string& name : names) {
      const FileKind kind = ParseFileName(name).kind;
      FileInfo info;
      DB_EXPECT_OK(vfs_.Stat("/db/" + name, &info));
      if (kind == FileKind::kManifest || kind == FileKind::kTable) bytes += info.size;
    }
    return bytes;
  };
  const auto counted = [&] {
    const DatabaseFigures figures = database_->figures();
    return figures.disk_bytes - figures.journal_bytes;
  };
  DB_ASSERT_OK(database_->Close());
  Open();
  RunAll(executor_);
  const uint64_t there = bytes_of_files();  // with the space that is reserved ahead
  EXPECT_LE(counted(), there);
  EXPECT_GT(counted(), keyspace_->tree()->table_bytes() + 200);
  DB_ASSERT_OK(database_->Close());
}

// A machine that has no memory left when files are removed.
class ScarceVfs : public MemVfs {
 public:
  ScarceVfs() : MemVfs(TestSeed()) {}
  Status Remove(const std::string& path) override {
    if (scarce) throw std::bad_alloc();
    return MemVfs::Remove(path);
  }
  bool scarce = false;
};

TEST(ClosingTest, WithoutMemoryItEndsAllTheSame) {
  ScarceVfs vfs;
  Ref<Database> database;
  DB_ASSERT_OK(OpenSmall(&vfs, 1, SmallOptions(), &database));
  Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  DB_ASSERT_OK(database->WriteOne(keyspace.get(), Kind::kValue, "k", "v", Durability::kOs));
  vfs.scarce = true;
  EXPECT_TRUE(database->Close().Is(Code::kOutOfMemory));
  EXPECT_TRUE(database->Close().Is(Code::kOutOfMemory));
  vfs.scarce = false;
  keyspace.reset();
  database.reset();
  DB_ASSERT_OK(OpenSmall(&vfs, 1, SmallOptions(), &database));
  Contents contents;
  DB_ASSERT_OK(ReadAll(database.get(), &contents));
  EXPECT_EQ(contents["a"], (Rows{{"k", "v"}}));
  DB_ASSERT_OK(database->Close());
}

// A large value is compressed off the calling thread; who comes meanwhile does not wait for it.
TEST_F(HealingTest, LargeValuesAreCompressedByTheEngine) {
  Open();
  const std::string large(1 << 20, 'x');
  const auto written = [&] { return database_->figures().journal_bytes_written; };
  const auto start = [&](const std::string& key) {
    const Status status =
        database_->WriteOneAsync(keyspace_.get(), Kind::kValue, key, large, Durability::kOs,
                                 [](Status told) { DB_EXPECT_OK(told); });
    EXPECT_TRUE(status.Is(Code::kWouldBlock));
  };
  const uint64_t begin = written();
  start("a");
  RunAll(executor_);
  EXPECT_LT(written() - begin, large.size() / 10);
  start("b");
  DB_ASSERT_OK(Put("c", "v"));
  EXPECT_GT(written() - begin, large.size()) << "it went ahead as it was";
  RunAll(executor_);
  std::string value;
  DB_ASSERT_OK(ReadOne(*keyspace_, "b", database_->visible(), &value));
  EXPECT_EQ(value, large);
  DB_ASSERT_OK(database_->Close());
}

}  // namespace
}  // namespace shale
