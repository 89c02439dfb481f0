#include "db/standalone_tree.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <new>
#include <utility>

#include "base/epoch.h"
#include "db/directory_lock.h"
#include "db/maintenance.h"
#include "db/waiting.h"
#include "vfs/file_cache.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

constexpr uint64_t kClosing = uint64_t{1} << 63;

}  // namespace

class StandaloneTree::Impl {
 public:
  Impl(Vfs* vfs, std::unique_ptr<Executor> executor, std::string path,
       const StandaloneOptions& options)
      : vfs_(vfs), executor_(std::move(executor)), path_(std::move(path)), options_(options) {}

  ~Impl() {
    if (keyspace_) static_cast<void>(Close());
    executor_->Shutdown();
    if (remover_ != nullptr) remover_->Stop();  // those who still share it outlive the executor
  }

  Status Open(const std::function<Status(bool exists, TreeOptions* options)>& merge) {
    SHALE_RETURN_IF_ERROR(PrepareDirectory());
    SHALE_RETURN_IF_ERROR(DirectoryLock::Acquire(vfs_, path_, &lock_));
    std::unique_ptr<Manifest> manifest;
    Status status = Manifest::Load(vfs_, path_, false, &manifest);
    if (status.Is(Code::kDbNotFound)) {
      SHALE_RETURN_IF_ERROR(vfs_->SyncDir(ParentDirectory(path_)));
      status = Manifest::Create(vfs_, path_, DirectoryKind::kTree, &manifest);
    }
    SHALE_RETURN_IF_ERROR(status);
    manifest_ = std::move(manifest);
    if (manifest_->state().kind != DirectoryKind::kTree) {
      return Status(Code::kNotADatabase, "the folder holds a database, not a bare tree")
          .WithPath(path_);
    }
    SHALE_RETURN_IF_ERROR(ApplyOptions(merge));
    return OpenTree();
  }

  Status Close() {
    std::unique_lock<std::mutex> lock(close_mutex_);
    if ((gate_.fetch_or(kClosing) & kClosing) != 0) {
      changed_.wait(lock, [this] { return closed_; });
      return close_status_;
    }
    ingestions_->Stop();
    while (gate_.load(std::memory_order_acquire) != kClosing) {
      executor_->WaitFor(&changed_, &lock);
    }
    lock.unlock();
    Status status;
    try {
      status = CloseParts();
    } catch (const std::bad_alloc&) {  // the rest ends with the tree; nobody waits for ever
      status = Code::kOutOfMemory;
    }
    lock.lock();
    closed_ = true;
    close_status_ = status;
    changed_.notify_all();
    return status;
  }

  Status Add(Kind kind, Slice key, Slice value, Seqno seqno, uint64_t* item_size,
             uint64_t* memtable_size) {
    SHALE_RETURN_IF_ERROR(CheckEntry(kind, key, value));
    return Write(seqno, memtable_size, [&](Tree* tree) {
      *item_size = tree->Add(key, value, seqno, kind);
      tree->CountWrite(key.size() + value.size(), 0);
    });
  }

  Status AddRange(Slice start, Slice end, Seqno seqno, uint64_t* item_size,
                  uint64_t* memtable_size) {
    SHALE_RETURN_IF_ERROR(CheckEntry(Kind::kTombstone, start, Slice()));
    if (end.size() > kKeyBytesMax || (!end.empty() && !(start < end))) {
      return Status(Code::kInvalidArgument, "not a range of keys that can be removed");
    }
    return Write(seqno, memtable_size, [&](Tree* tree) {
      *item_size = tree->AddRange(start, end, seqno);
      tree->CountWrite(start.size() + end.size(), 0);
    });
  }

