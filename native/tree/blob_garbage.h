// Blob garbage: which blob files are rewritten, and when that needs a compaction of its own.
//
// A file is due when the share of its frames that no table points to has reached the threshold; the
// older of two has the lower number.
// Threads: pure functions of a version. Cost: the blob references of all tables, where there are
// due files.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "tree/placement.h"

namespace shale {

// Of the files that the inputs of a merge point into, those whose values it moves: the oldest that
// are due; with `all`, every one with garbage.
std::vector<Ref<BlobFile>> ChooseRelocated(const Version& version,
                                           const std::vector<InputTable>& inputs,
                                           const KvSeparation& options, bool all);

// A plan that rewrites a table, none of `busy`, where it is, because it points into the oldest file
// that is due. It ends: each such merge takes a reference to a due file away and makes none.
std::optional<CompactionPlan> ChooseStale(const Version& version, const KvSeparation& options,
                                          const std::set<uint64_t>& busy);

}  // namespace shale
