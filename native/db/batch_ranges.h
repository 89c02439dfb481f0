// BatchRanges: the range tombstones of one commit, for its other operations.
//
// All operations of a commit have one seqno, so a range tombstone in the memtable hides none of
// them: those before it are dropped when the commit is applied.
// Threads: one. Lifetime: the bytes of the commit outlive it.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/range_tombstone.h"
#include "db/write_batch.h"

namespace shale {

class BatchRanges {
 public:
  // `entries` need not keep the rules of their kinds.
  explicit BatchRanges(Slice entries);

  // Whether a range tombstone behind `entry`, which is the `position`th of the commit, cancels it.
  bool Cancels(const BatchEntry& entry, uint64_t position) const {
    return !by_keyspace_.empty() && IsCancelled(entry, position);
  }

 private:
  bool IsCancelled(const BatchEntry& entry, uint64_t position) const;

  // Their seqnos are 1 + their positions.
  std::unordered_map<uint32_t, Ref<const RangeIndex>> by_keyspace_;
};

}  // namespace shale
