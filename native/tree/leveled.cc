// The leveled strategy.
//
// Sizes: level 0 is measured in runs, the levels below in bytes. The base level is the first one in
// use below level 0 (the last one, at first); it may hold l0_threshold * target_size bytes, each
// level behind it `ratio` times as much. When all levels in use are full, the level above becomes
// the base.
//
// The choice, in this order:
// 1. A lone run of level 0 that meets nothing below is moved.
// 2. The level that is the most above its measure, and if nothing can be done for it, the next one:
//    - level 0: all idle runs, and what they overlap in the base level, into the base level; while
//      that is busy, new runs are merged with each other, so that their number stays bounded;
//    - level i: the tables that cost the least rewriting of the level below per byte that leaves,
//      moved where nothing is below;
//    - any level with several runs (a user's plan may leave them): the second oldest run, a table
//      at a time, into the oldest.
// What runs is never touched: an input is idle, and no output can meet a busy table.
#include <algorithm>
#include <utility>

#include "tree/strategy.h"

namespace shale {
namespace {

// Level 0 is merged in itself from this many idle runs on.
constexpr size_t kIntraRunsMin = 4;
// A merge between two levels takes at most this many tables' worth of bytes (or one table).
constexpr double kMergeTablesMax = 50;
// A row of tables that are merged into the next level is no longer than this.
constexpr size_t kRowTablesMax = 256;
// Tables with at least one tombstone in so many entries are not moved to the last level but
// rewritten, because there tombstones end.
constexpr uint64_t kItemsPerTombstone = 8;
// Score of a full level whose tables can move without a merge.
constexpr double kMoveScore = 99.99;

using Tables = std::vector<const TableSummary*>;

uint64_t Bytes(const Tables& tables) {
  uint64_t sum = 0;
  for (const TableSummary* t : tables) sum += t->size;
  return sum;
}

// The tables of a run that meet a range of keys, which grows to the right.
class Meeting {
 public:
  Meeting(const RunSummary& run, Slice first)
      : end_(run.tables.end()), next_(run.LowerBound(first)) {}

  // Adds what has keys up to the end of `last`.
  template <typename Fn>
  void GrowTo(const TableSummary& last, Fn add) {
    for (; next_ != end_ && !last.EndsBefore(next_->first_key); ++next_) add(*next_);
  }

 private:
  std::vector<TableSummary>::const_iterator end_;
  std::vector<TableSummary>::const_iterator next_;
};

Tables Part(const Tables& tables, size_t from, size_t end) {
  return Tables(tables.begin() + static_cast<std::ptrdiff_t>(from),
                tables.begin() + static_cast<std::ptrdiff_t>(end));
}

class Leveled {
 public:
  Leveled(const VersionSummary& version, const StrategyOptions& options,
          const StrategyContext& context)
      : levels_(version.levels),
        options_(options),
        busy_(context.busy_tables),
        last_(static_cast<int>(levels_.size()) - 1) {
    FindBase();
  }

  std::optional<CompactionPlan> Choose() const {
    if (auto plan = MoveLoneRun()) return plan;
    std::vector<std::pair<double, int>> scores;
    for (int i = 0; i <= last_; i++) {
      if (const double score = Score(i); score >= 1) scores.emplace_back(score, i);
    }
    std::sort(scores.rbegin(), scores.rend());
    for (const auto& [score, level] : scores) {
      auto plan = level == 0                     ? FromLevel0()
                  : level_runs(level).size() > 1 ? JoinRuns(level)
                                                 : FromLevel(level);
      if (plan) return plan;
    }
    return std::nullopt;
  }

 private:
  const std::vector<RunSummary>& level_runs(int level) const {
    return levels_[static_cast<size_t>(level)];
  }
  bool IsBusy(const TableSummary& t) const { return busy_.count(t.number) != 0; }
  bool AnyBusy(const RunSummary& run) const {
    return std::any_of(run.tables.begin(), run.tables.end(),
                       [&](const TableSummary& t) { return IsBusy(t); });
  }
  bool AnyBusy(const Tables& tables) const {
    return std::any_of(tables.begin(), tables.end(),
                       [&](const TableSummary* t) { return IsBusy(*t); });
  }
  bool LevelIsBusy(int level) const {
    const auto& runs = level_runs(level);
    return std::any_of(runs.begin(), runs.end(), [&](const RunSummary& r) { return AnyBusy(r); });
  }

