// The operating system's files, by the calls of Linux: pread and pwrite families, fdatasync,
// fallocate, locks of open file descriptions, /proc for the identity of processes.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <limits>
#include <random>
#include <string_view>
#include <utility>

#include "vfs/vfs.h"
#include "vfs/vfs_status.h"

namespace shale {

namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirMode = 0700;
constexpr uint64_t kNanosPerSecond = 1000000000;
// Larger transfers are cut off by the kernel anyway.
constexpr size_t kTransferMax = size_t{1} << 30;

// Repeats a call that a signal interrupted.
template <typename Call>
auto Retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

Status ErrnoStatus(const char* syscall, const std::string& path) {
  return Status::FromErrno(errno, syscall, path);
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  // Not repeated after EINTR: Linux has closed the descriptor even then.
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

class PosixFile : public File {
 public:
  PosixFile(std::string path, Descriptor fd) : File(std::move(path)), fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }

  Status Read(uint64_t offset, size_t n, char* dst, size_t* got) override {
    *got = 0;
    while (*got < n) {
      const size_t part = std::min(n - *got, kTransferMax);
      const ssize_t done =
          Retry([&] { return pread(fd(), dst + *got, part, static_cast<off_t>(offset + *got)); });
      if (done < 0) return ErrnoStatus("pread", path());
      if (done == 0) break;
      *got += static_cast<size_t>(done);
    }
    return {};
  }

  Status Write(uint64_t offset, Slice data) override {
    while (!data.empty()) {
      const size_t part = std::min(data.size(), kTransferMax);
      const ssize_t done =
          Retry([&] { return pwrite(fd(), data.data(), part, static_cast<off_t>(offset)); });
      if (done < 0) return ErrnoStatus("pwrite", path());
      if (done == 0) return Status::FromErrno(EIO, "pwrite", path());
      data = data.Skip(static_cast<size_t>(done));
      offset += static_cast<uint64_t>(done);
    }
    return {};
  }

  Status Write2(uint64_t offset, Slice a, Slice b) override {
    if (a.empty()) return Write(offset, b);
    if (b.empty() || a.size() + b.size() > kTransferMax) {
      SHALE_RETURN_IF_ERROR(Write(offset, a));
      return Write(offset + a.size(), b);
    }
    const iovec pieces[2] = {{const_cast<char*>(a.data()), a.size()},
                             {const_cast<char*>(b.data()), b.size()}};
    const ssize_t done =
        Retry([&] { return pwritev(fd(), pieces, 2, static_cast<off_t>(offset)); });
    if (done < 0) return ErrnoStatus("pwritev", path());
    // Whatever a short transfer left over goes the plain way.
    const auto written = static_cast<size_t>(done);
    if (written >= a.size()) return Write(offset + written, b.Skip(written - a.size()));
    SHALE_RETURN_IF_ERROR(Write(offset + written, a.Skip(written)));
    return Write(offset + a.size(), b);
  }

  Status Truncate(uint64_t size) override {
    if (Retry([&] { return ftruncate(fd(), static_cast<off_t>(size)); }) != 0) {
      return ErrnoStatus("ftruncate", path());
    }
    return {};
  }

  Status Preallocate(uint64_t size) override {
    uint64_t present = 0;
    SHALE_RETURN_IF_ERROR(Size(&present));
    if (size <= present) return {};
    if (Retry([&] { return fallocate(fd(), 0, 0, static_cast<off_t>(size)); }) == 0) return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return ErrnoStatus("fallocate", path());
    // The size at least can be settled, so that later syncs need not write it.
    return Truncate(size);
  }

  Status Sync() override {
    if (Retry([&] { return fdatasync(fd()); }) != 0) return ErrnoStatus("fdatasync", path());
    return {};
  }

  Status Size(uint64_t* size) override {
    struct stat st;
    if (fstat(fd(), &st) != 0) return ErrnoStatus("fstat", path());
    *size = static_cast<uint64_t>(st.st_size);
    return {};
  }

  void ReadAhead(uint64_t offset, uint64_t n) override {
    static_cast<void>(posix_fadvise(fd(), static_cast<off_t>(offset), static_cast<off_t>(n),
                                    POSIX_FADV_WILLNEED));
  }

 private:
  Descriptor fd_;
};

// Holds a duplicate of the descriptor: the lock belongs to the open file description and so
// survives the File it was taken on.
class PosixLock : public FileLock {
 public:
  PosixLock(Descriptor fd, bool is_ofd) : fd_(std::move(fd)), is_ofd_(is_ofd) {}
  ~PosixLock() override {
    if (is_ofd_) {
      struct flock range = WholeFile(F_UNLCK);
      static_cast<void>(Retry([&] { return fcntl(fd_.get(), F_OFD_SETLK, &range); }));
    } else {
      static_cast<void>(Retry([&] { return flock(fd_.get(), LOCK_UN); }));
    }
  }

