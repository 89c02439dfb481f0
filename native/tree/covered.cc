#include "tree/covered.h"

#include <vector>

namespace shale {
namespace {

using Runs = std::vector<const Run*>;  // newest first

// No reader is between the oldest thing in the table and the range tombstone: who sees the table
// at all sees that too.
bool IsHidden(const Runs& runs, size_t own, const TableMeta& m, const RetentionView& view) {
  const Seqno end = view.StratumEnd(m.lowest_seqno);
  if (end <= m.highest_seqno) return false;
  for (size_t i = 0; i < own; i++) {
    if (!runs[i]->has_ranges()) continue;
    const TableReader* above = runs[i]->Find(m.first_key);
    if (above == nullptr || above->ranges() == nullptr) continue;
    if (above->ranges()->FindNewest(m.first_key, m.last_key, m.last_key_bound, end,
                                    m.highest_seqno) != nullptr) {
      return true;
    }
  }
  return false;
}

bool HidesNothing(const Runs& runs, size_t own, const TableMeta& m) {
  if (m.item_count != 0) return false;
  for (size_t i = own + 1; i < runs.size(); i++) {
    const auto& tables = runs[i]->tables;
    for (size_t k = runs[i]->LowerBound(m.first_key); k < tables.size(); k++) {
      const TableMeta& below = tables[k]->meta();
      if (m.EndsBefore(below.first_key)) break;
      if (below.lowest_seqno < m.highest_seqno) return false;
    }
  }
  return true;
}

}  // namespace

std::optional<CompactionPlan> ChooseCovered(const Version& version, const RetentionView& view,
                                            const std::set<uint64_t>& busy) {
  if (!version.has_ranges()) return std::nullopt;
  Runs runs;
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : version.level(level)) runs.push_back(&run);
  }
  CompactionPlan plan;
  plan.type = CompactionPlan::Type::kDrop;
  plan.is_visible = false;
  for (size_t i = 0; i < runs.size(); i++) {
    for (const auto& table : runs[i]->tables) {
      const TableMeta& m = table->meta();
      if (busy.count(m.number) != 0) continue;
      if (IsHidden(runs, i, m, view) || HidesNothing(runs, i, m)) plan.tables.push_back(m.number);
    }
  }
  if (plan.tables.empty()) return std::nullopt;
  return plan;
}

}  // namespace shale