  Tables TablesOf(int level) const {
    Tables tables;
    for (const RunSummary& run : level_runs(level)) {
      for (const TableSummary& t : run.tables) tables.push_back(&t);
    }
    return tables;
  }
  // In the order of their numbers, each once.
  Tables Overlapping(int level, const Tables& inputs) const {
    Tables result;
    for (const RunSummary& run : level_runs(level)) {
      for (const TableSummary* t : inputs) {
        AddOverlapping(run, *t, *t, &result);
      }
    }
    std::sort(result.begin(), result.end(),
              [](const TableSummary* a, const TableSummary* b) { return a->number < b->number; });
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
  }

  // Bytes of a level that no job takes away.
  double IdleBytes(int level) const {
    double sum = 0;
    for (const TableSummary* t : TablesOf(level)) sum += IsBusy(*t) ? 0 : double(t->size);
    return sum;
  }
  // `distance` from the base level.
  double Target(int distance) const {
    double target = double(options_.target_size) * options_.l0_threshold;
    for (int i = 0; i < distance; i++) {
      const auto& ratios = options_.level_ratio;
      target *= ratios[std::min(static_cast<size_t>(i), ratios.size() - 1)];
    }
    return target;
  }

  void FindBase() {
    base_ = last_;
    for (int i = last_; i >= 1; i--) {
      if (!level_runs(i).empty()) base_ = i;
    }
    if (base_ == 1 || level_runs(base_).empty()) return;
    for (int i = base_; i <= last_; i++) {
      if (!level_runs(i).empty() && IdleBytes(i) <= Target(i - base_)) return;
    }
    base_--;
  }

  double Score(int level) const {
    const auto& runs = level_runs(level);
    if (level == 0) return double(runs.size()) / options_.l0_threshold;
    const double disorder = runs.size() > 1 ? double(runs.size()) : 0;
    if (level == last_ || runs.empty()) return disorder;
    const double size = IdleBytes(level);
    const double target = Target(level - base_);
    if (size <= target) return disorder;
    return std::max(disorder, level_runs(level + 1).empty() ? kMoveScore : size / target);
  }

  CompactionPlan Plan(const Tables& a, const Tables& b, int destination) const {
    CompactionPlan plan;
    for (const TableSummary* t : a) plan.tables.push_back(t->number);
    for (const TableSummary* t : b) plan.tables.push_back(t->number);
    plan.destination_level = destination;
    plan.target_size = options_.target_size;
    return plan;
  }
  // A move, or a merge where tombstones are to end.
  CompactionPlan MovePlan(const Tables& tables, int destination) const {
    CompactionPlan plan = Plan(tables, {}, destination);
    uint64_t items = 0;
    uint64_t tombstones = 0;
    for (const TableSummary* t : tables) {
      items += t->item_count;
      tombstones += t->tombstone_count;
    }
    const bool rewrite =
        destination == last_ && tombstones != 0 && tombstones >= items / kItemsPerTombstone;
    if (rewrite) return plan;
    plan.type = CompactionPlan::Type::kMove;
    plan.target_size = 0;
    return plan;
  }

  // ---- level 0 ----

  std::optional<CompactionPlan> MoveLoneRun() const {
    if (level_runs(0).size() != 1 || LevelIsBusy(0)) return std::nullopt;
    const Tables tables = TablesOf(0);
    bool only_last = true;
    for (int i = 1; i < last_; i++) only_last &= level_runs(i).empty();
    const int destination = only_last ? last_ : base_;
    const size_t runs = level_runs(destination).size();
    if (runs > 1 || (runs == 0 && !only_last)) return std::nullopt;
    if (LevelIsBusy(destination) || !Overlapping(destination, tables).empty()) return std::nullopt;
    return MovePlan(tables, destination);
  }

