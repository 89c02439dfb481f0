#include "tree/strategy.h"

namespace shale {

VersionSummary Summarise(const Version& version) {
  VersionSummary summary;
  summary.levels.resize(kLevelCount);
  for (int i = 0; i < kLevelCount; i++) {
    auto& runs = summary.levels[static_cast<size_t>(i)];
    runs.reserve(version.level(i).size());
    for (const Run& run : version.level(i)) {
      runs.emplace_back();
      runs.back().tables.reserve(run.tables.size());
      for (const auto& table : run.tables) {
        const TableMeta& m = table->meta();
        TableSummary t;
        t.number = m.number;
        t.size = m.size;
        t.first_key = m.first_key;
        t.last_key = m.last_key;
        t.created_at_ms = m.created_at_ms;
        t.item_count = m.item_count;
        t.tombstone_count = m.tombstone_count + m.weak_tombstone_count;
        runs.back().tables.push_back(std::move(t));
      }
    }
  }
  return summary;
}

std::optional<CompactionPlan> Choose(const VersionSummary& version, const StrategyOptions& options,
                                     const StrategyContext& context) {
  if (options.kind == StrategyKind::kLeveled) return ChooseLeveled(version, options, context);
  return std::nullopt;
}

std::optional<size_t> ToleratedLevel0Runs(const StrategyOptions& options) {
  if (options.kind == StrategyKind::kLeveled) return options.l0_threshold - 1;
  return std::nullopt;
}

}  // namespace shale
