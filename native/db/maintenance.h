// Maintenance: when memtables are flushed and levels compacted, and what happens when that fails.
//
// Flushes run on their own lane, one at a time, and never wait for a compaction, except that level
// 0 has a limit of runs. Compactions run as many at once as there are threads, over all keyspaces,
// with disjoint claims. A job that failed is tried again with a growing pause; meanwhile the state
// is degraded and heals by itself. A failed sync is handed on: it ends writing.
//
// Threads: any; one mutex, never held across I/O or a call into a tree that does I/O.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "db/database.h"
#include "db/database_metrics.h"
#include "db/event_queue.h"
#include "db/write_control.h"

namespace shale {

class Maintenance {
 public:
  struct Parts {
    Vfs* vfs = nullptr;
    Executor* executor = nullptr;
    WriteControl* control = nullptr;          // null: writers are not slowed
    std::atomic<uint64_t>* memory = nullptr;  // bytes of memtables over all keyspaces
    bool automatic = true;                    // the strategy is asked after each job
    bool held = false;                        // ... but not before Release()
    std::function<Status(Seqno highest)> before_flush_commit;
    std::function<void()> after_flush;            // something may be evicted
    std::function<void(const Status&)> on_fatal;  // a sync failed
    // A job has ended. Also after one that succeeded the manifest may take no more commits.
    std::function<void()> after_job;
    std::function<void(const Status&)> on_state;  // degraded by this; ok: healed
    EventHub* events = nullptr;                   // null: nobody can listen
    Latencies* latencies = nullptr;               // null: nobody asks
  };
  // Read without the mutex, which writers take.
  struct Figures {
    uint32_t active_flushes = 0;
    uint32_t active_compactions = 0;
    uint64_t compactions_completed = 0;
    double compacting_ms = 0;  // with those that failed
    uint64_t flushes_completed = 0;
    double flushing_ms = 0;  // of these
    uint64_t flush_bytes_written = 0;
    uint64_t compaction_bytes_read = 0;
    uint64_t compaction_bytes_written = 0;
  };

  explicit Maintenance(Parts parts);

  // A keyspace joins; counts what recovery left in it and schedules what it needs.
  void Opened(Keyspace* keyspace);
  // Its strategy may want something else now.
  void OptionsChanged(Keyspace* keyspace);
  // A memtable of `keyspace` was sealed.
  void Sealed(Keyspace* keyspace);
  // The bytes of memtables are above the soft limit, or writers are not free.
  void MemoryGrew();
  void ScheduleFlush(Keyspace* keyspace);
  void ScheduleCompaction(Keyspace* keyspace);
  // No read at this seqno will come any more: looks again at those of all `keyspaces` where it may
  // be all that something was kept for. False: there are none, and the call is not needed.
  bool AwaitsEndOf(Seqno seqno) const { return seqno < awaited_below_.load(); }
  void ReadsEnded(Seqno seqno, const std::vector<Ref<Keyspace>>& keyspaces);
  // `completion` is told when everything up to `seqno` is in tables, or the flush failed.
  void WhenFlushed(Keyspace* keyspace, Seqno seqno, Completion completion);
  // Flushes here and now (close, ingestion).
  Status FlushNow(Keyspace* keyspace);
  // Tree::Ingest has been called: what follows from it.
  void Ingested(Keyspace* keyspace, const Status& status);

  // Runs what `planner` asks for; nothing, if it asks for nothing. While tables of it are busy it
  // waits and asks anew, or fails with kPlanStale.
  void Run(Keyspace* keyspace, Planner planner, WhenBusy when_busy,
           std::shared_ptr<JobControl> control, Completion completion);
  // Tells those that were stopped while they wait for a claim.
  void TellStopped();
  // Runs a claimed plan on the calling thread.
  Status RunHere(Keyspace* keyspace, const CompactionPlan& plan, JobControl* control);
  std::vector<RunningJob> jobs() const;
  // Jobs that wait for the application are aborted.
  void Pause(Completion completion);
  void Resume();
  // Ends what Parts::held began; twice is once.
  void Release();
  void Drain(Completion completion);
  Database::CompactorState compactor_state() const;
  Figures figures() const;

  // Nothing new begins; running compactions are aborted and waited for.
  void Stop();
  // Tells those who still wait for a flush.
  void TellFlushWaiters(const Status& status);