  std::optional<CompactionPlan> FromLevel0() const {
    const auto& runs = level_runs(0);
    // The oldest runs up to a busy one; what is newer must stay above it.
    size_t first = runs.size();
    while (first > 0 && !AnyBusy(runs[first - 1])) first--;
    const size_t count = runs.size() - first;
    if (count == 0 || (first > 0 && count < options_.l0_threshold)) return MergeLevel0();
    Tables inputs;
    for (size_t i = first; i < runs.size(); i++) {
      for (const TableSummary& t : runs[i].tables) inputs.push_back(&t);
    }
    const Tables below = Overlapping(base_, inputs);
    if (AnyBusy(below)) return MergeLevel0();
    if (below.empty() && AreDisjoint(inputs) && !LevelIsBusy(base_)) return MovePlan(inputs, base_);
    return Plan(inputs, below, base_);
  }

  // Merges the newest runs into one where they are: as many as make a run less the cheapest.
  std::optional<CompactionPlan> MergeLevel0() const {
    const auto& runs = level_runs(0);
    size_t idle = 0;
    while (idle < runs.size() && !AnyBusy(runs[idle])) idle++;
    const size_t least = std::max<size_t>(kIntraRunsMin, options_.l0_threshold);
    if (idle < least) return std::nullopt;
    Tables inputs;
    Tables best;
    double best_cost = 0;
    for (size_t i = 0; i < idle; i++) {
      for (const TableSummary& t : runs[i].tables) inputs.push_back(&t);
      if (i + 1 < least) continue;
      const double cost = double(Bytes(inputs)) / double(i);
      if (!best.empty() && cost > best_cost) continue;
      best = inputs;
      best_cost = cost;
    }
    return Plan(best, {}, 0);
  }

  // ---- deeper levels ----

  std::optional<CompactionPlan> JoinRuns(int level) const {
    const auto& runs = level_runs(level);
    const RunSummary& newer = runs[runs.size() - 2];
    const RunSummary& oldest = runs.back();
    for (const TableSummary& t : newer.tables) {
      Tables meets;
      AddOverlapping(oldest, t, t, &meets);
      if (!IsBusy(t) && !AnyBusy(meets)) return Plan({&t}, meets, level);
    }
    return std::nullopt;
  }

  std::optional<CompactionPlan> FromLevel(int level) const {
    if (auto plan = MoveWindow(level)) return plan;
    return MergeWindow(level);
  }

  // The largest row of idle tables that can go down as they are.
  std::optional<CompactionPlan> MoveWindow(int level) const {
    const Tables tables = TablesOf(level);
    size_t from = 0;
    uint64_t bytes = 0;
    size_t best_from = 0;
    size_t best_end = 0;
    uint64_t best_bytes = 0;
    for (size_t i = 0; i < tables.size(); i++) {
      const TableSummary* const t = tables[i];
      const bool stays = IsBusy(*t) || !Overlapping(level + 1, {t}).empty();
      // A job that runs may leave a table in the gap between two of them.
      if (stays || (i > from && BusyBetween(level + 1, *tables[i - 1], *t))) {
        from = stays ? i + 1 : i;
        bytes = 0;
      }
      if (stays) continue;
      bytes += t->size;
      if (bytes <= best_bytes) continue;
      best_from = from;
      best_end = i + 1;
      best_bytes = bytes;
    }
    const Tables best = Part(tables, best_from, best_end);
    if (best.empty() || InsideBusy(level + 1, *best.front(), *best.back())) return std::nullopt;
    return MovePlan(best, level + 1);
  }
  bool BusyBetween(int level, const TableSummary& a, const TableSummary& b) const {
    if (busy_.empty()) return false;
    const Tables tables = TablesOf(level);
    return std::any_of(tables.begin(), tables.end(), [&](const TableSummary* t) {
      return IsBusy(*t) && a.EndsBefore(t->first_key) && t->EndsBefore(b.first_key);
    });
  }
  // Whether busy tables lie on both sides of [a, b], so that an output might span it.
  bool InsideBusy(int level, const TableSummary& a, const TableSummary& b) const {
    bool before = false;
    bool behind = false;
    if (busy_.empty()) return false;
    for (const TableSummary* t : TablesOf(level)) {
      if (!IsBusy(*t)) continue;
      before |= t->EndsBefore(a.first_key);
      behind |= b.EndsBefore(t->first_key);
    }
    return before && behind;
  }