  template <typename Fn>
  Status Write(Seqno seqno, uint64_t* memtable_size, const Fn& add) {
    std::lock_guard<std::mutex> lock(write_mutex_);
    Tree* tree = keyspace_->tree();
    const Seqno sealed = std::max(tree->highest_sealed_seqno(), ingesting_);
    if (seqno >= kSeqnoMax || seqno < sealed) return BadSeqno(seqno, sealed);
    add(tree);
    *memtable_size = tree->active_bytes();
    const uint64_t limit = keyspace_->upkeep.max_memtable_size.load(std::memory_order_relaxed);
    if (options_.background && *memtable_size >= limit && tree->Rotate()) {
      maintenance_->Sealed(keyspace_.get());
    }
    return Status::Ok();
  }

  bool Rotate() {
    std::lock_guard<std::mutex> lock(write_mutex_);
    if (!keyspace_->tree()->Rotate()) return false;
    if (options_.background) maintenance_->Sealed(keyspace_.get());
    return true;
  }

  Status Flush() {
    Rotate();
    const Status status = maintenance_->FlushNow(keyspace_.get());
    if (status.ok()) keyspace_->tree()->DropCovered();
    if (status.ok() && options_.background) {
      maintenance_->ScheduleCompaction(keyspace_.get());
    }
    return status;
  }

  Status StartIngestion(Seqno seqno, Ref<Ingestion>* ingestion) {
    {
      std::lock_guard<std::mutex> lock(write_mutex_);
      SHALE_RETURN_IF_ERROR(CheckAbove(seqno));
    }
    *ingestion =
        MakeRef<Ingestion>(std::make_unique<IngestionHost>(this, seqno),
                           keyspace_->tree()->StartIngestion(), executor_.get(), ingestions_);
    return Status::Ok();
  }

  Status Ingest(Seqno at, IngestedRun* run) {
    {
      std::lock_guard<std::mutex> lock(write_mutex_);
      SHALE_RETURN_IF_ERROR(CheckAbove(at));
    }
    SHALE_RETURN_IF_ERROR(run->Complete());
    Rotate();
    SHALE_RETURN_IF_ERROR(maintenance_->FlushNow(keyspace_.get()));
    const auto take_seqno = [&](Seqno* seqno) {
      std::lock_guard<std::mutex> lock(write_mutex_);
      SHALE_RETURN_IF_ERROR(CheckAbove(at));
      *seqno = at;
      ingesting_ = at;
      if (keyspace_->tree()->Rotate() && options_.background) maintenance_->Sealed(keyspace_.get());
      return Status::Ok();
    };
    const Status status = keyspace_->tree()->Ingest(run, take_seqno, nullptr, nullptr);
    {
      std::lock_guard<std::mutex> lock(write_mutex_);
      ingesting_ = 0;
    }
    maintenance_->Ingested(keyspace_.get(), status);
    return status;
  }

  // Not before a job may drop what reads below it would need, and not for every call.
  Status RecordGcSeqno() {
    std::lock_guard<std::mutex> lock(gc_mutex_);
    const Seqno wanted = gc_seqno_.load();
    if (wanted == recorded_gc_seqno_) return Status::Ok();
    ManifestEdit edit;
    ManifestEdit::TreeChange change;
    change.tree_id = kBareTreeId;
    change.gc_seqno = wanted;
    edit.changes.push_back(std::move(change));
    const Status status = manifest_->Commit(edit);
    if (status.ok()) recorded_gc_seqno_ = wanted;
    return status;
  }

  Status SetGcSeqno(Seqno seqno) {
    Seqno before = 0;
    {
      std::lock_guard<std::mutex> lock(write_mutex_);
      before = gc_seqno_.load();
      if (seqno < before || seqno > kReadAll) {
        return Status(Code::kInvalidArgument,
                      "gcSeqno " + std::to_string(seqno) +
                          " is below what it was: " + std::to_string(before));
      }
      gc_seqno_.store(seqno);
    }
    keyspace_->tree()->ReleaseHeld();
    if (options_.background && seqno > before && maintenance_->AwaitsEndOf(before)) {
      maintenance_->ReadsEnded(before, {keyspace_});
    }
    return Status::Ok();
  }

