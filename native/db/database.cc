#include "db/database.h"

#include <utility>

#include "db/database_impl.h"

namespace shale {

// ---- maintenance and views ----

bool Database::Impl::RotateMemtable(Keyspace* keyspace) {
  const Call call(this);
  if (!call.open() || options_.read_only) return false;
  const CommitQueue::WriteLock lock(queue_.get());
  return RotateTree(keyspace);
}

Status Database::Impl::FlushKeyspaceAsync(Keyspace* keyspace, Completion completion) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  if (options_.read_only) return Status(Code::kReadOnly, "the database was opened read-only");
  if (keyspace->deleted()) return Code::kKeyspaceDeleted;
  // Not here: a writer may hold the lock for as long as a large batch takes.
  executor_->Submit(Lane::kFlush, [this, call, own = Ref<Keyspace>::Share(keyspace),
                                   told = std::move(completion)]() mutable {
    Seqno highest = 0;
    {
      const CommitQueue::WriteLock lock(queue_.get());
      RotateTree(own.get());
      highest = own->tree()->highest_sealed_seqno();
    }
    maintenance_->WhenFlushed(own.get(), highest, std::move(told));
  });
  return Code::kWouldBlock;
}

// The synchronous form of a call that tells a completion.
Status Database::Impl::WaitFor(const std::function<Status(Completion)>& start) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  Waiting waiting(executor_.get());
  const Status status = start(waiting.Callback());
  return status.Is(Code::kWouldBlock) ? waiting.Wait() : status;
}

DatabaseStatus Database::Impl::status() const {
  if ((gate_.load(std::memory_order_acquire) & kClosing) != 0) {
    return is_closed_.load() ? DatabaseStatus::kClosed : DatabaseStatus::kClosing;
  }
  if (queue_->failed()) return DatabaseStatus::kFailed;
  std::lock_guard<std::mutex> lock(problems_mutex_);
  return problems_.empty() ? DatabaseStatus::kOpen : DatabaseStatus::kDegraded;
}

Status Database::Impl::failure() const {
  std::lock_guard<std::mutex> lock(problems_mutex_);
  return Cause();
}

Status Database::Impl::Cause() const {
  const auto failed = problems_.find("failed");
  if (failed != problems_.end()) return failed->second;
  return problems_.empty() ? Status::Ok() : problems_.begin()->second;
}

DatabaseFigures Database::Impl::figures() const {
  DatabaseFigures figures;
  const Maintenance::Figures jobs = maintenance_->figures();
  figures.write_buffer_bytes = memory_.load(std::memory_order_relaxed);
  figures.active_compactions = jobs.active_compactions;
  figures.compactions_completed = jobs.compactions_completed;
  figures.compacting_ms = jobs.compacting_ms;
  figures.flushes_completed = jobs.flushes_completed;
  figures.flush_bytes_written = jobs.flush_bytes_written;
  figures.compaction_bytes_read = jobs.compaction_bytes_read;
  figures.compaction_bytes_written = jobs.compaction_bytes_written;
  figures.journal_count = journal_.journal_count();
  figures.journal_bytes = journal_.sealed_bytes() + journal_.active_bytes();
  figures.journal_bytes_written = journal_.bytes_written();
  figures.disk_bytes = figures.journal_bytes + manifest_->bytes();
  for (const Ref<Keyspace>& keyspace : AllKeyspaces()) {
    figures.disk_bytes += keyspace->tree()->table_bytes() + keyspace->tree()->blob_bytes();
    figures.outstanding_flushes += static_cast<uint32_t>(keyspace->tree()->sealed_count());
  }
  figures.stalls = control_->stalls();
  figures.stall_ms = control_->stall_ms();
  return figures;
}

