// Compaction strategies: pure functions from a version to a plan.
//
// Threads: any; a strategy keeps no state. The same text cases drive these and their TypeScript
// twins.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "tree/version.h"

namespace shale {

struct CompactionPlan {
  enum class Type : uint8_t { kMerge, kMove, kDrop } type = Type::kMerge;
  std::vector<uint64_t> tables;  // file numbers
  int destination_level = 0;
  uint64_t target_size = 0;  // bytes of an output table (kMerge)
  bool is_visible = true;    // kDrop: false if no read can tell
  // kMerge: moves the values out of every blob file with garbage, not only of those that are due.
  bool all_garbage = false;
};

// What a strategy may look at: plain data, so that cases can be written as text.
struct TableSummary {
  uint64_t number = 0;
  uint64_t size = 0;
  uint64_t blob_bytes = 0;  // that it points to
  std::string first_key;
  std::string last_key;
  KeyBound last_key_bound = KeyBound::kInclusive;
  uint64_t highest_seqno = 0;
  uint64_t created_at_ms = 0;
  uint64_t item_count = 0;
  uint64_t tombstone_count = 0;        // weak ones too
  uint64_t range_tombstone_count = 0;  // not among the items

  uint64_t EntryCount() const { return item_count + range_tombstone_count; }
  uint64_t AllTombstones() const { return tombstone_count + range_tombstone_count; }

  bool EndsBefore(Slice key) const { return shale::EndsBefore(last_key, last_key_bound, key); }
};
struct RunSummary {
  std::vector<TableSummary> tables;

  // The first table that ends at or behind `key`.
  std::vector<TableSummary>::const_iterator LowerBound(Slice key) const;
};
struct VersionSummary {
  std::vector<std::vector<RunSummary>> levels;  // kLevelCount of them
};
VersionSummary Summarise(const Version& version);
// Adds the tables of `run` that meet the span from the start of `first` to the end of `last`.
void AddOverlapping(const RunSummary& run, const TableSummary& first, const TableSummary& last,
                    std::vector<const TableSummary*>* result);
// No two of them have a key in common.
bool AreDisjoint(std::vector<const TableSummary*> tables);

struct StrategyContext {
  std::set<uint64_t> busy_tables;  // claimed by running jobs
  uint64_t now_ms = 0;
  // Open snapshots, and reads that begin from now on, are at this seqno or above.
  Seqno seen_below = 0;
};

// Each by its own numbers of `options`.
std::optional<CompactionPlan> ChooseLeveled(const VersionSummary& version,
                                            const StrategyOptions& options,
                                            const StrategyContext& context);
std::optional<CompactionPlan> ChooseSizeTiered(const VersionSummary& version,
                                               const StrategyOptions& options,
                                               const StrategyContext& context);
std::optional<CompactionPlan> ChooseFifo(const VersionSummary& version,
                                         const StrategyOptions& options,
                                         const StrategyContext& context);
// The tables inside of [lower, upper); no bound: from the first key, to the last. One stays while
// an older one that it overlaps does. nullopt: none.
std::optional<CompactionPlan> ChooseDropRange(const VersionSummary& version, Slice lower,
                                              const std::optional<Slice>& upper);
// By options.kind.
std::optional<CompactionPlan> Choose(const VersionSummary& version, const StrategyOptions& options,
                                     const StrategyContext& context);
// Where the strategy has nothing to do: compacts a table that is mostly tombstones, or too old.
std::optional<CompactionPlan> ChooseUpkeep(const VersionSummary& version,
                                           const StrategyOptions& options,
                                           const StrategyContext& context);
// Whether so many tombstones among the entries of a table are a reason for it.
bool IsDense(uint64_t tombstones, uint64_t entries, const StrategyOptions& options);
// When the strategy may have something to do although nothing is written: the next moment at which
// a table becomes too old, milliseconds. nullopt: never.
std::optional<double> DueAt(const VersionSummary& version, const StrategyOptions& options,
                            uint64_t now_ms);
// Runs in level 0 that are there on purpose: the strategy compacts only above them. nullopt: it
// compacts none, whatever their number.
std::optional<size_t> ToleratedLevel0Runs(const StrategyOptions& options);

}  // namespace shale