  // Counts a running call; false once closing.
  bool Enter() {
    if ((gate_.fetch_add(1, std::memory_order_acq_rel) & kClosing) == 0) return true;
    Leave();
    return false;
  }
  void Leave() {
    if (gate_.fetch_sub(1, std::memory_order_acq_rel) != (kClosing | 1)) return;
    std::lock_guard<std::mutex> lock(close_mutex_);
    changed_.notify_all();
  }

  Vfs* const vfs_;
  const std::unique_ptr<Executor> executor_;
  const std::string path_;
  const StandaloneOptions options_;
  std::shared_ptr<Cache> cache_;
  Ref<Keyspace> keyspace_;
  std::unique_ptr<Maintenance> maintenance_;
  std::atomic<Seqno> gc_seqno_{0};

 private:
  class IngestionHost final : public Ingestion::Host {
   public:
    IngestionHost(Impl* impl, Seqno seqno) : impl_(impl), seqno_(seqno) {}

    std::shared_ptr<void> Enter() override {
      if (!impl_->Enter()) return nullptr;
      return std::shared_ptr<void>(impl_, [](Impl* impl) { impl->Leave(); });
    }
    Status Check() override { return Status::Ok(); }
    Status Ingest(IngestedRun* run) override { return impl_->Ingest(seqno_, run); }

   private:
    Impl* const impl_;
    const Seqno seqno_;
  };

  // write_mutex_ held: whether an ingestion may have this seqno.
  Status CheckAbove(Seqno seqno) const {
    const Tree* tree = keyspace_->tree();
    const Seqno highest = tree->highest_seqno();
    const bool is_above = seqno > highest || (highest == 0 && tree->approximate_len() == 0);
    if (is_above && seqno < kSeqnoMax) return Status::Ok();
    return Status(Code::kInvalidArgument,
                  "seqno " + std::to_string(seqno) + " is not above " + std::to_string(highest) +
                      ", the highest so far, and below " + std::to_string(kSeqnoMax));
  }

  Status CloseParts() {
    maintenance_->Stop();
    maintenance_->TellFlushWaiters(Code::kDbClosed);
    executor_->Shutdown();
    ingestions_->RollBack();
    Status status = RecordGcSeqno();
    keyspace_->tree()->ReleaseAllHeld();
    static_cast<void>(EpochCollect());  // what a reader still holds is left to the next open
    remover_->Stop();
    lock_.reset();
    return status;
  }
  Status PrepareDirectory() {
    FileInfo info;
    Status status = vfs_->StatTarget(path_, &info);
    if (IsErrno(status, ENOENT)) {
      status = vfs_->MakeDir(path_);
      if (IsErrno(status, ENOENT)) {
        return Status(Code::kDbNotFound, "the parent folder does not exist").WithPath(path_);
      }
      return IsErrno(status, EEXIST) ? Status::Ok() : status;
    }
    if (IsErrno(status, ENOTDIR) || (status.ok() && info.type != FileInfo::Type::kDirectory)) {
      return Status(Code::kInvalidPath, "the path is no folder").WithPath(path_);
    }
    SHALE_RETURN_IF_ERROR(status);
    std::vector<std::string> names;
    SHALE_RETURN_IF_ERROR(vfs_->List(path_, &names));
    const bool exists = std::any_of(names.begin(), names.end(), [](const std::string& name) {
      // Also what must not be there without a manifest: loading that will say so.
      const FileKind kind = ParseFileName(name).kind;
      return kind != FileKind::kLock && kind != FileKind::kForeign;
    });
    const bool foreign = std::any_of(names.begin(), names.end(), [](const std::string& name) {
      return ParseFileName(name).kind == FileKind::kForeign;
    });
    if (foreign && !exists) {
      return Status(Code::kNotADatabase, "the folder holds other files").WithPath(path_);
    }
    return Status::Ok();
  }

