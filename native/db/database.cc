#include "db/database.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "db/database_impl.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

constexpr uint64_t kThrottleSliceNanos = 20'000'000;
constexpr uint64_t kSimulatedStepNanos = 1'000'000;

}  // namespace

Database::Impl::Impl(Vfs* vfs, std::unique_ptr<Executor> executor, std::string path,
                     const DatabaseOptions& options, std::atomic<Seqno>* visible)
    : vfs_(vfs),
      executor_(std::move(executor)),
      path_(std::move(path)),
      options_(options),
      snapshots_(visible),
      visible_(visible) {}

Database::Impl::~Impl() {
  if (opened_) static_cast<void>(Close());
  executor_->Shutdown();
}

// ---- open ----

Status Database::Impl::Open() {
  SHALE_RETURN_IF_ERROR(PrepareDirectory());
  Status locked = DirectoryLock::Acquire(vfs_, path_, &lock_);
  // On a read-only file system nobody can write, so nobody has to be kept out.
  if (!locked.ok() && !(options_.read_only && locked.Is(Code::kReadOnly))) return locked;
  SHALE_RETURN_IF_ERROR(LoadManifest());
  cache_ = std::make_shared<Cache>(options_.cache_size);
  files_ = std::make_shared<FileCache>(vfs_, std::max<uint32_t>(1, options_.max_open_files));
  storage_ = std::make_shared<std::pair<std::shared_ptr<Cache>, std::shared_ptr<FileCache>>>(
      cache_, files_);
  control_ = std::make_unique<WriteControl>(vfs_, executor_.get(), options_);
  queue_ = std::make_unique<CommitQueue>(this, executor_.get(), visible_);
  keeper_ = std::make_unique<JournalKeeper>(KeeperParts());
  maintenance_ = std::make_unique<Maintenance>(MaintenanceParts());
  SHALE_RETURN_IF_ERROR(Recover());
  opened_ = true;
  StartParts();
  return Status::Ok();
}

// What can be told without the lock: that there is a directory, and that it may be ours.
Status Database::Impl::PrepareDirectory() {
  FileInfo info;
  Status status = vfs_->StatTarget(path_, &info);
  if (IsErrno(status, ENOENT)) {
    if (!options_.create_if_missing || options_.read_only) {
      return Status(Code::kDbNotFound, "there is no such directory").WithPath(path_);
    }
    status = vfs_->MakeDir(path_);
    if (IsErrno(status, ENOENT)) {
      return Status(Code::kDbNotFound, "the parent folder does not exist").WithPath(path_);
    }
    return IsErrno(status, EEXIST) ? Status::Ok() : status;
  }
  if (IsErrno(status, ENOTDIR)) {
    return Status(Code::kInvalidPath, "a part of the path is no folder").WithPath(path_);
  }
  SHALE_RETURN_IF_ERROR(status);
  if (info.type != FileInfo::Type::kDirectory) {
    return Status(Code::kInvalidPath, "the path is no folder").WithPath(path_);
  }
  std::vector<std::string> names;
  SHALE_RETURN_IF_ERROR(vfs_->List(path_, &names));
  bool exists = false;
  bool foreign = false;
  for (const std::string& name : names) {
    const FileKind kind = ParseFileName(name).kind;
    exists = exists || kind == FileKind::kManifest;
    foreign = foreign || (kind == FileKind::kForeign && name.rfind("lock.", 0) != 0);
  }
  if (!exists && foreign) {
    return Status(Code::kNotADatabase, "the folder holds other files").WithPath(path_);
  }
  if (!exists && (!options_.create_if_missing || options_.read_only)) {
    return Status(Code::kDbNotFound, "the folder holds no database").WithPath(path_);
  }
  return Status::Ok();
}

Status Database::Impl::LoadManifest() {
  std::unique_ptr<Manifest> manifest;
  Status status = Manifest::Load(vfs_, path_, options_.read_only, &manifest);
  if (status.Is(Code::kDbNotFound) && options_.create_if_missing && !options_.read_only) {
    // Whoever made the directory: its name must be as durable as what will be acknowledged in it.
    SHALE_RETURN_IF_ERROR(vfs_->SyncDir(ParentDirectory(path_)));
    status = Manifest::Create(vfs_, path_, DirectoryKind::kDatabase, &manifest);
  } else if (status.ok() && options_.error_if_exists) {
    return Status(Code::kDbExists, "the folder holds a database").WithPath(path_);
  }
  SHALE_RETURN_IF_ERROR(status);
  manifest_ = std::move(manifest);
  if (manifest_->state().kind != DirectoryKind::kDatabase) {
    return Status(Code::kNotADatabase, "the folder holds a bare tree").WithPath(path_);
  }
  return Status::Ok();
}

