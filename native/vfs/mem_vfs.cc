#include "vfs/mem_vfs.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/hash.h"
#include "vfs/mem_node.h"
#include "vfs/vfs_status.h"

namespace shale {

namespace {

constexpr uint64_t kSpaceUnit = 4096;
constexpr uint64_t kNanosPerCall = 1000;  // what looking at the clock costs
constexpr uint64_t kWallStartMillis = 1700000000000;
constexpr uint64_t kRandomStep = 0x9e3779b97f4a7c15u;
constexpr uint64_t kFreeWithoutLimit = uint64_t{1} << 40;

uint64_t NextDevice() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

uint64_t RoundUp(uint64_t size) { return (size + kSpaceUnit - 1) / kSpaceUnit * kSpaceUnit; }

Status ErrnoStatus(int error_number, const char* syscall, const std::string& path) {
  if (error_number == 0) return {};
  return Status::FromErrno(error_number, syscall, path);
}

}  // namespace

// ---- files and locks ----

class MemVfs::OpenFile : public File {
 public:
  // Requires the lock of `vfs`.
  OpenFile(MemVfs* vfs, std::string path, Ref<MemNode> node, bool writable)
      : File(std::move(path)), vfs_(vfs), node_(std::move(node)), writable_(writable) {
    ++node_->handles;
  }
  ~OpenFile() override {
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    --node_->handles;
    vfs_->Drop(node_.get());
  }

  Status Read(uint64_t offset, size_t n, char* dst, size_t* got) override {
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    *got = node_->current.Read(offset, n, dst);
    return {};
  }
  Status Write(uint64_t offset, Slice data) override { return WritePieces(offset, data, Slice()); }
  Status Write2(uint64_t offset, Slice a, Slice b) override { return WritePieces(offset, a, b); }
  Status Truncate(uint64_t size) override {
    vfs_->Announce(Mutation::kTruncate, path());
    return Resize(size, false, "ftruncate");
  }
  Status Preallocate(uint64_t size) override {
    vfs_->Announce(Mutation::kPreallocate, path());
    return Resize(size, true, "fallocate");
  }
  Status Sync() override {
    vfs_->Announce(Mutation::kSync, path());
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    if (node_->diverged) {
      for (const FileChange& c : node_->changes) {
        if (!c.lost) c.ApplyTo(&node_->durable);
      }
    } else {
      node_->durable = node_->current;
    }
    node_->changes.clear();
    return {};
  }
  Status Size(uint64_t* size) override {
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    *size = node_->current.size();
    return {};
  }
  void ReadAhead(uint64_t, uint64_t) override {}

  const Ref<MemNode>& node() const { return node_; }
  const std::shared_ptr<char>& description() const { return description_; }
  bool writable() const { return writable_; }

 private:
  Status WritePieces(uint64_t offset, Slice a, Slice b) {
    if (!writable_) return ErrnoStatus(EBADF, "pwrite", path());
    vfs_->Announce(Mutation::kWrite, path());
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    return ErrnoStatus(vfs_->WriteFile(node_.get(), offset, a, b), "pwrite", path());
  }
  Status Resize(uint64_t size, bool only_extend, const char* syscall) {
    if (!writable_) return ErrnoStatus(EBADF, syscall, path());
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    return ErrnoStatus(vfs_->ResizeFile(node_.get(), size, only_extend), syscall, path());
  }

  MemVfs* const vfs_;
  const Ref<MemNode> node_;
  const bool writable_;
  // Its address stands for the open file description, which a lock keeps beyond the file.
  const std::shared_ptr<char> description_ = std::make_shared<char>();
};

class MemVfs::HeldLock : public FileLock {
 public:
  HeldLock(MemVfs* vfs, Ref<MemNode> node, std::shared_ptr<char> description)
      : vfs_(vfs), node_(std::move(node)), description_(std::move(description)) {}
  ~HeldLock() override {
    const std::lock_guard<std::mutex> lock(vfs_->mutex_);
    if (node_->lock_holder == description_.get()) node_->lock_holder = nullptr;
  }

