#include "base/histogram.h"

#include <cmath>
#include <new>
#include <vector>

namespace shale {

void Latency::Own::Record(uint64_t nanos, uint64_t weight) {
  LatencyHistogram* histogram = histogram_.load(std::memory_order_acquire);
  if (histogram == nullptr) {
    auto* made = new (std::nothrow) LatencyHistogram();
    if (made == nullptr) return;
    if (histogram_.compare_exchange_strong(histogram, made, std::memory_order_acq_rel)) {
      histogram = made;
    } else {
      delete made;
    }
  }
  Add(&histogram->buckets[LatencyHistogram::BucketOf(nanos)], weight);
  uint64_t max = max_.load(std::memory_order_relaxed);
  while (nanos > max && !max_.compare_exchange_weak(max, nanos, std::memory_order_relaxed)) {
  }
}

uint64_t Latency::count() const {
  uint64_t count = 0;
  for (const Own& set : sets_) {
    count += set.ended_.load(std::memory_order_relaxed);
    if (counted_ == Counted::kBegun) count += set.begun_.load(std::memory_order_relaxed);
  }
  return count;
}

LatencySummary Latency::Summarise() const {
  std::vector<uint64_t> buckets(LatencyHistogram::kBuckets);
  uint64_t total = 0;
  uint64_t max = 0;
  for (const Own& set : sets_) {
    const LatencyHistogram* histogram = set.histogram_.load(std::memory_order_acquire);
    if (histogram == nullptr) continue;
    for (size_t i = 0; i < buckets.size(); ++i) {
      const uint64_t n = histogram->buckets[i].load(std::memory_order_relaxed);
      buckets[i] += n;
      total += n;
    }
    max = std::max(max, set.max_.load(std::memory_order_relaxed));
  }
  LatencySummary summary;
  summary.count = count();
  const double longest = static_cast<double>(max);
  summary.max = longest / 1000;
  struct Wanted {
    double share;
    double* micros;
  };
  const Wanted wanted[] = {{0.5, &summary.p50}, {0.99, &summary.p99}, {0.999, &summary.p999}};
  size_t bucket = 0;
  uint64_t passed = 0;
  for (const Wanted& w : wanted) {
    const auto rank = static_cast<uint64_t>(std::ceil(w.share * static_cast<double>(total)));
    while (bucket < buckets.size() && passed + buckets[bucket] < rank) passed += buckets[bucket++];
    if (total != 0 && bucket < buckets.size()) {
      *w.micros = std::min(LatencyHistogram::NanosOf(bucket), longest) / 1000;
    }
  }
  return summary;
}

}  // namespace shale
