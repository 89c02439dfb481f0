#include "tree/blob_garbage.h"

#include <algorithm>
#include <cmath>

namespace shale {
namespace {

bool IsDue(const BlobFileUse& use, const KvSeparation& options) {
  return use.stale_items() != 0 && use.StaleShare() >= options.staleness_threshold;
}

bool PointsInto(const TableMeta& table, uint64_t number) {
  return std::any_of(table.blobs.begin(), table.blobs.end(),
                     [&](const BlobReference& reference) { return reference.number == number; });
}

}  // namespace

std::vector<Ref<BlobFile>> ChooseRelocated(const Version& version,
                                           const std::vector<InputTable>& inputs,
                                           const KvSeparation& options, bool all) {
  std::vector<Ref<BlobFile>> chosen;
  for (const BlobFileUse& use : version.blob_files()) {
    if (all ? use.stale_items() == 0 : !IsDue(use, options)) continue;
    const bool is_input = std::any_of(inputs.begin(), inputs.end(), [&](const InputTable& input) {
      return PointsInto(input.table->meta(), use.number());
    });
    if (is_input) chosen.push_back(use.file);
  }
  if (all || chosen.empty()) return chosen;
  const double oldest = std::ceil(static_cast<double>(chosen.size()) * options.age_cutoff);
  chosen.resize(std::max<size_t>(1, static_cast<size_t>(oldest)));
  return chosen;
}

std::optional<CompactionPlan> ChooseStale(const Version& version, const TreeOptions& options,
                                          const std::set<uint64_t>& busy) {
  if (!options.kv_separation || options.strategy.kind == StrategyKind::kFifo) return std::nullopt;
  for (const BlobFileUse& use : version.blob_files()) {
    if (!IsDue(use, *options.kv_separation)) continue;
    for (int level = 0; level < kLevelCount; level++) {
      for (const Run& run : version.level(level)) {
        CompactionPlan plan;
        plan.destination_level = level;
        plan.target_size = options.strategy.OutputSize();
        uint64_t bytes = 0;
        for (const auto& table : run.tables) {
          const TableMeta& m = table->meta();
          if (busy.count(m.number) != 0 || !PointsInto(m, use.number())) continue;
          bytes += m.size;
          if (!plan.tables.empty() && bytes > plan.target_size) break;
          plan.tables.push_back(m.number);
        }
        if (!plan.tables.empty()) return plan;
      }
    }
  }
  return std::nullopt;
}

}  // namespace shale