TreeContext Database::Impl::Context() {
  TreeContext context;
  context.vfs = vfs_;
  context.directory = path_;
  context.manifest = manifest_.get();
  context.cache = cache_.get();
  context.files = files_.get();
  context.retention = [this] { return snapshots_.View(); };
  context.throttle = [this](uint64_t bytes) { Throttle(bytes); };
  return context;
}

Status Database::Impl::OpenTrees(Recovery::Trees* trees) {
  const TreeContext context = Context();
  for (const auto& [id, state] : manifest_->state().trees) {
    Ref<Tree> tree;
    Status status = Tree::Open(context, state, &tree);
    if (!status.ok()) return status.WithKeyspace(state.name);
    trees->emplace(id, std::move(tree));
  }
  return Status::Ok();
}

Status Database::Impl::Recover() {
  Recovery::Trees trees;
  SHALE_RETURN_IF_ERROR(OpenTrees(&trees));
  Recovery recovery(Context(), options_.recovery, &trees);
  SHALE_RETURN_IF_ERROR(recovery.Replay());
  if (!options_.read_only) {
    SHALE_RETURN_IF_ERROR(recovery.Finish(&journal_, options_.max_journal_size));
    recovery.RemoveOrphans(journal_.numbers());
  }
  recovery_ = recovery.report();
  for (const auto& [id, tree] : trees) {
    AddKeyspace(MakeRef<Keyspace>(id, tree->name(), tree, storage_));
  }
  queue_->Start(recovery.next_seqno());
  return Status::Ok();
}

JournalKeeper::Parts Database::Impl::KeeperParts() {
  JournalKeeper::Parts parts;
  parts.vfs = vfs_;
  parts.directory = path_;
  parts.executor = executor_.get();
  parts.manifest = manifest_.get();
  parts.journal = &journal_;
  parts.queue = queue_.get();
  parts.sync_interval_ms = options_.sync_interval_ms;
  parts.max_journal_size = options_.max_journal_size;
  parts.watermarks = [this] { return UnflushedSeqnos(); };
  parts.flushed_seqno = [this](uint32_t id) -> std::optional<Seqno> {
    const Ref<Keyspace> keyspace = FindKeyspaceById(id);
    if (!keyspace) return std::nullopt;
    return keyspace->tree()->flushed_seqno();
  };
  parts.flush_tree = [this](uint32_t id) {
    const Ref<Keyspace> keyspace = FindKeyspaceById(id);
    if (!keyspace) return;
    const CommitQueue::WriteLock lock(queue_.get());
    RotateTree(keyspace.get());
  };
  parts.on_error = [this](const Status& status) { SetProblem("journal", status); };
  return parts;
}

Maintenance::Parts Database::Impl::MaintenanceParts() {
  Maintenance::Parts parts;
  parts.vfs = vfs_;
  parts.executor = executor_.get();
  parts.control = control_.get();
  parts.memory = &memory_;
  parts.before_flush_commit = [this](Seqno highest) {
    // Memtables may hold half of the commit that failed: they must not become tables.
    if (queue_->failed()) return queue_->SyncTo(kSeqnoMax);
    return keeper_->EnsureDurable(highest);
  };
  parts.after_flush = [this] {
    const Status status = keeper_->Evict();
    if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  };
  parts.on_fatal = [this](const Status& status) { queue_->Fail(status); };
  parts.on_state = [this](const Status& status) {
    SetProblem("background", status);
    // A manifest that takes no more commits does not heal.
    if (Status fatal = manifest_->failure(); !fatal.ok()) queue_->Fail(fatal);
  };
  return parts;
}

