// CommitQueue: the order of commits: who writes next, when a commit becomes visible, when it is
// durable.
//
// A commit passes three gates: it is appended to the journal and inserted into the memtables by the
// one thread that holds the write lock (together with all that wait behind it: a group, one system
// call); then, with durability `sync`, the journal is synced by one of those who wait for it; then
// it is published. Publishing goes in order of seqnos: what was committed behind a pending sync
// commit waits for it, and so does what was committed behind one that is held.
//
// The write lock is a word and a queue: free, it is taken with one compare-and-swap; else commits
// line up and the holder takes them along, async commits included, so that order is kept between
// all forms.
//
// Threads: any. Sync forms may wait, async forms never do: they are done at once, or told by
// completion.
// Invariants:
//   I1  seqnos are given in journal order, without gaps; a failed append gives none.
//   I2  visible > s only if every commit up to s is in the memtables, every sync commit up to s is
//       synced and none up to s is held.
//   I3  after a failed sync nothing is published or appended any more.
// Cost: uncontended, two atomic operations and one system call; no allocation.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "db/database_metrics.h"
#include "db/executor.h"
#include "db/keyspace.h"
#include "db/options.h"

namespace shale {

// One commit on its way. A single entry is given by its parts, anything else by encoded entries.
struct Commit {
  Keyspace* keyspace = nullptr;  // single entry
  Kind kind = Kind::kValue;
  Slice key;
  Slice value;
  Slice entries;       // else: what the memtables take
  Slice journal;       // what the journal takes, if that differs (compressed values); else empty
  uint32_t count = 1;  // of entries; 0: none of users
  bool has_ranges = false;  // range tombstones are among the entries
  Durability durability = Durability::kOs;
  Completion completion;  // async forms
  uint64_t begun = 0;     // when it was called; 0: nobody wants to know how long it took
  uint64_t weight = 1;    // how many commits its time stands for

  Status status;  // of append and insert
  Seqno seqno = 0;
  bool published = false;
  bool queued_for_sync = false;  // its completion waits for a sync

  size_t bytes() const { return key.size() + value.size() + entries.size(); }
};

// An async commit that waits in the queue; owns its bytes.
struct DeferredCommit {
  Commit commit;
  // Makes journal_bytes, on an engine thread, while the commit waits. Whoever takes the commit
  // before that is done journals its entries as they are: nobody waits for it.
  std::function<std::string()> compress;
  bool taken = false;  // the queue's mutex
  std::string bytes;
  std::string journal_bytes;
  Ref<Keyspace> keyspace;
};

// What the holder of the write lock does; implemented by the database.
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  // Stages and hands over the records of a group, with seqnos from `first` on. All or nothing. With
  // all commits `buffered` they may stay staged.
  virtual Status Append(Commit* const* commits, size_t n, Seqno first) = 0;
  // Fills the memtables; seqnos are set.
  virtual void Insert(Commit* const* commits, size_t n) = 0;
  // Before the lock goes on: rotation and the like. Must not wait.
  virtual void AfterGroup() = 0;
  // Highest seqno whose record was handed over to the operating system.
  virtual Seqno HandedOver() = 0;
  // Makes everything handed over durable. One call at a time; not under the write lock.
  virtual Status Sync() = 0;
  // The journal failed for good.
  virtual void OnFailure(const Status& failure) = 0;
};

class CommitQueue {
 public:
  // `latencies` may be null.
  CommitQueue(CommitSink* sink, Executor* executor, std::atomic<Seqno>* visible,
              Latencies* latencies = nullptr);
  // Requires that nothing waits any more.
  ~CommitQueue() = default;
  CommitQueue(const CommitQueue&) = delete;
  CommitQueue& operator=(const CommitQueue&) = delete;

  // Before the first commit: the seqno it gets. Everything below counts as synced and visible.
  void Start(Seqno next_seqno);

  // Returns when the commit is visible, or failed without a trace (kSyncFailed: outcome unknown).
  Status Run(Commit* commit);
  // kOk: done and visible. kWouldBlock: `commit->completion` was taken and will be called.
  // kStalled: the lock is busy, nothing was done; Defer it. Else: failed.
  Status TryRun(Commit* commit);
  // The commit has to wait: then its time is taken, and stands for itself.
  void NoteWait(Commit* commit) const;
  // Queues a commit; its completion will be called.
  void Defer(std::shared_ptr<DeferredCommit> deferred);
  // Runs a group of what was deferred and is still queued.
  void DrainDeferred();
  // Runs all that was deferred before this call, not what comes meanwhile.
  void DrainAll();
  bool HasDeferred();

