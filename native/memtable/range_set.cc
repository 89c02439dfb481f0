// RangeSet and MemtableRanges: see range_set.h.
#include "memtable/range_set.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/epoch.h"

namespace shale {
namespace {

Ref<const RangeIndex> Merge(const RangeIndex& a, const RangeIndex& b) {
  std::vector<RangeTombstone> items;
  items.reserve(a.items().size() + b.items().size());
  std::merge(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
             std::back_inserter(items), ComesBefore);
  return MakeRef<RangeIndex>(std::move(items));
}

}  // namespace

// ---- a set ----

const RangeTombstone* RangeSet::FindNewest(Slice key, Seqno read_seqno, Seqno above) const {
  const RangeTombstone* found = nullptr;
  for (size_t i = parts_.size(); i-- > 0;) {
    const RangeTombstone* newer = parts_[i]->FindNewest(key, read_seqno, above);
    if (newer == nullptr) continue;
    found = newer;
    above = newer->seqno;
  }
  return found;
}

Slice RangeSet::NextStart(Slice key) const {
  Slice next;
  for (const auto& part : parts_) {
    const Slice start = part->NextStart(key);
    if (!start.empty() && (next.empty() || start < next)) next = start;
  }
  return next;
}

// ---- the sets of a memtable ----

MemtableRanges::~MemtableRanges() {
  if (const RangeSet* last = current_.load(std::memory_order_relaxed)) last->Unref();
}

Slice MemtableRanges::Keep(Slice key) {
  if (key.empty()) return Slice();
  char* const place = arena_.Allocate(key.size());
  std::memcpy(place, key.data(), key.size());
  return {place, key.size()};
}

size_t MemtableRanges::Add(Slice start, Slice end, Seqno seqno) {
  const size_t before = arena_.used();
  const RangeSet* const old = current_.load(std::memory_order_relaxed);
  RangeSet::Parts parts;
  if (old != nullptr) parts = old->parts();
  Ref<const RangeIndex> added =
      MakeRef<RangeIndex>(std::vector<RangeTombstone>{{Keep(start), Keep(end), seqno}});
  while (!parts.empty() && parts.back()->items().size() <= added->items().size()) {
    added = Merge(*parts.back(), *added);
    parts.pop_back();
  }
  parts.push_back(std::move(added));
  Ref<const RangeSet> next = MakeRef<RangeSet>(std::move(parts));
  const size_t bytes = arena_.used() - before + RangeIndex::kItemBytes;
  used_.store(used_bytes() + bytes, std::memory_order_relaxed);
  reserved_.store(arena_.reserved() + used_bytes(), std::memory_order_relaxed);
  current_.store(next.Release(), std::memory_order_seq_cst);
  if (old != nullptr) EpochRetire(old);
  return bytes;
}

// Inside a guard the set that was loaded has a count.
Ref<const RangeSet> MemtableRanges::Pin() const {
  if (empty()) return Ref<const RangeSet>();
  const EpochGuard guard;
  return Ref<const RangeSet>::Share(current_.load(std::memory_order_seq_cst));
}

Seqno MemtableRanges::FindCover(Slice key, Seqno read_seqno) const {
  const EpochGuard guard;
  const RangeTombstone* found =
      current_.load(std::memory_order_seq_cst)->FindNewest(key, read_seqno, 0);
  return found == nullptr ? 0 : found->seqno;
}

}  // namespace shale
