#include "tree/range_fragments.h"

#include <algorithm>
#include <queue>

namespace shale {
namespace {

struct Older {
  bool operator()(const RangeTombstone* a, const RangeTombstone* b) const {
    return a->seqno < b->seqno;
  }
};

// Walks along the keys over ranges of one stratum, which are sorted by start.
class Sweep {
 public:
  explicit Sweep(std::vector<RangeTombstone>* out) : out_(out), first_(out->size()) {}

  void Run(const RangeTombstone* next, const RangeTombstone* end) {
    while (next != end || !open_.empty()) {
      if (open_.empty()) at_ = next->start;
      while (next != end && !(at_ < next->start)) open_.push(next++);
      while (!open_.empty() && !open_.top()->EndsBehind(at_)) open_.pop();
      if (open_.empty()) continue;
      const RangeTombstone& newest = *open_.top();
      const bool to_next = next != end && newest.EndsBehind(next->start);
      const Slice until = to_next ? next->start : newest.end;
      Emit(until, newest.seqno);
      if (until.empty()) return;
      at_ = until;
    }
  }

 private:
  void Emit(Slice until, Seqno seqno) {
    if (out_->size() > first_ && out_->back().seqno == seqno && !out_->back().unbounded() &&
        out_->back().end == at_) {
      out_->back().end = until;
    } else {
      out_->push_back({at_, until, seqno});
    }
  }

  std::vector<RangeTombstone>* const out_;
  const size_t first_;
  Slice at_;
  std::priority_queue<const RangeTombstone*, std::vector<const RangeTombstone*>, Older> open_;
};

}  // namespace

Ref<const RangeIndex> IndexOf(const std::vector<RangeTombstone>& fragments) {
  if (fragments.empty()) return Ref<const RangeIndex>();
  return MakeRef<RangeIndex>(fragments);
}

std::vector<RangeTombstone> FragmentRanges(std::vector<RangeTombstone> ranges,
                                           const RetentionView& view) {
  std::sort(ranges.begin(), ranges.end(), [&](const auto& a, const auto& b) {
    const Seqno a_end = view.StratumEnd(a.seqno);
    const Seqno b_end = view.StratumEnd(b.seqno);
    return a_end != b_end ? a_end < b_end : ComesBefore(a, b);
  });
  std::vector<RangeTombstone> fragments;
  const RangeTombstone* const all_end = ranges.data() + ranges.size();
  for (const RangeTombstone* p = ranges.data(); p != all_end;) {
    const Seqno stratum = view.StratumEnd(p->seqno);
    const RangeTombstone* end = p;
    while (end != all_end && view.StratumEnd(end->seqno) == stratum) end++;
    Sweep(&fragments).Run(p, end);
    p = end;
  }
  std::sort(fragments.begin(), fragments.end(), ComesBefore);
  return fragments;
}

}  // namespace shale
