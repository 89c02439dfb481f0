// What a database counts, and what it tells: exact figures on a machine in memory.
#include "db/database_metrics.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "db/database_support.h"
#include "vfs/fault_vfs.h"

namespace shale {
namespace {

using Type = Event::Type;

class DatabaseMetricsTest : public testing::Test {
 protected:
  DatabaseMetricsTest() : vfs_(TestSeed()), fault_(&vfs_) {}
  ~DatabaseMetricsTest() override {
    fault_.SetPlan({});
    if (database_) DB_EXPECT_OK(database_->Close());
  }

  void Open(DatabaseOptions options = SmallOptions()) {
    auto executor = MakeManualExecutor(&fault_, TestSeed());
    executor_ = executor.get();
    DB_ASSERT_OK(Database::Open(&fault_, std::move(executor), "/db", options, &database_));
    keyspace_ = MustOpenKeyspace(database_.get(), "a");
    database_->events()->Add(queue_);
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
  std::vector<Event> Told() {
    std::vector<Event> told;
    for (const SharedEvent& event : queue_->Take()) told.push_back(*event);
    return told;
  }

  MemVfs vfs_;
  FaultVfs fault_;
  Executor* executor_ = nullptr;
  std::shared_ptr<EventQueue> queue_ = std::make_shared<EventQueue>([] {});
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
};

TEST_F(DatabaseMetricsTest, WritesAreCountedByTheirEntries) {
  Open();
  const DatabaseMetrics before = database_->metrics();
  EXPECT_EQ(before.insert.count, 0u);  // that a keyspace was created is no write of users
  DB_ASSERT_OK(Put("key", "value"));
  DB_ASSERT_OK(
      database_->WriteOne(keyspace_.get(), Kind::kTombstone, "key", Slice(), Durability::kOs));
  WriteBatch batch;
  const Ref<Keyspace> other = MustOpenKeyspace(database_.get(), "b");
  batch.Add(Kind::kValue, keyspace_->id(), "k1", "v1");
  batch.Add(Kind::kValue, other->id(), "k2", std::string(10000, 'v'));
  batch.Add(Kind::kWeakTombstone, other->id(), "k3", Slice());
  DB_ASSERT_OK(database_->Write(batch.bytes(), Durability::kOs));
  WriteBatch single;
  single.Add(Kind::kValue, other->id(), "k4", "v4");
  DB_ASSERT_OK(database_->Write(single.bytes(), Durability::kOs));
  EXPECT_FALSE(Put("", "v").ok());
  const DatabaseMetrics m = database_->metrics();
  EXPECT_EQ(m.writes.inserts, 4u);
  EXPECT_EQ(m.writes.removes, 2u);
  EXPECT_EQ(m.writes.batches, 1u);
  EXPECT_EQ(m.writes.bytes, 8u + 3 + 4 + 10002 + 2 + 4);
  EXPECT_EQ(m.insert.count, 4u);
  ASSERT_EQ(m.keyspaces.size(), 2u);
  EXPECT_EQ(m.keyspaces[0].first, "a");
  // Two entries, and one of a batch: 12 bytes each besides.
  EXPECT_EQ(m.keyspaces[0].second.write_amplification, (15.0 + 3 * 12) / 15);
  // The large value is compressed in the journal.
  EXPECT_LT(m.keyspaces[1].second.write_amplification, 0.1);
  EXPECT_EQ(m.journal.appends - before.journal.appends, 5u);  // the other keyspace's creation
  EXPECT_EQ(m.journal.count, 1u);
}

TEST_F(DatabaseMetricsTest, CommitsThatWaitAreAllTimedAndCountOnce) {
  Open();
  vfs_.AdvanceClock(1'000'000);
  const uint64_t syncs = database_->metrics().journal.syncs;  // of opening
  int told = 0;
  const auto done = [&told](Status status) {
    DB_EXPECT_OK(status);
    told++;
  };
  // Behind a pending sync commit nothing is visible.
  for (const Durability durability : {Durability::kSync, Durability::kOs, Durability::kBuffered}) {
    const Status status =
        database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "k", "v", durability, done);
    EXPECT_TRUE(status.Is(Code::kWouldBlock));
  }
  EXPECT_EQ(database_->metrics().insert.count, 0u);
  vfs_.AdvanceClock(5'000'000);
  RunAll(executor_);
  EXPECT_EQ(told, 3);
  DatabaseMetrics m = database_->metrics();
  EXPECT_EQ(m.insert.count, 3u);
  EXPECT_EQ(m.journal.syncs, syncs + 1);
  EXPECT_EQ(m.sync.count, syncs + 1);
  EXPECT_NEAR(m.insert.p50, 5000, 5000 * 0.017);  // microseconds
  EXPECT_GE(m.insert.max, 5000);
  EXPECT_EQ(m.writes.inserts, 3u);
  DB_ASSERT_OK(Put("k", "v", Durability::kSync));
  m = database_->metrics();
  EXPECT_EQ(m.insert.count, 4u);
  EXPECT_EQ(m.journal.syncs, syncs + 2);
}

TEST_F(DatabaseMetricsTest, FlushesAndCompactionsAreCountedAndTold) {
  Open();
  for (int i = 0; i < 2; ++i) {
    DB_ASSERT_OK(Put("k" + std::to_string(i), "v"));
    DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
  }
  DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));  // nothing to do
  RunAll(executor_);
  const uint64_t flushed = database_->metrics().flushes.bytes_written;
  EXPECT_EQ(database_->metrics().flushes.completed, 2u);
  EXPECT_EQ(database_->metrics().flush.count, 2u);
  const uint64_t compactions = database_->metrics().compactions.completed;
  const uint64_t tables = keyspace_->tree()->table_bytes();
  EXPECT_EQ(tables, flushed);
  DB_ASSERT_OK(database_->MajorCompaction(keyspace_.get(), 0, nullptr));
  RunAll(executor_);
  const DatabaseMetrics m = database_->metrics();
  EXPECT_EQ(m.compactions.completed, compactions + 1);
  EXPECT_EQ(m.compaction.count, compactions + 1);
  EXPECT_EQ(m.compactions.bytes_read, tables);
  EXPECT_EQ(m.compactions.bytes_written, keyspace_->tree()->table_bytes());
  EXPECT_EQ(m.compactions.active + m.flushes.active, 0u);
  const std::vector<Event> told = Told();
  ASSERT_EQ(told.size(), 3 + compactions);
  EXPECT_EQ(told.front().type, Type::kFlush);
  EXPECT_EQ(told.front().keyspace, "a");
  EXPECT_EQ(told.front().tables, 1u);
  EXPECT_EQ(told.back().type, Type::kCompaction);
  EXPECT_EQ(told.back().plan.tables.size(), 2u);
  EXPECT_EQ(told.back().bytes_read, tables);
  EXPECT_EQ(told.back().bytes_written, keyspace_->tree()->table_bytes());
}

