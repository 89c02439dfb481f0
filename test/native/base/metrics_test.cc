#include "base/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "support/seed.h"

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

TEST(LatencyHistogram, EmptyIsZero) {
  const LatencySummary s = LatencyHistogram().Summarize();
  EXPECT_EQ(s.count, 0u);
  EXPECT_EQ(s.p50, 0u);
  EXPECT_EQ(s.p999, 0u);
  EXPECT_EQ(s.max, 0u);
}

TEST(LatencyHistogram, SmallValuesAreExact) {
  LatencyHistogram h;
  for (uint64_t v = 0; v < 20; ++v) h.Record(v);
  const LatencySummary s = h.Summarize();
  EXPECT_EQ(s.count, 20u);
  EXPECT_EQ(s.p50, 9u);
  EXPECT_EQ(s.p99, 19u);
  EXPECT_EQ(s.max, 19u);
}

TEST(LatencyHistogram, QuantilesAreWithinAThirtySecond) {
  TestRandom random;
  LatencyHistogram h;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t v = random.Next() >> (24 + random.Below(40));  // up to 2^40, every magnitude
    values.push_back(v);
    h.Record(v);
  }
  std::sort(values.begin(), values.end());
  const auto exact = [&](uint64_t permille) {
    return static_cast<double>(values[(values.size() * permille + 999) / 1000 - 1]);
  };
  const LatencySummary s = h.Summarize();
  EXPECT_EQ(s.count, values.size());
  EXPECT_NEAR(static_cast<double>(s.p50), exact(500), exact(500) / 32 + 1);
  EXPECT_NEAR(static_cast<double>(s.p99), exact(990), exact(990) / 32 + 1);
  EXPECT_NEAR(static_cast<double>(s.p999), exact(999), exact(999) / 32 + 1);
  EXPECT_EQ(s.max, values.back());
}

TEST(LatencyHistogram, TakesAnyValue) {
  LatencyHistogram h;
  for (unsigned bit = 0; bit < 64; ++bit) {
    h.Record(uint64_t{1} << bit);
    h.Record((uint64_t{1} << bit) - 1);
  }
  h.Record(UINT64_MAX);
  const LatencySummary s = h.Summarize();
  EXPECT_EQ(s.count, 129u);
  EXPECT_EQ(s.max, UINT64_MAX);
  EXPECT_LE(s.p999, s.max);
  EXPECT_LE(s.p50, s.p99);
  EXPECT_LE(s.p99, s.p999);
}

}  // namespace
}  // namespace shale
