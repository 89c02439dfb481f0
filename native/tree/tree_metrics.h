// TreeMetrics: what one tree is and has done since it was opened.
//
// Counters are of this process; what is replayed at open counts as written by users, without the
// journal that has it already.
#pragma once

#include <array>
#include <cstdint>

#include "tree/options.h"

namespace shale {

struct TreeMetrics {
  struct Level {
    uint64_t tables = 0;
    uint64_t runs = 0;
    uint64_t bytes = 0;
  };
  // Loads of blocks or blob values, by where they came from.
  struct Loads {
    uint64_t cached = 0;
    uint64_t io = 0;
  };
  uint64_t memtable_bytes = 0;
  uint64_t table_bytes = 0;
  uint64_t blob_bytes = 0;
  uint64_t stale_blob_bytes = 0;
  std::array<Level, kLevelCount> levels;
  uint64_t filter_queries = 0;
  uint64_t filter_negatives = 0;
  uint64_t filter_false_positives = 0;
  // Data, index and filter blocks that lookups and scans asked for; not what an open table keeps in
  // memory, and not what compactions read past the cache.
  Loads block_loads;
  Loads blob_loads;
  // Bytes that went to files for it (its entries in the journal, tables, blob files) for each byte
  // of keys and values that users wrote; 1 while they wrote nothing.
  double write_amplification = 1;
  // Bytes of its tables and blob files for each byte of its deepest level and of values in blob
  // files that something points to; 1 without tables.
  double space_amplification = 1;
  // Blocks that a point lookup needed, of those that had to look into tables; 0 without any.
  double read_amplification = 0;
};

}  // namespace shale
