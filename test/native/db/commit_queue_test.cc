// The commit queue over a sink that only writes down what it is told.
#include "db/commit_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/seed.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

// A journal and a memtable in one: both lists of (seqno, key).
class FakeSink : public CommitSink {
 public:
  Status Append(Commit* const* commits, size_t n, Seqno first) override {
    if (inside_.fetch_add(1) != 0) ADD_FAILURE() << "two holders of the write lock";
    groups_++;
    largest_group_ = std::max(largest_group_, n);
    Status status = fail_appends_ > 0 ? Status(Code::kDiskFull, "full") : Status::Ok();
    if (fail_appends_ > 0) fail_appends_--;
    for (size_t i = 0; i < n && status.ok(); ++i) {
      EXPECT_EQ(first + i, next_);
      appended_.push_back(commits[i]->key.ToString());
      next_ = first + i + 1;
    }
    if (status.ok()) handed_over_.store(next_ - 1);
    inside_.fetch_sub(1);
    return status;
  }
  void Insert(Commit* const* commits, size_t n) override {
    for (size_t i = 0; i < n; ++i) inserted_.store(commits[i]->seqno);
  }
  void AfterGroup() override {
    if (std::exchange(no_memory_, false)) throw std::bad_alloc();
  }
  Seqno HandedOver() override { return handed_over_.load(); }
  Status Sync() override {
    if (syncing_.fetch_add(1) != 0) ADD_FAILURE() << "two syncs at a time";
    const Seqno target = handed_over_.load();
    syncs_++;
    std::this_thread::yield();
    const Status status = fail_sync_.load() ? Status(Code::kSyncFailed, "bad") : Status::Ok();
    if (status.ok()) durable_.store(target);
    syncing_.fetch_sub(1);
    return status;
  }
  void OnFailure(const Status&) override { failures_++; }
  // With the write lock: appends a commit that is held.
  Seqno HoldOne(CommitQueue* queue) {
    const Seqno seqno = queue->next_seqno();
    EXPECT_EQ(seqno, next_);
    appended_.emplace_back("held");
    next_ = seqno + 1;
    handed_over_.store(seqno);
    queue->HoldOne(seqno);
    inserted_.store(seqno);
    return seqno;
  }

  std::vector<std::string> appended_;
  Seqno next_ = 1;
  size_t groups_ = 0;
  size_t largest_group_ = 0;
  int fail_appends_ = 0;
  bool no_memory_ = false;
  std::atomic<bool> fail_sync_{false};
  std::atomic<int> inside_{0};
  std::atomic<int> syncing_{0};
  std::atomic<int> syncs_{0};
  std::atomic<int> failures_{0};
  std::atomic<Seqno> handed_over_{0};
  std::atomic<Seqno> inserted_{0};
  std::atomic<Seqno> durable_{0};
};

Commit MakeCommit(Slice key, Durability durability) {
  Commit commit;
  commit.key = key;
  commit.durability = durability;
  return commit;
}

std::shared_ptr<DeferredCommit> MakeDeferred(const std::string& key, Durability durability,
                                             Completion completion) {
  auto deferred = std::make_shared<DeferredCommit>();
  deferred->bytes = key;
  deferred->commit = MakeCommit(deferred->bytes, durability);
  deferred->commit.completion = std::move(completion);
  return deferred;
}

class CommitQueueTest : public testing::Test {
 protected:
  CommitQueueTest()
      : clock_(1),
        executor_(MakeManualExecutor(&clock_, 1)),
        queue_(&sink_, executor_.get(), &visible_) {
    queue_.Start(1);
  }
  Status Run(Slice key, Durability durability = Durability::kOs) {
    Commit commit = MakeCommit(key, durability);
    return queue_.Run(&commit);
  }
  void RunAll() {
    while (executor_->RunOne()) {
    }
  }
  Seqno HoldOne() {
    const CommitQueue::WriteLock lock(&queue_);
    return sink_.HoldOne(&queue_);
  }

