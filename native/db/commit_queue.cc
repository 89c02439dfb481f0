#include "db/commit_queue.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/seeded_bug.h"

namespace shale {
namespace {

constexpr size_t kGroupBytesMax = size_t{1} << 20;  // taken along with the leader's own commit

}  // namespace

CommitQueue::CommitQueue(CommitSink* sink, Executor* executor, std::atomic<Seqno>* visible,
                         Latencies* latencies)
    : sink_(sink), executor_(executor), visible_(visible), latencies_(latencies) {}

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
    NoteWait(commit);
    std::condition_variable wake;
    Waiter self;
    self.commit = commit;
    self.wake = &wake;
    std::unique_lock<std::mutex> lock(mutex_);
    queue_.push_back(&self);
    self.granted = LockOrQueue();
    for (;;) {
      wake.wait(lock, [&] { return self.granted || self.done; });
      if (self.done) break;
      // Others may be ahead, more than one group of them.
      self.granted = false;
      lock.unlock();
      RunQueued();
      lock.lock();
    }
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

void CommitQueue::NoteWait(Commit* commit) const {
  if (latencies_ == nullptr) return;
  if (commit->begun == 0) commit->begun = latencies_->Now();
  commit->weight = 1;
}

void CommitQueue::Defer(std::shared_ptr<DeferredCommit> deferred) {
  auto waiter = std::make_unique<Waiter>();
  waiter->commit = &deferred->commit;
  waiter->deferred = deferred;
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(waiter.get());
  static_cast<void>(waiter.release());
  deferred_so_far_++;
  state_.fetch_or(kQueued, std::memory_order_acq_rel);
  if (!deferred->compress) return ScheduleDrain();
  executor_->Submit(Lane::kReader, [this, deferred] { Compress(deferred.get()); });
}

void CommitQueue::Compress(DeferredCommit* deferred) {
  std::string bytes;
  try {
    bytes = deferred->compress();
  } catch (const std::bad_alloc&) {  // it goes ahead as it was
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (deferred->taken) return;
  deferred->journal_bytes = std::move(bytes);
  deferred->commit.journal = Slice(deferred->journal_bytes);
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
  RunQueued();
}

void CommitQueue::DrainAll() {
  uint64_t target = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    target = deferred_so_far_;
  }
  for (;;) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (deferred_done_ >= target) return;
    }
    DrainDeferred();
  }
}

// With the write lock, which goes on to the next who waits: one group from the head of the queue.
void CommitQueue::RunQueued() {
  Group group;
  TakeGroup(&group);
  if (group.size != 0) RunGroup(group.commits.data(), group.size);
  Unlock();  // who still waits in the queue goes on, or another drain is scheduled
  Settle(&group);
}

bool CommitQueue::HasDeferred() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(queue_.begin(), queue_.end(),
                     [](const Waiter* w) { return w->deferred != nullptr; });
}

// Takes commits from the head of the queue; waiters for the bare lock stay.
void CommitQueue::TakeGroup(Group* group) {
  size_t bytes = 0;
  group->size = 0;
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = queue_.begin(); it != queue_.end() && group->size < kGroupCommitsMax;) {
    Waiter* waiter = *it;
    if (waiter->commit == nullptr) {
      ++it;
      continue;
    }
    if (group->size != 0 && bytes + waiter->commit->bytes() > kGroupBytesMax) break;
    bytes += waiter->commit->bytes();
    if (waiter->deferred != nullptr) waiter->deferred->taken = true;
    group->waiters[group->size] = waiter;
    group->commits[group->size++] = waiter->commit;
    it = queue_.erase(it);
  }
  if (queue_.empty()) state_.store(kLocked, std::memory_order_relaxed);
}

// Ends the group's stay in the queue: wakes who waits, tells async commits that are done.
void CommitQueue::Settle(Group* group) {
  size_t deferred = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < group->size; ++i) {
      Waiter* waiter = group->waiters[i];
      if (waiter->deferred != nullptr) {
        group->waiters[deferred++] = waiter;
      } else {
        waiter->done = true;  // it may be gone as soon as the lock is
        waiter->wake->notify_one();
      }
    }
    deferred_done_ += deferred;
  }
  bool sync = false;
  for (size_t i = 0; i < deferred; ++i) {
    const std::unique_ptr<Waiter> waiter(group->waiters[i]);
    Commit* commit = waiter->commit;
    if (!commit->status.ok() || commit->published) {
      commit->completion(commit->status);
    } else {
      sync = true;  // its completion waits in invisible_
    }
  }
  if (sync) ScheduleSync();
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
    Publish(commits, n);
    sink_->AfterGroup();
  } catch (const std::bad_alloc&) {
    // The journal has what the memtables may lack: only a reopen brings them together again.
    Fail(Status(Code::kOutOfMemory, "no memory for a commit that is in the journal"));
    GiveUp(commits, n);
  }
}

