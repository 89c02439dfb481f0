// DatabaseMetrics: what a database is and has done since it was opened, over all environments that
// share it.
//
// Counters are of this process. Reading them takes microseconds and no lock that a writer waits
// for.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/cache.h"
#include "base/histogram.h"
#include "base/internal_key.h"
#include "tree/tree_metrics.h"
#include "vfs/vfs.h"

namespace shale {

struct DatabaseMetrics {
  struct Journal {
    uint64_t count = 0;
    uint64_t bytes = 0;    // of all journal files
    uint64_t appends = 0;  // writes of a group's records
    uint64_t syncs = 0;    // that reached the device
    uint64_t bytes_written = 0;
  };
  struct Writes {
    uint64_t inserts = 0;  // entries, also those of batches
    uint64_t removes = 0;  // likewise, range tombstones included
    uint64_t batches = 0;  // commits of more than one entry
    uint64_t bytes = 0;    // of keys and values, ends of ranges included
    uint64_t stalls = 0;   // writes that were delayed
    double stall_ms = 0;   // by so much together
  };
  struct Jobs {
    uint64_t active = 0;
    uint64_t completed = 0;
    double ms = 0;
    uint64_t bytes_read = 0;
    uint64_t bytes_written = 0;
  };
  struct Handles {
    uint64_t open = 0;
    uint64_t abandoned = 0;  // given back by the collector
  };
  CacheStats cache;
  Journal journal;
  Writes writes;
  Jobs compactions;
  Jobs flushes;
  Handles snapshots;
  std::optional<Seqno> oldest_snapshot;
  Handles iterators;
  uint64_t events_dropped = 0;
  // Point lookups, those of many keys at once aside; of memory a share is timed, see below.
  LatencySummary get;
  LatencySummary insert;  // commits, from the call until they are visible
  LatencySummary sync;    // of the journal
  LatencySummary flush;
  LatencySummary compaction;
  std::vector<std::pair<std::string, TreeMetrics>> keyspaces;
};

// The clock and the histograms of one database; shared by those who may outlive it.
struct Latencies {
  explicit Latencies(Vfs* v) : vfs(v) {}
  uint64_t Now() const { return vfs->MonotonicNanos(); }

  // One of so many calls is timed. A read from memory takes as long as a few looks at the clock, a
  // write as long as ten or more.
  static constexpr uint64_t kGetDistance = 64;
  static constexpr uint64_t kInsertDistance = 16;

  Vfs* const vfs;
  Latency get{Latency::Counted::kBegun};
  Latency insert;
  Latency sync;
  Latency flush;
  Latency compaction;
};

// Handles of JavaScript; shared by those who may outlive the database.
struct HandleCounts {
  std::atomic<uint64_t> iterators_open{0};
  std::atomic<uint64_t> iterators_abandoned{0};
  std::atomic<uint64_t> snapshots_abandoned{0};
};

}  // namespace shale
