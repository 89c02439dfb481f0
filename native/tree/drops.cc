// Plans that drop tables.
//
// A table stays while an older one that it overlaps does: what it hides must not come to light.
// Runs may overlap as they like.
//
// The first-in-first-out strategy is for data that ages: nothing is merged; dropped is what was
// written `ttl_seconds` ago or longer, and then the oldest until `limit` bytes are left,
// counting with a table what it points to in blob files.
#include <algorithm>
#include <functional>
#include <set>

#include "tree/strategy.h"

namespace shale {
namespace {

using Tables = std::vector<const TableSummary*>;

bool IsOlder(const TableSummary* a, const TableSummary* b) {
  if (a->created_at_ms != b->created_at_ms) return a->created_at_ms < b->created_at_ms;
  return a->number < b->number;
}

class Drops {
 public:
  Drops(const VersionSummary& version, const std::set<uint64_t>& busy) : busy_(busy) {
    for (auto level = version.levels.rbegin(); level != version.levels.rend(); ++level) {
      for (auto run = level->rbegin(); run != level->rend(); ++run) {
        runs_.emplace_back();
        for (const TableSummary& table : run->tables) {
          runs_.back().push_back(&table);
          // What a job has may be dropped already.
          if (busy_.count(table.number) == 0) size_ += table.size + table.blob_bytes;
        }
        std::sort(runs_.back().begin(), runs_.back().end(), IsOlder);
      }
    }
  }

  uint64_t size() const { return size_; }
  std::optional<CompactionPlan> plan() && {
    if (dropped_.empty()) return std::nullopt;
    CompactionPlan plan;
    plan.type = CompactionPlan::Type::kDrop;
    plan.tables = std::move(dropped_);
    return plan;
  }

  void DropWhere(const std::function<bool(const TableSummary&)>& is_due) {
    Tables kept;
    for (Tables& run : runs_) {
      Tables rest;
      for (const TableSummary* table : run) {
        if (busy_.count(table->number) != 0 || !is_due(*table) || MeetsOneOf(kept, *table)) {
          rest.push_back(table);
          continue;
        }
        dropped_.push_back(table->number);
        size_ -= table->size + table->blob_bytes;
      }
      run = std::move(rest);
      kept.insert(kept.end(), run.begin(), run.end());
    }
  }

 private:
  static bool MeetsOneOf(const Tables& tables, const TableSummary& other) {
    return std::any_of(tables.begin(), tables.end(), [&](const TableSummary* table) {
      return !table->EndsBefore(other.first_key) && !other.EndsBefore(table->first_key);
    });
  }

  const std::set<uint64_t>& busy_;
  std::vector<Tables> runs_;  // the oldest first, each by age
  uint64_t size_ = 0;
  std::vector<uint64_t> dropped_;
};

}  // namespace

std::optional<CompactionPlan> ChooseFifo(const VersionSummary& version,
                                         const StrategyOptions& options,
                                         const StrategyContext& context) {
  Drops drops(version, context.busy_tables);
  if (options.ttl_seconds.has_value()) {
    const double expiry = static_cast<double>(context.now_ms) - *options.ttl_seconds * 1000;
    drops.DropWhere([expiry](const TableSummary& table) {
      return static_cast<double>(table.created_at_ms) <= expiry;
    });
  }
  if (drops.size() > options.limit) {
    drops.DropWhere([&](const TableSummary&) { return drops.size() > options.limit; });
  }
  return std::move(drops).plan();
}

std::optional<CompactionPlan> ChooseDropRange(const VersionSummary& version, Slice lower,
                                              const std::optional<Slice>& upper) {
  const std::set<uint64_t> none;
  Drops drops(version, none);
  drops.DropWhere([&](const TableSummary& table) {
    return !(Slice(table.first_key) < lower) && (!upper.has_value() || table.EndsBefore(*upper));
  });
  return std::move(drops).plan();
}

}  // namespace shale