  MemVfs clock_;
  FakeSink sink_;
  std::unique_ptr<Executor> executor_;
  std::atomic<Seqno> visible_{0};
  CommitQueue queue_;
};

TEST_F(CommitQueueTest, SeqnosFollowTheJournalWithoutGaps) {
  ASSERT_TRUE(Run("a").ok());
  EXPECT_EQ(visible_.load(), 2u);
  sink_.fail_appends_ = 1;
  EXPECT_TRUE(Run("lost").Is(Code::kDiskFull));
  EXPECT_EQ(visible_.load(), 2u);
  EXPECT_EQ(queue_.next_seqno(), 2u);
  ASSERT_TRUE(Run("b").ok());
  EXPECT_EQ(sink_.appended_, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(visible_.load(), 3u);
  EXPECT_EQ(sink_.syncs_.load(), 0);
  ASSERT_TRUE(Run("c", Durability::kSync).ok());
  EXPECT_EQ(sink_.syncs_.load(), 1);
  EXPECT_EQ(queue_.synced(), 3u);
  ASSERT_TRUE(queue_.SyncTo(3).ok());
  EXPECT_EQ(sink_.syncs_.load(), 1);
}

TEST_F(CommitQueueTest, WhatIsBehindAPendingSyncIsInvisible) {
  std::string told;
  const auto tell = [&](char name) { return [&told, name](Status) { told += name; }; };
  Commit first = MakeCommit("s", Durability::kSync);
  first.completion = tell('s');
  EXPECT_TRUE(queue_.TryRun(&first).Is(Code::kWouldBlock));
  Commit second = MakeCommit("o", Durability::kOs);
  second.completion = tell('o');
  EXPECT_TRUE(queue_.TryRun(&second).Is(Code::kWouldBlock));
  EXPECT_EQ(visible_.load(), 1u);
  EXPECT_EQ(told, "");
  RunAll();
  EXPECT_EQ(told, "so");
  EXPECT_EQ(visible_.load(), 3u);
  Commit third = MakeCommit("p", Durability::kOs);
  EXPECT_TRUE(queue_.TryRun(&third).ok());
  EXPECT_EQ(visible_.load(), 4u);
}

TEST_F(CommitQueueTest, DeferredCommitsKeepTheirPlace) {
  std::string told;
  queue_.Defer(MakeDeferred("a", Durability::kOs, [&](Status) { told += 'a'; }));
  queue_.Defer(MakeDeferred("b", Durability::kSync, [&](Status) { told += 'b'; }));
  EXPECT_TRUE(queue_.HasDeferred());
  // An async form does not overtake them, a sync form takes them along.
  Commit late = MakeCommit("x", Durability::kOs);
  EXPECT_TRUE(queue_.TryRun(&late).Is(Code::kStalled));
  ASSERT_TRUE(Run("c").ok());
  EXPECT_EQ(sink_.appended_, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(sink_.largest_group_, 3u);
  EXPECT_EQ(told, "ab");
  EXPECT_FALSE(queue_.HasDeferred());
  queue_.Defer(MakeDeferred("d", Durability::kOs, [&](Status) { told += 'd'; }));
  RunAll();
  EXPECT_EQ(told, "abd");
}

TEST_F(CommitQueueTest, AGroupFailsAsAWhole) {
  int failed = 0;
  for (int i = 0; i < 3; ++i) {
    queue_.Defer(MakeDeferred("a", Durability::kOs, [&](Status status) {
      failed += status.Is(Code::kDiskFull) ? 1 : 0;
    }));
  }
  sink_.fail_appends_ = 1;
  RunAll();
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(visible_.load(), 1u);
  ASSERT_TRUE(Run("b").ok());
  EXPECT_EQ(visible_.load(), 2u);
}

TEST_F(CommitQueueTest, AFailedSyncRejectsWhatIsInvisibleAndAllThatFollows) {
  ASSERT_TRUE(Run("before").ok());
  Status told;
  Commit pending = MakeCommit("p", Durability::kSync);
  pending.completion = [&](Status status) { told = std::move(status); };
  ASSERT_TRUE(queue_.TryRun(&pending).Is(Code::kWouldBlock));
  sink_.fail_sync_ = true;
  const Status status = Run("s", Durability::kSync);
  EXPECT_TRUE(status.Is(Code::kSyncFailed));
  EXPECT_TRUE(status.details()->indeterminate);
  EXPECT_TRUE(told.Is(Code::kSyncFailed));
  EXPECT_EQ(visible_.load(), 2u);
  EXPECT_TRUE(queue_.failed());
  EXPECT_EQ(sink_.failures_.load(), 1);
  sink_.fail_sync_ = false;
  EXPECT_TRUE(Run("after").Is(Code::kDbFailed));
  EXPECT_TRUE(queue_.SyncTo(3).Is(Code::kSyncFailed));
  EXPECT_EQ(sink_.syncs_.load(), 1);
  EXPECT_EQ(visible_.load(), 2u);
}

// What cannot be finished for want of memory ends writing; nobody waits for ever.
TEST_F(CommitQueueTest, WithoutMemoryTheLockIsGivenBack) {
  ASSERT_TRUE(Run("a").ok());
  sink_.no_memory_ = true;
  EXPECT_TRUE(Run("b").ok()) << "it was visible already";
  EXPECT_TRUE(queue_.failed());
  EXPECT_TRUE(queue_.failure().Is(Code::kOutOfMemory));
  EXPECT_TRUE(Run("c").Is(Code::kDbFailed));
  std::string told;
  queue_.Defer(MakeDeferred("d", Durability::kOs, [&](Status s) { told = CodeName(s.code()); }));
  RunAll();
  EXPECT_EQ(told, "DB_FAILED");
  const CommitQueue::WriteLock lock(&queue_);
}

// Compression is a saving: without memory for it the commit is journaled as it is.
TEST_F(CommitQueueTest, WithoutMemoryToCompressACommitGoesAheadAsItWas) {
  std::string told;
  auto deferred = MakeDeferred("a", Durability::kOs, [&](Status s) { told = CodeName(s.code()); });
  deferred->compress = []() -> std::string { throw std::bad_alloc(); };
  queue_.Defer(deferred);
  RunAll();
  EXPECT_EQ(told, "OK");
  EXPECT_TRUE(deferred->commit.journal.empty());
  EXPECT_EQ(sink_.appended_, (std::vector<std::string>{"a"}));
}

TEST_F(CommitQueueTest, TheBareLockAndCommitsShareOneOrder) {
  std::string told;
  {
    const CommitQueue::WriteLock lock(&queue_);
    queue_.Defer(MakeDeferred("a", Durability::kOs, [&](Status) { told += 'a'; }));
    EXPECT_EQ(told, "");
    Commit commit = MakeCommit("x", Durability::kOs);
    EXPECT_TRUE(queue_.TryRun(&commit).Is(Code::kStalled));
    queue_.PublishOne(1);
    EXPECT_EQ(visible_.load(), 2u);
    sink_.next_ = 2;
  }
  RunAll();
  EXPECT_EQ(told, "a");
  EXPECT_EQ(sink_.appended_, std::vector<std::string>{"a"});
  EXPECT_EQ(visible_.load(), 3u);
}

// ---- a commit that is held ----

TEST_F(CommitQueueTest, WhatComesBehindAHeldCommitWaitsForIt) {
  ASSERT_TRUE(Run("a").ok());
  const Seqno held = HoldOne();
  EXPECT_EQ(held, 2u);
  std::string told;
  const auto tell = [&told](const std::string& key) {
    return [&told, key](const Status& status) { told += status.ok() ? key : "!"; };
  };
  Commit b = MakeCommit("b", Durability::kOs);
  b.completion = tell("b");
  EXPECT_TRUE(queue_.TryRun(&b).Is(Code::kWouldBlock));
  queue_.Defer(MakeDeferred("c", Durability::kSync, tell("c")));
  Commit d = MakeCommit("d", Durability::kBuffered);
  d.completion = tell("d");
  RunAll();
  EXPECT_TRUE(queue_.TryRun(&d).Is(Code::kWouldBlock));
  RunAll();
  EXPECT_EQ(told, "");
  EXPECT_EQ(visible_.load(), 2u);
  // The sync that one of them wants does not wait.
  EXPECT_EQ(sink_.durable_.load(), 4u);
  queue_.Release(held);
  EXPECT_EQ(told, "bcd");
  EXPECT_EQ(visible_.load(), 6u);
  ASSERT_TRUE(Run("e").ok());
  EXPECT_EQ(visible_.load(), 7u);
}

TEST_F(CommitQueueTest, AHeldCommitWaitsForTheSyncsBeforeIt) {
  std::string told;
  Commit a = MakeCommit("a", Durability::kSync);
  a.completion = [&told](const Status& status) { told += status.ok() ? "a" : "!"; };
  EXPECT_TRUE(queue_.TryRun(&a).Is(Code::kWouldBlock));
  const Seqno held = HoldOne();
  queue_.Release(held);
  EXPECT_EQ(visible_.load(), 1u);
  RunAll();
  EXPECT_EQ(told, "a");
  EXPECT_EQ(visible_.load(), 3u);
  EXPECT_EQ(sink_.syncs_.load(), 1);
}

TEST_F(CommitQueueTest, AFailureEndsTheWaitForAHeldCommit) {
  const Seqno held = HoldOne();
  std::string told;
  Commit a = MakeCommit("a", Durability::kOs);
  a.completion = [&told](const Status& s) { told += s.Is(Code::kSyncFailed) ? "failed" : "?"; };
  EXPECT_TRUE(queue_.TryRun(&a).Is(Code::kWouldBlock));
  queue_.Fail(Status(Code::kIoError, "lost"));
  EXPECT_EQ(told, "failed");
  queue_.Release(held);
  EXPECT_EQ(visible_.load(), 1u);
  EXPECT_TRUE(Run("b").Is(Code::kDbFailed));
}

// Threads of every kind at once; the order must be one, visibility and durability must hold.
TEST(CommitQueueThreadsTest, EverybodyInOneOrder) {
  constexpr int kThreads = 6;
  const uint64_t per_thread = Scaled(4000);
  FakeSink sink;
  const auto executor = MakeThreadedExecutor(1);
  std::atomic<Seqno> visible{0};
  CommitQueue queue(&sink, executor.get(), &visible);
  queue.Start(1);
  std::atomic<uint64_t> async_pending{0};
  std::atomic<uint64_t> done{0};
  std::atomic<bool> stop{false};
  std::thread watcher([&] {
    Seqno last = 0;
    while (!stop.load()) {
      const Seqno now = visible.load(std::memory_order_acquire);
      if (now < last) ADD_FAILURE() << "visibility went back";
      if (now > sink.inserted_.load() + 1) ADD_FAILURE() << "visible before it was inserted";
      last = now;
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < per_thread; ++i) {
        const std::string key = std::to_string(t) + ":" + std::to_string(i);
        const auto durability = i % 7 == 0 ? Durability::kSync : Durability::kOs;
        if (t == 0 && i % 10 == 0) {
          const CommitQueue::WriteLock lock(&queue);
          if (sink.inside_.load() != 0) ADD_FAILURE() << "the lock is shared";
        }
        if (t % 3 != 0) {
          Commit commit = MakeCommit(key, durability);
          ASSERT_TRUE(queue.Run(&commit).ok());
          if (visible.load() <= commit.seqno) ADD_FAILURE() << "told before it is visible";
          if (durability == Durability::kSync && sink.durable_.load() < commit.seqno) {
            ADD_FAILURE() << "told before it is durable";
          }
          done++;
          continue;
        }
        async_pending++;
        const auto tell = [&](Status status) {
          if (!status.ok()) ADD_FAILURE() << status.ToString();
          done++;
          async_pending--;
        };
        Commit commit = MakeCommit(key, durability);
        commit.completion = tell;
        const Status status = i % 2 == 0 ? queue.TryRun(&commit) : Status(Code::kStalled);
        if (status.ok()) {
          tell(status);
        } else if (status.Is(Code::kStalled)) {
          queue.Defer(MakeDeferred(key, durability, tell));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  while (async_pending.load() != 0) std::this_thread::yield();
  executor->Shutdown();
  stop = true;
  watcher.join();
  EXPECT_EQ(done.load(), kThreads * per_thread);
  EXPECT_EQ(sink.appended_.size(), kThreads * per_thread);
  EXPECT_EQ(visible.load(), kThreads * per_thread + 1);
  // Each thread's commits are in the order in which it gave them.
  std::vector<int64_t> last(kThreads, -1);
  for (const std::string& key : sink.appended_) {
    const size_t colon = key.find(':');
    const auto thread = static_cast<size_t>(std::stoi(key.substr(0, colon)));
    const int64_t number = std::stoll(key.substr(colon + 1));
    EXPECT_EQ(number, last[thread] + 1);
    last[thread] = number;
  }
}

// Nothing behind a held commit is visible or told before it is released, and all of it after.
TEST(CommitQueueThreadsTest, WritersBesideHeldCommits) {
  FakeSink sink;
  const auto executor = MakeThreadedExecutor(1);
  std::atomic<Seqno> visible{0};
  CommitQueue queue(&sink, executor.get(), &visible);
  queue.Start(1);
  const uint64_t per_thread = Scaled(2000);
  std::atomic<Seqno> barrier{kSeqnoMax};  // held now
  std::atomic<uint64_t> pending{0};
  std::atomic<int> writers{3};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < per_thread; ++i) {
        const auto durability = static_cast<Durability>(i % 11 == 0 ? 2 : i % 2);
        if (t == 2) {
          pending++;
          queue.Defer(MakeDeferred("k", durability, [&](const Status& status) {
            if (!status.ok()) ADD_FAILURE() << status.ToString();
            pending--;
          }));
          continue;
        }
        Commit commit = MakeCommit("k", durability);
        ASSERT_TRUE(queue.Run(&commit).ok());
        if (commit.seqno > barrier.load()) ADD_FAILURE() << "told before what it waits for";
        if (visible.load() <= commit.seqno) ADD_FAILURE() << "told before it is visible";
      }
      writers--;
    });
  }
  uint64_t held_commits = 0;
  while (writers.load() != 0 || held_commits < 20) {
    Seqno held = 0;
    {
      const CommitQueue::WriteLock lock(&queue);
      held = sink.HoldOne(&queue);
      barrier.store(held);
    }
    held_commits++;
    if (held_commits % 2 == 0) {
      ASSERT_TRUE(queue.SyncTo(held).ok());
    }
    std::this_thread::yield();
    EXPECT_LE(visible.load(), held);
    barrier.store(kSeqnoMax);
    queue.Release(held);
  }
  for (std::thread& thread : threads) thread.join();
  while (pending.load() != 0) std::this_thread::yield();
  EXPECT_EQ(visible.load(), 3 * per_thread + held_commits + 1);
  executor->Shutdown();
}

TEST(CommitQueueThreadsTest, AFailedSyncLetsNobodyWait) {
  for (uint64_t round = 0; round < Scaled(40); ++round) {
    FakeSink sink;
    const auto executor = MakeThreadedExecutor(1);
    std::atomic<Seqno> visible{0};
    CommitQueue queue(&sink, executor.get(), &visible);
    queue.Start(1);
    std::vector<std::thread> threads;
    std::atomic<int> told{0};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 50; ++i) {
          if (t == 3 && i == 25) sink.fail_sync_ = true;
          Commit commit = MakeCommit("k", i % 2 == 0 ? Durability::kSync : Durability::kOs);
          const Status status = queue.Run(&commit);
          if (status.ok() && visible.load() <= commit.seqno) ADD_FAILURE() << "not visible";
          told++;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(told.load(), 200);
    EXPECT_TRUE(queue.failed());
    executor->Shutdown();
  }
}

}  // namespace
}  // namespace shale
