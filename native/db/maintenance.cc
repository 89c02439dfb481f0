#include "db/maintenance.h"

#include <algorithm>
#include <utility>

namespace shale {
namespace {

// Between two looks at the age of tables.
constexpr double kAgeMsMin = 20;
constexpr double kAgeMsMax = 60000;
constexpr char kCompactionSource[] = "compaction";

}  // namespace

Maintenance::Maintenance(Parts parts) : parts_(std::move(parts)), held_(parts_.held) {}

uint32_t Maintenance::NextRetry(uint32_t* pause_ms) {
  *pause_ms = std::clamp(*pause_ms * 2, 50u, 5000u);
  return *pause_ms;
}

void Maintenance::Tell(Told* told) {
  for (auto& [completion, status] : *told) completion(std::move(status));
  told->clear();
}

// A failing job is also why writers cannot be let go when memory is full.
void Maintenance::SetProblem(const char* source, const Keyspace* keyspace, Status status) {
  // Held while the outcome is applied: a flush and a compaction that end together must not leave
  // behind what the slower one saw.
  std::lock_guard<std::mutex> in_order(problem_mutex_);
  Status first;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto key = std::make_pair(std::string(source), keyspace->id());
    if (status.ok()) {
      if (problems_.erase(key) == 0) return;
    } else {
      problems_[key] = status.WithKeyspace(keyspace->name());
    }
    if (!problems_.empty()) first = problems_.begin()->second;
  }
  if (parts_.control != nullptr) parts_.control->SetObstacle(first);
  parts_.on_state(first);
}

// ---- compaction ----

void Maintenance::QueueCompaction(Keyspace* keyspace) {
  if (stopping_ || !parts_.automatic || keyspace->upkeep.awaits_retry) return;
  if (std::exchange(keyspace->upkeep.compaction_queued, true)) return;
  compactions_.push_back(Ref<Keyspace>::Share(keyspace));
  if (!paused_ && !held_) parts_.executor->Submit(Lane::kCompaction, [this] { RunCompaction(); });
}

void Maintenance::ScheduleCompaction(Keyspace* keyspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  QueueCompaction(keyspace);
}

Seqno Maintenance::NoteAwaited(Keyspace* keyspace) {
  const Seqno below = keyspace->tree()->AwaitedBelow();
  Seqno known = awaited_below_.load();
  while (known < below && !awaited_below_.compare_exchange_weak(known, below)) {
  }
  return below;
}

void Maintenance::ReadsEnded(Seqno seqno, const std::vector<Ref<Keyspace>>& keyspaces) {
  awaited_below_.store(0);
  for (const Ref<Keyspace>& keyspace : keyspaces) {
    if (seqno < NoteAwaited(keyspace.get())) ScheduleCompaction(keyspace.get());
  }
}

void Maintenance::RunCompaction() {
  Ref<Keyspace> keyspace;
  bool busy = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ || paused_ || held_ || compactions_.empty()) return;
    keyspace = std::move(compactions_.front());
    compactions_.pop_front();
    keyspace->upkeep.compaction_queued = false;
    // It was queued before the job failed that would be tried again now.
    if (keyspace->upkeep.awaits_retry) return;
    busy = keyspace->upkeep.wanted > 0;
    deciding_++;
  }
  std::optional<CompactionPlan> plan;
  NoteAwaited(keyspace.get());
  keyspace->tree()->ReleaseHeld();  // its seqno may not have been visible when the drop ended
  keyspace->tree()->DropCovered();
  parts_.after_job();
  if (!busy) plan = ChooseAndClaim(keyspace);
  if (plan.has_value()) {
    // Another thread may find a second plan beside this one.
    if (parts_.executor->ThreadCount(Lane::kCompaction) > 1) ScheduleCompaction(keyspace.get());
    // Who waits for it learns it from the state; a failed job is tried again.
    static_cast<void>(Execute(keyspace, *plan, std::make_shared<JobControl>()));
  } else {
    if (!busy) NoteLevel0Left(keyspace.get());
    NothingToCompact(keyspace);
  }
  EndTask();
}

std::optional<CompactionPlan> Maintenance::ChooseAndClaim(const Ref<Keyspace>& keyspace) {
  Tree* tree = keyspace->tree();
  if (tree->LacksStrategy()) return std::nullopt;
  std::optional<CompactionPlan> plan = Ask(keyspace);
  return plan.has_value() ? plan : tree->ChooseAndClaim(parts_.vfs->WallMillis());
}

