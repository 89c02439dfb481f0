// Tree: one LSM-tree: memtables over levels of tables.
//
// Threads: reads from any thread without a lock (epoch or Ref on the super version). Writes (Add,
// Rotate) by one thread at a time under the caller's write lock. Flush: one at a time per tree;
// compactions: any number with disjoint claims. `mutex_` guards the replacement of the super
// version and the claims; it is never held across I/O. What changes the version (flush, compaction)
// does so one after the other under `install_mutex_`, which is held while the manifest syncs and
// which no reader or writer takes.
// The tree does not know journals, snapshots or threads: who opens it supplies the snapshot
// boundaries and runs the jobs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tree/compaction_filter.h"
#include "tree/cursor.h"
#include "tree/ingestion.h"
#include "tree/job_output.h"
#include "tree/manifest.h"
#include "tree/retention.h"
#include "tree/strategy.h"
#include "tree/super_version.h"
#include "tree/tree_metrics.h"
#include "tree/user_strategy.h"

namespace shale {

// Shared by the trees of one directory.
struct TreeContext {
  Vfs* vfs = nullptr;
  std::string directory;
  Manifest* manifest = nullptr;
  std::shared_ptr<Cache> cache;
  std::shared_ptr<FileCache> files;
  std::function<RetentionView()> retention;
  // Runs `install` under the write lock with a seqno of its own: reads at that and below began
  // before. Where one of them may last, the active memtable is sealed first.
  std::function<void(uint32_t tree, const std::function<void(Seqno)>& install)> at_a_seqno;
  // Called by a compaction with the bytes that it has written; may wait (rate limit), unless and
  // until `stopped`.
  std::function<void(uint64_t bytes, const std::function<bool()>& stopped)> throttle;
};

// A value found by Get; slices live as long as the pins (or the caller's EpochGuard in
// kMemoryOnly).
struct TreeHit {
  Slice value;
  Ref<SuperVersion> super_version;
  Ref<CacheValue> block;  // of the cache: a data block, or a value of a blob file
};

struct JobStats {
  uint64_t memtables = 0;  // that were flushed
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t items_read = 0;
  uint64_t items_written = 0;
  uint64_t tables_written = 0;
};

// Items, and bytes of them, after which a job looks whether it was told to stop.
inline constexpr uint64_t kStopCheckItems = 256;
inline constexpr uint64_t kStopCheckBytes = uint64_t{4} << 20;

// Progress and stop flag of one running job; shared with whoever watches it.
struct JobControl {
  std::atomic<bool> stop{false};
  // Ends the job where it would wait for the application.
  std::atomic<bool> must_not_wait{false};
  std::atomic<uint64_t> done_bytes{0};
  std::atomic<uint64_t> total_bytes{0};
};

class Tree : public RefCounted {
 public:
  // Opens the tables that the manifest lists for `state.id`. kCorruption if one is missing or is
  // not what the manifest says; kNotSupported if one holds what this version cannot read.
  static Status Open(const TreeContext& context, const TreeState& state, Ref<Tree>* tree);
  ~Tree() override;

  uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  TreeOptions options() const;
  void SetOptions(
      const TreeOptions& options);  // holds for new files; the caller has committed them

  // What merges ask from now on; of several the first that is alive.
  void AddFilter(std::shared_ptr<CompactionFilter> filter);
  std::shared_ptr<CompactionFilter> filter() const;  // null: none

  // What decides if the stored strategy has its name; the last one that is alive.
  void AddUserStrategy(std::shared_ptr<UserStrategy> strategy);
  // Null: the stored strategy needs none, or it was not given.
  std::shared_ptr<UserStrategy> user_strategy() const;
  bool LacksStrategy() const;

  // --- writes: the caller's write lock ---
  // Bytes the entry took in the memtable.
  size_t Add(Slice key, Slice value, Seqno seqno, Kind kind);
  // A range tombstone; an empty `end` is unbounded. What it hides is what was there before: entries
  // of the same commit that it cancels must not be added.
  size_t AddRange(Slice start, Slice end, Seqno seqno);
  // What users gave for entries that were added, in keys and values, and what a journal took for
  // them; for TreeMetrics::write_amplification.
  void CountWrite(uint64_t user_bytes, uint64_t journal_bytes) {
    Grow(&user_bytes_, user_bytes);
    Grow(&journal_bytes_, journal_bytes);
  }
  uint64_t active_bytes() const;
  // Seals the active memtable; false if it is empty.
  bool Rotate();
  Seqno highest_seqno() const;  // 0 if nothing was ever inserted
  Seqno highest_sealed_seqno() const;

