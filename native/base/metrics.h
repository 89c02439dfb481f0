// Metrics: counters cheap enough to be always on.
//
// Threads: any. Each of the first threads has counters of its own, written without a locked
// instruction; the others share one set.
// Cost: Add 1-2 ns; reading walks all.
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
  void AddAll(const std::array<uint64_t, kCount>& n) {
    const uint32_t index = ThreadIndex();
    Set& set = sets_[index < kOwnSets ? index : kOwnSets];
    for (size_t i = 0; i < kCount; ++i) {
      if (n[i] == 0) continue;
      std::atomic<uint64_t>& v = set.values[i];
      if (index < kOwnSets) {
        v.store(v.load(std::memory_order_relaxed) + n[i], std::memory_order_relaxed);
      } else {
        v.fetch_add(n[i], std::memory_order_relaxed);
      }
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

}  // namespace shale