// What a strategy of the application wants. That it has no answer counts as nothing; it is asked
// again after a pause.
std::optional<CompactionPlan> Maintenance::Ask(const Ref<Keyspace>& keyspace) {
  Keyspace::Upkeep& upkeep = keyspace->upkeep;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (upkeep.strategy_pausing) return std::nullopt;
  }
  const auto may_wait = [this] {
    std::lock_guard<std::mutex> lock(mutex_);
    return stopping_ || paused_ ? Status(Code::kAborted) : Status::Ok();
  };
  std::optional<CompactionPlan> plan;
  const Status status = keyspace->tree()->AskAndClaim(parts_.vfs->WallMillis(), may_wait, &plan);
  if (status.from_application()) TellError(Event::During::kStrategy, keyspace.get(), status);
  std::lock_guard<std::mutex> lock(mutex_);
  if (status.ok()) {
    upkeep.strategy_retry_ms = 0;
  } else if (!status.from_application()) {
    if (paused_) QueueCompaction(keyspace.get());
  } else if (!stopping_) {
    upkeep.strategy_pausing = true;
    parts_.executor->SubmitAfter(Lane::kCompaction, NextRetry(&upkeep.strategy_retry_ms),
                                 [this, keyspace] {
                                   std::lock_guard<std::mutex> again(mutex_);
                                   keyspace->upkeep.strategy_pausing = false;
                                   QueueCompaction(keyspace.get());
                                 });
  }
  return plan;
}

// False once stopping; else Stop waits for the end of the task.
bool Maintenance::BeginTask() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopping_) return false;
  deciding_++;
  return true;
}

void Maintenance::EndTask() {
  Told told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    deciding_--;
    TellIdle(&told);
    idle_.notify_all();
  }
  Tell(&told);
}

bool Maintenance::MayStillFail(const Keyspace* keyspace) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return keyspace->upkeep.awaits_retry || keyspace->upkeep.compactions > 0;
}

void Maintenance::NothingToCompact(const Ref<Keyspace>& keyspace) {
  if (!MayStillFail(keyspace.get())) {
    SetProblem(kCompactionSource, keyspace.get(), Status::Ok());
  }
  const auto due = keyspace->tree()->DueIn(parts_.vfs->WallMillis());
  std::lock_guard<std::mutex> lock(mutex_);
  if (keyspace->upkeep.compactions == 0) ReleaseFlush(keyspace.get());
  // Looks again when a table has become too old.
  if (!due.has_value() || stopping_ || std::exchange(keyspace->upkeep.awaits_age, true)) return;
  const auto delay = static_cast<uint64_t>(std::clamp(*due + 1, kAgeMsMin, kAgeMsMax));
  parts_.executor->SubmitAfter(Lane::kCompaction, delay, [this, keyspace] {
    std::lock_guard<std::mutex> again(mutex_);
    keyspace->upkeep.awaits_age = false;
    QueueCompaction(keyspace.get());
  });
}

// Runs a claimed plan on the calling thread.
Status Maintenance::Execute(const Ref<Keyspace>& keyspace, const CompactionPlan& plan,
                            std::shared_ptr<JobControl> control) {
  std::list<Running>::iterator job;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    running_.push_front({keyspace, plan, control});
    job = running_.begin();
    keyspace->upkeep.compactions++;
    if (stopping_) control->stop.store(true);
  }
  compacted_.active.fetch_add(1, std::memory_order_relaxed);
  const uint64_t begin = parts_.vfs->MonotonicNanos();
  JobStats stats;
  const Status status = keyspace->tree()->Compact(plan, control.get(), &stats);
  const uint64_t nanos = parts_.vfs->MonotonicNanos() - begin;
  CountCompaction(keyspace.get(), plan, status, stats, nanos);
  parts_.after_job();
  if (status.Is(Code::kSyncFailed)) parts_.on_fatal(status);
  const bool ended = status.Is(Code::kAborted) || status.Is(Code::kPlanStale);
  const bool failed = !status.ok() && (!ended || status.from_application());
  const bool retries = failed && !status.Is(Code::kSyncFailed);
  {
    // Before it is told: nobody takes the problem for solved because there is nothing to be done.
    std::lock_guard<std::mutex> lock(mutex_);
    keyspace->upkeep.awaits_retry = retries;
  }
  SetProblem(kCompactionSource, keyspace.get(), failed ? status : Status::Ok());
  CountLevel0(keyspace.get());
  if (parts_.control != nullptr) parts_.control->NoteCompaction(stats.bytes_read, nanos);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    running_.erase(job);
    keyspace->upkeep.compactions--;
    if (status.ok()) keyspace->upkeep.compaction_retry_ms = 0;
    if (keyspace->upkeep.flush_held) {
      keyspace->upkeep.flush_held = false;
      // While compactions fail, level 0 grows: waiting for them would try them again at once.
      if (failed) keyspace->upkeep.flush_now = true;
      QueueFlush(keyspace.get());
    }
    if (!failed) {
      QueueCompaction(keyspace.get());
    } else if (retries && !stopping_ && !std::exchange(keyspace->upkeep.retry_armed, true)) {
      parts_.executor->SubmitAfter(Lane::kCompaction,
                                   NextRetry(&keyspace->upkeep.compaction_retry_ms), [=, this] {
                                     std::lock_guard<std::mutex> again(mutex_);
                                     keyspace->upkeep.retry_armed = false;
                                     keyspace->upkeep.awaits_retry = false;
                                     QueueCompaction(keyspace.get());
                                   });
    }
    idle_.notify_all();
  }
  RetryWanted(keyspace.get());
  return status;
}

