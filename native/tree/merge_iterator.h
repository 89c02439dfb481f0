// MergeIterator: several sources in internal order seen as one, in either direction.
//
// Of equal (key, seqno) entries the one from the earlier source comes first (sources are newest
// first). A failing or blocking source stops the merge with its status; seek again to go on.
// Cost: one comparison per step for one source (passed through by MakeMerge), O(log k) for k.
#pragma once

#include <memory>
#include <vector>

#include "base/iterator.h"

namespace shale {

// A single source is returned as it is; none gives an empty iterator.
std::unique_ptr<Iterator> MakeMerge(std::vector<std::unique_ptr<Iterator>> sources);

}  // namespace shale