 private:
  MemVfs* const vfs_;
  const Ref<MemNode> node_;
  const std::shared_ptr<char> description_;
};

// ---- the inside, under the lock ----

int MemVfs::Resolve(const std::string& path, Place* place) const {
  if (path.empty() || path[0] != '/') return EINVAL;
  MemNode* node = root_.get();
  *place = {nullptr, {}, node};
  for (size_t begin = 1; begin < path.size();) {
    size_t end = path.find('/', begin);
    if (end == std::string::npos) end = path.size();
    if (end != begin) {
      if (node == nullptr) return ENOENT;
      if (!node->is_directory) return ENOTDIR;
      *place = {node, path.substr(begin, end - begin), nullptr};
      const auto it = node->entries.find(place->name);
      node = it == node->entries.end() ? nullptr : it->second.get();
      place->node = node;
    }
    begin = end + 1;
  }
  return 0;
}

int MemVfs::ResolveDirectory(const std::string& path, MemNode** directory) const {
  Place place;
  const int error = Resolve(path, &place);
  if (error != 0) return error;
  if (place.node == nullptr) return ENOENT;
  if (!place.node->is_directory) return ENOTDIR;
  *directory = place.node;
  return 0;
}

// Accounts for a file of `size` bytes; false, with nothing changed, if it does not fit.
bool MemVfs::Charge(MemNode* node, uint64_t size) {
  const bool alive = node->links != 0 || node->handles != 0;
  const uint64_t bytes = alive ? RoundUp(size) : 0;
  if (bytes > node->charged_bytes) {
    const uint64_t free = capacity_ > used_bytes_ ? capacity_ - used_bytes_ : 0;
    if (bytes - node->charged_bytes > free) return false;
  }
  used_bytes_ += bytes - node->charged_bytes;
  node->charged_bytes = bytes;
  return true;
}

// A name or a handle of the file is gone.
void MemVfs::Drop(MemNode* node) {
  if (node->links == 0 && node->handles == 0) Charge(node, 0);
}

void MemVfs::Change(MemNode* node, FileChange change) {
  change.sequence = next_sequence_++;
  change.ApplyTo(&node->current);
  node->changes.push_back(std::move(change));
}

void MemVfs::ChangeDirectory(MemNode* directory, DirChange change) {
  change.sequence = next_sequence_++;
  change.ApplyTo(&directory->entries);
  directory->dir_changes.push_back(std::move(change));
}

int MemVfs::WriteFile(MemNode* node, uint64_t offset, Slice a, Slice b) {
  FileChange change;
  change.offset = offset;
  change.data.reserve(a.size() + b.size());
  change.data.append(a.data(), a.size()).append(b.data(), b.size());
  if (change.data.empty()) return 0;
  int error = 0;
  const uint64_t end = offset + change.data.size();
  if (end > node->current.size() && !Charge(node, end)) {
    // What still fits is written, as a real system does it.
    error = ENOSPC;
    const uint64_t room = node->charged_bytes + (capacity_ - std::min(capacity_, used_bytes_));
    const uint64_t last = std::max(room / kSpaceUnit * kSpaceUnit, node->current.size());
    change.data.resize(last > offset ? static_cast<size_t>(last - offset) : 0);
    if (change.data.empty()) return error;
    Charge(node, std::max(node->current.size(), last));
  }
  Change(node, std::move(change));
  return error;
}

int MemVfs::ResizeFile(MemNode* node, uint64_t size, bool only_extend) {
  if (only_extend && size <= node->current.size()) return 0;
  if (!Charge(node, size)) return ENOSPC;
  FileChange change;
  change.kind = only_extend ? FileChange::Kind::kExtend : FileChange::Kind::kResize;
  change.size = size;
  Change(node, std::move(change));
  return 0;
}

// Checks that `to` may be replaced by `from` and takes its name from what is there.
int MemVfs::ReplaceTarget(const Place& from, const Place& to) {
  if (to.node == nullptr) return 0;
  if (to.node->is_directory && !from.node->is_directory) return EISDIR;
  if (!to.node->is_directory && from.node->is_directory) return ENOTDIR;
  if (!to.node->entries.empty()) return ENOTEMPTY;
  --to.node->links;
  Drop(to.node);
  return 0;
}

// ---- the outside ----

MemVfs::MemVfs(uint64_t seed)
    : root_(MakeRef<MemNode>(1, true)), device_(NextDevice()), random_state_(MixBits(seed + 1)) {
  root_->links = 1;
  processes_[process_id_] = 1;
}

MemVfs::~MemVfs() = default;

void MemVfs::SetHook(Hook hook) { hook_ = std::move(hook); }

void MemVfs::Announce(Mutation kind, const std::string& path) {
  const uint64_t index = operations_.fetch_add(1, std::memory_order_relaxed);
  if (hook_) hook_({index, kind, path});
}

Status MemVfs::Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) {
  if (mode == OpenMode::kCreateNew) Announce(Mutation::kCreate, path);
  const std::unique_ptr<File> replaced = std::move(*file);  // its end takes the lock as well
  const std::lock_guard<std::mutex> lock(mutex_);
  Place place;
  const int error = Resolve(path, &place);
  if (error != 0) return ErrnoStatus(error, "open", path);
  if (mode == OpenMode::kCreateNew) {
    if (place.node != nullptr) return ErrnoStatus(EEXIST, "open", path);
    Ref<MemNode> node = MakeRef<MemNode>(next_inode_++, false);
    node->links = 1;
    place.node = node.get();
    DirChange put;
    put.name = place.name;
    put.node = std::move(node);
    ChangeDirectory(place.directory, std::move(put));
  }
  if (place.node == nullptr) return ErrnoStatus(ENOENT, "open", path);
  if (place.node->is_directory) return NotRegular(path);
  *file = std::make_unique<OpenFile>(this, path, Ref<MemNode>::Share(place.node),
                                     mode != OpenMode::kRead);
  return {};
}