  Status ApplyOptions(const std::function<Status(bool exists, TreeOptions* options)>& merge) {
    ManifestEdit edit;
    const ManifestState state = manifest_->state();
    const auto it = state.trees.find(kBareTreeId);
    TreeOptions options = options_.tree;
    if (it == state.trees.end()) {
      SHALE_RETURN_IF_ERROR(merge(false, &options));
      SHALE_RETURN_IF_ERROR(options.Check());
      TreeState created;
      created.id = manifest_->NewTreeId();
      created.options = options.Encode();
      edit.created_trees.push_back(std::move(created));
      return manifest_->Commit(edit);
    }
    SHALE_RETURN_IF_ERROR(TreeOptions::Decode(it->second.options, &options));
    SHALE_RETURN_IF_ERROR(merge(true, &options));
    SHALE_RETURN_IF_ERROR(options.Check());
    ManifestEdit::TreeChange change;
    change.tree_id = kBareTreeId;
    change.options = options.Encode();
    if (*change.options == it->second.options) return Status::Ok();
    edit.changes.push_back(std::move(change));
    return manifest_->Commit(edit);
  }

  Status OpenTree() {
    const ManifestState state = manifest_->state();
    const TreeState& tree_state = state.trees.at(kBareTreeId);
    gc_seqno_.store(tree_state.gc_seqno);
    recorded_gc_seqno_ = tree_state.gc_seqno;
    cache_ = std::make_shared<Cache>(options_.cache_size);
    remover_ = std::make_shared<FileRemover>(vfs_, [this](std::function<void()> work) {
      executor_->Submit(Lane::kFlush, std::move(work));
    });
    files_ =
        std::make_shared<FileCache>(vfs_, std::max<uint32_t>(1, options_.max_open_files), remover_);
    TreeContext context;
    context.vfs = vfs_;
    context.directory = path_;
    context.manifest = manifest_.get();
    context.cache = cache_;
    context.files = files_;
    context.retention = [this] { return View(); };
    context.at_a_seqno = [this](uint32_t, const std::function<void(Seqno)>& install) {
      // Reads at any seqno from the gc seqno on may come at any time.
      Rotate();
      std::lock_guard<std::mutex> lock(write_mutex_);
      install(keyspace_->tree()->highest_seqno());
    };
    Ref<Tree> tree;
    SHALE_RETURN_IF_ERROR(Tree::Open(context, tree_state, &tree));
    if (options_.filter != nullptr) tree->AddFilter(options_.filter);
    if (options_.strategy != nullptr) tree->AddUserStrategy(options_.strategy);
    RemoveOrphans(state);
    const uint64_t limit = tree->options().max_memtable_size;
    keyspace_ = MakeRef<Keyspace>(kBareTreeId, "", std::move(tree));
    keyspace_->upkeep.max_memtable_size.store(limit);
    Maintenance::Parts parts;
    parts.vfs = vfs_;
    parts.executor = executor_.get();
    parts.memory = &memory_;
    parts.automatic = options_.background;
    parts.before_flush_commit = [](Seqno) { return Status::Ok(); };
    parts.after_flush = [] {};
    // What fails is told by the call that wanted it, and tried again in the background.
    parts.on_fatal = [](const Status&) {};
    parts.after_job = [] {};
    parts.on_state = [](const Status&) {};
    maintenance_ = std::make_unique<Maintenance>(std::move(parts));
    maintenance_->Opened(keyspace_.get());
    return Status::Ok();
  }

  // Everything that a read at gc_seqno or above may need is kept. If that cannot be recorded, what
  // the manifest says holds.
  RetentionView View() {
    static_cast<void>(RecordGcSeqno());
    std::lock_guard<std::mutex> lock(gc_mutex_);
    return {{}, recorded_gc_seqno_};
  }

  void RemoveOrphans(const ManifestState& state) {
    std::vector<std::string> names;
    if (!vfs_->List(path_, &names).ok()) return;
    for (const std::string& name : names) {
      const ParsedName parsed = ParseFileName(name);
      const bool ours = parsed.kind == FileKind::kTable || parsed.kind == FileKind::kBlob;
      if (ours && !state.Uses(parsed.number)) static_cast<void>(vfs_->Remove(path_ + "/" + name));
    }
  }

