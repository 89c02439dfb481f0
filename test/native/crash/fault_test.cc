// Every call of a workload fails once, and once for good, in every way that it can.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "support/fault_runs.h"

namespace shale {
namespace {

TEST(FaultTest, EveryCallMayFail) {
  const uint64_t wanted = Scaled(10500);
  uint64_t cases = 0;
  std::set<FaultKind> kinds;
  for (uint64_t run = 0; cases < wanted; ++run) {
    WorkloadOptions options;
    options.seed = TestSeed() * 1000 + 700 + run;
    options.steps = 40;
    options.memtable = run % 2 == 0 ? 1024 : 4096;
    options.max_journal_size = 32 * 1024;
    std::vector<Fault> faults = EnumerateFaults(options);
    TestRandom random(run);
    std::shuffle(faults.begin(), faults.end(), random.engine());
    for (const Fault& fault : faults) {
      ASSERT_EQ(RunFault(options, fault), "");
      kinds.insert(fault.kind);
      if (++cases >= wanted) break;
    }
  }
  EXPECT_GE(kinds.size(), 10u);
  std::printf("faults: %llu cases of %zu kinds\n", static_cast<unsigned long long>(cases),
              kinds.size());
}

}  // namespace
}  // namespace shale
