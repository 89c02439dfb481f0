#include "db/directory_lock.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/file_header.h"
#include "base/seeded_bug.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

constexpr char kLockMagic[9] = "SHALELCK";
constexpr size_t kRecordBytes = 96;
constexpr size_t kBootIdBytes = 48;
constexpr size_t kCrcOffset = 92;
constexpr uint8_t kEngineNative = 1;
constexpr int kClaimLevelsMax = 8;
constexpr int kAttemptsMax = 100;
constexpr uint64_t kShortRecordWaitNanos = 100'000'000;
constexpr uint64_t kPollNanos = 5'000'000;

// What an owner file says. Token 0: nobody that runs wrote it.
struct Owner {
  uint64_t token = 0;
  int64_t pid = 0;
  uint64_t start_time = 0;
  std::string boot_id;
  bool unknown_format = false;
};

std::string Hex(uint64_t token) {
  static const char* digits = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[15 - i] = digits[(token >> (4 * i)) & 15];
  return text;
}

std::string EncodeRecord(const Owner& owner) {
  std::string record(kRecordBytes, '\0');
  char* p = record.data();
  std::memcpy(p, kLockMagic, 8);
  StoreLe<uint16_t>(p + 8, kFormatMajor);
  StoreLe<uint16_t>(p + 10, kFormatMinor);
  StoreLe<uint64_t>(p + 16, owner.token);
  StoreLe<uint64_t>(p + 24, static_cast<uint64_t>(owner.pid));
  StoreLe<uint64_t>(p + 32, owner.start_time);
  p[40] = static_cast<char>(kEngineNative);
  const size_t length = std::min(owner.boot_id.size(), kBootIdBytes);
  p[41] = static_cast<char>(length);
  std::memcpy(p + 44, owner.boot_id.data(), length);
  StoreLe<uint32_t>(p + kCrcOffset, Crc32cKeyed(owner.token, 0, Slice(p, kCrcOffset)));
  return record;
}

Owner DecodeRecord(Slice bytes) {
  Owner owner;
  if (bytes.size() < kRecordBytes || std::memcmp(bytes.data(), kLockMagic, 8) != 0) return owner;
  const char* p = bytes.data();
  const auto token = LoadLe<uint64_t>(p + 16);
  if (LoadLe<uint32_t>(p + kCrcOffset) != Crc32cKeyed(token, 0, Slice(p, kCrcOffset))) return owner;
  owner.token = token;
  owner.pid = static_cast<int64_t>(LoadLe<uint64_t>(p + 24));
  owner.start_time = LoadLe<uint64_t>(p + 32);
  const auto length = static_cast<uint8_t>(p[41]);
  owner.unknown_format = LoadLe<uint16_t>(p + 8) != kFormatMajor ||
                         (LoadLe<uint32_t>(p + 12) & ~kKnownFeatures) != 0 || length > kBootIdBytes;
  if (length <= kBootIdBytes) owner.boot_id.assign(p + 44, length);
  return owner;
}

// One opener's try for one directory.
class Taker {
 public:
  Taker(Vfs* vfs, std::string directory) : vfs_(vfs), directory_(std::move(directory)) {
    self_.pid = vfs->ProcessId();
    self_.start_time = vfs->ProcessStartTime(self_.pid).value_or(0);
    self_.boot_id = vfs->BootId();
  }

  Status Acquire() {
    std::string own;
    Status written;
    int tries = 0;
    do {
      do self_.token = vfs_->Random();
      while (self_.token == 0);
      own = directory_ + "/lock." + Hex(self_.token);
      written = WriteOwnFile(own, &file_, &lock_);
    } while (IsErrno(written, EEXIST) && ++tries < kAttemptsMax);
    SHALE_RETURN_IF_ERROR(written);
    const Status status = Take(own);
    // What cannot be removed is a stale file for a later holder.
    static_cast<void>(vfs_->Remove(own));
    if (status.ok()) RemoveLeftovers();
    return status;
  }

  uint64_t token() const { return self_.token; }
  std::unique_ptr<File> TakeFile() { return std::move(file_); }
  std::unique_ptr<FileLock> TakeLock() { return std::move(lock_); }

 private:
  std::string OwnerPath() const { return FileName(directory_, FileKind::kLock); }
  std::string ClaimPath(uint64_t token) const {
    return directory_ + "/lock." + Hex(token) + ".claim";
  }

