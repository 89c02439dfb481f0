// Ingestions beside writers, readers, flushes and compactions, with threads. Run it under
// ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "db/database_support.h"
#include "support/temp_dir.h"

namespace shale {
namespace {

// What a reader of the newest state finds, 0 if nothing.
uint64_t NumberAt(const SuperVersion* sv, const std::string& key, Seqno seqno) {
  TreeHit hit;
  const Status status = Tree::Get(sv, key, seqno, ReadMode::kMayBlock, &hit);
  if (status.Is(Code::kNotFound)) return 0;
  if (!status.ok()) ADD_FAILURE() << status.ToString();
  return status.ok() ? std::stoull(hit.value.ToString()) : 0;
}

// Ingestion n gives n to all of its keys. The writer writes how many have ended: whoever sees that
// number sees the rows, and whoever sees some of the rows sees all of them.
TEST(IngestionThreadsTest, NobodySeesAPartOrALaterWriteWithoutTheRows) {
  const TempDir dir;
  DatabaseOptions options = SmallOptions();
  options.worker_threads = 2;
  options.max_stall_ms = 60'000;
  Ref<Database> database;
  DB_ASSERT_OK(
      Database::Open(Vfs::Real(), MakeThreadedExecutor(2), dir.path(), options, &database));
  const Ref<Keyspace> a = MustOpenKeyspace(database.get(), "a");
  const uint64_t rounds = Scaled(60);
  const uint64_t keys = 400;
  const auto key_of = [](uint64_t i) { return "i" + std::to_string(1000 + i); };
  std::atomic<uint64_t> ended{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (uint64_t i = 0; !stop.load(); ++i) {
      const auto durability = i % 100 == 0 ? Durability::kSync : Durability::kOs;
      DB_ASSERT_OK(database->WriteOne(a.get(), Kind::kValue, "written",
                                      std::to_string(ended.load()), durability));
      if (i % 50 == 0) {
        DB_ASSERT_OK(database->WriteOne(a.get(), Kind::kValue, "z" + std::to_string(i % 997),
                                        std::string(100, 'z'), Durability::kBuffered));
      }
    }
  });
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      uint64_t last = 0;
      for (uint64_t i = 0; !stop.load(); ++i) {
        Ref<SuperVersion> sv;
        Seqno seqno = 0;
        {
          const EpochGuard guard;
          sv = Ref<SuperVersion>::Share(
              a->tree()->CurrentAt([&] { return database->visible(); }, &seqno));
        }
        const uint64_t written = NumberAt(sv.get(), "written", seqno);
        const uint64_t first = NumberAt(sv.get(), key_of(0), seqno);
        const uint64_t other = NumberAt(sv.get(), key_of((i * 7 + 1) % keys), seqno);
        if (written > first) ADD_FAILURE() << written << " was written, " << first << " ingested";
        if (first != other) ADD_FAILURE() << "a part of an ingestion: " << first << ", " << other;
        if (first < last) ADD_FAILURE() << "back from " << last << " to " << first;
        last = first;
        if (t == 1) {
          // A snapshot stays what it was.
          const Seqno snapshot = database->snapshots().Open();
          const uint64_t before = NumberAt(a->tree()->PinFor(snapshot).get(), key_of(1), snapshot);
          std::this_thread::yield();
          const uint64_t after = NumberAt(a->tree()->PinFor(snapshot).get(), key_of(2), snapshot);
          if (before != after) ADD_FAILURE() << "a snapshot moved: " << before << ", " << after;
          database->snapshots().Close(snapshot);
        }
      }
    });
  }
  threads.emplace_back([&] {
    while (!stop.load()) {
      DB_EXPECT_OK(database->FlushKeyspace(a.get()));
      std::this_thread::yield();
    }
  });
  for (uint64_t n = 1; n <= rounds && !testing::Test::HasFailure(); ++n) {
    Ref<Ingestion> ingestion;
    Ref<Ingestion> given_up;
    DB_ASSERT_OK(database->StartIngestion(a.get(), &ingestion));
    DB_ASSERT_OK(database->StartIngestion(a.get(), &given_up));
    std::string rows;
    for (uint64_t i = 0; i < keys; ++i) {
      AppendRow(&rows, Kind::kValue, key_of(i), std::to_string(n));
      if (i % 50 != 49) continue;
      DB_ASSERT_OK(ingestion->Write(rows));
      DB_ASSERT_OK(given_up->Write(rows));
      rows.clear();
    }
    if (n % 3 != 0) given_up->Abort();
    given_up.reset();
    uint64_t count = 0;
    DB_ASSERT_OK(ingestion->Finish(&count));
    EXPECT_EQ(count, keys);
    ended.store(n);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  DB_ASSERT_OK(database->Close());
}

// Rows come faster than they are built, and close comes in between.
TEST(IngestionThreadsTest, ClosingEndsThoseThatAreOpen) {
  for (uint64_t round = 0; round < Scaled(6); ++round) {
    const TempDir dir;
    Ref<Database> database;
    DB_ASSERT_OK(Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), SmallOptions(),
                                &database));
    const Ref<Keyspace> a = MustOpenKeyspace(database.get(), "a");
    std::atomic<uint64_t> ingested{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t n = 0;; ++n) {
          Ref<Ingestion> ingestion;
          Status status = database->StartIngestion(a.get(), &ingestion);
          for (uint64_t i = 0; status.ok() && i < 40; ++i) {
            std::string rows;
            AppendRow(&rows, Kind::kValue, std::to_string(t) + std::to_string(100 + i),
                      std::string(100'000, 'v'));
            status = ingestion->Write(rows);
          }
          uint64_t count = 0;
          if (status.ok()) status = ingestion->Finish(&count);
          if (status.Is(Code::kDbClosed)) return;
          DB_ASSERT_OK(status);
          ingested += n == 0 ? count : 0;
        }
      });
    }
    while (ingested.load() == 0 && round % 2 == 0) std::this_thread::yield();
    DB_EXPECT_OK(database->Close());
    for (std::thread& thread : threads) thread.join();
    DB_ASSERT_OK(Database::Open(Vfs::Real(), MakeThreadedExecutor(1), dir.path(), SmallOptions(),
                                &database));
    Contents contents;
    DB_ASSERT_OK(ReadAll(database.get(), &contents));
    EXPECT_EQ(contents["a"].size(), ingested.load());
    DB_ASSERT_OK(database->Close());
  }
}

}  // namespace
}  // namespace shale
