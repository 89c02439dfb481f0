#include "db/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

// Opens once, for any number of waiters.
class Gate {
 public:
  void Open() {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

TEST(ThreadedExecutorTest, LanesDoNotWaitForEachOther) {
  const auto executor = MakeThreadedExecutor(2);
  EXPECT_EQ(executor->ThreadCount(Lane::kCompaction), 2u);
  EXPECT_EQ(executor->ThreadCount(Lane::kFlush), 1u);
  EXPECT_FALSE(executor->is_manual());
  EXPECT_FALSE(executor->RunOne());
  Gate blocked;
  Gate flushed;
  for (int i = 0; i < 3; ++i) executor->Submit(Lane::kCompaction, [&] { blocked.Wait(); });
  executor->Submit(Lane::kFlush, [&] { flushed.Open(); });
  flushed.Wait();
  blocked.Open();
}

TEST(ThreadedExecutorTest, OneThreadKeepsTheOrder) {
  const auto executor = MakeThreadedExecutor(1);
  std::vector<int> order;
  Gate done;
  for (int i = 0; i < 100; ++i) executor->Submit(Lane::kFlush, [&order, i] { order.push_back(i); });
  executor->Submit(Lane::kFlush, [&] { done.Open(); });
  done.Wait();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

// All of a lane's threads see delayed work: each piece ends when all of them run.
TEST(ThreadedExecutorTest, DelayedWorkRunsOnAllThreads) {
  constexpr uint32_t kThreads = 4;
  const auto executor = MakeThreadedExecutor(kThreads);
  std::atomic<uint32_t> running{0};
  Gate all;
  for (uint32_t i = 0; i < kThreads; ++i) {
    executor->SubmitAfter(Lane::kCompaction, 20, [&] {
      if (++running == kThreads) all.Open();
      all.Wait();
    });
  }
  all.Wait();
  // A thread that knew when to look again is busy: another one looks.
  Gate blocked;
  Gate ran;
  for (uint32_t i = 1; i < kThreads; ++i) {
    executor->Submit(Lane::kCompaction, [&] { blocked.Wait(); });
  }
  executor->SubmitAfter(Lane::kCompaction, 20, [&] { ran.Open(); });
  ran.Wait();
  blocked.Open();
}

TEST(ThreadedExecutorTest, DelayedWorkRunsNotBeforeItsTime) {
  const auto executor = MakeThreadedExecutor(1);
  Gate done;
  std::vector<std::string> order;
  const uint64_t begin = Vfs::Real()->MonotonicNanos();
  uint64_t ran_at = 0;
  executor->SubmitAfter(Lane::kJournal, 30, [&] {
    ran_at = Vfs::Real()->MonotonicNanos();
    order.push_back("late");
    done.Open();
  });
  executor->SubmitAfter(Lane::kJournal, 5, [&] { order.push_back("early"); });
  executor->Submit(Lane::kJournal, [&] { order.push_back("now"); });
  done.Wait();
  EXPECT_EQ(order, (std::vector<std::string>{"now", "early", "late"}));
  EXPECT_GE(ran_at - begin, 30'000'000u);
}

TEST(ThreadedExecutorTest, ShutdownWaitsForWhatRunsAndDropsTheRest) {
  const auto executor = MakeThreadedExecutor(1);
  Gate started;
  Gate go_on;
  std::atomic<int> ran{0};
  executor->Submit(Lane::kFlush, [&] {
    started.Open();
    go_on.Wait();
    ran++;
  });
  executor->Submit(Lane::kFlush, [&] { ran += 100; });
  executor->SubmitAfter(Lane::kFlush, 1'000'000, [&] { ran += 100; });
  started.Wait();
  std::thread stopper([&] { executor->Shutdown(); });
  // From now on nothing is taken any more, whatever the other thread has done so far.
  go_on.Open();
  stopper.join();
  executor->Submit(Lane::kFlush, [&] { ran += 100; });
  executor->Shutdown();
  EXPECT_EQ(ran.load() % 100, 1);
}

TEST(ThreadedExecutorTest, WorkMaySubmitWork) {
  const auto executor = MakeThreadedExecutor(2);
  std::atomic<int> left{200};
  Gate done;
  std::function<void()> work = [&] {
    const int n = --left;
    if (n == 0) done.Open();
    if (n > 2) executor->Submit(static_cast<Lane>(n % kLaneCount), work);
  };
  for (int i = 0; i < 3; ++i) executor->Submit(Lane::kReader, work);
  done.Wait();
  executor->Shutdown();
  EXPECT_LE(left.load(), 0);
}

std::string RunManual(uint64_t seed) {
  MemVfs clock(1);
  const auto executor = MakeManualExecutor(&clock, seed);
  std::string order;
  for (int i = 0; i < 2 * kLaneCount; ++i) {
    const auto lane = static_cast<Lane>(i % kLaneCount);
    executor->Submit(lane, [&order, i] { order += static_cast<char>('a' + i); });
  }
  while (executor->RunOne()) {
  }
  return order;
}

TEST(ManualExecutorTest, TheSeedDecidesTheOrder) {
  EXPECT_EQ(RunManual(1), RunManual(1));
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string order = RunManual(seed);
    EXPECT_EQ(order.size(), size_t{2 * kLaneCount});
    // Within a lane the order of submission holds.
    for (int i = 0; i < kLaneCount; ++i) {
      EXPECT_LT(order.find(static_cast<char>('a' + i)),
                order.find(static_cast<char>('a' + kLaneCount + i)));
    }
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 5u);
}

TEST(ManualExecutorTest, TimeComesFromTheClock) {
  MemVfs clock(1);
  const auto executor = MakeManualExecutor(&clock, 1);
  int ran = 0;
  executor->SubmitAfter(Lane::kJournal, 10, [&] { ran++; });
  EXPECT_FALSE(executor->RunOne());
  clock.AdvanceClock(9'000'000);
  EXPECT_FALSE(executor->RunOne());
  clock.AdvanceClock(1'000'000);
  EXPECT_TRUE(executor->RunOne());
  EXPECT_EQ(ran, 1);
  executor->Submit(Lane::kFlush, [&] { ran++; });
  executor->Shutdown();
  EXPECT_FALSE(executor->RunOne());
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace shale