// After a failure half-way: who was not published and does not wait to be learns it here.
void CommitQueue::GiveUp(Commit* const* commits, size_t n) {
  std::lock_guard<std::mutex> lock(visibility_mutex_);
  for (size_t i = 0; i < n; ++i) {
    Commit* commit = commits[i];
    const bool told = commit->published || commit->queued_for_sync || !commit->status.ok();
    if (!told) commit->status = SyncFailed();
  }
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
    if (i > 0) {
      visible_->store(commits[i - 1]->seqno + 1, std::memory_order_release);
      CountVisible(commits, i);
    }
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
      CountVisible(&commit, 1);
      continue;
    }
    NoteWait(commit);
    Invisible entry;
    entry.seqno = commit->seqno;
    entry.needs_sync = needs_sync;
    entry.counts = commit->count != 0;
    entry.begun = commit->begun;
    entry.completion = std::move(commit->completion);
    AddInvisible(std::move(entry));
    commit->queued_for_sync = true;
  }
}

// Of the calling thread, whoever began them.
void CommitQueue::CountVisible(Commit* const* commits, size_t n) const {
  if (latencies_ == nullptr) return;
  Latency::Own& own = latencies_->insert.own();
  uint64_t count = 0;
  for (size_t i = 0; i < n; ++i) {
    if (commits[i]->count == 0) continue;
    count++;
    if (commits[i]->begun == 0) [[likely]]
      continue;
    own.Record(latencies_->Now() - commits[i]->begun, commits[i]->weight);
  }
  own.End(count);
}

// visibility_mutex_ held.
void CommitQueue::AddInvisible(Invisible entry) {
  const bool needs_sync = entry.needs_sync;
  const Seqno seqno = entry.seqno;
  invisible_.push_back(std::move(entry));
  if (needs_sync) wants_sync_ = seqno;
  invisible_count_.fetch_add(1, std::memory_order_relaxed);
}

void CommitQueue::PublishOne(Seqno seqno) {
  Commit commit;
  commit.count = 0;
  commit.seqno = seqno;
  Commit* list[] = {&commit};
  next_seqno_.store(seqno + 1, std::memory_order_relaxed);
  Publish(list, 1);
}

void CommitQueue::HoldOne(Seqno seqno) {
  next_seqno_.store(seqno + 1, std::memory_order_relaxed);
  try {
    std::lock_guard<std::mutex> lock(visibility_mutex_);
    if (failed()) return;
    Invisible entry;
    entry.seqno = seqno;
    entry.held = true;
    AddInvisible(std::move(entry));
  } catch (const std::bad_alloc&) {
    Fail(Status(Code::kOutOfMemory, "no memory for a commit that is in the journal"));
  }
}

void CommitQueue::Release(Seqno seqno) {
  Told told;
  {
    std::lock_guard<std::mutex> lock(visibility_mutex_);
    const auto held = std::find_if(invisible_.begin(), invisible_.end(),
                                   [seqno](const Invisible& one) { return one.seqno == seqno; });
    if (held == invisible_.end()) return;  // after a failure nobody waits any more
    held->held = false;
    PublishReady(&told);
    visibility_changed_.notify_all();
  }
  Tell(&told);
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
    const Seqno last = wants_sync_;
    while (!failed() && synced_ < last) {
      if (syncing_) {
        visibility_changed_.wait(lock);
      } else {
        SyncRound(&lock, &told);
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
      // If it is no sync that it waits for, it is a commit that is held.
      if (syncing_ || synced_ >= std::min(wants_sync_, seqno)) {
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
      PublishReady(told);
    }
  } else {
    FailLocked(status, told);
  }
  visibility_changed_.notify_all();
}

// visibility_mutex_ held.
void CommitQueue::PublishReady(Told* told) {
  size_t published = 0;
  Seqno last = 0;
  const uint64_t now = latencies_ != nullptr ? latencies_->Now() : 0;
  while (!invisible_.empty()) {
    Invisible& front = invisible_.front();
    if (front.held || (front.needs_sync && front.seqno > synced_)) break;
    last = front.seqno;
    if (latencies_ != nullptr && front.counts) latencies_->insert.Record(now - front.begun);
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
  ErrorDetails details;
  details.message = "writing has ended: " + failure_.message();
  details.cause = std::make_shared<const Status>(failure_);
  return Status(Code::kDbFailed, std::move(details));
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
  failed_flag_.store(true, std::memory_order_release);
  invisible_count_.fetch_add(1, std::memory_order_release);
  failure_ = cause;
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