  // The write lock without a commit.
  class WriteLock {
   public:
    explicit WriteLock(CommitQueue* queue) : queue_(queue) { queue_->LockExclusive(); }
    ~WriteLock() { queue_->Unlock(); }
    WriteLock(const WriteLock&) = delete;
    WriteLock& operator=(const WriteLock&) = delete;

   private:
    CommitQueue* const queue_;
  };
  // With the write lock: gives the next seqno to a commit that the caller appends and that needs no
  // sync. Publish it with PublishOne.
  Seqno next_seqno() const { return next_seqno_.load(std::memory_order_relaxed); }
  void PublishOne(Seqno seqno);
  // The same, but it stays invisible, with all that follows, until Release: what it commits is made
  // meanwhile, without the lock. Release comes from any thread and in any case; until then its
  // caller waits for nothing that comes behind it.
  void HoldOne(Seqno seqno);
  void Release(Seqno seqno);

  // Makes every commit up to `seqno` durable; it must have been handed over. kSyncFailed,
  // indeterminate.
  Status SyncTo(Seqno seqno);
  Seqno synced() const;  // highest durable seqno
  bool failed() const { return failed_flag_.load(std::memory_order_acquire); }
  Status failure() const;
  // What writes are refused with then: kDbFailed with the first cause.
  Status DbFailed() const;
  // Fails the queue: the journal cannot be trusted any more.
  void Fail(const Status& cause);

 private:
  enum : uint32_t { kLocked = 1, kQueued = 2 };
  struct Waiter {
    Commit* commit = nullptr;                  // null: wants the lock only
    std::shared_ptr<DeferredCommit> deferred;  // owns an async commit
    bool granted = false;
    bool done = false;
    std::condition_variable* wake = nullptr;  // null: nobody waits
  };
  static constexpr size_t kGroupCommitsMax = 256;
  // Commits that go together. On the stack: whoever holds the lock needs no memory to give it back.
  struct Group {
    size_t size = 0;
    std::array<Waiter*, kGroupCommitsMax> waiters;
    std::array<Commit*, kGroupCommitsMax> commits;
  };
  struct Invisible {
    Seqno seqno = 0;
    bool needs_sync = false;
    bool held = false;
    bool counts = false;  // as a commit of users
    uint64_t begun = 0;
    Completion completion;
  };
  using Told = std::vector<std::pair<Completion, Status>>;

  bool TryLock();
  void LockExclusive();
  void Unlock();
  void UnlockSlow();
  // mutex_ held: takes the lock or marks the queue as not empty.
  bool LockOrQueue();
  void RunGroup(Commit* const* commits, size_t n);
  void GiveUp(Commit* const* commits, size_t n);
  Status AppendGroup(Commit* const* commits, size_t n, Seqno first);
  void Publish(Commit* const* commits, size_t n);
  void CountVisible(Commit* const* commits, size_t n) const;
  void TakeGroup(Group* group);
  void Settle(Group* group);
  void RunQueued();
  void ScheduleDrain();
  void Compress(DeferredCommit* deferred);
  void ScheduleSync();
  void RunScheduledSync();
  Status AwaitVisible(Seqno seqno);
  // visibility_mutex_ held through `lock`, released meanwhile.
  void SyncRound(std::unique_lock<std::mutex>* lock, Told* told);
  void AddInvisible(Invisible entry);
  void PublishReady(Told* told);
  void FailLocked(const Status& cause, Told* told);
  static void Tell(Told* told);
  // visibility_mutex_ held.
  Status SyncFailed() const;

  CommitSink* const sink_;
  Executor* const executor_;
  std::atomic<Seqno>* const visible_;
  Latencies* const latencies_;

  std::atomic<uint32_t> state_{0};
  std::atomic<Seqno> next_seqno_{1};  // written with the write lock

  std::mutex mutex_;  // the queue
  std::deque<Waiter*> queue_;
  uint64_t deferred_so_far_ = 0;
  uint64_t deferred_done_ = 0;
  bool drain_scheduled_ = false;

  mutable std::mutex visibility_mutex_;
  std::condition_variable visibility_changed_;
  std::deque<Invisible> invisible_;         // in order of seqnos
  std::atomic<size_t> invisible_count_{0};  // raised with the write lock only
  Seqno synced_ = 0;
  Seqno wants_sync_ = 0;  // the last commit that is published after a sync only
  bool syncing_ = false;
  bool sync_scheduled_ = false;
  std::atomic<bool> failed_flag_{false};
  Status failure_;
};

}  // namespace shale
