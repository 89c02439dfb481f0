// LookupTally: what one point lookup did in tables, kept until it is certain that it need not be
// done again: an attempt that ends with "would block" counts for nothing.
//
// Threads: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace shale {

// What is counted of the tables of a tree; the first ones by a tally.
enum class TableCount : uint8_t {
  kFilterQueries,
  kFilterNegatives,
  kFilterFalsePositives,
  kLoadsCached,
  kLoadsIo,
  kLookups,      // that had to look into tables
  kLookupLoads,  // blocks that these needed
};
inline constexpr size_t kTallied = 5;
inline constexpr size_t kTableCounts = 7;

class LookupTally {
 public:
  void Add(TableCount what) { counts_[static_cast<size_t>(what)]++; }
  uint32_t operator[](TableCount what) const { return counts_[static_cast<size_t>(what)]; }

 private:
  std::array<uint32_t, kTallied> counts_{};
};

}  // namespace shale
