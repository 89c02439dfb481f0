// The life of a database: open, the parts it is made of, close.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/epoch.h"
#include "db/database_impl.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

constexpr uint64_t kThrottleSliceNanos = 20'000'000;

}  // namespace

Database::Impl::Impl(Vfs* vfs, std::unique_ptr<Executor> executor, std::string path,
                     const DatabaseOptions& options, std::atomic<Seqno>* visible)
    : vfs_(vfs),
      executor_(std::move(executor)),
      path_(std::move(path)),
      options_(options),
      snapshots_(visible),
      latencies_(std::make_shared<Latencies>(vfs)),
      visible_(visible) {}

Database::Impl::~Impl() {
  if (opened_) static_cast<void>(Close());
  executor_->Shutdown();
  if (remover_ != nullptr) remover_->Stop();  // those who still share it outlive the executor
}

void Database::Impl::SnapshotClosed(Seqno seqno) {
  if (may_hold_.exchange(false)) {
    for (const Ref<Keyspace>& keyspace : AllKeyspaces()) {
      keyspace->tree()->ReleaseHeld();
      if (keyspace->tree()->holds()) may_hold_.store(true);
    }
  }
  if (options_.read_only || !maintenance_->AwaitsEndOf(seqno)) return;
  maintenance_->ReadsEnded(seqno, AllKeyspaces());
}

// ---- open ----

