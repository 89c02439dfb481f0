#include "db/write_control.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class WriteControlTest : public testing::Test {
 protected:
  WriteControlTest()
      : vfs_(TestSeed()),
        executor_(MakeManualExecutor(&vfs_, TestSeed())),
        control_(&vfs_, executor_.get(), Options()) {}

  static DatabaseOptions Options() {
    DatabaseOptions options;
    options.max_write_buffer_size = 100 * kMiB;
    options.max_stall_ms = 200;
    return options;
  }
  // Nanoseconds of simulated time that a write waited.
  uint64_t Wait(size_t bytes, Status* status) {
    const uint64_t begin = vfs_.MonotonicNanos();
    *status = control_.Admit(bytes);
    return vfs_.MonotonicNanos() - begin;
  }

  // A write that waits without a thread; its name and `!` if it failed go to order_.
  void Park(const std::string& name) {
    control_.AdmitAsync(
        1000, [this, name](Status status) { order_ += name + (status.ok() ? " " : "! "); });
  }

  MemVfs vfs_;
  std::unique_ptr<Executor> executor_;
  WriteControl control_;
  std::string order_;
};

TEST_F(WriteControlTest, IsFreeUntilTheSoftLimits) {
  EXPECT_TRUE(control_.free());
  control_.SetMemory(control_.soft_limit());
  control_.SetLevel0(6);
  EXPECT_TRUE(control_.free());
  EXPECT_EQ(control_.pressure(), 0);
  control_.SetMemory(control_.soft_limit() + kMiB);
  EXPECT_FALSE(control_.free());
  control_.SetMemory(0);
  EXPECT_TRUE(control_.free());
  control_.SetLevel0(7);
  EXPECT_FALSE(control_.free());
}

TEST_F(WriteControlTest, TheDelayGrowsSmoothlyWithThePressure) {
  uint64_t before = 0;
  for (uint64_t memory = 62; memory < 100; memory += 4) {
    control_.SetMemory(memory * kMiB);
    uint64_t waited = 0;
    for (int i = 0; i < 100; ++i) {
      Status status;
      waited += Wait(16 * 1024, &status);
      ASSERT_TRUE(status.ok());
    }
    EXPECT_GT(waited, before) << memory;
    before = waited;
  }
  EXPECT_GT(control_.stalls(), 0u);
  EXPECT_GT(control_.stall_ms(), 0);
}

