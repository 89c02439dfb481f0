// Histogram: how long calls of one kind take: an exact count, and a histogram of those that were
// timed.
//
// Reading the clock costs as much as a read from memory, so that only some calls are timed: which
// ones an Own says, at distances drawn around a mean, and each stands for the calls since the one
// before. Calls that are slow anyway are all timed and stand for themselves.
//
// Buckets are log-linear: 32 to each power of two, so that what is reported is at most 1.6 % off,
// from 64 ns to 137 s; below it is exact.
//
// Threads: any. Each of the first threads has a set of its own, written without a locked
// instruction; the others share one.
// Errors: a set that there is no memory for does without the histogram; the count stays exact.
// Cost: counting 1-2 ns, recording 5 ns; Summarise some microseconds; a set is 8.5 KB, taken with
// the first time that is recorded.
// Source: the histogram is that of HdrHistogram (G. Tene).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/hash.h"
#include "base/thread_slot.h"

namespace shale {

// Microseconds; zeros while nothing was timed.
struct LatencySummary {
  uint64_t count = 0;
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

class LatencyHistogram {
 public:
  static constexpr int kSubBits = 5;  // buckets to a power of two
  static constexpr int kBits = 37;    // longer times count as the longest
  static constexpr size_t kBuckets = size_t{kBits - kSubBits + 1} << kSubBits;

  static size_t BucketOf(uint64_t nanos) {
    const uint64_t v = std::min(nanos, (uint64_t{1} << kBits) - 1);
    const int shift = std::max(static_cast<int>(std::bit_width(v)) - kSubBits - 1, 0);
    return (static_cast<size_t>(shift) << kSubBits) + static_cast<size_t>(v >> shift);
  }
  // The middle of the bucket.
  static double NanosOf(size_t bucket) {
    const size_t shift = std::max<size_t>(bucket >> kSubBits, 1) - 1;
    const uint64_t lowest = (bucket - (shift << kSubBits)) << shift;
    return static_cast<double>(lowest) + static_cast<double>((uint64_t{1} << shift) - 1) / 2;
  }

  std::array<std::atomic<uint64_t>, kBuckets> buckets{};
};

class Latency {
 public:
  // What a call counts as: once it has begun, or where somebody says that it has ended.
  enum class Counted : uint8_t { kBegun, kEnded };

  // What one thread writes; the last one is for all the others.
  class alignas(64) Own {
   public:
    // A call begins. True if it is to be timed: Record it with Weight() when it has ended.
    bool Begin() { return Add(&begun_, 1) >= due_.load(std::memory_order_relaxed); }
    // Takes the last Begin() back: that call had no answer and comes again.
    void TakeBack() { Add(&begun_, ~uint64_t{0}); }
    // How many calls the one stands for that was found to be due. The next one comes after
    // `distance` of them on average, a power of two.
    uint64_t Weight(uint64_t distance) {
      const uint64_t n = begun_.load(std::memory_order_relaxed);
      due_.store(n + (MixBits(n) & (2 * distance - 1)), std::memory_order_relaxed);
      return n - std::min(n, stood_for_.exchange(n, std::memory_order_relaxed));
    }
    void End(uint64_t n = 1) { Add(&ended_, n); }
    void Record(uint64_t nanos, uint64_t weight);

   private:
    friend class Latency;
    // The value before.
    uint64_t Add(std::atomic<uint64_t>* v, uint64_t n) {
      if (shared_) return v->fetch_add(n, std::memory_order_relaxed);
      const uint64_t before = v->load(std::memory_order_relaxed);
      v->store(before + n, std::memory_order_relaxed);
      return before;
    }

    std::atomic<uint64_t> begun_{0};
    std::atomic<uint64_t> due_{0};
    std::atomic<uint64_t> stood_for_{0};
    std::atomic<uint64_t> ended_{0};
    std::atomic<uint64_t> max_{0};
    std::atomic<LatencyHistogram*> histogram_{nullptr};
    bool shared_ = false;
  };

  explicit Latency(Counted counted = Counted::kEnded) : counted_(counted) {
    sets_[kOwnSets].shared_ = true;
  }
  ~Latency() {
    for (Own& set : sets_) delete set.histogram_.load(std::memory_order_relaxed);
  }
  Latency(const Latency&) = delete;
  Latency& operator=(const Latency&) = delete;

  // The set of the calling thread, which may keep it as long as it runs.
  Own& own() { return sets_[std::min<size_t>(ThreadIndex(), kOwnSets)]; }
  // A call that stands for itself has ended.
  void Record(uint64_t nanos) {
    Own& set = own();
    set.End();
    set.Record(nanos, 1);
  }
  uint64_t count() const;
  LatencySummary Summarise() const;

 private:
  static constexpr size_t kOwnSets = 15;
  const Counted counted_;
  std::array<Own, kOwnSets + 1> sets_;
};

}  // namespace shale