TEST_F(DatabaseMetricsTest, AFailingFlushDegradesAndHeals) {
  Open();
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kTable, 0, FaultKind::kEnospc, true}});
  DB_ASSERT_OK(Put("k", "v"));
  ASSERT_TRUE(database_->RotateMemtable(keyspace_.get()));
  Pass(200);
  fault_.SetPlan({});
  Pass(2000);
  std::vector<Event> told = Told();
  ASSERT_GE(told.size(), 5u);
  EXPECT_EQ(told[0].type, Type::kError);
  EXPECT_EQ(told[0].during, Event::During::kFlush);
  EXPECT_EQ(told[0].cause.code(), Code::kDiskFull);
  EXPECT_EQ(told[0].cause.details()->keyspace, "a");
  EXPECT_EQ(told[1].type, Type::kStatus);
  EXPECT_EQ(told[1].status, DatabaseStatus::kDegraded);
  EXPECT_EQ(told[1].cause.ToString(), told[0].cause.ToString());
  // It was tried again, and failed, and was told each time; the state changed once.
  size_t i = 2;
  while (told[i].type == Type::kError) i++;
  EXPECT_GT(i, 2u);
  EXPECT_EQ(told[i].type, Type::kFlush);
  EXPECT_EQ(told[i + 1].type, Type::kStatus);
  EXPECT_EQ(told[i + 1].status, DatabaseStatus::kOpen);
  EXPECT_TRUE(told[i + 1].cause.ok());
  // The strategy moves the first table to the last level.
  for (i += 2; i < told.size(); ++i) EXPECT_EQ(told[i].type, Type::kCompaction);
}

TEST_F(DatabaseMetricsTest, AFullJournalIsToldOnceAndHeals) {
  Open();
  Pass(100);
  static_cast<void>(Told());
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kJournal, 0, FaultKind::kEnospc, true}});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Put("k", "v").Is(Code::kDiskFull));
  EXPECT_EQ(database_->metrics().insert.count, 0u);
  EXPECT_EQ(database_->metrics().writes.inserts, 0u);
  fault_.SetPlan({});
  DB_ASSERT_OK(Put("k", "v"));
  const std::vector<Event> told = Told();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].type, Type::kError);
  EXPECT_EQ(told[0].during, Event::During::kJournal);
  EXPECT_EQ(told[1].status, DatabaseStatus::kDegraded);
  EXPECT_EQ(told[2].status, DatabaseStatus::kOpen);
}

