// Replay: what a killed database left comes back whole, within the memory that it may use.
#include "db/recovery.h"

#include <gtest/gtest.h>

#include <string>

#include "db/database_support.h"
#include "vfs/fault_plan.h"

namespace shale {
namespace {

constexpr uint64_t kBudget = 64 * 1024;

Status LargeTree(bool exists, TreeOptions* options) {
  if (!exists) {
    *options = SmallTreeOptions();
    options->max_memtable_size = 4 << 20;
  }
  return Status::Ok();
}

struct Opened {
  Ref<Database> database;
  Executor* executor = nullptr;
};

Opened MustOpen(MemVfs* vfs, const DatabaseOptions& options) {
  Opened opened;
  auto executor = MakeManualExecutor(vfs, TestSeed());
  opened.executor = executor.get();
  DB_EXPECT_OK(Database::Open(vfs, std::move(executor), "/db", options, &opened.database));
  return opened;
}

DatabaseOptions Budget(uint64_t bytes) {
  DatabaseOptions options = SmallOptions();
  options.max_write_buffer_size = bytes;
  options.max_journal_size = 64 << 20;
  return options;
}

// A database that was killed with much more in its journal than the budget; every `sync_every`-th
// commit was synced.
std::unique_ptr<MemVfs> Killed(Contents* contents, uint64_t sync_every) {
  MemVfs vfs(TestSeed());
  const Opened opened = MustOpen(&vfs, Budget(64 << 20));
  Ref<Keyspace> keyspaces[3];
  for (size_t i = 0; i < 3; ++i) {
    DB_EXPECT_OK(
        opened.database->OpenKeyspace(std::string(1, char('a' + i)), LargeTree, &keyspaces[i]));
  }
  for (uint64_t i = 0; i < 600; ++i) {
    WriteBatch batch;
    for (size_t k = 0; k < 3; ++k) {
      if (i % (k + 1) != 0) continue;
      const std::string key = "key" + std::to_string(i * 7919 % 400);
      const std::string value = std::to_string(i) + std::string(400, 'v');
      batch.Add(Kind::kValue, keyspaces[k]->id(), key, value);
      (*contents)[keyspaces[k]->name()][key] = value;
    }
    const auto durability = i % sync_every == 0 ? Durability::kSync : Durability::kOs;
    DB_EXPECT_OK(opened.database->Write(batch.bytes(), durability));
  }
  EXPECT_EQ(opened.database->figures().flushes_completed, 0u);
  return vfs.CrashClone(CrashPolicy::All(), ~TestSeed());
}

// Half a commit in a table and half in memory must not count as flushed.
TEST(RecoveryTest, AReplayedCommitIsFlushedAsAWhole) {
  MemVfs vfs(TestSeed());
  const Opened first = MustOpen(&vfs, SmallOptions());
  const Ref<Keyspace> a = MustOpenKeyspace(first.database.get(), "a");
  WriteBatch batch;
  batch.Add(Kind::kValue, a->id(), "large", std::string(SmallTreeOptions().max_memtable_size, 'v'));
  batch.Add(Kind::kValue, a->id(), "small", "v");
  DB_ASSERT_OK(first.database->Write(batch.bytes(), Durability::kSync));
  const auto killed = vfs.CrashClone(CrashPolicy::All(), 1);
  const Opened second = MustOpen(killed.get(), SmallOptions());
  RunAll(second.executor);
  EXPECT_GT(second.database->figures().flushes_completed, 0u);
  const auto again = killed->CrashClone(CrashPolicy::All(), 2);
  const Opened third = MustOpen(again.get(), SmallOptions());
  Contents contents;
  DB_ASSERT_OK(ReadAll(third.database.get(), &contents));
  EXPECT_EQ(contents["a"].count("large"), 1u);
  EXPECT_EQ(contents["a"].count("small"), 1u);
}

TEST(RecoveryTest, ReplayStaysWithinTheWriteBuffer) {
  Contents expected;
  const auto killed = Killed(&expected, 10);
  const Opened opened = MustOpen(killed.get(), Budget(kBudget));
  EXPECT_LE(opened.database->figures().write_buffer_bytes, kBudget);
  Contents contents;
  DB_ASSERT_OK(ReadAll(opened.database.get(), &contents));
  EXPECT_EQ(contents, expected) << Difference(expected, contents);
  DB_ASSERT_OK(opened.database->Close());
}

// What is not known to be durable must not be named in the manifest before it is.
TEST(RecoveryTest, WhatIsNotDurableIsNotFlushedEarly) {
  Contents expected;
  const auto killed = Killed(&expected, 1'000'000);
  const Opened opened = MustOpen(killed.get(), Budget(kBudget));
  EXPECT_GT(opened.database->figures().write_buffer_bytes, kBudget);
  RunAll(opened.executor);
  EXPECT_LE(opened.database->figures().write_buffer_bytes, kBudget);
  Contents contents;
  DB_ASSERT_OK(ReadAll(opened.database.get(), &contents));
  EXPECT_EQ(contents, expected) << Difference(expected, contents);
  DB_ASSERT_OK(opened.database->Close());
}

TEST(RecoveryTest, AReadOnlyOpenHoldsEverythingAndWritesNothing) {
  Contents expected;
  const auto killed = Killed(&expected, 10);
  DatabaseOptions options = Budget(kBudget);
  options.read_only = true;
  uint64_t tables = 0;
  killed->SetHook([&](const MemVfs::Operation& operation) {
    tables += ClassifyPath(operation.path) == PathClass::kTable ? 1 : 0;
  });
  const Opened opened = MustOpen(killed.get(), options);
  Contents contents;
  DB_ASSERT_OK(ReadAll(opened.database.get(), &contents));
  EXPECT_EQ(contents, expected) << Difference(expected, contents);
  DB_ASSERT_OK(opened.database->Close());
  EXPECT_EQ(tables, 0u);
}

// A crash at any operation of a recovery that flushes leaves all that was durable before it.
TEST(RecoveryTest, ACrashInAFlushingReplayLosesNothing) {
  Contents expected;
  const auto killed = Killed(&expected, 10);
  uint64_t images = 0;
  std::string problem;
  killed->SetHook([&](const MemVfs::Operation& operation) {
    if (!problem.empty() || operation.index % 3 != 0) return;
    images++;
    const auto policy = images % 2 == 0 ? CrashPolicy::All() : CrashPolicy::Random(50);
    const auto image = killed->CrashClone(policy, TestSeed() * 131 + operation.index);
    Ref<Database> database;
    const Status status = OpenSmall(image.get(), 1, Budget(kBudget), &database);
    Contents contents;
    if (status.ok()) DB_EXPECT_OK(ReadAll(database.get(), &contents));
    if (!status.ok() || contents != expected) {
      problem = "operation " + std::to_string(operation.index) + ", " + policy.ToString() + ": " +
                status.ToString() + " " + Difference(expected, contents);
    }
  });
  const Opened opened = MustOpen(killed.get(), Budget(kBudget));
  killed->SetHook(nullptr);
  EXPECT_EQ(problem, "");
  EXPECT_GT(images, 10u);
  DB_ASSERT_OK(opened.database->Close());
}

}  // namespace
}  // namespace shale
