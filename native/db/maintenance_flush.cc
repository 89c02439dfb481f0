// Flushes, and what memtables and level 0 weigh on writers.
#include <algorithm>
#include <utility>

#include "db/maintenance.h"

namespace shale {
namespace {

constexpr char kFlushSource[] = "flush";

}  // namespace

// Runs in level 0 that weigh on writers: of those that the strategy leaves alone on purpose only as
// many as it leaves by default. What it has left alone when it was asked is on purpose, however
// many that are: no compaction would ever take them off the writers. mutex_ held.
size_t Maintenance::Level0Debt(const Keyspace* keyspace, size_t runs) {
  const std::optional<size_t> tolerated = ToleratedLevel0Runs(keyspace->tree()->options().strategy);
  if (!tolerated.has_value()) return 0;
  static const size_t by_default = ToleratedLevel0Runs(StrategyOptions()).value();
  const size_t left = std::max(*tolerated, keyspace->upkeep.left_level0);
  const size_t on_purpose = std::max(left, by_default) - by_default;
  return runs - std::min(runs, on_purpose);
}

// The strategy was asked and wants nothing.
void Maintenance::NoteLevel0Left(Keyspace* keyspace) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (keyspace->upkeep.compactions != 0) return;
    keyspace->upkeep.left_level0 = keyspace->tree()->level0_runs();
  }
  CountLevel0(keyspace);
}

// The bytes of sealed memtables, read anew, so that the total is right whatever happened meanwhile.
void Maintenance::CountSealed(Keyspace* keyspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t sealed = keyspace->tree()->sealed_bytes();
  const uint64_t before = std::exchange(keyspace->upkeep.counted_sealed, sealed);
  const uint64_t total = parts_.memory->fetch_add(sealed - before) + sealed - before;
  if (parts_.control != nullptr) parts_.control->SetMemory(total);
}

void Maintenance::MemoryGrew() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (parts_.control != nullptr) parts_.control->SetMemory(parts_.memory->load());
}

void Maintenance::CountLevel0(Keyspace* keyspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t runs = keyspace->tree()->level0_runs() + keyspace->tree()->sealed_count();
  const size_t debt = Level0Debt(keyspace, runs);
  const size_t before = std::exchange(keyspace->upkeep.counted_level0, debt);
  if (debt == before) return;
  if (before != 0) level0_.erase(level0_.find(before));
  if (debt != 0) level0_.insert(debt);
  TellLevel0();
}

// mutex_ held, so that no older figure follows a newer one.
void Maintenance::TellLevel0() {
  if (parts_.control == nullptr) return;
  parts_.control->SetLevel0(paused_ || level0_.empty() ? 0 : *level0_.rbegin());
}

void Maintenance::Opened(Keyspace* keyspace) {
  CountSealed(keyspace);
  CountLevel0(keyspace);
  if (keyspace->tree()->HasSealed()) ScheduleFlush(keyspace);
  ScheduleCompaction(keyspace);
}

void Maintenance::OptionsChanged(Keyspace* keyspace) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    keyspace->upkeep.strategy_pausing = false;
    keyspace->upkeep.awaits_retry = false;
  }
  CountLevel0(keyspace);
  ScheduleCompaction(keyspace);
}

void Maintenance::Sealed(Keyspace* keyspace) {
  CountSealed(keyspace);
  CountLevel0(keyspace);
  ScheduleFlush(keyspace);
}

void Maintenance::QueueFlush(Keyspace* keyspace) {
  if (stopping_ || std::exchange(keyspace->upkeep.flush_queued, true)) return;
  parts_.executor->Submit(Lane::kFlush,
                          [this, ks = Ref<Keyspace>::Share(keyspace)] { RunFlush(ks); });
}

void Maintenance::ScheduleFlush(Keyspace* keyspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  QueueFlush(keyspace);
}

void Maintenance::WhenFlushed(Keyspace* keyspace, Seqno seqno, Completion completion) {
  if (keyspace->tree()->flushed_seqno() > seqno || !keyspace->tree()->HasSealed()) {
    completion(Status::Ok());
    return;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  flush_waiters_.push_back({Ref<Keyspace>::Share(keyspace), seqno, std::move(completion)});
  keyspace->upkeep.flush_now = true;
  QueueFlush(keyspace);
}

// Level 0 is full: the flush waits until a compaction made room there. Where nothing slows writers
// down it would wait in memory.
bool Maintenance::MustHold(Keyspace* keyspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (parts_.control == nullptr || keyspace->upkeep.awaits_retry) return false;
  if (Level0Debt(keyspace, keyspace->tree()->level0_runs()) < kLevel0RunsMax) return false;
  if (paused_ || keyspace->upkeep.flush_now || !parts_.automatic) return false;
  keyspace->upkeep.flush_held = true;
  QueueCompaction(keyspace);
  return true;
}

void Maintenance::RunFlush(const Ref<Keyspace>& keyspace) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    keyspace->upkeep.flush_queued = false;
    if (stopping_) return;
    flushing_++;
  }
  if (!MustHold(keyspace.get())) {
    JobStats stats;
    uint64_t nanos = 0;
    const Status status = FlushTree(keyspace.get(), &stats, &nanos);
    EndFlush(keyspace, status, stats, nanos);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  flushing_--;
  idle_.notify_all();
}