  // Nothing could follow an entry that has the largest of all seqnos.
  static Status BadSeqno(Seqno seqno, Seqno sealed) {
    return Status(Code::kInvalidArgument,
                  seqno < sealed
                      ? "seqno " + std::to_string(seqno) + " is below " + std::to_string(sealed) +
                            ", the highest that was sealed"
                      : "seqno " + std::to_string(seqno) + " is for reads; an entry has at most " +
                            std::to_string(kSeqnoMax - 1));
  }

  static Status CheckEntry(Kind kind, Slice key, Slice value) {
    if (kind != Kind::kValue && !IsTombstone(kind)) {
      return Status(Code::kInvalidArgument, "not a kind that can be written");
    }
    if (key.empty()) return Status(Code::kInvalidKey, "a key has at least one byte");
    if (key.size() > kKeyBytesMax) {
      return Status(Code::kKeyTooLarge,
                    "the key has " + std::to_string(key.size()) + " bytes, the limit is 65535");
    }
    if (value.size() > kValueBytesMax) {
      return Status(Code::kValueTooLarge,
                    "the value has " + std::to_string(value.size()) + " bytes, the limit is 2^30");
    }
    if (IsTombstone(kind) && !value.empty()) {
      return Status(Code::kInvalidValue, "a tombstone has no value");
    }
    return Status::Ok();
  }

  std::shared_ptr<FileRemover> remover_;
  std::shared_ptr<FileCache> files_;
  std::shared_ptr<Manifest> manifest_;
  std::unique_ptr<DirectoryLock> lock_;
  const std::shared_ptr<OpenIngestions> ingestions_ = std::make_shared<OpenIngestions>();
  std::atomic<uint64_t> memory_{0};
  std::mutex write_mutex_;
  Seqno ingesting_ = 0;            // write_mutex_: of the run that is being put on top
  std::mutex gc_mutex_;            // held across I/O, by jobs only
  Seqno recorded_gc_seqno_ = 0;    // gc_mutex_
  std::atomic<uint64_t> gate_{0};  // kClosing, and the number of calls that run
  std::mutex close_mutex_;
  std::condition_variable changed_;
  bool closed_ = false;  // close_mutex_
  Status close_status_;
};

namespace {

// Counts a call for the time it runs.
template <typename Impl>
class Running {
 public:
  explicit Running(Impl* impl) : impl_(impl), open_(impl->Enter()) {}
  ~Running() {
    if (open_) impl_->Leave();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  bool open() const { return open_; }

 private:
  Impl* const impl_;
  const bool open_;
};

}  // namespace

StandaloneTree::StandaloneTree() = default;
StandaloneTree::~StandaloneTree() = default;

Status StandaloneTree::Open(Vfs* vfs, std::unique_ptr<Executor> executor, const std::string& path,
                            const StandaloneOptions& options,
                            const std::function<Status(bool exists, TreeOptions* options)>& merge,
                            Ref<StandaloneTree>* tree) {
  if (executor == nullptr) return Status(Code::kOutOfMemory, "the system has no threads to give");
  auto opened = Ref<StandaloneTree>::Adopt(new StandaloneTree());
  opened->impl_ = std::make_unique<Impl>(vfs, std::move(executor), path, options);
  SHALE_RETURN_IF_ERROR(opened->impl_->Open(merge));
  *tree = std::move(opened);
  return Status::Ok();
}

Tree* StandaloneTree::tree() const { return impl_->keyspace_->tree(); }
const std::string& StandaloneTree::path() const { return impl_->path_; }

Status StandaloneTree::Add(Kind kind, Slice key, Slice value, Seqno seqno, uint64_t* item_size,
                           uint64_t* memtable_size) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  return impl_->Add(kind, key, value, seqno, item_size, memtable_size);
}

Status StandaloneTree::AddRange(Slice start, Slice end, Seqno seqno, uint64_t* item_size,
                                uint64_t* memtable_size) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  return impl_->AddRange(start, end, seqno, item_size, memtable_size);
}

