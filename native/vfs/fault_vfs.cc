#include "vfs/fault_vfs.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/hash.h"
#include "vfs/mem_vfs.h"

namespace shale {

namespace {

constexpr uint64_t kMisdirection = 4096;

// 0 if the kind is not simply an errno.
int ErrnoOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kEio:
      return EIO;
    case FaultKind::kEnospc:
      return ENOSPC;
    case FaultKind::kEdquot:
      return EDQUOT;
    case FaultKind::kEfbig:
      return EFBIG;
    case FaultKind::kEmfile:
      return EMFILE;
    case FaultKind::kEacces:
      return EACCES;
    case FaultKind::kErofs:
      return EROFS;
    case FaultKind::kEnoent:
      return ENOENT;
    default:
      return 0;
  }
}

bool IsSpaceError(FaultKind kind) {
  return kind == FaultKind::kEnospc || kind == FaultKind::kEdquot || kind == FaultKind::kEfbig;
}

}  // namespace

class FaultVfs::FaultFile : public File {
 public:
  FaultFile(FaultVfs* vfs, std::unique_ptr<File> base)
      : File(base->path()), vfs_(vfs), class_(ClassifyPath(path())), base_(std::move(base)) {}

  File* base() const { return base_.get(); }
  PathClass path_class() const { return class_; }

  Status Read(uint64_t offset, size_t n, char* dst, size_t* got) override {
    *got = 0;
    const std::optional<FaultKind> kind = vfs_->Next(FaultOp::kRead, class_);
    if (kind == FaultKind::kShortRead) return base_->Read(offset, n / 2, dst, got);
    if (kind == FaultKind::kMisdirectedRead) offset += kMisdirection;
    if (kind.has_value() && ErrnoOf(*kind) != 0) return Fail(*kind, "pread");
    SHALE_RETURN_IF_ERROR(base_->Read(offset, n, dst, got));
    if (kind == FaultKind::kBitFlipRead && *got != 0) FlipBit(dst, *got);
    return {};
  }

  Status Write(uint64_t offset, Slice data) override {
    const std::optional<FaultKind> kind = vfs_->Next(FaultOp::kWrite, class_);
    if (!kind.has_value()) return base_->Write(offset, data);
    return FaultyWrite(*kind, offset, data);
  }

  Status Write2(uint64_t offset, Slice a, Slice b) override {
    const std::optional<FaultKind> kind = vfs_->Next(FaultOp::kWrite, class_);
    if (!kind.has_value()) return base_->Write2(offset, a, b);
    std::string data = a.ToString();
    data.append(b.data(), b.size());
    return FaultyWrite(*kind, offset, data);
  }

  Status Truncate(uint64_t size) override {
    SHALE_RETURN_IF_ERROR(vfs_->Check(FaultOp::kTruncate, class_, "ftruncate", path()));
    return base_->Truncate(size);
  }

  Status Preallocate(uint64_t size) override {
    SHALE_RETURN_IF_ERROR(vfs_->Check(FaultOp::kPreallocate, class_, "fallocate", path()));
    return base_->Preallocate(size);
  }

  Status Sync() override {
    const std::optional<FaultKind> kind = vfs_->Next(FaultOp::kSync, class_);
    if (!kind.has_value()) return base_->Sync();
    // A sync that fails for want of space is no better than any other failed one.
    if (vfs_->memory_ != nullptr) {
      const bool keep_pages = kind != FaultKind::kSyncDropped;
      vfs_->memory_->FailSync(base_.get(), keep_pages);
    }
    if (kind == FaultKind::kSyncLate) return {};
    return Fail(ErrnoOf(*kind) != 0 ? *kind : FaultKind::kEio, "fdatasync");
  }

  Status Size(uint64_t* size) override {
    SHALE_RETURN_IF_ERROR(vfs_->Check(FaultOp::kSize, class_, "fstat", path()));
    return base_->Size(size);
  }

  void ReadAhead(uint64_t offset, uint64_t n) override { base_->ReadAhead(offset, n); }

 private:
  Status Fail(FaultKind kind, const char* syscall) const {
    return Status::FromErrno(ErrnoOf(kind), syscall, path());
  }

  void FlipBit(char* data, size_t n) {
    const uint64_t bit = vfs_->NextRandom() % (uint64_t{n} * 8);
    data[bit / 8] = static_cast<char>(data[bit / 8] ^ (1 << (bit % 8)));
  }

  Status FaultyWrite(FaultKind kind, uint64_t offset, Slice data) {
    switch (kind) {
      case FaultKind::kLostWrite:
        return {};
      case FaultKind::kMisdirectedWrite:
        return base_->Write(offset + kMisdirection, data);
      case FaultKind::kBitFlipWrite: {
        std::string flipped = data.ToString();
        if (!flipped.empty()) FlipBit(flipped.data(), flipped.size());
        return base_->Write(offset, flipped);
      }
      case FaultKind::kShortWrite:
        SHALE_RETURN_IF_ERROR(base_->Write(offset, data.Prefix(data.size() / 2)));
        return Fail(FaultKind::kEio, "pwrite");
      default:
        break;
    }
    if (IsSpaceError(kind)) {
      const size_t part = static_cast<size_t>(vfs_->NextRandom() % (uint64_t{data.size()} + 1));
      if (part < data.size()) SHALE_RETURN_IF_ERROR(base_->Write(offset, data.Prefix(part)));
    }
    return Fail(kind, "pwrite");
  }

