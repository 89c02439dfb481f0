#include "base/metrics.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace shale {
namespace {

// More threads than have counters of their own, at the same time and one after the other.
TEST(Counters, CountEveryAdditionOfEveryThread) {
  const auto counters = std::make_unique<Counters<3>>();
  constexpr uint64_t kAdds = 2000;
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 24; ++t) {
      threads.emplace_back([&] {
        for (uint64_t i = 0; i < kAdds; ++i) {
          counters->Add(0);
          counters->Add(2, i);
        }
      });
    }
    for (std::thread& t : threads) t.join();
  }
  EXPECT_EQ(counters->Sum(0), 48 * kAdds);
  EXPECT_EQ(counters->Sum(1), 0u);
  EXPECT_EQ(counters->Sum(2), 48 * (kAdds * (kAdds - 1) / 2));
}

}  // namespace
}  // namespace shale
