#include "db/commit_queue.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/seeded_bug.h"

namespace shale {
namespace {

constexpr size_t kGroupBytesMax = size_t{1} << 20;  // taken along with the leader's own commit
constexpr size_t kGroupCommitsMax = 256;

}  // namespace

CommitQueue::CommitQueue(CommitSink* sink, Executor* executor, std::atomic<Seqno>* visible)
    : sink_(sink), executor_(executor), visible_(visible) {}

void CommitQueue::Start(Seqno next_seqno) {
  next_seqno_.store(next_seqno, std::memory_order_relaxed);
  visible_->store(next_seqno, std::memory_order_release);
  std::lock_guard<std::mutex> lock(visibility_mutex_);
  synced_ = next_seqno - 1;
}

// ---- the write lock ----

bool CommitQueue::TryLock() {
  uint32_t expected = 0;
  return state_.compare_exchange_strong(expected, kLocked, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

void CommitQueue::Unlock() {
  uint32_t expected = kLocked;
  if (!state_.compare_exchange_strong(expected, 0, std::memory_order_release,
                                      std::memory_order_relaxed)) {
    UnlockSlow();
  }
}

// Hands the lock to the first who waits for it; deferred commits alone keep the queue marked, so
// that nobody overtakes them.
void CommitQueue::UnlockSlow() {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto first = std::find_if(queue_.begin(), queue_.end(),
                                  [](const Waiter* w) { return w->wake != nullptr; });
  if (first == queue_.end()) {
    state_.store(queue_.empty() ? uint32_t{0} : uint32_t{kQueued}, std::memory_order_release);
    if (!queue_.empty()) ScheduleDrain();
    return;
  }
  Waiter* heir = *first;
  if (heir->commit == nullptr) queue_.erase(first);
  heir->granted = true;
  heir->wake->notify_one();
}

bool CommitQueue::LockOrQueue() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  for (;;) {
    const uint32_t wanted = (state & kLocked) == 0 ? kLocked | kQueued : state | kQueued;
    if (state_.compare_exchange_weak(state, wanted, std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
      return (state & kLocked) == 0;
    }
  }
}

void CommitQueue::LockExclusive() {
  if (TryLock()) return;
  std::condition_variable wake;
  Waiter self;
  self.wake = &wake;
  std::unique_lock<std::mutex> lock(mutex_);
  if (LockOrQueue()) return;
  queue_.push_back(&self);
  wake.wait(lock, [&] { return self.granted; });
}

// ---- commits ----

Status CommitQueue::Run(Commit* commit) {
  if (TryLock()) {
    RunGroup(&commit, 1);
    Unlock();
  } else {
    std::condition_variable wake;
    Waiter self;
    self.commit = commit;
    self.wake = &wake;
    std::unique_lock<std::mutex> lock(mutex_);
    queue_.push_back(&self);
    self.granted = LockOrQueue();
    wake.wait(lock, [&] { return self.granted || self.done; });
    lock.unlock();
    if (!self.done) Lead(&self);
  }
  if (!commit->status.ok() || commit->published) return commit->status;
  return AwaitVisible(commit->seqno);
}

Status CommitQueue::TryRun(Commit* commit) {
  if (!TryLock()) return Code::kStalled;
  RunGroup(&commit, 1);
  Unlock();
  if (!commit->status.ok() || commit->published) return commit->status;
  ScheduleSync();
  return Code::kWouldBlock;
}

void CommitQueue::Defer(std::shared_ptr<DeferredCommit> deferred) {
  auto waiter = std::make_unique<Waiter>();
  waiter->commit = &deferred->commit;
  waiter->deferred = std::move(deferred);
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(waiter.release());
  state_.fetch_or(kQueued, std::memory_order_acq_rel);
  ScheduleDrain();
}

void CommitQueue::ScheduleDrain() {
  if (std::exchange(drain_scheduled_, true)) return;
  executor_->Submit(Lane::kJournal, [this] { DrainDeferred(); });
}

void CommitQueue::DrainDeferred() {
  LockExclusive();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    drain_scheduled_ = false;
  }
  const std::vector<Waiter*> group = TakeGroup();
  if (!group.empty()) {
    std::vector<Commit*> commits;
    for (const Waiter* waiter : group) commits.push_back(waiter->commit);
    RunGroup(commits.data(), commits.size());
  }
  Unlock();  // who still waits in the queue goes on, or another drain is scheduled
  Settle(group);
}

bool CommitQueue::HasDeferred() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(queue_.begin(), queue_.end(),
                     [](const Waiter* w) { return w->deferred != nullptr; });
}

// Takes commits from the head of the queue; waiters for the bare lock stay.
std::vector<CommitQueue::Waiter*> CommitQueue::TakeGroup() {
  std::vector<Waiter*> group;
  size_t bytes = 0;
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = queue_.begin(); it != queue_.end() && group.size() < kGroupCommitsMax;) {
    Waiter* waiter = *it;
    if (waiter->commit == nullptr) {
      ++it;
      continue;
    }
    if (!group.empty() && bytes + waiter->commit->bytes() > kGroupBytesMax) break;
    bytes += waiter->commit->bytes();
    group.push_back(waiter);
    it = queue_.erase(it);
  }
  if (queue_.empty()) state_.store(kLocked, std::memory_order_relaxed);
  return group;
}

