// The database with its own threads on the real file system.
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "db/database_support.h"
#include "db/registry.h"
#include "db/write_control.h"
#include "support/temp_dir.h"

namespace shale {
namespace {

std::string Number(uint64_t i) {
  std::string text = std::to_string(i);
  return std::string(8 - std::min<size_t>(8, text.size()), '0') + text;
}

TEST(DatabaseThreadsTest, WritersReadersAndMaintenanceTogether) {
  const TempDir dir;
  DatabaseOptions options = SmallOptions();
  options.worker_threads = 2;
  options.sync_interval_ms = 20;
  options.max_write_buffer_size = 256 * 1024;
  options.max_stall_ms = 60'000;
  Ref<Database> database;
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(2), dir.path(), options, &database));
  const Ref<Keyspace> a = MustOpenKeyspace(database.get(), "a");
  const Ref<Keyspace> b = MustOpenKeyspace(database.get(), "b");
  const uint64_t commits = Scaled(3000);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> pending{0};
  std::vector<std::thread> threads;
  // Each commit writes the same number to both keyspaces: no reader may see it in one only.
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < commits; ++i) {
        WriteBatch batch;
        const std::string key = "w" + std::to_string(t);
        batch.Add(Kind::kValue, a->id(), key, Number(i));
        batch.Add(Kind::kValue, b->id(), key, Number(i));
        batch.Add(Kind::kValue, a->id(), Number(t * commits + i), std::string(60, 'v'));
        const auto durability = i % 50 == 0 ? Durability::kSync : Durability::kOs;
        if (t < 2) {
          DB_ASSERT_OK(database->Write(batch.bytes(), durability));
          continue;
        }
        pending++;
        const Status status = database->WriteAsync(batch.bytes(), durability, [&](Status s) {
          DB_EXPECT_OK(s);
          pending--;
        });
        if (status.ok()) pending--;
        if (!status.ok() && !status.Is(Code::kWouldBlock)) ADD_FAILURE() << status.ToString();
      }
    });
  }
  threads.emplace_back([&] {
    while (!stop.load()) {
      const Seqno snapshot = database->snapshots().Open();
      for (int t = 0; t < 3; ++t) {
        const std::string key = "w" + std::to_string(t);
        std::string in_a;
        std::string in_b;
        const Status first = ReadOne(*a, key, snapshot, &in_a);
        const Status second = ReadOne(*b, key, snapshot, &in_b);
        if (first.code() != second.code() || in_a != in_b) {
          ADD_FAILURE() << "half a batch: " << in_a << " and " << in_b << ", " << first.ToString()
                        << ", " << second.ToString();
        }
      }
      database->snapshots().Close(snapshot);
    }
  });
  threads.emplace_back([&] {
    while (!stop.load()) {
      DB_EXPECT_OK(database->FlushKeyspace(b.get()));
      static_cast<void>(database->figures());
      static_cast<void>(database->jobs());
    }
  });
  for (size_t i = 0; i < 3; ++i) threads[i].join();
  while (pending.load() != 0) std::this_thread::yield();
  stop = true;
  for (size_t i = 3; i < threads.size(); ++i) threads[i].join();
  Rows rows;
  DB_ASSERT_OK(ReadRows(*a, a->tree()->Pin(), database->visible(), &rows));
  EXPECT_EQ(rows.size(), 3 * commits + 3);
  DB_ASSERT_OK(database->Close());
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(2), dir.path(), options, &database));
  rows.clear();
  const Ref<Keyspace> again = database->FindKeyspace("a");
  DB_ASSERT_OK(ReadRows(*again, again->tree()->Pin(), database->visible(), &rows));
  EXPECT_EQ(rows.size(), 3 * commits + 3);
  EXPECT_LE(again->tree()->level0_runs(), kLevel0RunsMax);
  DB_ASSERT_OK(database->Close());
}

