#include "tree/placement.h"

#include <algorithm>
#include <vector>

#include "base/hash.h"

namespace shale {
namespace {

Status BadPlan(const char* why) { return Status(Code::kInvalidArgument, why); }

// Run orders start at 1, so that 0 is below all of them.
bool IsNewer(const TablePlace& a, const TablePlace& b) {
  return a.level != b.level ? a.level < b.level : a.run_order > b.run_order;
}

}  // namespace

Status Placement::Make(const Version& version, const CompactionPlan& plan, Placement* placement) {
  if (plan.tables.empty()) return BadPlan("a plan without tables");
  if (plan.destination_level < 0 || plan.destination_level >= kLevelCount) {
    return BadPlan("a plan with a level that does not exist");
  }
  Placement p;
  p.destination_ = plan.destination_level;
  SHALE_RETURN_IF_ERROR(p.AddInputs(version, plan));
  if (plan.type != CompactionPlan::Type::kDrop) SHALE_RETURN_IF_ERROR(p.AddBounds(version));
  if (plan.type == CompactionPlan::Type::kMove) SHALE_RETURN_IF_ERROR(p.CheckDisjoint());
  *placement = std::move(p);
  return Status::Ok();
}

Status Placement::AddInputs(const Version& version, const CompactionPlan& plan) {
  const std::unordered_set<uint64_t> wanted(plan.tables.begin(), plan.tables.end());
  if (wanted.size() != plan.tables.size()) return BadPlan("a plan names a table twice");
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : version.level(level)) {
      for (const auto& table : run.tables) {
        if (wanted.count(table->meta().number) == 0) continue;
        inputs_.push_back({table, {level, run.order}});
        input_set_.insert(table.get());
      }
    }
  }
  if (inputs_.size() == wanted.size()) return Status::Ok();
  return Status(Code::kPlanStale, "a table of the plan is gone");
}

// Tables that are moved become part of one run.
Status Placement::CheckDisjoint() const {
  std::vector<const TableMeta*> tables;
  for (const InputTable& input : inputs_) tables.push_back(&input.table->meta());
  std::sort(tables.begin(), tables.end(), [](const TableMeta* a, const TableMeta* b) {
    return Slice(a->first_key) < Slice(b->first_key);
  });
  for (size_t i = 1; i < tables.size(); i++) {
    if (!tables[i - 1]->EndsBefore(tables[i]->first_key)) {
      return BadPlan("a plan moves tables that overlap");
    }
  }
  return Status::Ok();
}

Status Placement::AddBounds(const Version& version) {
  for (const InputTable& input : inputs_) {
    const TableMeta& m = input.table->meta();
    for (int level = 0; level < kLevelCount; level++) {
      for (const Run& run : version.level(level)) {
        for (size_t i = run.LowerBound(m.first_key); i < run.tables.size(); i++) {
          const TableReader* other = run.tables[i].get();
          if (m.EndsBefore(other->meta().first_key)) break;
          if (IsInput(other)) continue;
          SHALE_RETURN_IF_ERROR(AddBound({level, run.order}, input.place));
        }
      }
    }
  }
  if (older_ < newer_) return Status::Ok();
  return BadPlan("the plan leaves out a table between two of its inputs");
}

Status Placement::AddBound(const TablePlace& other, const TablePlace& input) {
  if (IsNewer(other, input)) {
    if (other.level > destination_) return BadPlan("the plan lifts older entries above newer ones");
    if (other.level == destination_) newer_ = std::min(newer_, other.run_order);
  } else {
    if (other.level < destination_) return BadPlan("the plan puts newer entries below older ones");
    if (other.level == destination_) older_ = std::max(older_, other.run_order);
  }
  return Status::Ok();
}

uint64_t Placement::input_bytes() const {
  uint64_t sum = 0;
  for (const InputTable& input : inputs_) sum += input.table->meta().size;
  return sum;
}

int Placement::PolicyLevel(const Version& version) const {
  if (destination_ == 0) return 0;
  const auto stays = [&](const Run& run) {
    return std::any_of(run.tables.begin(), run.tables.end(),
                       [&](const auto& table) { return !IsInput(table.get()); });
  };
  for (int first = 1; first < destination_; first++) {
    const auto& runs = version.level(first);
    if (std::any_of(runs.begin(), runs.end(), stays)) return destination_ - first + 1;
  }
  return 1;
}

Status Placement::ChooseRunOrder(const Version& version,
                                 const std::vector<const TableMeta*>& outputs, uint64_t fresh,
                                 uint64_t* order) const {
  // Whether a table that stays in `run` meets one of the outputs.
  const auto meets_output = [&](const Run& run) {
    return std::any_of(outputs.begin(), outputs.end(), [&](const TableMeta* m) {
      for (size_t i = run.LowerBound(m->first_key); i < run.tables.size(); i++) {
        if (m->EndsBefore(run.tables[i]->meta().first_key)) break;
        if (!IsInput(run.tables[i].get())) return true;
      }
      return false;
    });
  };
  std::unordered_set<uint64_t> taken;  // by runs that the outputs do not fit into
  const auto& runs = version.level(destination_);
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (run->order > older_ && run->order < newer_ && !meets_output(*run)) {
      *order = run->order;
      return Status::Ok();
    }
    taken.insert(run->order);
  }
  for (uint64_t o = newer_ == UINT64_MAX ? fresh : newer_ - 1; o > older_; o--) {
    if (taken.count(o) != 0) continue;
    *order = o;
    return Status::Ok();
  }
  return Status(Code::kPlanStale, "there is no place for the output any more");
}

bool Placement::MayExistBelow(const Version& version, Slice key) const {
  uint64_t hash = 0;
  bool hashed = false;
  return AnyRunBelow(version, [&](const Run& run) {
    const TableReader* table = run.Find(key);
    if (table == nullptr || IsInput(table)) return false;
    if (!hashed) hash = Hash64(key);
    hashed = true;
    return !table->RulesOut(key, hash);
  });
}

bool Placement::MayHideBelow(const Version& version, const RangeTombstone& range) const {
  return AnyRunBelow(version, [&](const Run& run) {
    for (size_t i = run.LowerBound(range.start); i < run.tables.size(); i++) {
      const TableReader* table = run.tables[i].get();
      if (!range.EndsBehind(table->meta().first_key)) break;
      if (!IsInput(table) && table->meta().lowest_seqno < range.seqno) return true;
    }
    return false;
  });
}

template <typename Fn>
bool Placement::AnyRunBelow(const Version& version, const Fn& is_it) const {
  for (const Run& run : version.level(destination_)) {
    if (run.order <= older_ && is_it(run)) return true;
  }
  for (int level = destination_ + 1; level < kLevelCount; level++) {
    for (const Run& run : version.level(level)) {
      if (is_it(run)) return true;
    }
  }
  return false;
}

std::vector<Slice> Placement::Fences(const Version& version) const {
  std::vector<Slice> fences;
  for (const Run& run : version.level(destination_)) {
    if (run.order <= older_ || run.order >= newer_) continue;
    for (const auto& table : run.tables) {
      if (!IsInput(table.get())) fences.push_back(table->meta().first_key);
    }
  }
  std::sort(fences.begin(), fences.end());
  fences.erase(std::unique(fences.begin(), fences.end()), fences.end());
  return fences;
}

}  // namespace shale