  // A whole owner file, locked before anybody can find it under a shared name.
  Status WriteOwnFile(const std::string& path, std::unique_ptr<File>* file,
                      std::unique_ptr<FileLock>* lock) {
    SHALE_RETURN_IF_ERROR(vfs_->Open(path, OpenMode::kCreateNew, file));
    Status status = vfs_->Lock(file->get(), lock);
    if (status.ok()) status = (*file)->Write(0, EncodeRecord(self_));
    // Before the file gets a name that others look at: no crash may leave that without the record.
    if (status.ok()) status = (*file)->Sync();
    if (!status.ok()) static_cast<void>(vfs_->Remove(path));  // the first error counts
    return status;
  }

  // Gives the own record a shared name, if that is free. Where there are no hard links the record
  // is written under that name, into a file that has to stay open.
  Status Publish(const std::string& own, const std::string& path, std::unique_ptr<File>* file,
                 std::unique_ptr<FileLock>* lock) {
    const Status status = vfs_->Link(own, path);
    if (!IsErrno(status, EPERM) && !IsErrno(status, EOPNOTSUPP)) return status;
    return WriteOwnFile(path, file, lock);
  }

  // Files of openers that died on their way.
  void RemoveLeftovers() {
    std::vector<std::string> names;
    if (!vfs_->List(directory_, &names).ok()) return;
    for (const std::string& name : names) {
      const std::string path = directory_ + "/" + name;
      if (ParseFileName(name).kind != FileKind::kLock || path == OwnerPath()) continue;
      Owner owner;
      bool missing = false;
      bool gone = false;
      const Status status = Examine(path, &owner, &missing, &gone);
      if (status.ok() && !missing && gone) static_cast<void>(vfs_->Remove(path));
    }
  }

  Status Take(const std::string& own) {
    for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
      const Status status = Publish(own, OwnerPath(), &file_, &lock_);
      if (!IsErrno(status, EEXIST)) return status;
      Owner owner;
      bool missing = false;
      bool gone = false;
      SHALE_RETURN_IF_ERROR(Examine(OwnerPath(), &owner, &missing, &gone));
      if (missing) continue;
      if (!gone) return Held(owner);
      bool again = false;
      SHALE_RETURN_IF_ERROR(TakeOver(own, OwnerPath(), owner.token, 0, &again));
      if (!again) return Status::Ok();
    }
    return Status(Code::kDbLocked, Details("the lock of the directory changes hands too fast"));
  }

  // Replaces `target`, which named the gone owner `token`. *again: somebody else was faster.
  Status TakeOver(const std::string& own, const std::string& target, uint64_t token, int level,
                  bool* again) {
    if (level > kClaimLevelsMax) {
      return Status(Code::kDbLocked, Details("too many openers died taking the lock over"));
    }
    const std::string claim = ClaimPath(token != 0 ? token : static_cast<uint64_t>(level));
    std::unique_ptr<File> claim_file;
    std::unique_ptr<FileLock> claim_lock;
    const Status status = Publish(own, claim, &claim_file, &claim_lock);
    if (IsErrno(status, EEXIST)) {
      Owner claimer;
      bool missing = false;
      bool gone = false;
      SHALE_RETURN_IF_ERROR(Examine(claim, &claimer, &missing, &gone));
      if (missing) {
        *again = true;
        return Status::Ok();
      }
      if (!gone) return Held(claimer);
      SHALE_RETURN_IF_ERROR(TakeOver(own, claim, claimer.token, level + 1, again));
      if (*again) return Status::Ok();
    } else if (!status.ok()) {
      return status;
    }
    return Replace(target, token, claim, again);
  }

  // As holder of the claim.
  Status Replace(const std::string& target, uint64_t token, const std::string& claim, bool* again) {
    Owner owner;
    bool missing = false;
    bool gone = false;
    Status status = Examine(target, &owner, &missing, &gone);
    if (status.ok() && (missing || owner.token != token || !gone)) {
      *again = true;
      return vfs_->Remove(claim);
    }
    const std::string fresh = directory_ + "/lock." + Hex(self_.token) + ".new";
    std::unique_ptr<File> file;
    std::unique_ptr<FileLock> lock;
    if (status.ok()) status = WriteOwnFile(fresh, &file, &lock);
    if (status.ok()) {
      status = vfs_->Rename(fresh, target);
      if (!status.ok()) static_cast<void>(vfs_->Remove(fresh));
    }
    static_cast<void>(vfs_->Remove(claim));  // nobody looks at the claim of a replaced owner
    SHALE_RETURN_IF_ERROR(status);
    file_ = std::move(file);
    lock_ = std::move(lock);
    return Status::Ok();
  }

  Status Examine(const std::string& path, Owner* owner, bool* missing, bool* gone) {
    const uint64_t deadline = vfs_->MonotonicNanos() + kShortRecordWaitNanos;
    for (;;) {
      std::unique_ptr<File> file;
      Status status = vfs_->Open(path, OpenMode::kReadWrite, &file);
      if (IsErrno(status, ENOENT)) {
        *missing = true;
        return Status::Ok();
      }
      SHALE_RETURN_IF_ERROR(status);
      std::string bytes(kRecordBytes, '\0');
      size_t got = 0;
      SHALE_RETURN_IF_ERROR(file->Read(0, bytes.size(), bytes.data(), &got));
      *owner = DecodeRecord(Slice(bytes.data(), got));
      // A short record may be on its way where the file system has no links.
      if (got < kRecordBytes && vfs_->MonotonicNanos() < deadline) {
        vfs_->SleepNanos(kPollNanos);
        continue;
      }
      return JudgeOwner(file.get(), *owner, gone);
    }
  }

  Status JudgeOwner(File* file, const Owner& owner, bool* gone) {
    *gone = false;
    if (owner.unknown_format) return Status::Ok();
    if (BugIsOn(SeededBug::kRecoverLockOfLiving)) {
      *gone = true;
      return Status::Ok();
    }
    if (owner.token != 0 && MayBeOfThisBoot(owner) && Runs(owner)) return Status::Ok();
    // A process that this one cannot see still holds the system's lock.
    std::unique_ptr<FileLock> probe;
    const Status status = vfs_->Lock(file, &probe);
    if (status.ok()) *gone = true;
    return status.Is(Code::kDbLocked) ? Status::Ok() : status;
  }

  // A boot id that is not told says nothing.
  bool MayBeOfThisBoot(const Owner& owner) const {
    const std::string boot_id = vfs_->BootId();
    return owner.boot_id.empty() || boot_id.empty() || owner.boot_id == boot_id;
  }

  // Start times tell two processes with one pid apart, where both are known.
  bool Runs(const Owner& owner) const {
    const std::optional<uint64_t> start = vfs_->ProcessStartTime(owner.pid);
    if (!start.has_value()) return false;
    return *start == owner.start_time || *start == 0 || owner.start_time == 0;
  }

  ErrorDetails Details(std::string message) const {
    ErrorDetails details;
    details.message = std::move(message);
    details.path = directory_;
    return details;
  }

  Status Held(const Owner& owner) const {
    const bool here = owner.pid == self_.pid && owner.start_time == self_.start_time &&
                      owner.boot_id == self_.boot_id;
    ErrorDetails details = Details(directory_ + " is open already, in " +
                                   (here ? "this process: no other thread or engine can share it"
                                         : "process " + std::to_string(owner.pid)));
    details.holder_pid = owner.pid;
    details.same_process = here;
    return Status(Code::kDbLocked, std::move(details));
  }

  Vfs* const vfs_;
  const std::string directory_;
  Owner self_;
  std::unique_ptr<File> file_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace

