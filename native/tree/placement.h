// Placement: where the output of a compaction may stand, so that a newer version of a key is always
// found before an older one (invariant I2 of version.h).
//
// Every table that is no input and shares keys with an input stays on the side of the output on
// which it was of that input. Plans come from strategies and from users; none is trusted. Because
// other jobs commit in the meantime, a job places its output once more, on the version of that
// moment.
//
// Threads: values; pure functions of a version.
// Cost: O(inputs * (runs * log tables + overlapping tables)).
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "tree/strategy.h"
#include "tree/version.h"

namespace shale {

struct InputTable {
  Ref<TableReader> table;
  TablePlace place;
};

class Placement {
 public:
  // kPlanStale if an input is not in `version`; kInvalidArgument if the plan is malformed or would
  // put newer versions below older ones.
  static Status Make(const Version& version, const CompactionPlan& plan, Placement* placement);

  const std::vector<InputTable>& inputs() const { return inputs_; }
  bool IsInput(const TableReader* table) const { return input_set_.count(table) != 0; }
  uint64_t input_bytes() const;
  // As Version::PolicyLevel of the destination, once the inputs are gone.
  int PolicyLevel(const Version& version) const;

  // The run order under which the outputs, given in key order, go to the destination: that of a run
  // which they fit into, else a new one; `fresh` is above all orders in use.
  Status ChooseRunOrder(const Version& version, const std::vector<const TableMeta*>& outputs,
                        uint64_t fresh, uint64_t* order) const;

  // Whether a table below the output, inputs aside, may hold `key`. Asks filters, reads nothing.
  bool MayExistBelow(const Version& version, Slice key) const;

  // Whether such a table may hold what `range` hides.
  bool MayHideBelow(const Version& version, const RangeTombstone& range) const;

  // First keys, ascending, of the tables that an output may come to lie beside in one run: a table
  // of the output must not span one of them.
  std::vector<Slice> Fences(const Version& version) const;

 private:
  template <typename Fn>
  bool AnyRunBelow(const Version& version, const Fn& is_it) const;
  Status AddInputs(const Version& version, const CompactionPlan& plan);
  Status CheckDisjoint() const;
  Status AddBounds(const Version& version);
  Status AddBound(const TablePlace& other, const TablePlace& input);

  int destination_ = 0;
  std::vector<InputTable> inputs_;
  std::unordered_set<const TableReader*> input_set_;
  // In the destination: the output is newer than runs up to `older_` and older than runs from
  // `newer_`.
  uint64_t older_ = 0;
  uint64_t newer_ = UINT64_MAX;
};

}  // namespace shale