void Maintenance::CountCompaction(const Keyspace* keyspace, const CompactionPlan& plan,
                                  const Status& status, const JobStats& stats, uint64_t nanos) {
  compacted_.active.fetch_sub(1, std::memory_order_relaxed);
  compacted_.nanos.fetch_add(nanos, std::memory_order_relaxed);
  if (!status.ok()) {
    const bool ended = status.Is(Code::kAborted) || status.Is(Code::kPlanStale);
    if (status.from_application()) {
      TellError(Event::During::kFilter, keyspace, status);
    } else if (!ended) {
      TellError(Event::During::kCompaction, keyspace, status);
    }
    return;
  }
  compacted_.Done(stats);
  if (parts_.latencies != nullptr) parts_.latencies->compaction.Record(nanos);
  if (parts_.events == nullptr) return;
  parts_.events->Tell(Event::Type::kCompaction, [&](Event* event) {
    event->keyspace = keyspace->name();
    event->plan = plan;
    event->bytes_read = stats.bytes_read;
    event->bytes_written = stats.bytes_written;
    event->ms = static_cast<double>(nanos) / 1e6;
  });
}

Status Maintenance::RunHere(Keyspace* keyspace, const CompactionPlan& plan, JobControl* control) {
  std::shared_ptr<JobControl> shared(control, [](JobControl*) {});
  if (control == nullptr) shared = std::make_shared<JobControl>();
  if (!BeginTask()) return Code::kDbClosed;
  const Status status = Execute(Ref<Keyspace>::Share(keyspace), plan, std::move(shared));
  EndTask();
  return status;
}

void Maintenance::Run(Keyspace* keyspace, Planner planner, WhenBusy when_busy,
                      std::shared_ptr<JobControl> control, Completion completion) {
  auto wanted = std::make_shared<Wanted>();
  wanted->keyspace = Ref<Keyspace>::Share(keyspace);
  wanted->planner = std::move(planner);
  wanted->when_busy = when_busy;
  wanted->control = std::move(control);
  wanted->completion = std::move(completion);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!stopping_) {
      wanted_.push_back(wanted);
      keyspace->upkeep.wanted++;
      QueueWanted(wanted);
      return;
    }
  }
  wanted->completion(Code::kDbClosed);
}

// Here and now: all threads may have jobs that take their time.
void Maintenance::TellStopped() {
  Told told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const std::shared_ptr<Wanted>& wanted : wanted_) {
      if (wanted->running || !wanted->control->stop.load()) continue;
      wanted->running = true;
      wanted->keyspace->upkeep.wanted--;
      QueueCompaction(wanted->keyspace.get());
      told.emplace_back(std::exchange(wanted->completion, nullptr), Code::kAborted);
    }
    std::erase_if(wanted_, [](const auto& wanted) { return wanted->completion == nullptr; });
    TellIdle(&told);
  }
  Tell(&told);
}

// mutex_ held.
void Maintenance::QueueWanted(const std::shared_ptr<Wanted>& wanted) {
  if (std::exchange(wanted->queued, true)) return;
  parts_.executor->Submit(Lane::kCompaction, [this, wanted] { RunWanted(wanted); });
}

void Maintenance::RunWanted(const std::shared_ptr<Wanted>& wanted) {
  if (!BeginTask()) return;  // Stop tells it
  TryWanted(wanted);
  EndTask();
}

void Maintenance::TryWanted(const std::shared_ptr<Wanted>& wanted) {
  const Ref<Keyspace>& keyspace = wanted->keyspace;
  Tree* tree = keyspace->tree();
  Status status;
  std::optional<CompactionPlan> plan;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wanted->queued = false;
    if (std::exchange(wanted->running, true)) return;  // another thread has it, or it was told
  }
  if (wanted->control->stop.load()) {
    status = Code::kAborted;
  } else if (tree->DropCovered(); (plan = wanted->planner(*tree)).has_value()) {
    status = tree->Claim(*plan);
    // Some of its tables are busy: the end of that job calls again.
    if (status.Is(Code::kPlanStale) && wanted->when_busy == WhenBusy::kWait) {
      std::lock_guard<std::mutex> lock(mutex_);
      wanted->running = false;
      if (keyspace->upkeep.compactions == 0) QueueWanted(wanted);
      return;
    }
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wanted_.erase(std::find(wanted_.begin(), wanted_.end(), wanted));
    keyspace->upkeep.wanted--;
    QueueCompaction(keyspace.get());
  }
  if (status.ok() && plan.has_value()) status = Execute(keyspace, *plan, wanted->control);
  wanted->completion(status);
}

