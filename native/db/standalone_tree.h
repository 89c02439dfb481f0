// StandaloneTree: one bare tree in a directory of its own; the caller supplies seqnos, there is no
// journal. What is not flushed is lost at close.
//
// Threads: reads from any; writes and jobs serialise on its own mutex. With `background`, sealed
// memtables are flushed and the strategy is run by the executor; otherwise only the caller's calls
// do that.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "db/database.h"

namespace shale {

struct StandaloneOptions {
  TreeOptions tree;
  uint64_t cache_size = uint64_t{16} << 20;
  uint32_t max_open_files = 900;
  bool background = false;
  std::shared_ptr<CompactionFilter> filter;  // null: none
  std::shared_ptr<UserStrategy> strategy;    // null: none is given
};

class StandaloneTree : public RefCounted {
 public:
  // `merge`: as Database::OpenKeyspace.
  static Status Open(Vfs* vfs, std::unique_ptr<Executor> executor, const std::string& path,
                     const StandaloneOptions& options,
                     const std::function<Status(bool exists, TreeOptions* options)>& merge,
                     Ref<StandaloneTree>* tree);

  Tree* tree() const;
  const std::string& path() const;
  // kInvalidArgument if seqno is below the highest sealed one. *item_size: bytes the entry took;
  // *memtable_size: bytes of the active memtable afterwards.
  Status Add(Kind kind, Slice key, Slice value, Seqno seqno, uint64_t* item_size,
             uint64_t* memtable_size);
  // A range tombstone; an empty `end` is unbounded.
  Status AddRange(Slice start, Slice end, Seqno seqno, uint64_t* item_size,
                  uint64_t* memtable_size);
  // kInvalidArgument unless `seqno`, which all rows will have, is above every one so far; the same
  // when it is finished. It is rolled back when the tree closes before that.
  Status StartIngestion(Seqno seqno, Ref<Ingestion>* ingestion);
  bool RotateMemtable();
  Status Flush();  // rotates, then writes everything sealed
  void FlushAsync(Completion completion);
  Status Compact(const CompactionPlan& plan, JobControl* control);
  // One decision of the strategy and its execution; ok with nothing to do.
  Status CompactOnce(const StrategyOptions& strategy, JobControl* control);
  // Runs what `planner` asks for, once none of its tables is busy; `control` may be null.
  Status Run(Planner planner, JobControl* control);
  void RunAsync(Planner planner, std::shared_ptr<JobControl> control, Completion completion);
  void TellStoppedJobs();  // see Database
  Status MajorCompaction(uint64_t target_size, JobControl* control);
  // Runs `work` on an engine thread; false once closing.
  bool Submit(Lane lane, std::function<void()> work);

  Seqno gc_seqno() const;
  Status SetGcSeqno(Seqno seqno);         // kInvalidArgument if lower than before
  Seqno highest_persisted_seqno() const;  // inclusive; 0 if none
  CacheStats cache_stats() const;
  std::vector<RunningJob> jobs() const;
  void PauseCompaction(Completion completion);
  void ResumeCompaction();
  void DrainCompaction(Completion completion);
  Database::CompactorState compactor_state() const;
  Status Close();

 private:
  class Impl;
  StandaloneTree();
  ~StandaloneTree() override;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
