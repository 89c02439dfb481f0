// CompactionFilter: what is asked about the entries that a compaction would keep.
//
// Asked by merges only: never in a flush, never where tables are moved or dropped as wholes, and
// never about tombstones. Versions that only a snapshot sees are asked about too: what reads them
// goes on seeing them, because a job that changed anything commits visibly (Tree::CommitChange).
//
// Threads: Judge from any number of jobs at a time.
// Errors: ApplicationFailure for wrong or missing answers; the job ends without a change.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"

namespace shale {

struct JobControl;

// Entries that are judged together, at most; and bytes of their keys and values, unless one entry
// alone has more.
inline constexpr size_t kFilterBatchEntries = 256;
inline constexpr size_t kFilterBatchBytes = size_t{64} << 10;

struct FilterEntry {
  Slice key;
  std::optional<Slice> value;  // absent: separated, and the filter does not need it
};

// What a job tells about itself.
struct FilterContext {
  bool is_last_level = false;  // the output goes to the last level
  uint64_t now_ms = 0;         // when the job began
  const JobControl* control = nullptr;
  // Asked again and again by a filter that has to wait: ok as long as it may.
  std::function<Status()> may_wait = [] { return Status::Ok(); };
};

// Numbers are shared with lib/engine.ts.
enum class Verdict : uint8_t {
  kKeep = 0,
  kRemove = 1,      // a tombstone takes its place
  kRemoveWeak = 2,  // a weak one does
  kDestroy = 3,     // nothing does: what is older in deeper tables comes to light
  kReplace = 4,     // it gets another value
};
struct FilterVerdict {
  Verdict verdict = Verdict::kKeep;
  std::string value;  // kReplace
};

class CompactionFilter {
 public:
  virtual ~CompactionFilter() = default;
  // Whether separated values are fetched for it.
  virtual bool needs_blob_values() const = 0;
  // Appends one verdict for each entry.
  virtual Status Judge(const std::vector<FilterEntry>& entries, const FilterContext& context,
                       std::vector<FilterVerdict>* verdicts) = 0;

  bool alive() const { return alive_.load(std::memory_order_acquire); }
  // Whoever gave it is gone: no job begins with it any more, and one that waits for it is aborted.
  virtual void Drop() { alive_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> alive_{true};
};

// Removes what is `ttl_ms` old: the time stands as big-endian milliseconds at `offset` of key or
// value. What ends before that stays.
std::shared_ptr<CompactionFilter> MakeTtlFilter(bool in_key, uint64_t offset, uint64_t ttl_ms);
// Removes entries whose key begins with one of the prefixes; an empty one is that of every key.
std::shared_ptr<CompactionFilter> MakePrefixFilter(std::vector<std::string> prefixes);

}  // namespace shale