  // --- reads ---
  // The current super version; only inside an EpochGuard.
  SuperVersion* current() const { return current_.load(std::memory_order_seq_cst); }
  // The same, and in *read_seqno what `take` answered while it was the current one: it holds all
  // that is visible at that seqno; see super_version.h.
  template <typename Take>
  SuperVersion* CurrentAt(const Take& take, Seqno* read_seqno) const {
    for (;;) {
      SuperVersion* now = current();
      *read_seqno = take();
      if (current() == now) return now;
    }
  }
  Ref<SuperVersion> Pin() const;
  // Newest living value of `key` at `read_seqno` in `sv`. kNotFound, kWouldBlock, or a failure.
  // kMemoryOnly: the hit borrows (EpochGuard held by the caller), never allocates. kMayBlock: the
  // caller holds a Ref on `sv` and no guard.
  static Status Get(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode,
                    TreeHit* hit);
  // The length of that value; reads no blob.
  static Status SizeOf(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode,
                       uint64_t* size);

  // --- jobs: background threads ---
  bool HasSealed() const;
  // Writes all sealed memtables to level 0 and commits. `before_commit` runs after the tables are
  // durable and before the manifest commit (the journal sync); its error aborts. Ok with nothing to
  // do.
  Status Flush(JobControl* control, const std::function<Status(Seqno highest)>& before_commit,
               JobStats* stats);
  // What will be filled with rows and then ingested, once.
  std::unique_ptr<IngestedRun> StartIngestion() const;
  // Makes the complete `run` the newest of the tree, with one seqno for all of its rows.
  // `take_seqno` gives that, above every seqno of the tree, and seals the active memtable: what is
  // sealed goes to tables in the same commit, so that the run lies above all that is older.
  // `before_commit` as with Flush. When it fails nothing was ingested.
  Status Ingest(IngestedRun* run, const std::function<Status(Seqno* seqno)>& take_seqno,
                const std::function<Status(Seqno highest)>& before_commit, JobStats* stats);
  // Claims the plan's inputs. kPlanStale if one is gone or busy; kInvalidArgument if the plan is
  // malformed or would put newer entries below older ones.
  Status Claim(const CompactionPlan& plan);
  // Asks the strategy and claims; nullopt if it has nothing to do. Without `strategy` the tree's
  // own.
  // Where it has nothing to do, tables that are mostly tombstones or too old are compacted, and in
  // the first form then those that point into blob files with too much garbage.
  std::optional<CompactionPlan> ChooseAndClaim(uint64_t now_ms);
  // The same by the strategy of the application, if that is the stored one; *plan is empty if it
  // wants nothing, or tables that are busy. Failures as UserStrategy::Choose.
  Status AskAndClaim(uint64_t now_ms, const std::function<Status()>& may_wait,
                     std::optional<CompactionPlan>* plan);
  std::optional<CompactionPlan> ChooseAndClaim(const StrategyOptions& strategy, uint64_t now_ms);
  // Milliseconds until the strategy has something to do although nothing is written; nullopt:
  // never.
  std::optional<double> DueIn(uint64_t now_ms) const;
  // Runs a claimed plan and releases the claim, whatever the outcome. kAborted when stopped:
  // nothing changed.
  Status Compact(const CompactionPlan& plan, JobControl* control, JobStats* stats);
  // Drops the tables that range tombstones hide whole: worth a call after a flush or a compaction,
  // and when a snapshot has closed. What fails is left to the next time.
  void DropCovered();
  // When a read below this seqno ends, ChooseAndClaim or DropCovered may have something to do: it
  // may be all that some tables are kept for, or some tombstones in them. 0: there are none.
  Seqno AwaitedBelow() const;
  // All tables into the last level; nullopt if there is none.
  std::optional<CompactionPlan> MajorPlan(uint64_t target_size) const;
  // Drops the tables inside of the range; nullopt if there is none.
  std::optional<CompactionPlan> DropRangePlan(const Bounds& range) const;

  // --- views ---
  bool has_ranges() const;             // range tombstones in tables
  uint64_t max_memtable_size() const;  // of options()
  uint64_t memtable_bytes() const;     // active + sealed
  uint64_t sealed_bytes() const;
  size_t sealed_count() const;
  size_t level0_runs() const;
  uint64_t table_bytes() const;
  uint64_t blob_bytes() const;        // of blob files
  uint64_t stale_blob_bytes() const;  // of frames in them that no table points to
  uint64_t approximate_len() const;
  Seqno flushed_seqno() const;  // exclusive; as in the manifest
  TreeMetrics metrics() const;
  std::shared_ptr<TableCounters> counters() const { return counters_; }
  std::shared_ptr<BlobCounters> blob_counters() const { return blob_counters_; }
  // Super versions still pinned by someone, newest (current) first.
  std::vector<Ref<SuperVersion>> history() const;
  // What a read at `read_seqno` goes to.
  Ref<SuperVersion> PinFor(Seqno read_seqno) const;
  // Lets go of super versions that are held for reads which have ended, or of all; see
  // SuperVersion::For.
  void ReleaseHeld();
  void ReleaseAllHeld() { ReleaseHeldBut(RetentionView{{}, kReadAll}); }
  bool holds() const;
  // Bytes of tables in the range, from their indexes.
  Status ApproximateSize(const Bounds& range, ReadMode mode, uint64_t* bytes) const;
  // The tree was deleted: its tables go with their last reader. Jobs that still run are aborted.
  void MarkDeleted();