 private:
  struct FlushWaiter {
    Ref<Keyspace> keyspace;
    Seqno seqno = 0;
    Completion completion;
  };
  struct Running {
    Ref<Keyspace> keyspace;
    CompactionPlan plan;
    std::shared_ptr<JobControl> control;
  };
  struct Wanted {
    Ref<Keyspace> keyspace;
    Planner planner;
    WhenBusy when_busy = WhenBusy::kWait;
    std::shared_ptr<JobControl> control;
    Completion completion;
    bool queued = false;   // a thread will look at it
    bool running = false;  // a thread does
  };
  using Lock = std::unique_lock<std::mutex>;
  using Told = std::vector<std::pair<Completion, Status>>;

  // Jobs of one kind; what they did counts once they have succeeded.
  struct JobCounts {
    std::atomic<uint32_t> active{0};
    std::atomic<uint64_t> completed{0};
    std::atomic<uint64_t> nanos{0};
    std::atomic<uint64_t> bytes_read{0};
    std::atomic<uint64_t> bytes_written{0};
    void Done(const JobStats& stats);
  };

  void RunFlush(const Ref<Keyspace>& keyspace);
  Status FlushTree(Keyspace* keyspace, JobStats* stats, uint64_t* nanos);
  void TellError(Event::During during, const Keyspace* keyspace, const Status& status) const;
  bool MustHold(Keyspace* keyspace);
  void EndFlush(const Ref<Keyspace>& keyspace, const Status& status, const JobStats& stats,
                uint64_t nanos);
  void CountSealed(Keyspace* keyspace);
  void CountLevel0(Keyspace* keyspace);
  void NoteLevel0Left(Keyspace* keyspace);
  bool BeginTask();
  void EndTask();
  void RunCompaction();
  Status Execute(const Ref<Keyspace>& keyspace, const CompactionPlan& plan,
                 std::shared_ptr<JobControl> control);
  void CountCompaction(const Keyspace* keyspace, const CompactionPlan& plan, const Status& status,
                       const JobStats& stats, uint64_t nanos);
  std::optional<CompactionPlan> ChooseAndClaim(const Ref<Keyspace>& keyspace);
  std::optional<CompactionPlan> Ask(const Ref<Keyspace>& keyspace);
  bool MayStillFail(const Keyspace* keyspace) const;
  void NothingToCompact(const Ref<Keyspace>& keyspace);
  void RunWanted(const std::shared_ptr<Wanted>& wanted);
  void TryWanted(const std::shared_ptr<Wanted>& wanted);
  void RetryWanted(Keyspace* keyspace);
  // The pause before the next try, which doubles.
  static uint32_t NextRetry(uint32_t* pause_ms);
  // mutex_ held.
  static size_t Level0Debt(const Keyspace* keyspace, size_t runs);
  void SubmitCompactions();
  void TellLevel0();
  void QueueWanted(const std::shared_ptr<Wanted>& wanted);
  void QueueFlush(Keyspace* keyspace);
  void QueueCompaction(Keyspace* keyspace);
  void ReleaseFlush(Keyspace* keyspace);
  void TellIdle(Told* told);
  // mutex_ not held.
  void SetProblem(const char* source, const Keyspace* keyspace, Status status);
  static void Tell(Told* told);

  // Called before the strategy is asked: a read that is in its way then ends behind this.
  Seqno NoteAwaited(Keyspace* keyspace);

  const Parts parts_;
  std::atomic<Seqno> awaited_below_{0};  // the highest Tree::AwaitedBelow, or more
  std::mutex problem_mutex_;             // before mutex_: what degrades is applied in order
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  bool stopping_ = false;
  bool paused_ = false;
  bool held_;
  uint32_t flushing_ = 0;
  uint32_t deciding_ = 0;                  // compaction tasks that have begun
  std::deque<Ref<Keyspace>> compactions_;  // to be looked at
  std::list<Running> running_;
  std::vector<FlushWaiter> flush_waiters_;
  std::vector<std::shared_ptr<Wanted>> wanted_;  // wait for a claim
  std::vector<Completion> pausers_;
  std::vector<Completion> drainers_;
  std::multiset<size_t> level0_;  // debts above 0, sealed memtables counted as runs
  std::map<std::pair<std::string, uint32_t>, Status> problems_;  // failing jobs
  JobCounts flushes_;
  JobCounts compacted_;
};

}  // namespace shale
