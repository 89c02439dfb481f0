// What a crash may leave, at every operation of a workload.
#include <gtest/gtest.h>

#include <cstdio>

#include "support/crash_workload.h"

namespace shale {
namespace {

constexpr uint64_t kLivenessWrites = 1000;

TEST(CrashImagesTest, EveryImageOpensToAPrefixAndGoesOn) {
  const uint64_t wanted = Scaled(5200);
  ImageCheck check;
  check.liveness_writes = kLivenessWrites;
  uint64_t images = 0;
  for (uint64_t run = 0; images < wanted; ++run) {
    WorkloadOptions options;
    options.seed = TestSeed() * 1000 + run;
    options.steps = 120;
    options.memtable = run % 2 == 0 ? 2048 : 16 * 1024;
    options.max_journal_size = run % 3 == 0 ? 1 << 20 : 32 * 1024;
    const CrashRun result = RunCrashImages(options, 4, 1, check);
    images += result.images;
    ASSERT_EQ(result.problem, "");
  }
  std::printf("crash images: %llu\n", static_cast<unsigned long long>(images));
}

}  // namespace
}  // namespace shale
