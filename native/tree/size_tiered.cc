// The size-tiered strategy.
//
// Runs are looked at in the order of their age, over all levels. Runs below `base_size` are of tier
// 0, each tier above is `ratio` times as large. Where `min_runs` runs of one tier stand beside each
// other, with none between them but smaller ones, that row becomes one run: each entry is rewritten
// once per tier. The lowest tiers come first.
//
// Levels are filled from the bottom: a row with the oldest run in it goes to the last level, any
// other right above the run behind it, never above its own. Tables that meet none of the others
// are moved.
#include <algorithm>
#include <set>

#include "tree/strategy.h"

namespace shale {
namespace {

struct AgedRun {
  const RunSummary* run = nullptr;
  int level = 0;
  int tier = 0;  // -1: a job has one of its tables
};

int TierOf(uint64_t size, const StrategyOptions& options) {
  int tier = 0;
  for (auto limit = static_cast<double>(options.base_size); static_cast<double>(size) >= limit;
       limit *= options.ratio) {
    tier++;
  }
  return tier;
}

// Newest first.
std::vector<AgedRun> RunsByAge(const VersionSummary& version, const StrategyOptions& options,
                               const std::set<uint64_t>& busy) {
  std::vector<AgedRun> runs;
  for (size_t level = 0; level < version.levels.size(); level++) {
    for (const RunSummary& run : version.levels[level]) {
      uint64_t size = 0;
      bool is_busy = false;
      for (const TableSummary& table : run.tables) {
        size += table.size;
        is_busy = is_busy || busy.count(table.number) != 0;
      }
      runs.push_back({&run, static_cast<int>(level), is_busy ? -1 : TierOf(size, options)});
    }
  }
  return runs;
}

struct Row {
  size_t from = 0;
  size_t end = 0;
};

// The newest row of idle runs of `tier` and below, with `least` of the tier itself.
std::optional<Row> FullRow(const std::vector<AgedRun>& runs, int tier, uint64_t least) {
  size_t from = 0;
  uint64_t count = 0;
  for (size_t i = 0; i <= runs.size(); i++) {
    const int own = i < runs.size() ? runs[i].tier : -1;
    if (own >= 0 && own <= tier) {
      if (own == tier) count++;
      continue;
    }
    if (count >= least) return Row{from, i};
    from = i + 1;
    count = 0;
  }
  return std::nullopt;
}

CompactionPlan PlanOf(const std::vector<AgedRun>& runs, const Row& row,
                      const StrategyOptions& options) {
  std::vector<const TableSummary*> tables;
  CompactionPlan plan;
  for (size_t i = row.from; i < row.end; i++) {
    for (const TableSummary& table : runs[i].run->tables) {
      tables.push_back(&table);
      plan.tables.push_back(table.number);
    }
  }
  plan.destination_level = row.end == runs.size()
                               ? kLevelCount - 1
                               : std::max(runs[row.end - 1].level, runs[row.end].level - 1);
  if (AreDisjoint(std::move(tables))) {
    plan.type = CompactionPlan::Type::kMove;
  } else {
    plan.target_size = options.base_size;
  }
  return plan;
}

}  // namespace

std::optional<CompactionPlan> ChooseSizeTiered(const VersionSummary& version,
                                               const StrategyOptions& options,
                                               const StrategyContext& context) {
  const std::vector<AgedRun> runs = RunsByAge(version, options, context.busy_tables);
  std::set<int> tiers;
  for (const AgedRun& run : runs) {
    if (run.tier >= 0) tiers.insert(run.tier);
  }
  for (const int tier : tiers) {
    if (const auto row = FullRow(runs, tier, options.min_runs)) return PlanOf(runs, *row, options);
  }
  return std::nullopt;
}

}  // namespace shale
