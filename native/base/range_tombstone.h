// Range tombstones: (start, end, seqno) hides every entry with start <= key < end and a smaller
// seqno.
//
// RangeIndex is a fixed set of them, sorted by start, with an implicit balanced tree over the array
// that knows of every subtree how far it reaches and which seqnos it holds: so the newest that
// covers a key is found without looking at all that do. Memtables build theirs out of several, a
// table has one.
// Threads: any; nothing changes after construction.
// Lifetime: the keys belong to someone else (an arena, a table).
// Cost: 56 bytes each; a search usually visits O(log n) of them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/internal_key.h"
#include "base/ref.h"

namespace shale {

// How a key bounds a range from above. Numbers are on disk.
enum class KeyBound : uint8_t { kInclusive = 0, kExclusive = 1, kUnbounded = 2 };

// Whether a range with this upper bound ends before `key`.
inline bool EndsBefore(Slice last, KeyBound bound, Slice key) {
  if (bound == KeyBound::kUnbounded) return false;
  const int c = last.Compare(key);
  return bound == KeyBound::kInclusive ? c < 0 : c <= 0;
}
// Negative if (a, a_bound) ends before (b, b_bound).
int CompareUpperBounds(Slice a, KeyBound a_bound, Slice b, KeyBound b_bound);

struct RangeTombstone {
  Slice start;      // inclusive; at least one byte
  Slice end;        // exclusive, behind start; empty: unbounded
  Seqno seqno = 0;  // 0 hides nothing

  bool unbounded() const { return end.empty(); }
  bool EndsBehind(Slice key) const { return end.empty() || key < end; }
  bool Covers(Slice key) const { return !(key < start) && EndsBehind(key); }
};

// The smallest key of all.
inline Slice FirstKey() { return {"\0", 1}; }

// How ends are ordered: an unbounded one is behind all others.
int CompareEnds(Slice a, Slice b);
// Ascending by start, then descending by seqno, then descending by end: the order in tables.
bool ComesBefore(const RangeTombstone& a, const RangeTombstone& b);

class RangeIndex : public RefCounted {
 public:
  // Requires the order of ComesBefore, and at least one.
  explicit RangeIndex(std::vector<RangeTombstone> items);

  const std::vector<RangeTombstone>& items() const { return items_; }
  Seqno lowest_seqno() const { return lowest_seqno_; }
  Seqno highest_seqno() const { return highest_seqno_; }
  size_t bytes() const { return items_.size() * kItemBytes; }

  // The newest that covers `key`, with above < seqno < read_seqno; null if there is none.
  const RangeTombstone* FindNewest(Slice key, Seqno read_seqno, Seqno above) const;
  // The same for one that covers all from `first` to the upper bound.
  const RangeTombstone* FindNewest(Slice first, Slice last, KeyBound bound, Seqno read_seqno,
                                   Seqno above) const;
  // Start of the first one that starts behind `key`; empty if there is none.
  Slice NextStart(Slice key) const;

 private:
  // Of a subtree; that of the items [begin, end) stands at their middle.
  struct Node {
    Seqno lowest;
    Seqno highest;
    uint32_t reaches;  // the item that ends last
  };
  template <typename Reaches>
  struct Search;

  void Build(size_t begin, size_t end);

 public:
  static constexpr size_t kItemBytes = sizeof(RangeTombstone) + sizeof(Node);

 private:
  std::vector<RangeTombstone> items_;
  std::vector<Node> nodes_;
  Seqno lowest_seqno_ = 0;
  Seqno highest_seqno_ = 0;
};

}  // namespace shale
