// RangeIndex: see range_tombstone.h.
#include "base/range_tombstone.h"

#include <algorithm>
#include <utility>

namespace shale {

int CompareUpperBounds(Slice a, KeyBound a_bound, Slice b, KeyBound b_bound) {
  const bool a_open = a_bound == KeyBound::kUnbounded;
  const bool b_open = b_bound == KeyBound::kUnbounded;
  if (a_open || b_open) return static_cast<int>(a_open) - static_cast<int>(b_open);
  if (const int c = a.Compare(b); c != 0) return c;
  return static_cast<int>(a_bound == KeyBound::kInclusive) -
         static_cast<int>(b_bound == KeyBound::kInclusive);
}

int CompareEnds(Slice a, Slice b) {
  if (a.empty() || b.empty()) return static_cast<int>(a.empty()) - static_cast<int>(b.empty());
  return a.Compare(b);
}

bool ComesBefore(const RangeTombstone& a, const RangeTombstone& b) {
  if (const int c = a.start.Compare(b.start); c != 0) return c < 0;
  if (a.seqno != b.seqno) return a.seqno > b.seqno;
  return CompareEnds(a.end, b.end) > 0;
}

RangeIndex::RangeIndex(std::vector<RangeTombstone> items)
    : items_(std::move(items)), nodes_(items_.size()) {
  Build(0, items_.size());
  const Node& root = nodes_[items_.size() / 2];
  lowest_seqno_ = root.lowest;
  highest_seqno_ = root.highest;
}

// Depth: the logarithm of the number of items.
void RangeIndex::Build(size_t begin, size_t end) {
  const size_t middle = begin + (end - begin) / 2;
  const Seqno seqno = items_[middle].seqno;
  Node node{seqno, seqno, static_cast<uint32_t>(middle)};
  const auto take = [&](size_t from, size_t to) {
    if (from == to) return;
    Build(from, to);
    const Node& below = nodes_[from + (to - from) / 2];
    node.lowest = std::min(node.lowest, below.lowest);
    node.highest = std::max(node.highest, below.highest);
    if (CompareEnds(items_[node.reaches].end, items_[below.reaches].end) < 0) {
      node.reaches = below.reaches;
    }
  };
  take(begin, middle);
  take(middle + 1, end);
  nodes_[middle] = node;
}

// Newer subtrees first, so that the others are soon too old.
template <typename Reaches>
struct RangeIndex::Search {
  const RangeIndex& index;
  Slice first;
  Reaches reaches;
  Seqno read_seqno;
  Seqno above;
  const RangeTombstone* found = nullptr;

  bool MayHold(size_t begin, size_t end) const {
    if (begin == end) return false;
    const Node& node = index.nodes_[begin + (end - begin) / 2];
    return node.highest > above && node.lowest < read_seqno &&
           reaches(index.items_[node.reaches].end);
  }
  void Visit(size_t begin, size_t end) {
    for (;;) {
      if (!MayHold(begin, end)) return;
      const size_t middle = begin + (end - begin) / 2;
      const RangeTombstone& item = index.items_[middle];
      if (first < item.start) {
        end = middle;
        continue;
      }
      if (item.seqno > above && item.seqno < read_seqno && reaches(item.end)) {
        above = item.seqno;
        found = &item;
      }
      const size_t behind = middle + 1;
      if (behind == end) {
        end = middle;
        continue;
      }
      if (begin != middle && Highest(begin, middle) > Highest(behind, end)) {
        Visit(begin, middle);
        begin = behind;
      } else {
        Visit(behind, end);
        end = middle;
      }
    }
  }
  Seqno Highest(size_t begin, size_t end) const {
    return index.nodes_[begin + (end - begin) / 2].highest;
  }
};

const RangeTombstone* RangeIndex::FindNewest(Slice key, Seqno read_seqno, Seqno above) const {
  const auto reaches = [key](Slice end) { return end.empty() || key < end; };
  Search<decltype(reaches)> search{*this, key, reaches, read_seqno, above};
  search.Visit(0, items_.size());
  return search.found;
}

const RangeTombstone* RangeIndex::FindNewest(Slice first, Slice last, KeyBound bound,
                                             Seqno read_seqno, Seqno above) const {
  const auto reaches = [last, bound](Slice end) {
    return end.empty() || (bound != KeyBound::kUnbounded &&
                           CompareUpperBounds(last, bound, end, KeyBound::kExclusive) <= 0);
  };
  Search<decltype(reaches)> search{*this, first, reaches, read_seqno, above};
  search.Visit(0, items_.size());
  return search.found;
}

Slice RangeIndex::NextStart(Slice key) const {
  const auto it =
      std::upper_bound(items_.begin(), items_.end(), key,
                       [](Slice k, const RangeTombstone& item) { return k < item.start; });
  return it == items_.end() ? Slice() : it->start;
}

}  // namespace shale