// Ends the group's stay in the queue: wakes who waits, tells async commits that are done.
void CommitQueue::Settle(const std::vector<Waiter*>& group) {
  Told told;
  bool sync = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Waiter* waiter : group) {
      if (waiter->deferred == nullptr) {
        waiter->done = true;
        waiter->wake->notify_one();
        continue;
      }
      const Commit& commit = *waiter->commit;
      if (!commit.status.ok() || commit.published) {
        told.emplace_back(std::move(waiter->commit->completion), commit.status);
      } else {
        sync = true;  // its completion waits in invisible_
      }
      delete waiter;
    }
  }
  if (sync) ScheduleSync();
  Tell(&told);
}

void CommitQueue::Lead(Waiter* self) {
  std::vector<Waiter*> settled;
  while (!self->done) {
    const std::vector<Waiter*> group = TakeGroup();
    std::vector<Commit*> commits;
    for (const Waiter* waiter : group) commits.push_back(waiter->commit);
    RunGroup(commits.data(), commits.size());
    for (Waiter* waiter : group) {
      if (waiter == self) {
        self->done = true;
      } else {
        settled.push_back(waiter);
      }
    }
  }
  Unlock();
  Settle(settled);
}

void CommitQueue::RunGroup(Commit* const* commits, size_t n) {
  const Seqno first = next_seqno_.load(std::memory_order_relaxed);
  Status status;
  if (failed()) {
    status = DbFailed();
  } else if (first + n - 1 > kSeqnoMax) {
    status = Status(Code::kDbFailed, "the sequence numbers of this database are used up");
  } else {
    status = AppendGroup(commits, n, first);
  }
  if (!status.ok()) {
    for (size_t i = 0; i < n; ++i) commits[i]->status = status;
    if (!BugIsOn(SeededBug::kPublishBeforeJournal)) return;
    for (size_t i = 0; i < n; ++i) commits[i]->durability = Durability::kBuffered;
  }
  for (size_t i = 0; i < n; ++i) commits[i]->seqno = first + i;
  next_seqno_.store(first + n, std::memory_order_relaxed);
  try {
    sink_->Insert(commits, n);
  } catch (const std::bad_alloc&) {
    // The journal has what the memtables lack: only a reopen brings them together again.
    Fail(Status(Code::kOutOfMemory, "no memory for a commit that is in the journal"));
  }
  Publish(commits, n);
  sink_->AfterGroup();
}

Status CommitQueue::AppendGroup(Commit* const* commits, size_t n, Seqno first) {
  try {
    return sink_->Append(commits, n, first);
  } catch (const std::bad_alloc&) {
    return Status(Code::kOutOfMemory, "no memory for the journal record");
  }
}

void CommitQueue::Publish(Commit* const* commits, size_t n) {
  size_t i = 0;
  if (invisible_count_.load(std::memory_order_acquire) == 0) {
    while (i < n && commits[i]->durability != Durability::kSync) commits[i++]->published = true;
    if (i > 0) visible_->store(commits[i - 1]->seqno + 1, std::memory_order_release);
    if (i == n) return;
  }
  std::lock_guard<std::mutex> lock(visibility_mutex_);
  for (; i < n; ++i) {
    Commit* commit = commits[i];
    const bool needs_sync = commit->durability == Durability::kSync && commit->seqno > synced_;
    if (failed()) {
      commit->status = SyncFailed();
      continue;
    }
    if (invisible_.empty() && !needs_sync) {
      commit->published = true;
      visible_->store(commit->seqno + 1, std::memory_order_release);
      continue;
    }
    invisible_.push_back({commit->seqno, needs_sync, std::move(commit->completion)});
    invisible_count_.fetch_add(1, std::memory_order_relaxed);
  }
}

void CommitQueue::PublishOne(Seqno seqno) {
  Commit commit;
  commit.seqno = seqno;
  Commit* list[] = {&commit};
  next_seqno_.store(seqno + 1, std::memory_order_relaxed);
  Publish(list, 1);
}

// ---- sync and visibility ----

