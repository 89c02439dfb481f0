// One order of writes over all forms, also where backpressure makes them wait.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "db/write_control.h"
#include "support/seed.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class WriteOrderTest : public testing::Test {
 protected:
  WriteOrderTest()
      : vfs_(TestSeed()),
        executor_(MakeManualExecutor(&vfs_, TestSeed())),
        control_(&vfs_, executor_.get(), Options()) {}

  static DatabaseOptions Options() {
    DatabaseOptions options;
    options.max_write_buffer_size = 100 * kMiB;
    options.max_stall_ms = 500;
    return options;
  }
  void Park(const std::string& name) {
    control_.AdmitAsync(
        1000, [this, name](Status status) { order_ += name + (status.ok() ? " " : "! "); });
  }

  MemVfs vfs_;
  std::unique_ptr<Executor> executor_;
  WriteControl control_;
  std::string order_;
};

TEST_F(WriteOrderTest, ASyncWriteGoesBehindWhatWasParkedBefore) {
  control_.SetMemory(100 * kMiB);
  for (const char* name : {"a", "b", "c"}) Park(name);
  control_.SetMemory(80 * kMiB);
  ASSERT_TRUE(control_.Admit(1000).ok());
  EXPECT_EQ(order_, "a b c ");
}

// Until a parked write was handed on, nobody may pass by, although none is parked any more.
TEST_F(WriteOrderTest, WhatIsBeingLetGoIsStillAhead) {
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

TEST_F(WriteOrderTest, ASyncWriteThatWaitsBehindOthersIsToldInTime) {
  control_.SetMemory(100 * kMiB);
  Park("a");
  const uint64_t begin = vfs_.MonotonicNanos();
  EXPECT_TRUE(control_.Admit(1000).Is(Code::kStalled));
  EXPECT_LE(vfs_.MonotonicNanos() - begin, 510'000'000u);
  control_.Close(Code::kDbClosed);
  EXPECT_EQ(order_, "a! ");
  EXPECT_TRUE(control_.Admit(1).Is(Code::kDbClosed));
}

}  // namespace
}  // namespace shale