 private:
  Tree(const TreeContext& context, const TreeState& state, TreeOptions options);
  Status OpenTables(const TreeState& state);
  Status OpenBlobFiles(const TreeState& state, std::vector<Ref<BlobFile>>* files) const;
  Ref<Memtable> NewMemtable(const TreeOptions& options);
  // Replaces the super version; mutex_ held. The old one waits in superseded_ until it is retired
  // outside of locks, because releasing it may remove files.
  void Install(Ref<SuperVersion> next);
  void RetireSuperseded() const;

  class FlushJob;
  class CompactionJob;
  Status RunClaimed(const CompactionPlan& plan, JobControl* control, JobStats* stats);
  // Makes a change of the version durable and installs it; install_mutex_ held. `outputs`: what it
  // adds, kept from here on unless it fails for certain; `flushed`: memtables that it replaces. The
  // blob files are its own: it adds those of the outputs, and removes those that lose their last
  // reference. `is_visible`: reads can tell it from what was there before.
  Status CommitChange(ManifestEdit::TreeChange change, const std::vector<JobOutput*>& outputs,
                      const std::vector<Ref<Memtable>>& flushed, bool is_visible = false);
  Status CommitKept(ManifestEdit::TreeChange change, const std::vector<JobOutput*>& outputs,
                    const std::vector<Ref<Memtable>>& flushed, bool is_visible);
  // Tables hold seqnos up to this one.
  void RaiseSeqnos(Seqno highest);
  using Chooser = std::function<std::optional<CompactionPlan>(const Version& version,
                                                              const std::set<uint64_t>& busy)>;
  std::optional<CompactionPlan> ClaimChosen(const Chooser& choose);
  std::optional<CompactionPlan> ChooseFrom(const Version& version, const StrategyOptions& strategy,
                                           StrategyContext context) const;
  void ReleaseHeldBut(const RetentionView& view);
  // Installs a version that reads cannot tell from the one before, with memtables that it replaces.
  void InstallHidden(Ref<Version> version, const std::vector<Ref<Memtable>>& flushed);
  // Installs a version in which something is missing that reads at `at` and below still see.
  void InstallVisible(Ref<Version> version, Seqno at);
  // For one writer at a time.
  static void Grow(std::atomic<uint64_t>* sum, uint64_t n) {
    sum->store(sum->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }
  TableContext table_context() const;
  BlobContext blob_context() const;
  JobOutputOptions OutputOptions(const TreeOptions& options) const;

  const TreeContext context_;
  const uint32_t id_;
  const std::string name_;
  const std::shared_ptr<SuperVersionList> list_;
  const std::shared_ptr<TableCounters> counters_;
  const std::shared_ptr<BlobCounters> blob_counters_;

  std::mutex flush_mutex_;        // one flush at a time; held across I/O
  std::mutex install_mutex_;      // taken inside flush_mutex_; held across I/O
  uint64_t next_run_order_ = 1;   // install_mutex_
  uint64_t next_version_id_ = 1;  // install_mutex_

  mutable std::mutex mutex_;                     // innermost; never held across I/O
  std::atomic<SuperVersion*> current_{nullptr};  // written under mutex_
  TreeOptions options_;                          // mutex_
  std::set<uint64_t> claimed_;                   // mutex_
  // mutex_; what dies is left to the next call.
  mutable std::vector<std::shared_ptr<CompactionFilter>> filters_;
  mutable std::vector<std::shared_ptr<UserStrategy>> user_strategies_;
  mutable std::vector<SuperVersion*> superseded_;  // mutex_; the counts of what current_ held
  Seqno flushed_seqno_ = 0;                        // mutex_
  std::atomic<bool> deleted_{false};               // written under mutex_

  Ref<Memtable> active_;           // write lock; the one of current_
  uint64_t next_memtable_id_ = 1;  // write lock
  std::atomic<Seqno> highest_seqno_{0};
  std::atomic<Seqno> highest_sealed_seqno_{0};
  std::atomic<uint64_t> user_bytes_{0};      // written under the write lock
  std::atomic<uint64_t> ingested_bytes_{0};  // of keys and values; written under install_mutex_
  std::atomic<uint64_t> journal_bytes_{0};   // likewise
  std::atomic<uint64_t> output_bytes_{0};    // of jobs, in tables and blob files; install_mutex_
};

// Says what to do with a tree; nullopt: nothing.
using Planner = std::function<std::optional<CompactionPlan>(const Tree&)>;

}  // namespace shale
