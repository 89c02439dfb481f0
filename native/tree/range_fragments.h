// Range fragments: what a flush or a compaction makes of the range tombstones of its sources.
//
// Of those in one stratum (retention.h) only the newest matters wherever several cover a key: they
// become disjoint pieces with the seqno of the newest, and neighbours with one seqno are joined.
//
// Threads: pure functions. Lifetime: the keys of the result are keys of the sources.
// Cost: O(n log n).
#pragma once

#include <vector>

#include "base/range_tombstone.h"
#include "tree/retention.h"

namespace shale {

// In the order of ComesBefore. No two of one stratum overlap.
std::vector<RangeTombstone> FragmentRanges(std::vector<RangeTombstone> ranges,
                                           const RetentionView& view);
// An index of them; null if there are none.
Ref<const RangeIndex> IndexOf(const std::vector<RangeTombstone>& fragments);

}  // namespace shale