  FaultVfs* const vfs_;
  const PathClass class_;
  const std::unique_ptr<File> base_;
};

FaultVfs::FaultVfs(Vfs* base, uint64_t seed) : base_(base), random_(MixBits(seed + 1)) {}

FaultVfs::FaultVfs(MemVfs* base, uint64_t seed)
    : base_(base), memory_(base), random_(MixBits(seed + 1)) {}

FaultVfs::~FaultVfs() = default;

void FaultVfs::SetPlan(FaultPlan plan) {
  const std::lock_guard<std::mutex> lock(mutex_);
  rules_.clear();
  for (const Fault& f : plan) rules_.push_back({f, 0});
  late_sync_error_ = {};
  fired_ = 0;
}

uint64_t FaultVfs::Count(FaultOp op, PathClass path_class) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return counts_[static_cast<size_t>(op)][static_cast<size_t>(path_class)];
}

uint64_t FaultVfs::fired() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return fired_;
}

uint64_t FaultVfs::NextRandom() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return MixBits(random_ += 0x9e3779b97f4a7c15u);
}

std::optional<FaultKind> FaultVfs::Next(FaultOp op, PathClass path_class) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& counts = counts_[static_cast<size_t>(op)];
  ++counts[static_cast<size_t>(path_class)];
  ++counts[static_cast<size_t>(PathClass::kAny)];
  std::optional<FaultKind> kind;
  for (Rule& rule : rules_) {
    const Fault& f = rule.fault;
    const bool matches = f.op == op && FaultApplies(f.kind, op) &&
                         (f.path_class == PathClass::kAny || f.path_class == path_class);
    if (!matches) continue;
    const uint64_t call = rule.seen++;
    if (!kind.has_value() && (call == f.nth || (f.sticky && call > f.nth))) kind = f.kind;
  }
  bool& late = late_sync_error_[static_cast<size_t>(path_class)];
  if (op == FaultOp::kSync && std::exchange(late, false) && !kind.has_value()) {
    return FaultKind::kSyncKept;  // counted when it was brought about
  }
  if (kind == FaultKind::kSyncLate) late = true;
  if (kind.has_value()) ++fired_;
  return kind;
}

Status FaultVfs::Check(FaultOp op, PathClass path_class, const char* syscall,
                       const std::string& path) {
  const std::optional<FaultKind> kind = Next(op, path_class);
  if (!kind.has_value()) return {};
  return Status::FromErrno(ErrnoOf(*kind), syscall, path);
}

Status FaultVfs::Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) {
  const FaultOp op = mode == OpenMode::kCreateNew ? FaultOp::kCreate : FaultOp::kOpen;
  SHALE_RETURN_IF_ERROR(Check(op, ClassifyPath(path), "open", path));
  std::unique_ptr<File> base;
  SHALE_RETURN_IF_ERROR(base_->Open(path, mode, &base));
  *file = std::make_unique<FaultFile>(this, std::move(base));
  return {};
}

Status FaultVfs::Stat(const std::string& path, FileInfo* info) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kStat, ClassifyPath(path), "lstat", path));
  return base_->Stat(path, info);
}

Status FaultVfs::StatTarget(const std::string& path, FileInfo* info) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kStat, ClassifyPath(path), "stat", path));
  return base_->StatTarget(path, info);
}

Status FaultVfs::MakeDir(const std::string& path) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kMakeDir, PathClass::kDirectory, "mkdir", path));
  return base_->MakeDir(path);
}

Status FaultVfs::RemoveDir(const std::string& path) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kRemoveDir, PathClass::kDirectory, "rmdir", path));
  return base_->RemoveDir(path);
}

Status FaultVfs::Remove(const std::string& path) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kRemove, ClassifyPath(path), "unlink", path));
  return base_->Remove(path);
}

Status FaultVfs::Rename(const std::string& from, const std::string& to) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kRename, ClassifyPath(from), "rename", from));
  return base_->Rename(from, to);
}

Status FaultVfs::Link(const std::string& from, const std::string& to) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kLink, ClassifyPath(to), "link", to));
  return base_->Link(from, to);
}

Status FaultVfs::List(const std::string& path, std::vector<std::string>* names) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kList, PathClass::kDirectory, "open", path));
  return base_->List(path, names);
}

Status FaultVfs::SyncDir(const std::string& path) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kSyncDir, PathClass::kDirectory, "fsync", path));
  return base_->SyncDir(path);
}

Status FaultVfs::FreeBytes(const std::string& path, uint64_t* bytes) {
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kFreeBytes, PathClass::kDirectory, "statvfs", path));
  return base_->FreeBytes(path, bytes);
}

Status FaultVfs::Lock(File* file, std::unique_ptr<FileLock>* lock) {
  auto* fault_file = static_cast<FaultFile*>(file);
  SHALE_RETURN_IF_ERROR(Check(FaultOp::kLock, fault_file->path_class(), "fcntl", file->path()));
  return base_->Lock(fault_file->base(), lock);
}

}  // namespace shale
