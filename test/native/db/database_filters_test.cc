// Compaction filters in a database: what their failures do to its state, and who may wait for them.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "db/database_support.h"
#include "support/temp_dir.h"
#include "tree/filter_support.h"

namespace shale {
namespace {

// Waits for ever, as long as it may; then it is told why it may not.
class WaitingFilter final : public CompactionFilter {
 public:
  bool needs_blob_values() const override { return true; }
  Status Judge(const std::vector<FilterEntry>& entries, const FilterContext& context,
               std::vector<FilterVerdict>* verdicts) override {
    while (!is_open.load()) {
      asked = true;
      if (const auto act = std::exchange(when_asked, nullptr)) act();
      SHALE_RETURN_IF_ERROR(context.may_wait());
      std::this_thread::yield();
    }
    verdicts->resize(verdicts->size() + entries.size(), {Verdict::kRemove, {}});
    return Status::Ok();
  }

  std::atomic<bool> is_open{false};
  std::atomic<bool> asked{false};
  std::function<void()> when_asked;
};

class DatabaseFilters : public testing::Test {
 protected:
  DatabaseFilters() : vfs_(TestSeed()) {}

  void Open(const DatabaseOptions& options = SmallOptions()) {
    auto executor = MakeManualExecutor(&vfs_, TestSeed());
    executor_ = executor.get();
    DB_ASSERT_OK(Database::Open(&vfs_, std::move(executor), "/db", options, &database_));
    const auto tiered = [](bool, TreeOptions* tree) {
      *tree = SmallTreeOptions();
      // Nothing is moved: four runs are merged.
      tree->strategy.kind = StrategyKind::kSizeTiered;
      tree->strategy.name = "size-tiered";
      return Status::Ok();
    };
    DB_ASSERT_OK(database_->OpenKeyspace("a", tiered, &keyspace_));
  }
  // They have a key in common: tables that do not are moved.
  void FlushTables(int tables) {
    for (int i = 0; i < tables; i++) {
      for (const std::string& key : {std::string("k0"), "k" + std::to_string(i)}) {
        DB_ASSERT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, key, "v", Durability::kOs));
      }
      DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
    }
  }
  void Pass(uint64_t ms) { RunFor(ms, executor_, &vfs_); }

  MemVfs vfs_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
};