Status Database::Impl::Open() {
  SHALE_RETURN_IF_ERROR(PrepareDirectory());
  Status locked = DirectoryLock::Acquire(vfs_, path_, &lock_);
  // On a read-only file system nobody can write, so nobody has to be kept out.
  if (!locked.ok() && !(options_.read_only && locked.Is(Code::kReadOnly))) return locked;
  SHALE_RETURN_IF_ERROR(LoadManifest());
  cache_ = std::make_shared<Cache>(options_.cache_size);
  remover_ = std::make_shared<FileRemover>(vfs_, [this](std::function<void()> work) {
    executor_->Submit(Lane::kFlush, std::move(work));
  });
  files_ =
      std::make_shared<FileCache>(vfs_, std::max<uint32_t>(1, options_.max_open_files), remover_);
  control_ = std::make_unique<WriteControl>(vfs_, executor_.get(), options_);
  control_->SetOnStall([this](Event::Reason reason, bool active, double ms) {
    events_->Tell(Event::Type::kStall, [&](Event* event) {
      event->reason = reason;
      event->active = active;
      event->ms = ms;
    });
  });
  journal_.OnSync(vfs_, [this](uint64_t nanos) { latencies_->sync.Record(nanos); });
  queue_ = std::make_unique<CommitQueue>(this, executor_.get(), visible_, latencies_.get());
  keeper_ = std::make_unique<JournalKeeper>(KeeperParts());
  maintenance_ = std::make_unique<Maintenance>(MaintenanceParts());
  snapshots_.OnRelease([this](Seqno seqno) { SnapshotClosed(seqno); });
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
    // Also what must not be there without a manifest: loading that will say so.
    exists = exists || (kind != FileKind::kLock && kind != FileKind::kForeign);
    foreign = foreign || kind == FileKind::kForeign;
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
  // What may only be created is looked at without touching it.
  const bool look_only = options_.read_only || options_.error_if_exists;
  Status status = Manifest::Load(vfs_, path_, look_only, &manifest);
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
  context.cache = cache_;
  context.files = files_;
  context.retention = [this] { return snapshots_.View(); };
  context.at_a_seqno = [this](uint32_t tree, const std::function<void(Seqno)>& install) {
    ChangeTables(tree, install);
  };
  context.throttle = [this](uint64_t bytes, const std::function<bool()>& stopped) {
    Throttle(bytes, stopped);
  };
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
  visible_->store(kReadAll);  // nobody reads yet: what replay flushes needs no older versions
  const uint64_t write_buffer = options_.read_only ? 0 : options_.max_write_buffer_size;
  Recovery recovery(Context(), options_.recovery, write_buffer, &trees);
  SHALE_RETURN_IF_ERROR(recovery.Replay());
  if (!options_.read_only) {
    SHALE_RETURN_IF_ERROR(recovery.Finish(&journal_, options_.max_journal_size));
    recovery.RemoveOrphans(journal_.numbers());
  }
  recovery_ = recovery.report();
  for (const auto& [id, tree] : trees) {
    AddKeyspace(MakeRef<Keyspace>(id, tree->name(), tree));
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
  parts.flushed_seqno = [this](uint32_t id) { return FlushedSeqno(id); };
  parts.flush_tree = [this](uint32_t id) {
    const Ref<Keyspace> keyspace = FindKeyspaceById(id);
    if (!keyspace) return;
    const CommitQueue::WriteLock lock(queue_.get());
    RotateTree(keyspace.get());
  };
  parts.on_state = [this](const Status& status) {
    if (!status.ok() || journal_problem_.load()) SetProblem("journal", status);
  };
  return parts;
}

Status Database::Impl::BeforeFlushCommit(Seqno highest) {
  // Memtables may hold half of the commit that failed: they must not become tables.
  if (queue_->failed()) return queue_->SyncTo(kSeqnoMax);
  return keeper_->EnsureDurable(highest);
}

Maintenance::Parts Database::Impl::MaintenanceParts() {
  Maintenance::Parts parts;
  parts.vfs = vfs_;
  parts.executor = executor_.get();
  parts.control = control_.get();
  parts.memory = &memory_;
  parts.held = options_.hold_compactions;
  parts.before_flush_commit = [this](Seqno highest) { return BeforeFlushCommit(highest); };
  parts.after_flush = [this] {
    const Status status = keeper_->Evict();
    if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  };
  parts.events = events_.get();
  parts.latencies = latencies_.get();
  parts.on_fatal = [this](const Status& status) { queue_->Fail(status); };
  parts.on_state = [this](const Status& status) { SetProblem("background", status); };
  parts.after_job = [this] {
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
    CheckStrategy(*keyspace);
    maintenance_->Opened(keyspace.get());
  }
  executor_->Submit(Lane::kSync, [this] {
    const Status status = keeper_->Evict();
    if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  });
}

// Compactions pay for what they write, in slices, so that neither closing nor who stops one waits
// for that.
void Database::Impl::Throttle(uint64_t bytes, const std::function<bool()>& stopped) {
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
    if (now >= until || (gate_.load() & kClosing) != 0 || stopped()) return;
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
  ingestions_->Stop();
  lock.lock();
  while ((gate_.load(std::memory_order_acquire) & ~kClosing) != 0) {
    executor_->WaitFor(&calls_left_, &lock);
  }
  lock.unlock();
  Status status;
  try {
    status = CloseParts();
  } catch (const std::bad_alloc&) {  // the rest ends with the database; nobody waits for ever
    status = Code::kOutOfMemory;
  }
  lock.lock();
  close_status_ = status;
  closed_ = true;
  is_closed_.store(true);
  calls_left_.notify_all();
  return status;
}

Status Database::Impl::CloseParts() {
  queue_->DrainAll();
  Status status;
  if (!options_.read_only) {
    status = keeper_->EnsureHandedOver();
    // Whatever that said: commits wait for their sync, and their callers for an answer.
    const Status synced = queue_->SyncTo(journal_.handed_over());
    if (status.ok()) status = synced;
  }
  keeper_->Stop();
  maintenance_->Stop();
  executor_->Shutdown();
  ingestions_->RollBack();
  if (status.ok() && !options_.read_only) {
    // What cannot be flushed stays in the journal, which is synced.
    const Status flushed = FlushAll();
    maintenance_->TellFlushWaiters(flushed);
    status = SealForClose();
  } else {
    maintenance_->TellFlushWaiters(Code::kDbClosed);
  }
  for (const Ref<Keyspace>& keyspace : AllKeyspaces()) keyspace->tree()->ReleaseAllHeld();
  static_cast<void>(EpochCollect());  // what a reader still holds is left to the next open
  remover_->Stop();
  const CommitQueue::WriteLock write_lock(queue_.get());  // see HandOver
  lock_.reset();
  return status;
}

// Not once the directory may belong to somebody else.
Status Database::Impl::HandOver() {
  const CommitQueue::WriteLock write_lock(queue_.get());
  if (lock_ == nullptr || queue_->failed()) return Code::kDbClosed;
  return journal_.HandOver();
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

}  // namespace shale