TEST_F(WriteControlTest, AtHalfPressureWritersGoAtTheSpeedOfTheBackground) {
  for (int i = 0; i < 50; ++i) control_.NoteFlush(50 * kMiB, 1'000'000'000);
  control_.SetMemory(80 * kMiB);  // between 60 and 100
  EXPECT_NEAR(control_.pressure(), 0.5, 0.01);
  const uint64_t begin = vfs_.MonotonicNanos();
  for (uint64_t i = 0; i < 2000; ++i) {
    Status status;
    Wait(10 * 1024, &status);
    ASSERT_TRUE(status.ok());
  }
  const double seconds = static_cast<double>(vfs_.MonotonicNanos() - begin) / 1e9;
  const double rate = 2000.0 * 10 * 1024 / seconds;
  EXPECT_NEAR(rate / (50.0 * kMiB), 1.0, 0.15);
}

TEST_F(WriteControlTest, AStopEndsWithStalledInTime) {
  control_.SetMemory(100 * kMiB);
  Status status;
  const uint64_t waited = Wait(100, &status);
  EXPECT_TRUE(status.Is(Code::kStalled));
  EXPECT_GE(waited, 200'000'000u);
  EXPECT_LE(waited, 210'000'000u);
}

TEST_F(WriteControlTest, AStopEndsWhenTheBackgroundCatchesUp) {
  control_.SetLevel0(kLevel0RunsMax);
  executor_->SubmitAfter(Lane::kFlush, 50, [&] { control_.SetLevel0(1); });
  Status status;
  const uint64_t waited = Wait(100, &status);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_LE(waited, 60'000'000u);
}

TEST_F(WriteControlTest, AnObstacleRefusesWhatWouldWaitForEver) {
  control_.SetMemory(100 * kMiB);
  control_.SetObstacle(Status(Code::kDiskFull, "full"));
  Status status;
  EXPECT_LT(Wait(100, &status), 1'000'000u);  // reading the clock takes time, waiting more
  EXPECT_TRUE(status.Is(Code::kDiskFull));
  std::string told;
  control_.AdmitAsync(1, [&](Status s) { told = s.ToString(); });
  EXPECT_EQ(told.substr(0, 9), "DISK_FULL");
  // Below the limit writes go on although flushes fail.
  control_.SetMemory(10 * kMiB);
  EXPECT_TRUE(control_.Admit(1).ok());
  control_.SetMemory(100 * kMiB);
  control_.SetObstacle(Status::Ok());
  Wait(1, &status);
  EXPECT_TRUE(status.Is(Code::kStalled));
}

TEST_F(WriteControlTest, AsyncWritesAreParkedAndContinuedInOrder) {
  control_.SetMemory(100 * kMiB);
  std::string order;
  for (char name = 'a'; name <= 'e'; ++name) {
    control_.AdmitAsync(1000, [&order, name](Status status) {
      EXPECT_TRUE(status.ok());
      order += name;
    });
  }
  while (executor_->RunOne()) {
  }
  EXPECT_EQ(order, "");
  control_.SetMemory(70 * kMiB);
  control_.AdmitAsync(1000, [&order](Status) { order += 'f'; });  // behind the others
  for (int i = 0; i < 100 && order.size() < 6; ++i) {
    while (executor_->RunOne()) {
    }
    vfs_.AdvanceClock(10'000'000);
  }
  EXPECT_EQ(order, "abcdef");
  control_.SetMemory(0);
  while (executor_->RunOne()) {
  }
  EXPECT_TRUE(control_.free());
}

TEST_F(WriteControlTest, CloseLetsEverybodyGo) {
  control_.SetMemory(100 * kMiB);
  std::string told;
  control_.AdmitAsync(1, [&](Status status) { told = CodeName(status.code()); });
  control_.Close(Code::kDbClosed);
  EXPECT_EQ(told, "DB_CLOSED");
  EXPECT_TRUE(control_.Admit(1).Is(Code::kDbClosed));
}

TEST(WriteControlThreadsTest, WaitersAreWokenByTheBackground) {
  const auto executor = MakeThreadedExecutor(1);
  DatabaseOptions options;
  options.max_write_buffer_size = kMiB;
  options.max_stall_ms = 60'000;
  WriteControl control(Vfs::Real(), executor.get(), options);
  control.SetMemory(kMiB);
  std::vector<std::thread> writers;
  std::atomic<int> admitted{0};
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      if (control.Admit(10).ok()) admitted++;
    });
  }
  std::atomic<int> told{0};
  for (int i = 0; i < 10; ++i) control.AdmitAsync(10, [&](Status) { told++; });
  executor->Submit(Lane::kFlush, [&] { control.SetMemory(0); });
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(admitted.load(), 4);
  while (told.load() < 10) std::this_thread::yield();
  executor->Shutdown();
}

// One order of writes over all forms, also where backpressure makes them wait.

TEST_F(WriteControlTest, ASyncWriteGoesBehindWhatWasParkedBefore) {
  control_.SetMemory(100 * kMiB);
  for (const char* name : {"a", "b", "c"}) Park(name);
  control_.SetMemory(80 * kMiB);
  ASSERT_TRUE(control_.Admit(1000).ok());
  EXPECT_EQ(order_, "a b c ");
}

// Until a parked write was handed on, nobody may pass by, although none is parked any more.
TEST_F(WriteControlTest, WhatIsBeingLetGoIsStillAhead) {
  bool free_meanwhile = true;
  std::string later;
  control_.SetMemory(100 * kMiB);
  control_.AdmitAsync(1000, [&](Status) {
    control_.SetMemory(0);
    free_meanwhile = control_.free();
    control_.AdmitAsync(1000, [&](Status) { later = order_; });
    order_ = "first";
  });
  control_.SetMemory(70 * kMiB);
  while (executor_->RunOne()) {
  }
  EXPECT_FALSE(free_meanwhile);
  EXPECT_EQ(later, "first");
  EXPECT_TRUE(control_.free());
}

TEST_F(WriteControlTest, ASyncWriteThatWaitsBehindOthersIsToldInTime) {
  control_.SetMemory(100 * kMiB);
  Park("a");
  const uint64_t begin = vfs_.MonotonicNanos();
  EXPECT_TRUE(control_.Admit(1000).Is(Code::kStalled));
  EXPECT_LE(vfs_.MonotonicNanos() - begin, 210'000'000u);
  control_.Close(Code::kDbClosed);
  EXPECT_EQ(order_, "a! ");
  EXPECT_TRUE(control_.Admit(1).Is(Code::kDbClosed));
}

}  // namespace
}  // namespace shale
