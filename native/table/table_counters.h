// TableCounters: what the tables of one tree count while they are read.
//
// Threads: any; each of the first threads writes a cache line of its own (base/metrics.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/iterator.h"
#include "base/lookup_tally.h"
#include "base/metrics.h"

namespace shale {

class TableCounters {
 public:
  void Count(TableCount what, const ReadContext& context) {
    if (context.tally != nullptr) {
      context.tally->Add(what);
    } else {
      counts_.Add(static_cast<size_t>(what));
    }
  }
  // A lookup that looked into tables has ended.
  void Count(const LookupTally& tally) {
    using enum TableCount;
    std::array<uint64_t, kTableCounts> counts{};
    for (size_t i = 0; i < kTallied; ++i) counts[i] = tally[static_cast<TableCount>(i)];
    counts[static_cast<size_t>(kLookups)] = 1;
    counts[static_cast<size_t>(kLookupLoads)] =
        uint64_t{tally[kLoadsCached]} + uint64_t{tally[kLoadsIo]};
    counts_.AddAll(counts);
  }
  uint64_t Sum(TableCount what) const { return counts_.Sum(static_cast<size_t>(what)); }

 private:
  Counters<kTableCounts> counts_;
};

}  // namespace shale