Status MemVfs::Stat(const std::string& path, FileInfo* info) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Place place;
  int error = Resolve(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error != 0) return ErrnoStatus(error, "lstat", path);
  info->type = place.node->is_directory ? FileInfo::Type::kDirectory : FileInfo::Type::kRegular;
  info->size = place.node->current.size();
  info->device = device_;
  info->inode = place.node->inode;
  return {};
}

Status MemVfs::MakeDir(const std::string& path) {
  Announce(Mutation::kMakeDir, path);
  const std::lock_guard<std::mutex> lock(mutex_);
  Place place;
  int error = Resolve(path, &place);
  if (error == 0 && place.node != nullptr) error = EEXIST;
  if (error != 0) return ErrnoStatus(error, "mkdir", path);
  DirChange put;
  put.name = place.name;
  put.node = MakeRef<MemNode>(next_inode_++, true);
  put.node->links = 1;
  ChangeDirectory(place.directory, std::move(put));
  return {};
}

Status MemVfs::RemoveDir(const std::string& path) {
  Announce(Mutation::kRemoveDir, path);
  const std::lock_guard<std::mutex> lock(mutex_);
  Place place;
  int error = Resolve(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error == 0 && !place.node->is_directory) error = ENOTDIR;
  if (error == 0 && place.directory == nullptr) error = EBUSY;
  if (error == 0 && !place.node->entries.empty()) error = ENOTEMPTY;
  if (error != 0) return ErrnoStatus(error, "rmdir", path);
  ChangeDirectory(place.directory, {DirChange::Kind::kRemove, 0, place.name, {}, {}});
  return {};
}

Status MemVfs::Remove(const std::string& path) {
  Announce(Mutation::kRemove, path);
  const std::lock_guard<std::mutex> lock(mutex_);
  Place place;
  int error = Resolve(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error == 0 && place.node->is_directory) error = EISDIR;
  if (error != 0) return ErrnoStatus(error, "unlink", path);
  const Ref<MemNode> node = Ref<MemNode>::Share(place.node);
  --node->links;
  ChangeDirectory(place.directory, {DirChange::Kind::kRemove, 0, place.name, {}, {}});
  Drop(node.get());
  return {};
}

Status MemVfs::Rename(const std::string& from, const std::string& to) {
  Announce(Mutation::kRename, from);
  const std::lock_guard<std::mutex> lock(mutex_);
  Place source;
  Place target;
  int error = Resolve(from, &source);
  if (error == 0) error = Resolve(to, &target);
  if (error == 0 && source.node == nullptr) error = ENOENT;
  if (error == 0 && (source.directory == nullptr || target.directory == nullptr)) error = EBUSY;
  // A directory cannot go below itself.
  if (error == 0 && to.compare(0, from.size() + 1, from + "/") == 0) error = EINVAL;
  if (error != 0) return ErrnoStatus(error, "rename", from);
  if (source.node == target.node) return {};
  error = ReplaceTarget(source, target);
  if (error != 0) return ErrnoStatus(error, "rename", from);
  Ref<MemNode> node = Ref<MemNode>::Share(source.node);
  if (source.directory == target.directory) {
    ChangeDirectory(source.directory,
                    {DirChange::Kind::kMove, 0, source.name, target.name, std::move(node)});
  } else {
    // Two directories become durable one by one: a crash may leave both names or, worse, none.
    ChangeDirectory(target.directory, {DirChange::Kind::kPut, 0, target.name, {}, std::move(node)});
    ChangeDirectory(source.directory, {DirChange::Kind::kRemove, 0, source.name, {}, {}});
  }
  return {};
}

