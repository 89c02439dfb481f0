// RangeSet and MemtableRanges: the range tombstones of one memtable, apart from its keys.
//
// They lie in sorted parts of doubling sizes: a new one is a part of its own, and parts of equal
// size are merged, so that adding takes logarithmic time on average, whatever the ranges look like,
// and a search asks a logarithmic number of parts, newest first. Each change publishes a new set by
// one pointer.
// Threads: one writer; any number of readers, no lock. The set that is replaced is retired (epoch).
// Lifetime: the bytes of the keys live as long as the memtable, the parts as long as a set with
// them. Nothing is allocated before the first range.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "base/range_tombstone.h"
#include "base/ref.h"
#include "memtable/arena.h"

namespace shale {

// The range tombstones of a memtable at one moment. Immutable.
class RangeSet final : public RefCounted {
 public:
  using Parts = std::vector<Ref<const RangeIndex>>;  // the last one is the newest and smallest

  explicit RangeSet(Parts parts) : parts_(std::move(parts)) {}

  const Parts& parts() const { return parts_; }
  // As RangeIndex.
  const RangeTombstone* FindNewest(Slice key, Seqno read_seqno, Seqno above) const;
  Slice NextStart(Slice key) const;

 private:
  const Parts parts_;
};

class MemtableRanges {
 public:
  MemtableRanges() = default;
  ~MemtableRanges();
  MemtableRanges(const MemtableRanges&) = delete;
  MemtableRanges& operator=(const MemtableRanges&) = delete;

  // An empty `end` is unbounded. Returns the bytes that it took.
  size_t Add(Slice start, Slice end, Seqno seqno);

  bool empty() const { return current_.load(std::memory_order_acquire) == nullptr; }
  // Null if there are none.
  Ref<const RangeSet> Pin() const;
  // Seqno of the newest below `read_seqno` that covers `key`; 0 if there is none.
  Seqno NewestCover(Slice key, Seqno read_seqno) const {
    return empty() ? 0 : FindCover(key, read_seqno);
  }

  size_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  size_t reserved_bytes() const { return reserved_.load(std::memory_order_relaxed); }

 private:
  Seqno FindCover(Slice key, Seqno read_seqno) const;
  Slice Keep(Slice key);

  Arena arena_;  // the keys
  std::atomic<const RangeSet*> current_{nullptr};
  std::atomic<size_t> used_{0};
  std::atomic<size_t> reserved_{0};
};

}  // namespace shale
