// Database: one directory with keyspaces, one journal, snapshots and background maintenance.
//
// Owns and orders everything: commits are numbered and journaled in one order, become visible in
// that order, and are flushed and compacted by the executor. Reads go to Keyspace::tree() at
// visible() or at a snapshot's seqno and take no lock here.
//
// Threads: any. A sync write may wait (group, sync, backpressure up to max_stall_ms); an async one
// never does: it is done at once or handed to the engine's threads.
// Lifetime: Close() ends it; handles may outlive that, every later call answers kDbClosed.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "db/database_metrics.h"
#include "db/event_queue.h"
#include "db/executor.h"
#include "db/ingestions.h"
#include "db/keyspace.h"
#include "db/options.h"
#include "db/snapshot_tracker.h"
#include "db/write_batch.h"
#include "tree/tree.h"

namespace shale {

// What recovery found; all zero unless something was cut or salvaged.
struct RecoveryReport {
  uint64_t commits_replayed = 0;
  uint64_t bytes_dropped = 0;
  std::optional<uint64_t> commits_dropped = 0;  // nullopt: cannot be known
  std::vector<std::string> files;               // names of the files that were cut
};

struct RunningJob {
  std::string keyspace;
  CompactionPlan plan;
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;
};

struct DatabaseFigures {
  uint64_t write_buffer_bytes = 0;
  uint32_t outstanding_flushes = 0;
  uint32_t active_compactions = 0;
  uint64_t compactions_completed = 0;
  double compacting_ms = 0;
  uint32_t journal_count = 0;
  uint64_t journal_bytes = 0;
  uint64_t disk_bytes = 0;  // journals, tables, blob files, manifests
  uint64_t flushes_completed = 0;
  uint64_t flush_bytes_written = 0;
  uint64_t compaction_bytes_read = 0;
  uint64_t compaction_bytes_written = 0;
  uint64_t journal_bytes_written = 0;
  uint64_t stalls = 0;
  double stall_ms = 0;
};

class Database : public RefCounted {
 public:
  // `path` is absolute. `executor` and `vfs` are the real ones in production.
  static Status Open(Vfs* vfs, std::unique_ptr<Executor> executor, const std::string& path,
                     const DatabaseOptions& options, Ref<Database>* database);

  const std::string& path() const;
  const DatabaseOptions& options() const;
  DatabaseStatus status() const;
  Status failure() const;  // why it is degraded or failed
  const RecoveryReport& recovery() const;

  // --- keyspaces ---
  // Opens or creates. `changed`: the options that the caller gave explicitly, already merged into
  // `options` for a new keyspace; for an existing one `merge` receives the stored options and
  // returns what shall hold now (or an error: nothing changes). `strategy`: of the application, for
  // where the options name it; null: none is given with this.
  Status OpenKeyspace(const std::string& name,
                      const std::function<Status(bool exists, TreeOptions* options)>& merge,
                      Ref<Keyspace>* keyspace, std::shared_ptr<UserStrategy> strategy = nullptr);
  // A strategy that was given may be gone: the status says if that keyspace lacks one.
  void CheckStrategy(const Keyspace& keyspace);
  Ref<Keyspace> FindKeyspace(const std::string& name) const;  // null if there is none
  Ref<Keyspace> FindKeyspaceById(uint32_t id) const;          // likewise
  std::vector<std::string> KeyspaceNames() const;             // sorted by bytes
  size_t keyspace_count() const;

  // --- writes ---
  // One entry. Blocks as said above.
  Status WriteOne(Keyspace* keyspace, Kind kind, Slice key, Slice value, Durability durability);
  // Encoded entries (write_batch.h); checked here. Empty is a no-op.
  Status Write(Slice entries, Durability durability);
  // kOk: done and visible, `completion` is not called. kWouldBlock: `completion` will be called
  // exactly once (the bytes were copied). Else: failed, nothing happened.
  Status WriteOneAsync(Keyspace* keyspace, Kind kind, Slice key, Slice value, Durability durability,
                       Completion completion);
  Status WriteAsync(Slice entries, Durability durability, Completion completion);

  // Makes every acknowledged commit survive what `durability` says.
  Status Persist(Durability durability);
  Status PersistAsync(Durability durability, Completion completion);

  // --- ingestion ---
  // It is rolled back when the database closes before it was finished.
  Status StartIngestion(Keyspace* keyspace, Ref<Ingestion>* ingestion);

  // --- reads ---
  Seqno visible() const { return visible_.load(std::memory_order_acquire); }
  Seqno next_seqno() const;
  SnapshotTracker& snapshots();
  // Runs `work` on a reader thread (a read that missed memory). False once closing: it will not
  // run.
  bool SubmitRead(std::function<void()> work);

  // --- maintenance ---
  bool RotateMemtable(Keyspace* keyspace);
  // Rotates and waits until everything sealed so far is in tables.
  Status FlushKeyspace(Keyspace* keyspace);
  Status FlushKeyspaceAsync(Keyspace* keyspace, Completion completion);
  // Runs what `planner` asks for; `control` may be null. kPlanStale if tables of it are gone, or
  // busy and `when_busy` is kFail.
  Status Run(Keyspace* keyspace, Planner planner, WhenBusy when_busy, JobControl* control);
  void RunAsync(Keyspace* keyspace, Planner planner, WhenBusy when_busy,
                std::shared_ptr<JobControl> control, Completion completion);
  // Of what RunAsync began, those that wait for tables and whose control says stop are told.
  void TellStoppedJobs();
  Status MajorCompaction(Keyspace* keyspace, uint64_t target_size, JobControl* control);
  std::vector<RunningJob> jobs() const;
  void PauseCompaction(Completion completion);  // told when none runs
  void ResumeCompaction();
  void DrainCompaction(Completion completion);  // told when no strategy has anything left
  // What was opened with hold_compactions begins; twice is once.
  void ReleaseCompactions();
  enum class CompactorState : uint8_t { kIdle, kRunning, kPaused };
  CompactorState compactor_state() const;
  DatabaseFigures figures() const;
  CacheStats cache_stats() const;
  DatabaseMetrics metrics() const;
  // For those who read its trees and open handles on it; they may outlive it.
  const std::shared_ptr<Latencies>& latencies() const;
  const std::shared_ptr<HandleCounts>& handle_counts() const;
  const std::shared_ptr<EventHub>& events() const;

  // Refuses new calls, waits for running ones, ends background work, flushes, syncs, unlocks.
  // Idempotent: later callers wait for the first and get its outcome. Call off the JavaScript
  // thread, or accept the wait.
  Status Close();
  // Hands over what is staged, also while it is being closed: for the end of the process.
  Status HandOver();

 private:
  class Impl;
  Database();
  ~Database() override;
  std::atomic<Seqno> visible_{1};
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
