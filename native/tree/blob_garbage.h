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

// A plan that rewrites tables of one run where they are, none of `busy`, because they point into
// the oldest file that is due. It ends: each such merge takes references to a due file away and
// makes none. None with first-in-first-out: there garbage goes with the tables.
std::optional<CompactionPlan> ChooseStale(const Version& version, const TreeOptions& options,
                                          const std::set<uint64_t>& busy);

}  // namespace shale
