#include "base/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

TEST(LatencyHistogram, BucketsAscendAndAreNarrow) {
  size_t before = 0;
  for (uint64_t v = 0; v < uint64_t{1} << 37; v += 1 + v / 100) {
    const size_t bucket = LatencyHistogram::BucketOf(v);
    ASSERT_LT(bucket, LatencyHistogram::kBuckets);
    ASSERT_GE(bucket, before) << v;
    before = bucket;
    const double middle = LatencyHistogram::NanosOf(bucket);
    if (v < 64) {
      ASSERT_EQ(middle, static_cast<double>(v));
    } else {
      ASSERT_LE(std::abs(middle - static_cast<double>(v)), static_cast<double>(v) / 60) << v;
    }
  }
  EXPECT_EQ(LatencyHistogram::BucketOf(UINT64_MAX), LatencyHistogram::kBuckets - 1);
}

TEST(Latency, PercentilesAreThoseOfSortedSamples) {
  TestRandom random(1);
  for (int round = 0; round < 20; ++round) {
    Latency latency;
    std::vector<uint64_t> samples;
    const uint64_t count = 1 + random.Below(5000);
    for (uint64_t i = 0; i < count; ++i) {
      // From nanoseconds to some seconds, all magnitudes alike.
      samples.push_back(random.Below(uint64_t{1} << (1 + random.Below(33))));
      latency.Record(samples.back());
    }
    std::sort(samples.begin(), samples.end());
    const auto at = [&](double share) {
      const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(count)));
      return static_cast<double>(samples[rank - 1]) / 1000;
    };
    const LatencySummary s = latency.Summarise();
    EXPECT_EQ(s.count, count);
    EXPECT_NEAR(s.p50, at(0.5), at(0.5) * 0.017);
    EXPECT_NEAR(s.p99, at(0.99), at(0.99) * 0.017);
    EXPECT_NEAR(s.p999, at(0.999), at(0.999) * 0.017);
    EXPECT_EQ(s.max, static_cast<double>(samples.back()) / 1000);
    EXPECT_LE(s.p50, s.p99);
    EXPECT_LE(s.p99, s.p999);
    EXPECT_LE(s.p999, s.max);
  }
}

TEST(Latency, NothingTimedIsZero) {
  const Latency latency;
  const LatencySummary s = latency.Summarise();
  EXPECT_EQ(s.count, 0u);
  EXPECT_EQ(s.p50 + s.p99 + s.p999 + s.max, 0);
}

// The calls that are timed stand for all; the first of a thread is among them.
TEST(Latency, TimedCallsStandForTheOthers) {
  Latency latency(Latency::Counted::kBegun);
  Latency::Own& own = latency.own();
  uint64_t timed = 0;
  uint64_t weights = 0;
  constexpr uint64_t kCalls = 64000;
  for (uint64_t i = 0; i < kCalls; ++i) {
    if (own.Begin()) {
      if (timed == 0) {
        EXPECT_EQ(i, 0u);
      }
      const uint64_t weight = own.Weight(64);
      own.Record(100, weight);
      weights += weight;
      timed++;
    }
    if (i % 7 == 0) {  // one that had to come again
      static_cast<void>(own.Begin());
      own.TakeBack();
    }
  }
  EXPECT_EQ(latency.count(), kCalls);
  EXPECT_GT(timed, kCalls / 64 / 2);
  EXPECT_LT(timed, kCalls / 64 * 2);
  EXPECT_LE(weights, kCalls);
  EXPECT_GT(weights, kCalls - 128);
  latency.Record(1'000'000);  // 1 of 64,001
  const LatencySummary s = latency.Summarise();
  EXPECT_EQ(s.count, kCalls + 1);
  EXPECT_EQ(s.max, 1000);
  EXPECT_NEAR(s.p999, 0.1, 0.002);
}

TEST(Latency, CallsThatEndCountWhereTheyEnd) {
  Latency latency;
  static_cast<void>(latency.own().Begin());
  EXPECT_EQ(latency.count(), 0u);
  latency.own().End(3);
  EXPECT_EQ(latency.count(), 3u);
}

// More threads than have sets of their own, while somebody reads.
TEST(Latency, CountsEveryCallOfEveryThread) {
  const auto latency = std::make_unique<Latency>(Latency::Counted::kBegun);
  constexpr uint64_t kCalls = 3000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 24; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < kCalls; ++i) {
        Latency::Own& own = latency->own();
        if (own.Begin()) own.Record(i, own.Weight(64));
        if (i % 100 == 0) latency->Record(i);
      }
    });
  }
  uint64_t before = 0;
  for (int i = 0; i < 100; ++i) {
    const LatencySummary s = latency->Summarise();
    EXPECT_GE(s.count, before);
    EXPECT_LE(s.p50, s.max);
    before = s.count;
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(latency->count(), 24 * (kCalls + kCalls / 100));
}

}  // namespace
}  // namespace shale
