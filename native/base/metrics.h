// Metrics: counters and latency histograms cheap enough to be always on.
//
// Threads: any. Each of the first threads has counters of its own, written without a locked
// instruction; the others share one set.
// Cost: Add 1-2 ns, Record one relaxed increment of a shared word; reading walks all.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/thread_slot.h"

namespace shale {

// `kCount` counters that are usually changed together.
template <size_t kCount>
class Counters {
 public:
  void Add(size_t which, uint64_t n = 1) {
    const uint32_t index = ThreadIndex();
    if (index < kOwnSets) {
      std::atomic<uint64_t>& v = sets_[index].values[which];
      v.store(v.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    } else {
      sets_[kOwnSets].values[which].fetch_add(n, std::memory_order_relaxed);
    }
  }
  uint64_t Sum(size_t which) const {
    uint64_t sum = 0;
    for (const Set& set : sets_) sum += set.values[which].load(std::memory_order_relaxed);
    return sum;
  }

 private:
  static constexpr size_t kOwnSets = 15;
  struct alignas(64) Set {
    std::array<std::atomic<uint64_t>, kCount> values{};
  };
  std::array<Set, kOwnSets + 1> sets_{};
};

// Nanoseconds. Quantiles are off by at most 1/32 of their value.
struct LatencySummary {
  uint64_t count = 0;
  uint64_t p50 = 0;
  uint64_t p99 = 0;
  uint64_t p999 = 0;
  uint64_t max = 0;
};

// Counts by logarithm: sixteen buckets to each doubling. What is above 2^40 (18 minutes) counts as
// that.
class LatencyHistogram {
 public:
  void Record(uint64_t nanos);
  LatencySummary Summarize() const;

 private:
  static constexpr unsigned kBucketBits = 4;
  static constexpr uint64_t kValueMax = (uint64_t{1} << 40) - 1;
  static constexpr size_t kBuckets = (40 - kBucketBits + 1) << kBucketBits;

  static size_t BucketOf(uint64_t nanos);
  static uint64_t MiddleOf(size_t bucket);

  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> max_{0};
};

}  // namespace shale