Status StandaloneTree::StartIngestion(Seqno seqno, Ref<Ingestion>* ingestion) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  return impl_->StartIngestion(seqno, ingestion);
}

bool StandaloneTree::RotateMemtable() {
  const Running call(impl_.get());
  return call.open() && impl_->Rotate();
}

Status StandaloneTree::Flush() {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  return impl_->Flush();
}

void StandaloneTree::FlushAsync(Completion completion) {
  auto call = std::make_shared<Running<Impl>>(impl_.get());
  if (!call->open()) return completion(Code::kDbClosed);
  impl_->executor_->Submit(Lane::kFlush,
                           [this, call, told = std::move(completion)] { told(impl_->Flush()); });
}

Status StandaloneTree::Compact(const CompactionPlan& plan, JobControl* control) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  SHALE_RETURN_IF_ERROR(tree()->Claim(plan));
  return impl_->maintenance_->RunHere(impl_->keyspace_.get(), plan, control);
}

Status StandaloneTree::CompactOnce(const StrategyOptions& strategy, JobControl* control) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  tree()->DropCovered();
  const auto plan = tree()->ChooseAndClaim(strategy, impl_->vfs_->WallMillis());
  if (!plan.has_value()) return Status::Ok();
  return impl_->maintenance_->RunHere(impl_->keyspace_.get(), *plan, control);
}

Status StandaloneTree::MajorCompaction(uint64_t target_size, JobControl* control) {
  return Run([target_size](const Tree& tree) { return tree.MajorPlan(target_size); }, control);
}

Status StandaloneTree::Run(Planner planner, JobControl* control) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  std::shared_ptr<JobControl> shared(control, [](JobControl*) {});
  if (control == nullptr) shared = std::make_shared<JobControl>();
  Waiting waiting(impl_->executor_.get());
  impl_->maintenance_->Run(impl_->keyspace_.get(), std::move(planner), WhenBusy::kWait,
                           std::move(shared), waiting.Callback());
  return waiting.Wait();
}

void StandaloneTree::RunAsync(Planner planner, std::shared_ptr<JobControl> control,
                              Completion completion) {
  auto call = std::make_shared<Running<Impl>>(impl_.get());
  if (!call->open()) return completion(Code::kDbClosed);
  impl_->maintenance_->Run(
      impl_->keyspace_.get(), std::move(planner), WhenBusy::kWait, std::move(control),
      [call, completion = std::move(completion)](Status status) { completion(std::move(status)); });
}

void StandaloneTree::TellStoppedJobs() { impl_->maintenance_->TellStopped(); }

bool StandaloneTree::Submit(Lane lane, std::function<void()> work) {
  auto call = std::make_shared<Running<Impl>>(impl_.get());
  if (!call->open()) return false;
  impl_->executor_->Submit(lane, [call, work = std::move(work)] { work(); });
  return true;
}

Seqno StandaloneTree::gc_seqno() const { return impl_->gc_seqno_.load(); }
Status StandaloneTree::SetGcSeqno(Seqno seqno) {
  const Running call(impl_.get());
  if (!call.open()) return Code::kDbClosed;
  return impl_->SetGcSeqno(seqno);
}
Seqno StandaloneTree::highest_persisted_seqno() const {
  const Seqno flushed = tree()->flushed_seqno();
  return flushed == 0 ? 0 : flushed - 1;
}
CacheStats StandaloneTree::cache_stats() const { return impl_->cache_->stats(); }
std::vector<RunningJob> StandaloneTree::jobs() const { return impl_->maintenance_->jobs(); }
void StandaloneTree::PauseCompaction(Completion completion) {
  impl_->maintenance_->Pause(std::move(completion));
}
void StandaloneTree::ResumeCompaction() { impl_->maintenance_->Resume(); }
void StandaloneTree::DrainCompaction(Completion completion) {
  impl_->maintenance_->Drain(std::move(completion));
}
Database::CompactorState StandaloneTree::compactor_state() const {
  return impl_->maintenance_->compactor_state();
}
Status StandaloneTree::Close() { return impl_->Close(); }

}  // namespace shale