TEST_F(DatabaseMetricsTest, AFailedSyncIsTheEndOfWriting) {
  Open();
  Pass(100);
  static_cast<void>(Told());
  fault_.SetPlan({{FaultOp::kSync, PathClass::kJournal, 0, FaultKind::kEio, true}});
  EXPECT_TRUE(Put("k", "v", Durability::kSync).Is(Code::kSyncFailed));
  EXPECT_FALSE(Put("k", "v").ok());
  Pass(100);
  const std::vector<Event> told = Told();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].type, Type::kError);
  EXPECT_EQ(told[0].during, Event::During::kSync);
  EXPECT_EQ(told[1].type, Type::kStatus);
  EXPECT_EQ(told[1].status, DatabaseStatus::kFailed);
  EXPECT_EQ(told[1].cause.code(), told[0].cause.code());
  EXPECT_EQ(database_->metrics().journal.syncs, database_->metrics().sync.count);
  fault_.SetPlan({});
  static_cast<void>(database_->Close());
  database_.reset();
}

TEST_F(DatabaseMetricsTest, AStallHasABeginningAndAnEnd) {
  DatabaseOptions options = SmallOptions();
  options.max_write_buffer_size = 256 * 1024;
  options.journal_compression = Codec::kNone;  // so that no commit waits for that
  Open(options);
  const std::string value(32 * 1024, 'v');
  int left = 0;
  for (int i = 0; i < 40; ++i) {
    const Status status =
        database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "k" + std::to_string(i), value,
                                 Durability::kBuffered, [&left](Status outcome) {
                                   DB_EXPECT_OK(outcome);
                                   left--;
                                 });
    if (status.Is(Code::kWouldBlock)) {
      left++;
    } else {
      DB_ASSERT_OK(status);
    }
  }
  for (int i = 0; i < 5000 && left > 0; ++i) Pass(1);
  EXPECT_EQ(left, 0);
  Pass(100);
  int begun = 0;
  int ended = 0;
  for (const Event& event : Told()) {
    if (event.type != Type::kStall) continue;
    EXPECT_EQ(event.reason, Event::Reason::kMemory);
    (event.active ? begun : ended)++;
    EXPECT_EQ(begun, ended + (event.active ? 1 : 0));
  }
  EXPECT_GT(begun, 0);
  EXPECT_EQ(begun, ended);
  const DatabaseMetrics m = database_->metrics();
  EXPECT_GT(m.writes.stalls, 0u);
  EXPECT_GT(m.writes.stall_ms, 0);
  EXPECT_EQ(m.insert.count, 40u);
  EXPECT_GE(m.insert.max / 1000 + 1, m.writes.stall_ms / static_cast<double>(m.writes.stalls));
}

// Everybody reads metrics while others write, flush and listen: for the thread sanitizer.
TEST(DatabaseMetricsThreads, AreReadWhileAllGoesOn) {
  MemVfs vfs(TestSeed());
  Ref<Database> database;
  DB_ASSERT_OK(Database::Open(&vfs, MakeThreadedExecutor(1), "/db", SmallOptions(), &database));
  const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  constexpr int kWrites = 2000;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kWrites; ++i) {
        const std::string key = std::to_string(t) + "-" + std::to_string(i);
        DB_EXPECT_OK(database->WriteOne(keyspace.get(), Kind::kValue, key, std::string(50, 'v'),
                                        i % 500 == 0 ? Durability::kSync : Durability::kOs));
        std::string value;
        DB_EXPECT_OK(ReadOne(*keyspace, key, kReadAll, &value));
      }
    });
  }
  std::thread reader([&] {
    const auto queue = std::make_shared<EventQueue>([] {});
    uint64_t inserts = 0;
    while (!stop.load()) {
      database->events()->Add(queue);
      const DatabaseMetrics m = database->metrics();
      EXPECT_GE(m.writes.inserts, inserts);
      inserts = m.writes.inserts;
      static_cast<void>(queue->Take());
      database->events()->Remove(queue.get());
    }
  });
  for (std::thread& thread : threads) thread.join();
  stop.store(true);
  reader.join();
  // Until then a flush may end between two looks.
  DB_ASSERT_OK(database->FlushKeyspace(keyspace.get()));
  const DatabaseMetrics m = database->metrics();
  EXPECT_EQ(m.writes.inserts, uint64_t{2 * kWrites});
  EXPECT_EQ(m.insert.count, uint64_t{2 * kWrites});
  EXPECT_GT(m.flushes.completed, 0u);
  EXPECT_EQ(m.keyspaces.front().second.memtable_bytes, database->figures().write_buffer_bytes);
  DB_ASSERT_OK(database->Close());
}

}  // namespace
}  // namespace shale
