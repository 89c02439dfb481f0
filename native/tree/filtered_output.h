// FilteredOutput: asks a compaction filter about what retention keeps, and passes on what is left.
//
// Stands between Retention and the output of a merge. Values are gathered to batches; what comes
// meanwhile waits with them. A verdict may make a tombstone, or take away what one hides. For the
// other versions of the key that means what it would mean if they had been written so: they go
// through retention once more, which holds tombstones until it is known what is left below them.
//
// Threads: one.
// Memory: a batch, with the separated values that were fetched for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blob/blob_file.h"
#include "tree/compaction_filter.h"
#include "tree/retention.h"

namespace shale {

class FilteredOutput final : public Retention::Sink {
 public:
  // Reads the value of a blob pointer.
  using Fetch = std::function<Status(const Entry& pointer, BlobHit* hit)>;

  // `view`, `may_exist_below`: see Retention. `sink` outlives this.
  FilteredOutput(std::shared_ptr<CompactionFilter> filter, FilterContext context, Fetch fetch,
                 RetentionView view, Retention::MayExistBelow may_exist_below,
                 Retention::Sink* sink);

  Status Add(const Entry& entry) override;
  // After the last entry.
  Status Finish();
  // Whether a verdict was another one than to keep.
  bool changed() const { return changed_; }

 private:
  // An entry that waits for the verdicts, in bytes_.
  struct Held {
    size_t key = 0;
    size_t key_size = 0;
    size_t value = 0;
    size_t value_size = 0;
    uint64_t tag = 0;
    BlobHit blob;  // if its value was fetched
  };

  bool Asks(const Entry& entry) const { return !IsTombstone(entry.kind()); }
  bool Fetches(const Entry& entry) const {
    return needs_blob_values_ && entry.kind() == Kind::kBlobPointer;
  }
  void Hold(const Entry& entry, BlobHit blob);
  Slice KeyOf(const Held& held) const { return {bytes_.data() + held.key, held.key_size}; }
  Entry EntryOf(const Held& held) const {
    return {KeyOf(held), {bytes_.data() + held.value, held.value_size}, held.tag};
  }
  Status Ask();
  Status Settle(const Entry& entry, const FilterVerdict& verdict);

  const std::shared_ptr<CompactionFilter> filter_;
  const bool needs_blob_values_;
  const FilterContext context_;
  const Fetch fetch_;
  Retention retention_;  // of what is left

  std::vector<Held> held_;
  std::string bytes_;
  size_t questions_ = 0;       // of the held ones
  size_t question_bytes_ = 0;  // keys and values of those

  bool changed_ = false;
};

}  // namespace shale
