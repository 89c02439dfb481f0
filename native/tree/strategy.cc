#include "tree/strategy.h"

#include <algorithm>

namespace shale {
namespace {

// More tiers than data has.
constexpr size_t kTiers = 8;

}  // namespace

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
        for (const BlobReference& blob : m.blobs) t.blob_bytes += blob.frame_bytes;
        t.first_key = m.first_key;
        t.last_key = m.last_key;
        t.last_key_bound = m.last_key_bound;
        t.highest_seqno = m.highest_seqno;
        t.created_at_ms = m.created_at_ms;
        t.item_count = m.item_count;
        t.tombstone_count = m.tombstone_count + m.weak_tombstone_count;
        t.range_tombstone_count = m.range_tombstone_count;
        runs.back().tables.push_back(std::move(t));
      }
    }
  }
  return summary;
}

std::vector<TableSummary>::const_iterator RunSummary::LowerBound(Slice key) const {
  return std::lower_bound(tables.begin(), tables.end(), key,
                          [](const TableSummary& t, Slice k) { return t.EndsBefore(k); });
}

void AddOverlapping(const RunSummary& run, const TableSummary& first, const TableSummary& last,
                    std::vector<const TableSummary*>* result) {
  auto it = run.LowerBound(first.first_key);
  for (; it != run.tables.end() && !last.EndsBefore(it->first_key); ++it) result->push_back(&*it);
}

bool AreDisjoint(std::vector<const TableSummary*> tables) {
  std::sort(tables.begin(), tables.end(), [](const TableSummary* a, const TableSummary* b) {
    return Slice(a->first_key) < Slice(b->first_key);
  });
  for (size_t i = 1; i < tables.size(); i++) {
    if (!tables[i - 1]->EndsBefore(tables[i]->first_key)) return false;
  }
  return true;
}

std::optional<CompactionPlan> Choose(const VersionSummary& version, const StrategyOptions& options,
                                     const StrategyContext& context) {
  switch (options.kind) {
    case StrategyKind::kLeveled:
      return ChooseLeveled(version, options, context);
    case StrategyKind::kSizeTiered:
      return ChooseSizeTiered(version, options, context);
    case StrategyKind::kFifo:
      return ChooseFifo(version, options, context);
    default:
      return std::nullopt;
  }
}

std::optional<double> DueAt(const VersionSummary& version, const StrategyOptions& options,
                            uint64_t now_ms) {
  std::optional<double> due;
  const std::optional<double> seconds = options.MaxAge();
  if (!seconds.has_value()) return due;
  const double age = *seconds * 1000;
  for (const auto& level : version.levels) {
    for (const RunSummary& run : level) {
      for (const TableSummary& table : run.tables) {
        const double end = static_cast<double>(table.created_at_ms) + age;
        if (end > static_cast<double>(now_ms) && (!due || end < *due)) due = end;
      }
    }
  }
  return due;
}

std::optional<size_t> ToleratedLevel0Runs(const StrategyOptions& options) {
  if (options.kind == StrategyKind::kLeveled) return options.l0_threshold - 1;
  if (options.kind == StrategyKind::kSizeTiered) return (options.min_runs - 1) * kTiers;
  return std::nullopt;
}

}  // namespace shale