TEST_F(DatabaseFilters, AFailureDegradesAndIsTriedAgainWithGrowingPauses) {
  Open();
  const auto filter = std::make_shared<TestFilter>([](const FilterEntry&) -> FilterVerdict {
    return {Verdict::kRemove, {}};
  });
  filter->failure = ApplicationFailure("not today");
  keyspace_->tree()->AddFilter(filter);
  FlushTables(4);
  RunAll(executor_);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  EXPECT_TRUE(database_->failure().from_application());
  EXPECT_EQ(database_->failure().details()->keyspace, "a");
  Pass(1000);
  const size_t soon = filter->batches.size();
  EXPECT_GE(soon, 4u);
  Pass(1000);
  EXPECT_LE(filter->batches.size() - soon, 2u);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  filter->failure = Status::Ok();
  Pass(10'000);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  Contents contents;
  DB_ASSERT_OK(ReadAll(database_.get(), &contents));
  EXPECT_EQ(contents["a"], Rows());
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseFilters, AFailedCompactionOfTheCallerDegradesForAWhile) {
  Open();
  const auto filter =
      std::make_shared<TestFilter>([](const FilterEntry&) { return FilterVerdict(); });
  filter->failure = ApplicationFailure("not today");
  keyspace_->tree()->AddFilter(filter);
  FlushTables(1);
  Status outcome;
  const auto plan = [](const Tree& tree) { return tree.MajorPlan(0); };
  database_->RunAsync(keyspace_.get(), plan, WhenBusy::kWait, std::make_shared<JobControl>(),
                      [&](Status status) { outcome = std::move(status); });
  RunAll(executor_);
  EXPECT_TRUE(outcome.from_application()) << outcome.ToString();
  EXPECT_EQ(outcome.details()->keyspace, "a");
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  Pass(100);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseFilters, PauseEndsAJobThatWaitsAndResumeLetsItWaitAgain) {
  Open();
  const auto filter = std::make_shared<WaitingFilter>();
  keyspace_->tree()->AddFilter(filter);
  bool paused = false;
  filter->when_asked = [&] {
    database_->PauseCompaction([&](Status status) {
      DB_EXPECT_OK(status);
      paused = true;
    });
  };
  FlushTables(4);
  RunAll(executor_);
  EXPECT_TRUE(paused);
  EXPECT_TRUE(database_->jobs().empty());
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  EXPECT_EQ(keyspace_->tree()->level0_runs(), 4u);
  filter->is_open = true;
  database_->ResumeCompaction();
  RunAll(executor_);
  EXPECT_EQ(keyspace_->tree()->level0_runs(), 0u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseFilters, WhoWaitsForAJobThatWaitsIsLetGo) {
  Open();
  const auto filter = std::make_shared<WaitingFilter>();
  keyspace_->tree()->AddFilter(filter);
  Status outcome;
  filter->when_asked = [&] {
    const auto control = std::make_shared<JobControl>();
    const auto plan = [](const Tree& tree) { return tree.MajorPlan(0); };
    database_->RunAsync(keyspace_.get(), plan, WhenBusy::kWait, control,
                        [&](Status status) { outcome = std::move(status); });
    database_->TellStoppedJobs();
    EXPECT_TRUE(outcome.ok());
    control->stop = true;
    database_->TellStoppedJobs();
    EXPECT_TRUE(outcome.Is(Code::kAborted)) << outcome.ToString();
    EXPECT_FALSE(outcome.from_application());
    filter->is_open = true;
  };
  FlushTables(4);
  RunAll(executor_);
  EXPECT_TRUE(outcome.Is(Code::kAborted));
  EXPECT_EQ(keyspace_->tree()->level0_runs(), 0u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseFilters, WhatIsHeldBeginsWhenItIsReleased) {
  DatabaseOptions options = SmallOptions();
  options.hold_compactions = true;
  Open(options);
  FlushTables(6);
  RunAll(executor_);
  EXPECT_EQ(keyspace_->tree()->level0_runs(), 6u);
  bool drained = false;
  database_->DrainCompaction([&](Status) { drained = true; });
  database_->PauseCompaction([](Status) {});
  database_->ReleaseCompactions();
  RunAll(executor_);
  EXPECT_EQ(keyspace_->tree()->level0_runs(), 6u);
  EXPECT_FALSE(drained);
  database_->ResumeCompaction();
  RunAll(executor_);
  EXPECT_LT(keyspace_->tree()->level0_runs(), 4u);
  EXPECT_TRUE(drained);
  DB_ASSERT_OK(database_->Close());
}

// A snapshot of before and one of after, with the same rows written meanwhile.
TEST_F(DatabaseFilters, SnapshotsAreFromBeforeOrFromAfter) {
  Open();
  keyspace_->tree()->AddFilter(
      std::make_shared<TestFilter>([](const FilterEntry&) -> FilterVerdict {
        return {Verdict::kRemove, {}};
      }));
  FlushTables(2);
  const Seqno before = database_->snapshots().Open();
  DB_ASSERT_OK(database_->MajorCompaction(keyspace_.get(), 0, nullptr));
  const Seqno after = database_->snapshots().Open();
  EXPECT_GT(after, before);
  DB_ASSERT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, "z", "v", Durability::kOs));
  const auto rows = [&](Seqno seqno) {
    Rows found;
    DB_EXPECT_OK(ReadRows(*keyspace_, keyspace_->tree()->PinFor(seqno), seqno, &found));
    return found;
  };
  EXPECT_EQ(rows(before), (Rows{{"k0", "v"}, {"k1", "v"}}));
  EXPECT_EQ(rows(after), Rows());
  EXPECT_EQ(rows(database_->visible()), (Rows{{"z", "v"}}));
  database_->snapshots().Close(before);
  database_->snapshots().Close(after);
  EXPECT_FALSE(keyspace_->tree()->holds());
  DB_ASSERT_OK(database_->Close());
}

// Every row says what it is; a filter that takes its time takes half of them away.
TEST(DatabaseFiltersThreads, ASlowFilterBesideReadersAndWriters) {
  const TempDir dir;
  DatabaseOptions options = SmallOptions();
  options.worker_threads = 2;
  options.max_stall_ms = 60'000;
  Ref<Database> database;
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(2), dir.path(), options, &database));
  const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  const auto filter = std::make_shared<TestFilter>([](const FilterEntry& entry) -> FilterVerdict {
    std::this_thread::yield();
    return {entry.key[entry.key.size() - 1] % 2 == 0 ? Verdict::kRemove : Verdict::kKeep, {}};
  });
  keyspace->tree()->AddFilter(filter);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop.load()) {
      const Seqno snapshot = database->snapshots().Open();
      Rows first;
      Rows second;
      DB_EXPECT_OK(ReadRows(*keyspace, keyspace->tree()->PinFor(snapshot), snapshot, &first));
      std::this_thread::yield();
      DB_EXPECT_OK(ReadRows(*keyspace, keyspace->tree()->PinFor(snapshot), snapshot, &second));
      EXPECT_EQ(first.size(), second.size()) << "a snapshot moved";
      database->snapshots().Close(snapshot);
    }
  });
  const uint64_t rows = Scaled(1500);
  for (uint64_t i = 0; i < rows; ++i) {
    const std::string key = "k" + std::to_string(100'000 + i);
    DB_ASSERT_OK(database->WriteOne(keyspace.get(), Kind::kValue, key, std::string(60, 'v'),
                                    Durability::kOs));
  }
  DB_ASSERT_OK(database->FlushKeyspace(keyspace.get()));
  DB_ASSERT_OK(database->MajorCompaction(keyspace.get(), 0, nullptr));
  stop = true;
  threads[0].join();
  Rows left;
  const Seqno visible = database->visible();
  DB_ASSERT_OK(ReadRows(*keyspace, keyspace->tree()->PinFor(visible), visible, &left));
  EXPECT_EQ(left.size(), rows / 2);
  DB_ASSERT_OK(database->Close());
}

TEST(DatabaseFiltersThreads, ClosingEndsAJobThatWaits) {
  const TempDir dir;
  Ref<Database> database;
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), SmallOptions(), &database));
  const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  const auto filter = std::make_shared<WaitingFilter>();
  keyspace->tree()->AddFilter(filter);
  for (int i = 0; i < 6; i++) {
    for (const std::string& key : {std::string("k0"), "k" + std::to_string(i)}) {
      DB_ASSERT_OK(database->WriteOne(keyspace.get(), Kind::kValue, key, "v", Durability::kOs));
    }
    DB_ASSERT_OK(database->FlushKeyspace(keyspace.get()));
  }
  while (!filter->asked.load()) std::this_thread::yield();
  DB_ASSERT_OK(database->Close());
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), SmallOptions(), &database));
  Contents contents;
  DB_ASSERT_OK(ReadAll(database.get(), &contents));
  EXPECT_EQ(contents["a"].size(), 6u);
  DB_ASSERT_OK(database->Close());
}

}  // namespace
}  // namespace shale