void Database::Impl::StartParts() {
  if (options_.read_only) return;
  for (const Ref<Keyspace>& keyspace : AllKeyspaces()) {
    keyspace->upkeep.counted_active = keyspace->tree()->active_bytes();
    memory_.fetch_add(keyspace->upkeep.counted_active);
    maintenance_->Opened(keyspace.get());
  }
  executor_->Submit(Lane::kJournal, [this] {
    const Status status = keeper_->Evict();
    if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  });
}

// Compactions pay for what they write, in slices, so that closing does not wait for them.
void Database::Impl::Throttle(uint64_t bytes) {
  const uint64_t rate = options_.compaction_rate_limit;
  if (rate == 0) return;
  const auto cost =
      static_cast<uint64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate));
  uint64_t until = 0;
  {
    std::lock_guard<std::mutex> lock(throttle_mutex_);
    throttled_until_ = std::max(throttled_until_, vfs_->MonotonicNanos()) + cost;
    until = throttled_until_;
  }
  for (;;) {
    const uint64_t now = vfs_->MonotonicNanos();
    if (now >= until || (gate_.load() & kClosing) != 0) return;
    vfs_->SleepNanos(std::min(until - now, kThrottleSliceNanos));
  }
}

// ---- close ----

void Database::Impl::LastCallLeft() {
  if ((gate_.load(std::memory_order_acquire) & kClosing) == 0) return;
  std::lock_guard<std::mutex> lock(close_mutex_);
  calls_left_.notify_all();
}

Status Database::Impl::Close() {
  std::unique_lock<std::mutex> lock(close_mutex_);
  const bool first = (gate_.fetch_or(kClosing) & kClosing) == 0;
  if (!first) {
    calls_left_.wait(lock, [this] { return closed_; });
    return close_status_;
  }
  lock.unlock();
  control_->Close(Code::kDbClosed);
  lock.lock();
  while ((gate_.load(std::memory_order_acquire) & ~kClosing) != 0) {
    if (!executor_->is_manual()) {
      calls_left_.wait(lock);
      continue;
    }
    lock.unlock();
    if (!executor_->RunOne()) vfs_->SleepNanos(kSimulatedStepNanos);
    lock.lock();
  }
  lock.unlock();
  Status status = CloseParts();
  lock.lock();
  close_status_ = status;
  closed_ = true;
  is_closed_.store(true);
  calls_left_.notify_all();
  return status;
}

Status Database::Impl::CloseParts() {
  while (queue_->HasDeferred()) queue_->DrainDeferred();
  Status status;
  if (!options_.read_only) {
    status = keeper_->EnsureHandedOver();
    if (status.ok()) status = queue_->SyncTo(journal_.handed_over());
  }
  keeper_->Stop();
  maintenance_->Stop();
  executor_->Shutdown();
  if (status.ok() && !options_.read_only) {
    // What cannot be flushed stays in the journal, which is synced.
    const Status flushed = FlushAll();
    maintenance_->TellFlushWaiters(flushed);
    status = SealForClose();
  } else {
    maintenance_->TellFlushWaiters(Code::kDbClosed);
  }
  lock_.reset();
  return status;
}

Status Database::Impl::FlushAll() {
  Status first;
  for (const Ref<Keyspace>& keyspace : AllKeyspaces()) {
    keyspace->tree()->Rotate();
    const Status status = maintenance_->FlushNow(keyspace.get());
    if (first.ok()) first = status;
  }
  return first;
}

// Everything in tables: no journal is needed any more. Else they are sealed at their length.
Status Database::Impl::SealForClose() {
  if (queue_->failed()) return queue_->SyncTo(kSeqnoMax);
  ManifestEdit edit;
  const ManifestState state = manifest_->state();
  if (UnflushedSeqnos().empty()) {
    for (const auto& [number, journal] : state.journals) edit.removed_journals.push_back(number);
    edit.last_seqno = std::max(state.last_seqno, queue_->next_seqno() - 1);
    edit.clean_shutdown = true;
  } else {
    SHALE_RETURN_IF_ERROR(journal_.Sync());
    for (const auto& [number, length] : journal_.FinalLengths()) {
      edit.journals.push_back({number, length});
    }
  }
  SHALE_RETURN_IF_ERROR(manifest_->Commit(edit));
  for (const uint64_t number : edit.removed_journals) {
    // A file that stays is removed by the next open.
    static_cast<void>(vfs_->Remove(FileName(path_, FileKind::kJournal, number)));
  }
  return Status::Ok();
}