TEST(DatabaseThreadsTest, ClosingEndsWhateverRuns) {
  for (uint64_t round = 0; round < Scaled(12); ++round) {
    const TempDir dir;
    Ref<Database> database;
    DB_ASSERT_OK(Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), SmallOptions(),
                                &database));
    const Ref<Keyspace> a = MustOpenKeyspace(database.get(), "a");
    std::atomic<uint64_t> acknowledged{0};
    std::atomic<uint64_t> issued{0};
    std::atomic<uint64_t> told{0};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t i = 0;; ++i) {
          const std::string key = std::to_string(t) + Number(i);
          const Status status =
              database->WriteOne(a.get(), Kind::kValue, key, "v", Durability::kOs);
          if (status.Is(Code::kDbClosed)) return;
          DB_ASSERT_OK(status);
          acknowledged++;
        }
      });
    }
    threads.emplace_back([&] {
      for (uint64_t i = 0;; ++i) {
        issued++;
        const Status status = database->WriteOneAsync(
            a.get(), Kind::kValue, "a" + Number(i), "v",
            i % 20 == 0 ? Durability::kSync : Durability::kOs, [&](Status s) {
              if (s.ok()) acknowledged++;
              told++;
            });
        if (status.Is(Code::kWouldBlock)) continue;
        told++;
        if (status.ok()) acknowledged++;
        if (status.Is(Code::kDbClosed)) return;
      }
    });
    while (acknowledged.load() < 200) std::this_thread::yield();
    DB_EXPECT_OK(database->Close());
    DB_EXPECT_OK(database->Close());
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(told.load(), issued.load());
    DB_ASSERT_OK(Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), SmallOptions(),
                                &database));
    Rows rows;
    const Ref<Keyspace> again = database->FindKeyspace("a");
    DB_ASSERT_OK(ReadRows(*again, again->tree()->Pin(), database->visible(), &rows));
    EXPECT_EQ(rows.size(), acknowledged.load());
    DB_ASSERT_OK(database->Close());
  }
}

// Writes that wait for memory to be flushed are told, whatever they were doing when the database
// closed.
TEST(DatabaseThreadsTest, ClosingSettlesParkedWrites) {
  uint64_t parked = 0;
  for (uint64_t round = 0; round < Scaled(40); ++round) {
    const TempDir dir;
    DatabaseOptions options = SmallOptions();
    options.max_write_buffer_size = 32 * 1024;
    Ref<Database> database;
    DB_ASSERT_OK(
        Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), options, &database));
    const Ref<Keyspace> a = MustOpenKeyspace(database.get(), "a");
    std::atomic<uint64_t> issued{0};
    std::atomic<uint64_t> told{0};
    std::thread writer([&] {
      for (uint64_t i = 0;; ++i) {
        while (issued.load() - told.load() > 100) std::this_thread::yield();
        issued++;
        const Status status =
            database->WriteOneAsync(a.get(), Kind::kValue, Number(i), std::string(2000, 'v'),
                                    Durability::kOs, [&](Status) { told++; });
        if (!status.Is(Code::kWouldBlock)) told++;
        if (status.Is(Code::kDbClosed)) return;
      }
    });
    while (told.load() < 50 + round) std::this_thread::yield();
    DB_EXPECT_OK(database->Close());
    writer.join();
    EXPECT_EQ(told.load(), issued.load());
    parked += database->figures().stalls;
  }
  EXPECT_GT(parked, 0u);
}

TEST(DatabaseThreadsTest, CompactionCanBePausedAndDrained) {
  const TempDir dir;
  Ref<Database> database;
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(2), dir.path(), SmallOptions(), &database));
  const Ref<Keyspace> a = MustOpenKeyspace(database.get(), "a");
  const auto wait_for = [](const std::function<void(Completion)>& start) {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    start([&](Status status) {
      DB_EXPECT_OK(status);
      std::lock_guard<std::mutex> lock(mutex);
      done = true;
      changed.notify_all();
    });
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return done; });
  };
  wait_for([&](Completion told) { database->PauseCompaction(std::move(told)); });
  EXPECT_EQ(database->compactor_state(), Database::CompactorState::kPaused);
  for (uint64_t i = 0; i < 900; ++i) {
    DB_ASSERT_OK(database->WriteOne(a.get(), Kind::kValue, Number(i * 7919 % 900),
                                    std::string(80, 'v'), Durability::kOs));
    if (i % 100 == 99) DB_ASSERT_OK(database->FlushKeyspace(a.get()));
  }
  EXPECT_GE(a->tree()->level0_runs(), 9u);
  database->ResumeCompaction();
  wait_for([&](Completion told) { database->DrainCompaction(std::move(told)); });
  EXPECT_LT(a->tree()->level0_runs(), 9u);
  EXPECT_GT(database->figures().compactions_completed, 0u);
  DB_ASSERT_OK(database->MajorCompaction(a.get(), 1 << 20, nullptr));
  EXPECT_EQ(a->tree()->level0_runs(), 0u);
  DB_ASSERT_OK(database->Close());
}

