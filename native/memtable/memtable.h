// Memtable: the newest writes of one tree, in memory, in order.
//
// Two index structures stand behind it: `radix` (adaptive radix tree, the default) and `skiplist`;
// both keep, under each key, its versions newest first, and pass one test suite.
//
// Range tombstones lie apart from the keys (range_set.h).
//
// Threads: one writer at a time (the caller's lock); any number of readers, no lock, while it
// writes.
// Invariants:
//   I1  an entry, once linked, never moves and never changes, except that versions are linked in;
//   I2  an entry is complete before the release-store that links it;
//   I3  what is replaced (grown nodes, a second write with the same key and seqno) stays in the
//       arena and counts as used.
// Lifetime: entries live until the memtable dies; iterators keep no reference, their owner does.
// Keys: any bytes, 1 to 65,535 of them, a key may be a prefix of another; no recursion by length.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/internal_key.h"
#include "base/iterator.h"
#include "base/ref.h"
#include "memtable/range_set.h"

namespace shale {

enum class MemtableKind : uint8_t { kRadix = 0, kSkiplist = 1 };

class Memtable : public RefCounted {
 public:
  // `id` is unique in its tree.
  static Ref<Memtable> Create(MemtableKind kind, uint64_t id);

  // Adds one version; a second one with the same key and seqno replaces the first, and if it is a
  // weak tombstone it becomes a whole one: what it replaces may have hidden more than one version.
  // Seqnos need not ascend. Returns the bytes that the entry took (key, value, header; not index
  // nodes).
  virtual size_t Add(Slice key, Slice value, Seqno seqno, Kind kind) = 0;

  // Adds a range tombstone; an empty `end` is unbounded. Returns the bytes that it took.
  size_t AddRange(Slice start, Slice end, Seqno seqno);

  // Newest version of `key` with seqno < read_seqno; false if there is none. A tombstone is found.
  // Range tombstones hide nothing here.
  virtual bool Get(Slice key, Seqno read_seqno, Entry* entry) const = 0;

  // All versions in internal order, both directions. Versions added after a step may or may not be
  // seen, but every version that was there when the iterator was made is.
  virtual std::unique_ptr<Iterator> NewIterator() const = 0;

  // Starts loading what a lookup of `key` will touch first; for getMany. May do nothing.
  virtual void Prefetch(Slice key) const = 0;

  // Entries, index nodes, what was replaced, and range tombstones.
  size_t used_bytes() const { return index_used_bytes() + ranges_.used_bytes(); }
  // Taken from the system.
  size_t reserved_bytes() const { return index_reserved_bytes() + ranges_.reserved_bytes(); }

  const MemtableRanges& ranges() const { return ranges_; }
  uint64_t id() const { return id_; }
  // Entries; range tombstones do not count.
  uint64_t item_count() const { return item_count_.load(std::memory_order_acquire); }
  bool empty() const { return item_count() == 0 && ranges_.empty(); }
  // Requires !empty().
  Seqno lowest_seqno() const { return lowest_seqno_.load(std::memory_order_relaxed); }
  Seqno highest_seqno() const { return highest_seqno_.load(std::memory_order_relaxed); }
  // Without range tombstones; 0 if there are no entries.
  Seqno highest_entry_seqno() const { return highest_entry_seqno_.load(std::memory_order_relaxed); }

 protected:
  explicit Memtable(uint64_t id) : id_(id) {}
  // Called by Add after the entry is linked.
  void Count(Seqno seqno);

 private:
  virtual size_t index_used_bytes() const = 0;
  virtual size_t index_reserved_bytes() const = 0;
  void CountSeqno(Seqno seqno);

  const uint64_t id_;
  std::atomic<uint64_t> item_count_{0};
  std::atomic<Seqno> lowest_seqno_{kReadAll};
  std::atomic<Seqno> highest_seqno_{0};
  std::atomic<Seqno> highest_entry_seqno_{0};
  MemtableRanges ranges_;
};

}  // namespace shale