  static struct flock WholeFile(short type) {
    struct flock range = {};
    range.l_type = type;
    range.l_whence = SEEK_SET;
    return range;
  }

 private:
  Descriptor fd_;
  const bool is_ofd_;
};

// The whole of a small file of /proc; empty if it cannot be read.
std::string ReadSmallFile(const std::string& path) {
  const Descriptor fd(Retry([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (fd.get() < 0) return {};
  char buffer[4096];
  const ssize_t n = Retry([&] { return read(fd.get(), buffer, sizeof buffer); });
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

uint64_t ClockNanos(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * kNanosPerSecond + static_cast<uint64_t>(t.tv_nsec);
}

void FillInfo(const struct stat& st, FileInfo* info) {
  info->type = S_ISREG(st.st_mode)   ? FileInfo::Type::kRegular
               : S_ISDIR(st.st_mode) ? FileInfo::Type::kDirectory
                                     : FileInfo::Type::kOther;
  info->size = static_cast<uint64_t>(st.st_size);
  info->device = static_cast<uint64_t>(st.st_dev);
  info->inode = static_cast<uint64_t>(st.st_ino);
}

class PosixVfs : public Vfs {
 public:
  Status Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) override {
    // O_NONBLOCK: opening a FIFO must not wait for its other end.
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= mode == OpenMode::kRead ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::kCreateNew) flags |= O_CREAT | O_EXCL;
    Descriptor fd(Retry([&] { return open(path.c_str(), flags, kFileMode); }));
    if (fd.get() < 0) {
      // A symlink, a directory, a socket or a device without driver.
      if (errno == ELOOP || errno == EISDIR || errno == ENXIO) return NotRegular(path);
      return ErrnoStatus("open", path);
    }
    struct stat st;
    if (fstat(fd.get(), &st) != 0) return ErrnoStatus("fstat", path);
    if (!S_ISREG(st.st_mode)) return NotRegular(path);
    if (mode == OpenMode::kCreateNew && (st.st_mode & 07777) != kFileMode) {
      // The umask can only have taken bits away; where modes cannot be set there is nothing to
      // repair.
      static_cast<void>(fchmod(fd.get(), kFileMode));
    }
    *file = std::make_unique<PosixFile>(path, std::move(fd));
    return {};
  }

  Status Stat(const std::string& path, FileInfo* info) override {
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) return ErrnoStatus("lstat", path);
    FillInfo(st, info);
    return {};
  }

  Status StatTarget(const std::string& path, FileInfo* info) override {
    struct stat st;
    if (stat(path.c_str(), &st) != 0) return ErrnoStatus("stat", path);
    FillInfo(st, info);
    return {};
  }

  Status MakeDir(const std::string& path) override {
    if (mkdir(path.c_str(), kDirMode) != 0) return ErrnoStatus("mkdir", path);
    struct stat st;
    if (lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0777) != kDirMode) {
      static_cast<void>(chmod(path.c_str(), kDirMode));
    }
    return {};
  }

  Status RemoveDir(const std::string& path) override {
    if (rmdir(path.c_str()) != 0) return ErrnoStatus("rmdir", path);
    return {};
  }

  Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return ErrnoStatus("unlink", path);
    return {};
  }

  Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus("rename", from);
    return {};
  }

  Status Link(const std::string& from, const std::string& to) override {
    if (linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0) != 0) {
      return ErrnoStatus("link", to);
    }
    return {};
  }

  Status List(const std::string& path, std::vector<std::string>* names) override {
    names->clear();
    Descriptor fd(OpenDir(path));
    if (fd.get() < 0) return ErrnoStatus("open", path);
    DIR* const raw = fdopendir(fd.get());
    if (raw == nullptr) return ErrnoStatus("fdopendir", path);
    fd.Release();  // closedir closes it
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(raw, &closedir);
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(dir.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names->emplace_back(name);
    }
    if (errno != 0) return ErrnoStatus("readdir", path);
    return {};
  }

  Status SyncDir(const std::string& path) override {
    const Descriptor fd(OpenDir(path));
    if (fd.get() < 0) return ErrnoStatus("open", path);
    // EINVAL: this file system has no such call for directories, so there is nothing to wait for.
    if (Retry([&] { return fsync(fd.get()); }) != 0 && errno != EINVAL) {
      return ErrnoStatus("fsync", path);
    }
    return {};
  }

  Status FreeBytes(const std::string& path, uint64_t* bytes) override {
    struct statvfs st;
    if (Retry([&] { return statvfs(path.c_str(), &st); }) != 0) {
      return ErrnoStatus("statvfs", path);
    }
    *bytes = static_cast<uint64_t>(st.f_bavail) * st.f_frsize;
    return {};
  }

  Status Lock(File* file, std::unique_ptr<FileLock>* lock) override {
    const auto* posix_file = static_cast<PosixFile*>(file);
    Descriptor fd(fcntl(posix_file->fd(), F_DUPFD_CLOEXEC, 0));
    if (fd.get() < 0) return ErrnoStatus("fcntl", file->path());
    struct flock range = PosixLock::WholeFile(F_WRLCK);
    bool is_ofd = true;
    int result = Retry([&] { return fcntl(fd.get(), F_OFD_SETLK, &range); });
    if (result != 0 && (errno == EINVAL || errno == ENOSYS)) {
      is_ofd = false;  // no such locks here: those of flock belong to the description as well
      result = Retry([&] { return flock(fd.get(), LOCK_EX | LOCK_NB); });
    }
    if (result != 0) {
      if (errno == EAGAIN || errno == EACCES || errno == EWOULDBLOCK) {
        return LockedStatus(file->path());
      }
      return ErrnoStatus(is_ofd ? "fcntl" : "flock", file->path());
    }
    *lock = std::make_unique<PosixLock>(std::move(fd), is_ofd);
    return {};
  }

  int64_t ProcessId() override { return getpid(); }

  // Field 22 of /proc/<pid>/stat, in ticks since boot. Field 2, the name, is in parentheses and may
  // hold anything; field 3 follows it and is the state.
  std::optional<uint64_t> ProcessStartTime(int64_t pid) override {
    const std::string text = ReadSmallFile("/proc/" + std::to_string(pid) + "/stat");
    const size_t close = text.rfind(')');
    if (close == std::string::npos || close + 2 >= text.size()) return UnknownStartTime(pid);
    const char state = text[close + 2];
    if (state == 'Z' || state == 'X') return std::nullopt;  // ended, only not yet waited for
    size_t position = close + 2;
    for (int field = 3; field < 22; ++field) {
      position = text.find(' ', position);
      if (position == std::string::npos) return UnknownStartTime(pid);
      ++position;
    }
    uint64_t ticks = 0;
    std::from_chars(text.data() + position, text.data() + text.size(), ticks);
    return ticks;
  }

  std::string BootId() override {
    std::string id = ReadSmallFile("/proc/sys/kernel/random/boot_id");
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
  }

  uint64_t MonotonicNanos() override { return ClockNanos(CLOCK_MONOTONIC); }
  uint64_t WallMillis() override { return ClockNanos(CLOCK_REALTIME) / 1000000; }

  uint64_t Random() override {
    uint64_t v = 0;
    if (getentropy(&v, sizeof v) == 0) return v;
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32) | device();
  }

  void SleepNanos(uint64_t nanos) override {
    // Until a point in time: signals at short intervals would stretch a duration without end.
    const uint64_t end = ClockNanos(CLOCK_MONOTONIC) + nanos;
    const timespec wake = {static_cast<time_t>(end / kNanosPerSecond),
                           static_cast<long>(end % kNanosPerSecond)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr) == EINTR) {
    }
  }

 private:
  // Where /proc is missing or hides the process.
  static std::optional<uint64_t> UnknownStartTime(int64_t pid) {
    if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) return std::nullopt;
    if (kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM) return 0;
    return std::nullopt;
  }

  static int OpenDir(const std::string& path) {
    return Retry([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  }
};

}  // namespace

Vfs* Vfs::Real() {
  static PosixVfs& vfs = *new PosixVfs;
  return &vfs;
}

}  // namespace shale