class DirectoryLock::Impl {
 public:
  Impl(Vfs* vfs, std::string directory, uint64_t token, std::unique_ptr<File> file,
       std::unique_ptr<FileLock> lock)
      : vfs_(vfs),
        path_(FileName(directory, FileKind::kLock)),
        token_(token),
        pid_(vfs->ProcessId()),
        file_(std::move(file)),
        lock_(std::move(lock)) {}

  ~Impl() {
    if (vfs_->ProcessId() != pid_) {
      // A forked child: the lock belongs to the parent, and dropping it here would drop it there.
      static_cast<void>(lock_.release());
      static_cast<void>(file_.release());
      return;
    }
    // Nobody to tell: a file that stays is found to be stale by the next opener.
    std::unique_ptr<File> file;
    if (!vfs_->Open(path_, OpenMode::kRead, &file).ok()) return;
    char bytes[kRecordBytes];
    size_t got = 0;
    if (!file->Read(0, sizeof bytes, bytes, &got).ok()) return;
    if (DecodeRecord(Slice(bytes, got)).token == token_) static_cast<void>(vfs_->Remove(path_));
  }

 private:
  Vfs* const vfs_;
  const std::string path_;
  const uint64_t token_;
  const int64_t pid_;
  std::unique_ptr<File> file_;
  std::unique_ptr<FileLock> lock_;
};

DirectoryLock::DirectoryLock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DirectoryLock::~DirectoryLock() = default;

Status DirectoryLock::Acquire(Vfs* vfs, const std::string& directory,
                              std::unique_ptr<DirectoryLock>* lock) {
  Taker taker(vfs, directory);
  SHALE_RETURN_IF_ERROR(taker.Acquire());
  const uint64_t token = taker.token();
  lock->reset(new DirectoryLock(
      std::make_unique<Impl>(vfs, directory, token, taker.TakeFile(), taker.TakeLock())));
  return Status::Ok();
}

}  // namespace shale