Status MemVfs::Link(const std::string& from, const std::string& to) {
  Announce(Mutation::kLink, to);
  const std::lock_guard<std::mutex> lock(mutex_);
  Place source;
  Place target;
  int error = Resolve(from, &source);
  if (error == 0) error = Resolve(to, &target);
  if (error == 0 && source.node == nullptr) error = ENOENT;
  if (error == 0 && source.node->is_directory) error = EPERM;
  if (error == 0 && target.node != nullptr) error = EEXIST;
  if (error != 0) return ErrnoStatus(error, "link", to);
  ++source.node->links;
  ChangeDirectory(target.directory,
                  {DirChange::Kind::kPut, 0, target.name, {}, Ref<MemNode>::Share(source.node)});
  return {};
}

Status MemVfs::List(const std::string& path, std::vector<std::string>* names) {
  names->clear();
  const std::lock_guard<std::mutex> lock(mutex_);
  MemNode* directory = nullptr;
  const int error = ResolveDirectory(path, &directory);
  if (error != 0) return ErrnoStatus(error, "open", path);
  for (const auto& entry : directory->entries) names->push_back(entry.first);
  return {};
}

Status MemVfs::SyncDir(const std::string& path) {
  Announce(Mutation::kSyncDir, path);
  const std::lock_guard<std::mutex> lock(mutex_);
  MemNode* directory = nullptr;
  const int error = ResolveDirectory(path, &directory);
  if (error != 0) return ErrnoStatus(error, "fsync", path);
  for (const DirChange& c : directory->dir_changes) c.ApplyTo(&directory->durable_entries);
  directory->dir_changes.clear();
  return {};
}

void MemVfs::FailSync(File* file, bool keep_pages) {
  Announce(Mutation::kSync, file->path());
  const std::lock_guard<std::mutex> lock(mutex_);
  MemNode* node = static_cast<OpenFile*>(file)->node().get();
  if (keep_pages) {
    for (FileChange& c : node->changes) c.lost = true;
    node->diverged = node->diverged || !node->changes.empty();
    return;
  }
  const uint64_t size = node->current.size();
  node->current = node->durable;
  node->changes.clear();
  node->diverged = false;
  if (node->current.size() != size) {
    FileChange resize;
    resize.kind = FileChange::Kind::kResize;
    resize.size = size;
    Change(node, std::move(resize));
  }
}

Status MemVfs::FreeBytes(const std::string& path, uint64_t* bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Place place;
  int error = Resolve(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error != 0) return ErrnoStatus(error, "statvfs", path);
  *bytes =
      capacity_ == UINT64_MAX ? kFreeWithoutLimit : capacity_ - std::min(capacity_, used_bytes_);
  return {};
}

Status MemVfs::Lock(File* file, std::unique_ptr<FileLock>* lock) {
  auto* open_file = static_cast<OpenFile*>(file);
  if (!open_file->writable()) return ErrnoStatus(EBADF, "fcntl", file->path());
  const std::lock_guard<std::mutex> guard(mutex_);
  const void* holder = open_file->node()->lock_holder;
  const void* self = open_file->description().get();
  if (holder != nullptr && holder != self) return LockedStatus(file->path());
  *lock = std::make_unique<HeldLock>(this, open_file->node(), open_file->description());
  open_file->node()->lock_holder = self;
  return {};
}

void MemVfs::SetCapacity(uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  capacity_ = bytes;
}

void MemVfs::AdvanceClock(uint64_t nanos) {
  clock_nanos_.fetch_add(nanos, std::memory_order_relaxed);
}

void MemVfs::SetProcess(int64_t pid, uint64_t start_time) {
  const std::lock_guard<std::mutex> lock(mutex_);
  processes_[pid] = start_time;
}

void MemVfs::SetProcessId(int64_t pid) {
  const std::lock_guard<std::mutex> lock(mutex_);
  process_id_ = pid;
  processes_.try_emplace(pid, 1);
}

int64_t MemVfs::ProcessId() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return process_id_;
}

std::optional<uint64_t> MemVfs::ProcessStartTime(int64_t pid) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = processes_.find(pid);
  if (it == processes_.end()) return std::nullopt;
  return it->second;
}

std::string MemVfs::BootId() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return "boot-" + std::to_string(boot_);
}

uint64_t MemVfs::MonotonicNanos() {
  return clock_nanos_.fetch_add(kNanosPerCall, std::memory_order_relaxed) + kNanosPerCall;
}

uint64_t MemVfs::WallMillis() { return kWallStartMillis + MonotonicNanos() / 1000000; }

uint64_t MemVfs::Random() {
  return MixBits(random_state_.fetch_add(kRandomStep, std::memory_order_relaxed) + kRandomStep);
}

void MemVfs::SleepNanos(uint64_t nanos) { AdvanceClock(nanos); }

}  // namespace shale
