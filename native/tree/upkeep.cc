// Upkeep: tables that are compacted although no level is too large.
//
// A table is due when it is
//   dense  of its entries `tombstone_share` or more are tombstones of whatever kind. Every scan has
//          to pass them, and what they hide takes space
//   old    it was written `max_age_seconds` ago or longer
// It takes one step down: into the next older run that it meets, with the tables that it meets
// there. Where it meets nothing older it is rewritten in its place, which leaves no tombstone if
// every read sees all of it; while one does not, only its age is a reason to. A table with range
// tombstones waits for that wherever it is.
//
// So each plan ends tombstones or takes them into an older run, and makes a table new: after so
// many of them nothing is due. An input is idle, and no output meets what is busy in its run: it
// lies inside the ranges of the inputs, and they are all that the run has there.
#include <algorithm>
#include <utility>

#include "tree/strategy.h"

namespace shale {
namespace {

// What is rewritten for a tombstone, in entries: where more would be, dense tables are left to the
// strategy. As much as one output table is always worth it.
constexpr uint64_t kEntriesPerTombstone = 32;

class Upkeep {
 public:
  Upkeep(const VersionSummary& version, const StrategyOptions& options,
         const StrategyContext& context)
      : options_(options), context_(context) {
    for (size_t level = 0; level < version.levels.size(); level++) {
      for (const RunSummary& run : version.levels[level]) {
        runs_.push_back({&run, static_cast<int>(level)});
      }
    }
  }

  std::optional<CompactionPlan> Choose() const {
    for (const Due& due : DueTables()) {
      if (auto plan = PlanFor(due)) return plan;
    }
    return std::nullopt;
  }

 private:
  struct PlacedRun {
    const RunSummary* run = nullptr;
    int level = 0;
  };
  struct Due {
    const TableSummary* table = nullptr;
    size_t at = 0;  // index of its run, from the newest one on
    bool is_old = false;
    double share = 0;  // of tombstones
  };

  bool IsBusy(const TableSummary& table) const {
    return context_.busy_tables.count(table.number) != 0;
  }

  // The densest first, of these the oldest.
  std::vector<Due> DueTables() const {
    std::vector<Due> due;
    for (size_t at = 0; at < runs_.size(); at++) {
      for (const TableSummary& table : runs_[at].run->tables) {
        const bool is_old = IsOld(table);
        const uint64_t entries = table.EntryCount();
        const uint64_t tombstones = table.AllTombstones();
        if (!is_old && !IsDense(tombstones, entries, options_)) continue;
        if (IsBusy(table)) continue;
        const double share =
            static_cast<double>(tombstones) / static_cast<double>(std::max<uint64_t>(1, entries));
        due.push_back({&table, at, is_old, share});
      }
    }
    std::sort(due.begin(), due.end(), [](const Due& a, const Due& b) {
      if (a.share != b.share) return a.share > b.share;
      return std::pair(a.table->created_at_ms, a.table->number) <
             std::pair(b.table->created_at_ms, b.table->number);
    });
    return due;
  }

  bool IsOld(const TableSummary& table) const {
    if (!options_.max_age_seconds.has_value()) return false;
    const double expiry = static_cast<double>(context_.now_ms) - *options_.max_age_seconds * 1000;
    return static_cast<double>(table.created_at_ms) <= expiry;
  }

  std::optional<CompactionPlan> PlanFor(const Due& due) const {
    if (MustWait(due.at)) return std::nullopt;
    const TableSummary& table = *due.table;
    const bool is_seen = table.highest_seqno < context_.seen_below;
    // What range tombstones hide may go unread as soon as every read sees them.
    if (table.range_tombstone_count != 0 && !due.is_old && !is_seen) return std::nullopt;
    for (size_t i = due.at + 1; i < runs_.size(); i++) {
      std::vector<const TableSummary*> tables = {&table};
      AddOverlapping(*runs_[i].run, table, table, &tables);
      if (tables.size() == 1) continue;
      const bool busy = std::any_of(tables.begin(), tables.end(),
                                    [&](const TableSummary* t) { return IsBusy(*t); });
      if (busy || (!due.is_old && IsTooMuch(tables))) return std::nullopt;
      return Plan(tables, runs_[i].level);
    }
    if (!due.is_old && !is_seen) return std::nullopt;
    return Plan({&table}, runs_[due.at].level);
  }

  // What leaves level 0 does so in the order of its age.
  bool MustWait(size_t at) const {
    if (runs_[at].level != 0) return false;
    return std::any_of(runs_.begin() + static_cast<std::ptrdiff_t>(at) + 1, runs_.end(),
                       [&](const PlacedRun& older) {
                         const auto& tables = older.run->tables;
                         return older.level == 0 &&
                                std::any_of(tables.begin(), tables.end(),
                                            [&](const TableSummary& t) { return IsBusy(t); });
                       });
  }

  // The first one is the table that is due.
  bool IsTooMuch(const std::vector<const TableSummary*>& tables) const {
    uint64_t entries = 0;
    uint64_t bytes = 0;
    for (size_t i = 1; i < tables.size(); i++) {
      entries += tables[i]->EntryCount();
      bytes += tables[i]->size;
    }
    return entries > kEntriesPerTombstone * tables[0]->AllTombstones() &&
           bytes > options_.OutputSize();
  }

  CompactionPlan Plan(const std::vector<const TableSummary*>& tables, int destination) const {
    CompactionPlan plan;
    for (const TableSummary* table : tables) plan.tables.push_back(table->number);
    plan.destination_level = destination;
    plan.target_size = options_.OutputSize();
    return plan;
  }

  std::vector<PlacedRun> runs_;  // newest first
  const StrategyOptions& options_;
  const StrategyContext& context_;
};

}  // namespace

bool IsDense(uint64_t tombstones, uint64_t entries, const StrategyOptions& options) {
  if (!options.HasUpkeep() || tombstones == 0) return false;
  return static_cast<double>(tombstones) >= options.tombstone_share * static_cast<double>(entries);
}

std::optional<CompactionPlan> ChooseUpkeep(const VersionSummary& version,
                                           const StrategyOptions& options,
                                           const StrategyContext& context) {
  if (!options.HasUpkeep()) return std::nullopt;
  return Upkeep(version, options, context).Choose();
}

}  // namespace shale