void Maintenance::RetryWanted(Keyspace* keyspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopping_ || keyspace->upkeep.wanted == 0) return;
  for (const std::shared_ptr<Wanted>& wanted : wanted_) {
    if (wanted->keyspace.get() == keyspace) QueueWanted(wanted);
  }
}

// ---- pause, drain, stop ----

void Maintenance::TellIdle(Told* told) {
  // A task that decides may start a job, and so may a wanted compaction that waits for one to end.
  if (!running_.empty() || deciding_ > 0) return;
  if (paused_ && wanted_.empty()) {
    for (Completion& pauser : pausers_) told->emplace_back(std::move(pauser), Status::Ok());
    pausers_.clear();
  }
  if (compactions_.empty()) {
    const Status status = problems_.empty() ? Status::Ok() : problems_.begin()->second;
    for (Completion& drainer : drainers_) told->emplace_back(std::move(drainer), status);
    drainers_.clear();
  }
}

void Maintenance::Pause(Completion completion) {
  Told told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    paused_ = true;
    pausers_.push_back(std::move(completion));
    for (const Ref<Keyspace>& keyspace : compactions_) ReleaseFlush(keyspace.get());
    for (const Running& job : running_) job.control->must_not_wait.store(true);
    TellIdle(&told);
    TellLevel0();
  }
  Tell(&told);
}

void Maintenance::Resume() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!std::exchange(paused_, false)) return;
  for (const Running& job : running_) job.control->must_not_wait.store(false);
  TellLevel0();
  SubmitCompactions();
}

void Maintenance::Release() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (std::exchange(held_, false)) SubmitCompactions();
}

// mutex_ held.
void Maintenance::SubmitCompactions() {
  if (paused_ || held_) return;
  for (size_t i = 0; i < compactions_.size(); ++i) {
    parts_.executor->Submit(Lane::kCompaction, [this] { RunCompaction(); });
  }
}

// mutex_ held. A flush that waits for room in level 0 goes ahead: no compaction will make it.
void Maintenance::ReleaseFlush(Keyspace* keyspace) {
  if (!std::exchange(keyspace->upkeep.flush_held, false)) return;
  keyspace->upkeep.flush_now = true;
  QueueFlush(keyspace);
}

void Maintenance::Drain(Completion completion) {
  Told told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    drainers_.push_back(std::move(completion));
    TellIdle(&told);
  }
  Tell(&told);
}

Database::CompactorState Maintenance::compactor_state() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (paused_) return Database::CompactorState::kPaused;
  return running_.empty() ? Database::CompactorState::kIdle : Database::CompactorState::kRunning;
}

std::vector<RunningJob> Maintenance::jobs() const {
  std::vector<RunningJob> result;
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Running& job : running_) {
    result.push_back({job.keyspace->name(), job.plan, job.control->done_bytes.load(),
                      job.control->total_bytes.load()});
  }
  return result;
}

Maintenance::Figures Maintenance::figures() const {
  const auto relaxed = std::memory_order_relaxed;
  Figures figures;
  figures.active_flushes = flushes_.active.load(relaxed);
  figures.flushes_completed = flushes_.completed.load(relaxed);
  figures.flushing_ms = static_cast<double>(flushes_.nanos.load(relaxed)) / 1e6;
  figures.flush_bytes_written = flushes_.bytes_written.load(relaxed);
  figures.active_compactions = compacted_.active.load(relaxed);
  figures.compactions_completed = compacted_.completed.load(relaxed);
  figures.compacting_ms = static_cast<double>(compacted_.nanos.load(relaxed)) / 1e6;
  figures.compaction_bytes_read = compacted_.bytes_read.load(relaxed);
  figures.compaction_bytes_written = compacted_.bytes_written.load(relaxed);
  return figures;
}

void Maintenance::Stop() {
  Told told;
  {
    Lock lock(mutex_);
    stopping_ = true;
    for (const Running& job : running_) job.control->stop.store(true);
    idle_.wait(lock, [this] { return running_.empty() && flushing_ == 0 && deciding_ == 0; });
    for (const std::shared_ptr<Wanted>& wanted : wanted_) {
      told.emplace_back(std::move(wanted->completion), Code::kDbClosed);
    }
    wanted_.clear();
    compactions_.clear();
    for (Completion& pauser : pausers_) told.emplace_back(std::move(pauser), Code::kDbClosed);
    for (Completion& drainer : drainers_) told.emplace_back(std::move(drainer), Code::kDbClosed);
    pausers_.clear();
    drainers_.clear();
  }
  Tell(&told);
}

}  // namespace shale