TEST(RegistryTest, OneCoreForOneDirectory) {
  const TempDir dir;
  const std::string path = dir.path() + "/db";
  DatabaseOptions options = SmallOptions();
  std::unique_ptr<DatabaseHandle> first;
  std::unique_ptr<DatabaseHandle> second;
  DB_ASSERT_OK(DatabaseHandle::Open(path, options, &first));
  DB_ASSERT_OK(DatabaseHandle::Open(path, options, &second));
  EXPECT_EQ(first->database(), second->database());
  std::unique_ptr<DatabaseHandle> other;
  options.cache_size *= 2;
  Status status = DatabaseHandle::Open(path, options, &other);
  EXPECT_TRUE(status.Is(Code::kDbLocked));
  EXPECT_TRUE(status.details()->same_process);
  options.cache_size /= 2;
  options.error_if_exists = true;
  EXPECT_TRUE(DatabaseHandle::Open(path, options, &other).Is(Code::kDbExists));
  options.error_if_exists = false;
  DB_ASSERT_OK(first->Close());
  const Ref<Keyspace> a = MustOpenKeyspace(second->database(), "a");
  DB_ASSERT_OK(second->database()->WriteOne(a.get(), Kind::kValue, "k", "v", Durability::kOs));
  // Dropped without closing: the core is closed all the same, and the next open waits for that.
  second.reset();
  DB_ASSERT_OK(DatabaseHandle::Open(path, options, &other));
  EXPECT_EQ(other->database()->keyspace_count(), 1u);
  DB_ASSERT_OK(other->Close());
  DB_ASSERT_OK(other->Close());
}

// While it lives the system has no thread to give: none has room for such a stack.
class NoThreads {
 public:
  NoThreads() {
    pthread_attr_t huge;
    EXPECT_EQ(pthread_getattr_default_np(&usual_), 0);
    EXPECT_EQ(pthread_getattr_default_np(&huge), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 47), 0);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
  }
  ~NoThreads() { EXPECT_EQ(pthread_setattr_default_np(&usual_), 0); }

 private:
  pthread_attr_t usual_;
};

TEST(RegistryTest, WithoutThreadsNothingOpensAndEverythingCloses) {
  const TempDir dir;
  std::unique_ptr<DatabaseHandle> handle;
  DB_ASSERT_OK(DatabaseHandle::Open(dir.path() + "/db", SmallOptions(), &handle));
  {
    const NoThreads none;
    std::unique_ptr<DatabaseHandle> other;
    EXPECT_TRUE(
        DatabaseHandle::Open(dir.path() + "/other", SmallOptions(), &other).Is(Code::kOutOfMemory));
    handle.reset();  // dropped without closing
  }
  DB_ASSERT_OK(DatabaseHandle::Open(dir.path() + "/db", SmallOptions(), &handle));
  DB_ASSERT_OK(handle->Close());
}

TEST(RegistryTest, ManyThreadsOpenAndClose) {
  const TempDir dir;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < Scaled(15); ++i) {
        std::unique_ptr<DatabaseHandle> handle;
        DB_ASSERT_OK(DatabaseHandle::Open(dir.path() + "/db", SmallOptions(), &handle));
        const Ref<Keyspace> a = MustOpenKeyspace(handle->database(), "a");
        DB_EXPECT_OK(
            handle->database()->WriteOne(a.get(), Kind::kValue, "k", "v", Durability::kOs));
        if (i % 2 == 0) DB_EXPECT_OK(handle->Close());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::unique_ptr<DatabaseHandle> handle;
  DB_ASSERT_OK(DatabaseHandle::Open(dir.path() + "/db", SmallOptions(), &handle));
  DB_ASSERT_OK(handle->Close());
}

}  // namespace
}  // namespace shale
