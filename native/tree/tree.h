// Tree: one LSM-tree: memtables over levels of tables.
//
// Threads: reads from any thread without a lock (epoch or Ref on the super version). Writes (Add,
// Rotate) by one thread at a time under the caller's write lock. Flush: one at a time per tree;
// compactions: any number with disjoint claims. `mutex_` guards the super version pointer's
// replacement and the claims; it is never held across I/O.
// The tree does not know journals, snapshots or threads: who opens it supplies the snapshot
// boundaries and runs the jobs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tree/cursor.h"
#include "tree/manifest.h"
#include "tree/retention.h"
#include "tree/strategy.h"
#include "tree/super_version.h"

namespace shale {

// Shared by the trees of one directory.
struct TreeContext {
  Vfs* vfs = nullptr;
  std::string directory;
  Manifest* manifest = nullptr;
  Cache* cache = nullptr;
  FileCache* files = nullptr;
  std::function<RetentionView()> retention;
  // Called by a compaction with the bytes it is about to write; may wait (rate limit).
  std::function<void(uint64_t bytes)> throttle;
};

// A value found by Get; slices live as long as the pins (or the caller's EpochGuard in
// kMemoryOnly).
struct TreeHit {
  Slice value;
  Ref<SuperVersion> super_version;
  Ref<CacheValue> block;
};

struct JobStats {
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t items_read = 0;
  uint64_t items_written = 0;
  uint64_t tables_written = 0;
};

// Progress and stop flag of one running job; shared with whoever watches it.
struct JobControl {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> done_bytes{0};
  std::atomic<uint64_t> total_bytes{0};
};

class Tree : public RefCounted {
 public:
  // Opens the tables that the manifest lists for `state.id`.
  static Status Open(const TreeContext& context, const TreeState& state, Ref<Tree>* tree);
  ~Tree() override;

  uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  TreeOptions options() const;
  void SetOptions(const TreeOptions& options);  // holds for new files; the caller has committed them

  // --- writes: the caller's write lock ---
  // Bytes the entry took in the memtable.
  size_t Add(Slice key, Slice value, Seqno seqno, Kind kind);
  uint64_t active_bytes() const;
  // Seals the active memtable; false if it is empty.
  bool Rotate();
  Seqno highest_seqno() const;     // 0 if nothing was ever inserted
  Seqno highest_sealed_seqno() const;

  // --- reads ---
  // The current super version; only inside an EpochGuard.
  SuperVersion* current() const { return current_.load(std::memory_order_seq_cst); }
  Ref<SuperVersion> Pin() const;
  // Newest living value of `key` at `read_seqno` in `sv`. kNotFound, kWouldBlock, or a failure.
  // kMemoryOnly: the hit borrows (EpochGuard or Ref on `sv` held by the caller), never allocates.
  Status Get(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode,
             TreeHit* hit) const;

  // --- jobs: background threads ---
  bool HasSealed() const;
  // Writes all sealed memtables to level 0 and commits. `before_commit` runs after the tables are
  // durable and before the manifest commit (the journal sync); its error aborts. Ok with nothing to
  // do.
  Status Flush(JobControl* control, const std::function<Status(Seqno highest)>& before_commit,
               JobStats* stats);
  // Claims the plan's inputs. kPlanStale if one is gone or busy.
  Status Claim(const CompactionPlan& plan);
  // Asks the strategy and claims; nullopt if it has nothing to do.
  std::optional<CompactionPlan> ChooseAndClaim(uint64_t now_ms);
  // Runs a claimed plan and releases the claim, whatever the outcome. kAborted when stopped:
  // nothing changed.
  Status Compact(const CompactionPlan& plan, JobControl* control, JobStats* stats);
  std::optional<CompactionPlan> MajorPlan(uint64_t target_size) const;  // nullopt if empty

  // --- views ---
  uint64_t memtable_bytes() const;   // active + sealed
  size_t sealed_count() const;
  size_t level0_runs() const;
  uint64_t table_bytes() const;
  uint64_t approximate_len() const;
  Seqno flushed_seqno() const;       // exclusive; as in the manifest
  std::shared_ptr<TableCounters> counters() const { return counters_; }
  // Super versions still pinned by someone, newest (current) first.
  std::vector<Ref<SuperVersion>> history() const;
  Status ApproximateSize(const Bounds& range, ReadMode mode, uint64_t* bytes) const;
  // The tree was deleted: its tables go with their last reader.
  void MarkDeleted();

 private:
  Tree(const TreeContext& context, const TreeState& state, TreeOptions options);
  void Install(Ref<SuperVersion> next);  // mutex_ held
  class FlushJob;
  class CompactionJob;

  const TreeContext context_;
  const uint32_t id_;
  const std::string name_;
  mutable std::mutex mutex_;
  std::atomic<SuperVersion*> current_{nullptr};
  TreeOptions options_;               // mutex_
  std::set<uint64_t> claimed_;        // mutex_
  std::vector<const SuperVersion*> superseded_;  // mutex_; see history()
  Seqno flushed_seqno_ = 0;           // mutex_
  uint64_t next_memtable_id_ = 1;     // write lock
  uint64_t next_run_order_ = 1;       // mutex_
  uint64_t next_version_id_ = 1;      // mutex_
  std::atomic<Seqno> highest_seqno_{0};
  std::atomic<Seqno> highest_sealed_seqno_{0};
  std::mutex flush_mutex_;            // one flush at a time; may be held across I/O
  std::shared_ptr<TableCounters> counters_;
};

}  // namespace shale