// ---- maintenance and views ----

bool Database::Impl::RotateMemtable(Keyspace* keyspace) {
  const Call call(this);
  if (!call.open() || options_.read_only) return false;
  const CommitQueue::WriteLock lock(queue_.get());
  return RotateTree(keyspace);
}

Status Database::Impl::FlushKeyspaceAsync(Keyspace* keyspace, Completion completion) {
  if (options_.read_only) return Status(Code::kReadOnly, "the database was opened read-only");
  if (keyspace->deleted()) return Code::kKeyspaceDeleted;
  Seqno highest = 0;
  {
    const CommitQueue::WriteLock lock(queue_.get());
    RotateTree(keyspace);
    highest = keyspace->tree()->highest_sealed_seqno();
  }
  maintenance_->WhenFlushed(keyspace, highest, std::move(completion));
  return Code::kWouldBlock;
}

// The synchronous form of a call that tells a completion.
Status Database::Impl::WaitFor(const std::function<Status(Completion)>& start) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  Waiting waiting(vfs_, executor_.get());
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
  const auto failed = problems_.find("failed");
  if (failed != problems_.end()) return failed->second;
  return problems_.empty() ? Status::Ok() : problems_.begin()->second;
}

DatabaseFigures Database::Impl::figures() const {
  DatabaseFigures figures;
  const Maintenance::Figures jobs = maintenance_->figures();
  figures.write_buffer_bytes = memory_.load(std::memory_order_relaxed);
  figures.outstanding_flushes = jobs.outstanding_flushes;
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
  figures.disk_bytes = figures.journal_bytes + manifest_->bytes_written();
  for (const Ref<Keyspace>& keyspace : AllKeyspaces()) {
    figures.disk_bytes += keyspace->tree()->table_bytes();
    figures.outstanding_flushes += static_cast<uint32_t>(keyspace->tree()->sealed_count());
  }
  figures.stalls = control_->stalls();
  figures.stall_ms = control_->stall_ms();
  return figures;
}

// ---- the public class ----

Database::Database() = default;
Database::~Database() = default;

Status Database::Open(Vfs* vfs, std::unique_ptr<Executor> executor, const std::string& path,
                      const DatabaseOptions& options, Ref<Database>* database) {
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
                              Ref<Keyspace>* keyspace) {
  return impl_->OpenKeyspace(name, merge, keyspace);
}
Ref<Keyspace> Database::FindKeyspace(const std::string& name) const {
  return impl_->FindKeyspace(name);
}
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
  const Impl::Call call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  return impl_->FlushKeyspaceAsync(keyspace, std::move(completion));
}
Status Database::MajorCompaction(Keyspace* keyspace, uint64_t target_size, JobControl* control) {
  return impl_->WaitFor([&](Completion completion) -> Status {
    std::shared_ptr<JobControl> shared(control, [](JobControl*) {});
    if (control == nullptr) shared = std::make_shared<JobControl>();
    MajorCompactionAsync(keyspace, target_size, std::move(shared), std::move(completion));
    return Code::kWouldBlock;
  });
}
void Database::MajorCompactionAsync(Keyspace* keyspace, uint64_t target_size,
                                    std::shared_ptr<JobControl> control, Completion completion) {
  const Impl::Call call(impl_.get());
  if (!call.open()) return completion(Code::kDbClosed);
  if (impl_->options_.read_only) {
    return completion(Status(Code::kReadOnly, "the database was opened read-only"));
  }
  impl_->maintenance_->MajorCompaction(keyspace, target_size, std::move(control),
                                       std::move(completion));
}
std::vector<RunningJob> Database::jobs() const { return impl_->maintenance_->jobs(); }
void Database::PauseCompaction(Completion completion) {
  impl_->maintenance_->Pause(std::move(completion));
}
void Database::ResumeCompaction() { impl_->maintenance_->Resume(); }
void Database::DrainCompaction(Completion completion) {
  impl_->maintenance_->Drain(std::move(completion));
}
Database::CompactorState Database::compactor_state() const {
  return impl_->maintenance_->compactor_state();
}
DatabaseFigures Database::figures() const { return impl_->figures(); }
CacheStats Database::cache_stats() const { return impl_->cache_->stats(); }
Status Database::Close() { return impl_->Close(); }

}  // namespace shale