void CommitQueue::ScheduleSync() {
  {
    std::lock_guard<std::mutex> lock(visibility_mutex_);
    if (std::exchange(sync_scheduled_, true)) return;
  }
  executor_->Submit(Lane::kSync, [this] { RunScheduledSync(); });
}

void CommitQueue::RunScheduledSync() {
  Told told;
  {
    std::unique_lock<std::mutex> lock(visibility_mutex_);
    sync_scheduled_ = false;
    if (!invisible_.empty() && !failed()) {
      const Seqno last = invisible_.back().seqno;
      while (!failed() && !invisible_.empty() && invisible_.front().seqno <= last) {
        if (syncing_) {
          visibility_changed_.wait(lock);
        } else {
          SyncRound(&lock, &told);
        }
      }
    }
  }
  Tell(&told);
}

Status CommitQueue::AwaitVisible(Seqno seqno) {
  Told told;
  Status status;
  {
    std::unique_lock<std::mutex> lock(visibility_mutex_);
    while (visible_->load(std::memory_order_relaxed) <= seqno) {
      if (failed()) {
        status = SyncFailed();
        break;
      }
      if (syncing_) {
        visibility_changed_.wait(lock);
      } else {
        SyncRound(&lock, &told);
      }
    }
  }
  Tell(&told);
  return status;
}

Status CommitQueue::SyncTo(Seqno seqno) {
  Told told;
  Status status;
  {
    std::unique_lock<std::mutex> lock(visibility_mutex_);
    while (synced_ < seqno) {
      if (failed()) {
        status = SyncFailed();
        break;
      }
      if (syncing_) {
        visibility_changed_.wait(lock);
      } else {
        SyncRound(&lock, &told);
      }
    }
  }
  Tell(&told);
  return status;
}

void CommitQueue::SyncRound(std::unique_lock<std::mutex>* lock, Told* told) {
  syncing_ = true;
  lock->unlock();
  const Seqno target = sink_->HandedOver();
  const Status status = BugIsOn(SeededBug::kAcknowledgeBeforeSync) ? Status::Ok() : sink_->Sync();
  lock->lock();
  syncing_ = false;
  if (status.ok()) {
    if (!failed()) {
      synced_ = std::max(synced_, target);
      PublishSynced(told);
    }
  } else {
    FailLocked(status, told);
  }
  visibility_changed_.notify_all();
}

// visibility_mutex_ held.
void CommitQueue::PublishSynced(Told* told) {
  size_t published = 0;
  Seqno last = 0;
  while (!invisible_.empty()) {
    Invisible& front = invisible_.front();
    if (front.needs_sync && front.seqno > synced_) break;
    last = front.seqno;
    if (front.completion) told->emplace_back(std::move(front.completion), Status::Ok());
    invisible_.pop_front();
    published++;
  }
  if (published == 0) return;
  visible_->store(last + 1, std::memory_order_release);
  invisible_count_.fetch_sub(published, std::memory_order_release);
}

Seqno CommitQueue::synced() const {
  std::lock_guard<std::mutex> lock(visibility_mutex_);
  return synced_;
}

Status CommitQueue::failure() const {
  std::lock_guard<std::mutex> lock(visibility_mutex_);
  return failure_;
}

Status CommitQueue::SyncFailed() const {
  ErrorDetails details;
  if (failure_.details() != nullptr) details = *failure_.details();
  details.indeterminate = true;
  return Status(Code::kSyncFailed, std::move(details));
}

Status CommitQueue::DbFailed() const {
  std::lock_guard<std::mutex> lock(visibility_mutex_);
  if (failure_.details() == nullptr) return Status(Code::kDbFailed);
  return Status(Code::kDbFailed, *failure_.details());
}

void CommitQueue::Fail(const Status& cause) {
  Told told;
  {
    std::lock_guard<std::mutex> lock(visibility_mutex_);
    FailLocked(cause, &told);
    visibility_changed_.notify_all();
  }
  Tell(&told);
}

// visibility_mutex_ held. The count stays above zero, so that no writer publishes past this point.
void CommitQueue::FailLocked(const Status& cause, Told* told) {
  if (failed()) return;
  failure_ = cause;
  failed_flag_.store(true, std::memory_order_release);
  invisible_count_.fetch_add(1, std::memory_order_release);
  for (Invisible& entry : invisible_) {
    if (entry.completion) told->emplace_back(std::move(entry.completion), SyncFailed());
  }
  invisible_.clear();
  sink_->OnFailure(cause);
}

void CommitQueue::Tell(Told* told) {
  for (auto& [completion, status] : *told) completion(std::move(status));
  told->clear();
}

}  // namespace shale