DatabaseMetrics Database::Impl::metrics() const {
  const auto relaxed = std::memory_order_relaxed;
  DatabaseMetrics m;
  const Maintenance::Figures jobs = maintenance_->figures();
  m.cache = cache_->stats();
  m.journal.count = journal_.journal_count();
  m.journal.bytes = journal_.sealed_bytes() + journal_.active_bytes();
  m.journal.appends = journal_.appends();
  m.journal.syncs = latencies_->sync.count();
  m.journal.bytes_written = journal_.bytes_written();
  m.writes.inserts = inserts_.load(relaxed);
  m.writes.removes = removes_.load(relaxed);
  m.writes.batches = batches_.load(relaxed);
  m.writes.bytes = written_bytes_.load(relaxed);
  m.writes.stalls = control_->stalls();
  m.writes.stall_ms = control_->stall_ms();
  m.compactions = {jobs.active_compactions, jobs.compactions_completed, jobs.compacting_ms,
                   jobs.compaction_bytes_read, jobs.compaction_bytes_written};
  m.flushes = {jobs.active_flushes, jobs.flushes_completed, jobs.flushing_ms, 0,
               jobs.flush_bytes_written};
  m.snapshots = {snapshots_.open_count(), handles_->snapshots_abandoned.load(relaxed)};
  m.oldest_snapshot = snapshots_.oldest();
  m.iterators = {handles_->iterators_open.load(relaxed),
                 handles_->iterators_abandoned.load(relaxed)};
  m.events_dropped = events_->dropped();
  m.get = latencies_->get.Summarise();
  m.insert = latencies_->insert.Summarise();
  m.sync = latencies_->sync.Summarise();
  m.flush = latencies_->flush.Summarise();
  m.compaction = latencies_->compaction.Summarise();
  for (const Ref<Keyspace>& keyspace : AllKeyspaces()) {
    m.keyspaces.emplace_back(keyspace->name(), keyspace->tree()->metrics());
  }
  return m;
}

// ---- the public class ----

Database::Database() = default;
Database::~Database() = default;

Status Database::Open(Vfs* vfs, std::unique_ptr<Executor> executor, const std::string& path,
                      const DatabaseOptions& options, Ref<Database>* database) {
  if (executor == nullptr) return Status(Code::kOutOfMemory, "the system has no threads to give");
  auto opened = Ref<Database>::Adopt(new Database());
  opened->impl_ =
      std::make_unique<Impl>(vfs, std::move(executor), path, options, &opened->visible_);
  SHALE_RETURN_IF_ERROR(opened->impl_->Open());
  *database = std::move(opened);
  return Status::Ok();
}

const std::string& Database::path() const { return impl_->path_; }
const DatabaseOptions& Database::options() const { return impl_->options_; }
DatabaseStatus Database::status() const { return impl_->status(); }
Status Database::failure() const { return impl_->failure(); }
const RecoveryReport& Database::recovery() const { return impl_->recovery_; }

Status Database::OpenKeyspace(const std::string& name,
                              const std::function<Status(bool exists, TreeOptions* options)>& merge,
                              Ref<Keyspace>* keyspace, std::shared_ptr<UserStrategy> strategy) {
  return impl_->OpenKeyspace(name, merge, keyspace, std::move(strategy));
}
void Database::CheckStrategy(const Keyspace& keyspace) { impl_->CheckStrategy(keyspace); }
Ref<Keyspace> Database::FindKeyspace(const std::string& name) const {
  return impl_->FindKeyspace(name);
}
Ref<Keyspace> Database::FindKeyspaceById(uint32_t id) const { return impl_->FindKeyspaceById(id); }
std::vector<std::string> Database::KeyspaceNames() const {
  std::vector<std::string> names;
  for (const Ref<Keyspace>& keyspace : impl_->AllKeyspaces()) names.push_back(keyspace->name());
  return names;
}
size_t Database::keyspace_count() const { return impl_->AllKeyspaces().size(); }

Status Database::WriteOne(Keyspace* keyspace, Kind kind, Slice key, Slice value,
                          Durability durability) {
  return impl_->WriteOne(keyspace, kind, key, value, durability);
}
Status Database::Write(Slice entries, Durability durability) {
  return impl_->Write(entries, durability);
}
Status Database::WriteOneAsync(Keyspace* keyspace, Kind kind, Slice key, Slice value,
                               Durability durability, Completion completion) {
  return impl_->WriteOneAsync(keyspace, kind, key, value, durability, std::move(completion));
}
Status Database::WriteAsync(Slice entries, Durability durability, Completion completion) {
  return impl_->WriteAsync(entries, durability, std::move(completion));
}
Status Database::Persist(Durability durability) { return impl_->Persist(durability); }
Status Database::PersistAsync(Durability durability, Completion completion) {
  return impl_->PersistAsync(durability, std::move(completion));
}

