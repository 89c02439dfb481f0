#include "base/metrics.h"

#include <algorithm>
#include <bit>

namespace shale {

// Values below 16 have a bucket each; above, the bucket is the exponent and the four bits after the
// leading one.
size_t LatencyHistogram::BucketOf(uint64_t nanos) {
  const uint64_t v = std::min(nanos, kValueMax);
  if (v < (uint64_t{1} << kBucketBits)) return static_cast<size_t>(v);
  const unsigned shift = static_cast<unsigned>(std::bit_width(v)) - kBucketBits - 1;
  return (static_cast<size_t>(shift) << kBucketBits) + static_cast<size_t>(v >> shift);
}

uint64_t LatencyHistogram::MiddleOf(size_t bucket) {
  if (bucket < (size_t{2} << kBucketBits)) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket >> kBucketBits) - 1;
  const uint64_t low = (bucket - (static_cast<size_t>(shift) << kBucketBits));
  return (low << shift) + (uint64_t{1} << shift) / 2;
}

void LatencyHistogram::Record(uint64_t nanos) {
  buckets_[BucketOf(nanos)].fetch_add(1, std::memory_order_relaxed);
  uint64_t max = max_.load(std::memory_order_relaxed);
  while (nanos > max && !max_.compare_exchange_weak(max, nanos, std::memory_order_relaxed)) {
  }
}

LatencySummary LatencyHistogram::Summarize() const {
  std::array<uint64_t, kBuckets> counts;
  LatencySummary s;
  for (size_t i = 0; i < kBuckets; ++i) {
    counts[i] = buckets_[i].load(std::memory_order_relaxed);
    s.count += counts[i];
  }
  s.max = max_.load(std::memory_order_relaxed);
  // The smallest value that at least `permille` of a thousand do not exceed.
  const auto quantile = [&](uint64_t permille) {
    const uint64_t rank = (s.count * permille + 999) / 1000;
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += counts[i];
      if (seen >= rank && seen != 0) return std::min(MiddleOf(i), s.max);
    }
    return uint64_t{0};
  };
  s.p50 = quantile(500);
  s.p99 = quantile(990);
  s.p999 = quantile(999);
  return s;
}

}  // namespace shale
