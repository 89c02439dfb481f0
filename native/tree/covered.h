// Covered tables: those that a newer range tombstone hides whole from every read, and those of
// range tombstones alone that have nothing left to hide. They leave the version unread.
//
// Threads: pure function of a version. Cost: a search for each table in each run with range
// tombstones; nothing where the version has none.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "tree/retention.h"
#include "tree/strategy.h"

namespace shale {

// A plan that drops them, those of `busy` aside; nullopt if there are none.
std::optional<CompactionPlan> ChooseCovered(const Version& version, const RetentionView& view,
                                            const std::set<uint64_t>& busy);

}  // namespace shale