Status Database::StartIngestion(Keyspace* keyspace, Ref<Ingestion>* ingestion) {
  return impl_->StartIngestion(keyspace, ingestion);
}

Seqno Database::next_seqno() const { return impl_->next_seqno(); }
SnapshotTracker& Database::snapshots() { return impl_->snapshots_; }
bool Database::SubmitRead(std::function<void()> work) {
  const Impl::Call call(impl_.get());
  if (!call.open()) return false;
  impl_->executor_->Submit(Lane::kReader, std::move(work));
  return true;
}

bool Database::RotateMemtable(Keyspace* keyspace) { return impl_->RotateMemtable(keyspace); }
Status Database::FlushKeyspace(Keyspace* keyspace) {
  return impl_->WaitFor([&](Completion completion) {
    return impl_->FlushKeyspaceAsync(keyspace, std::move(completion));
  });
}
Status Database::FlushKeyspaceAsync(Keyspace* keyspace, Completion completion) {
  return impl_->FlushKeyspaceAsync(keyspace, std::move(completion));
}
Status Database::Run(Keyspace* keyspace, Planner planner, WhenBusy when_busy, JobControl* control) {
  return impl_->WaitFor([&](Completion completion) -> Status {
    std::shared_ptr<JobControl> shared(control, [](JobControl*) {});
    if (control == nullptr) shared = std::make_shared<JobControl>();
    RunAsync(keyspace, std::move(planner), when_busy, std::move(shared), std::move(completion));
    return Code::kWouldBlock;
  });
}
Status Database::MajorCompaction(Keyspace* keyspace, uint64_t target_size, JobControl* control) {
  const auto planner = [target_size](const Tree& tree) { return tree.MajorPlan(target_size); };
  return Run(keyspace, planner, WhenBusy::kWait, control);
}
void Database::RunAsync(Keyspace* keyspace, Planner planner, WhenBusy when_busy,
                        std::shared_ptr<JobControl> control, Completion completion) {
  const Impl::Call call(impl_.get());
  if (!call.open()) return completion(Code::kDbClosed);
  if (impl_->options_.read_only) {
    return completion(Status(Code::kReadOnly, "the database was opened read-only"));
  }
  impl_->maintenance_->Run(keyspace, std::move(planner), when_busy, std::move(control),
                           std::move(completion));
}
void Database::TellStoppedJobs() { impl_->maintenance_->TellStopped(); }
std::vector<RunningJob> Database::jobs() const { return impl_->maintenance_->jobs(); }
void Database::PauseCompaction(Completion completion) {
  impl_->maintenance_->Pause(std::move(completion));
}
void Database::ResumeCompaction() { impl_->maintenance_->Resume(); }
void Database::DrainCompaction(Completion completion) {
  impl_->maintenance_->Drain(std::move(completion));
}
void Database::ReleaseCompactions() { impl_->maintenance_->Release(); }
Database::CompactorState Database::compactor_state() const {
  return impl_->maintenance_->compactor_state();
}
DatabaseFigures Database::figures() const { return impl_->figures(); }
CacheStats Database::cache_stats() const { return impl_->cache_->stats(); }
DatabaseMetrics Database::metrics() const { return impl_->metrics(); }
const std::shared_ptr<Latencies>& Database::latencies() const { return impl_->latencies_; }
const std::shared_ptr<HandleCounts>& Database::handle_counts() const { return impl_->handles_; }
const std::shared_ptr<EventHub>& Database::events() const { return impl_->events_; }
Status Database::Close() { return impl_->Close(); }
Status Database::HandOver() { return impl_->HandOver(); }

}  // namespace shale