  // The row of tables of the level with the least bytes to rewrite below per byte of their own, no
  // larger than what the level has too much.
  std::optional<CompactionPlan> MergeWindow(int level) const {
    const Tables upper = TablesOf(level);
    const double excess = IdleBytes(level) - Target(level - base_);
    const double total_max = kMergeTablesMax * double(options_.target_size);
    size_t best_first = 0;
    size_t best_end = 0;
    double best_ratio = 0;
    for (size_t a = 0; a < upper.size(); a++) {
      std::vector<Meeting> lower;
      for (const RunSummary& run : level_runs(level + 1)) {
        lower.emplace_back(run, upper[a]->first_key);
      }
      double own = 0;
      double below = 0;
      bool busy = false;
      const size_t end = std::min(upper.size(), a + kRowTablesMax);
      for (size_t b = a; b < end && !IsBusy(*upper[b]); b++) {
        own += double(upper[b]->size);
        for (Meeting& meeting : lower) {
          meeting.GrowTo(*upper[b], [&](const TableSummary& t) {
            below += double(t.size);
            busy |= IsBusy(t);
          });
        }
        if (busy || (b > a && (own > excess || own + below > total_max))) break;
        const double ratio = below / std::max(own, 1.0);
        if (best_end > 0 && ratio >= best_ratio) continue;
        best_first = a;
        best_end = b + 1;
        best_ratio = ratio;
      }
    }
    if (best_end == 0) return std::nullopt;
    Tables row = Part(upper, best_first, best_end);
    const std::vector<Tables> met = MetBy(level + 1, *row.front(), *row.back());
    Widen(upper, level + 1, met, &row);
    Tables lower;
    for (const Tables& tables : met) lower.insert(lower.end(), tables.begin(), tables.end());
    return Plan(row, lower, level + 1);
  }
  // Of each run of `level` the tables that meet the span from `a` to `b`, in key order.
  std::vector<Tables> MetBy(int level, const TableSummary& a, const TableSummary& b) const {
    std::vector<Tables> met;
    for (const RunSummary& run : level_runs(level)) AddOverlapping(run, a, b, &met.emplace_back());
    return met;
  }
  // Adds neighbours that lie inside the span of the lower tables and meet no others: they go down
  // at no further cost.
  void Widen(const Tables& upper, int below, const std::vector<Tables>& met, Tables* row) const {
    const auto spans = [](const Tables& tables, const TableSummary& t) {
      return !tables.empty() && !(Slice(t.first_key) < Slice(tables.front()->first_key)) &&
             CompareUpperBounds(t.last_key, t.last_key_bound, tables.back()->last_key,
                                tables.back()->last_key_bound) <= 0;
    };
    // What meets a table meets neighbours of it: `part` is a piece of a run as well.
    const auto is_inside = [](const Tables& part, const Tables& tables) {
      return part.empty() || (std::count(tables.begin(), tables.end(), part.front()) != 0 &&
                              std::count(tables.begin(), tables.end(), part.back()) != 0);
    };
    const auto inside = [&](const TableSummary* t) {
      if (IsBusy(*t) || std::none_of(met.begin(), met.end(),
                                     [&](const Tables& tables) { return spans(tables, *t); })) {
        return false;
      }
      const std::vector<Tables> own = MetBy(below, *t, *t);
      return std::equal(own.begin(), own.end(), met.begin(), is_inside);
    };
    auto first = std::find(upper.begin(), upper.end(), row->front());
    auto last = std::find(upper.begin(), upper.end(), row->back());
    while (first != upper.begin() && inside(*(first - 1))) --first;
    while (last + 1 != upper.end() && inside(*(last + 1))) ++last;
    row->assign(first, last + 1);
  }

  const std::vector<std::vector<RunSummary>>& levels_;
  const StrategyOptions& options_;
  const std::set<uint64_t>& busy_;
  const int last_;
  int base_ = 0;
};

}  // namespace

std::optional<CompactionPlan> ChooseLeveled(const VersionSummary& version,
                                            const StrategyOptions& options,
                                            const StrategyContext& context) {
  if (version.levels.size() < 2) return std::nullopt;
  return Leveled(version, options, context).Choose();
}

}  // namespace shale
