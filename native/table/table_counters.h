// TableCounters: what the tables of one tree count while they are read.
//
// Threads: any; each of the first threads writes a cache line of its own (base/metrics.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/metrics.h"

namespace shale {

class TableCounters {
 private:
  using Counts = Counters<5>;
  Counts counts_;

 public:
  // One of the counters below.
  class Counter {
   public:
    Counter(Counts* counts, size_t which) : counts_(counts), which_(which) {}
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    void Add(uint64_t n = 1) { counts_->Add(which_, n); }
    uint64_t load() const { return counts_->Sum(which_); }

   private:
    Counts* const counts_;
    const size_t which_;
  };

  TableCounters() = default;
  TableCounters(const TableCounters&) = delete;
  TableCounters& operator=(const TableCounters&) = delete;

  Counter filter_queries{&counts_, 0};
  Counter filter_negatives{&counts_, 1};
  Counter filter_false_positives{&counts_, 2};
  Counter block_loads_cached{&counts_, 3};
  Counter block_loads_io{&counts_, 4};
};

}  // namespace shale