// Flushes here and now; what comes of it is counted and told.
Status Maintenance::FlushTree(Keyspace* keyspace, JobStats* stats, uint64_t* nanos) {
  const uint64_t begin = parts_.vfs->MonotonicNanos();
  JobControl control;
  flushes_.active.fetch_add(1, std::memory_order_relaxed);
  const Status status = keyspace->tree()->Flush(&control, parts_.before_flush_commit, stats);
  flushes_.active.fetch_sub(1, std::memory_order_relaxed);
  *nanos = parts_.vfs->MonotonicNanos() - begin;
  if (!status.ok()) {
    if (!status.Is(Code::kAborted)) TellError(Event::During::kFlush, keyspace, status);
    return status;
  }
  if (stats->memtables == 0) return status;  // somebody was faster
  flushes_.nanos.fetch_add(*nanos, std::memory_order_relaxed);
  flushes_.Done(*stats);
  if (parts_.latencies != nullptr) parts_.latencies->flush.Record(*nanos);
  if (parts_.events == nullptr) return status;
  parts_.events->Tell(Event::Type::kFlush, [&](Event* event) {
    event->keyspace = keyspace->name();
    event->tables = stats->tables_written;
    event->bytes_written = stats->bytes_written;
    event->ms = static_cast<double>(*nanos) / 1e6;
  });
  return status;
}

void Maintenance::JobCounts::Done(const JobStats& stats) {
  completed.fetch_add(1, std::memory_order_relaxed);
  bytes_read.fetch_add(stats.bytes_read, std::memory_order_relaxed);
  bytes_written.fetch_add(stats.bytes_written, std::memory_order_relaxed);
}

// A failed sync is told by whom it is handed on to.
void Maintenance::TellError(Event::During during, const Keyspace* keyspace,
                            const Status& status) const {
  if (parts_.events == nullptr || status.Is(Code::kSyncFailed)) return;
  parts_.events->Tell(Event::Type::kError, [&](Event* event) {
    event->during = during;
    event->cause = status.WithKeyspace(keyspace->name());
  });
}

void Maintenance::EndFlush(const Ref<Keyspace>& keyspace, const Status& status,
                           const JobStats& stats, uint64_t nanos) {
  CountSealed(keyspace.get());
  CountLevel0(keyspace.get());
  if (status.Is(Code::kSyncFailed)) parts_.on_fatal(status);
  SetProblem(kFlushSource, keyspace.get(), status);
  Tree* tree = keyspace->tree();
  const Seqno flushed = tree->flushed_seqno();
  Told told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto keep = flush_waiters_.begin();
    bool more = false;
    for (FlushWaiter& waiter : flush_waiters_) {
      if (waiter.keyspace.get() == keyspace.get() &&
          (!status.ok() || waiter.seqno < flushed || !tree->HasSealed())) {
        told.emplace_back(std::move(waiter.completion), status);
        continue;
      }
      more = more || waiter.keyspace.get() == keyspace.get();
      if (&*keep != &waiter) *keep = std::move(waiter);
      ++keep;
    }
    flush_waiters_.erase(keep, flush_waiters_.end());
    keyspace->upkeep.flush_now = more;
    if (status.ok()) {
      keyspace->upkeep.flush_retry_ms = 0;
      if (tree->HasSealed()) QueueFlush(keyspace.get());
      QueueCompaction(keyspace.get());
    } else if (!status.Is(Code::kSyncFailed) && !stopping_ &&
               !std::exchange(keyspace->upkeep.flush_retry_armed, true)) {
      parts_.executor->SubmitAfter(Lane::kFlush, NextRetry(&keyspace->upkeep.flush_retry_ms),
                                   [this, keyspace] {
                                     std::lock_guard<std::mutex> again(mutex_);
                                     keyspace->upkeep.flush_retry_armed = false;
                                     QueueFlush(keyspace.get());
                                   });
    }
  }
  if (parts_.control != nullptr) parts_.control->NoteFlush(stats.bytes_written, nanos);
  if (status.ok()) parts_.after_flush();
  parts_.after_job();
  Tell(&told);
}

Status Maintenance::FlushNow(Keyspace* keyspace) {
  JobStats stats;
  uint64_t nanos = 0;
  Status status = FlushTree(keyspace, &stats, &nanos);
  if (status.Is(Code::kSyncFailed)) parts_.on_fatal(status);
  return status;
}

// Memtables that it has flushed are told to those who wait for it by the flush that is scheduled.
void Maintenance::Ingested(Keyspace* keyspace, const Status& status) {
  CountSealed(keyspace);
  CountLevel0(keyspace);
  parts_.after_job();
  if (!status.ok()) return;
  ScheduleCompaction(keyspace);
  parts_.after_flush();
}

void Maintenance::TellFlushWaiters(const Status& status) {
  Told told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (FlushWaiter& waiter : flush_waiters_) {
      const bool done = waiter.keyspace->tree()->flushed_seqno() > waiter.seqno;
      told.emplace_back(std::move(waiter.completion), done ? Status::Ok() : status);
    }
    flush_waiters_.clear();
  }
  Tell(&told);
}

}  // namespace shale
