// Vfs: every call to the operating system that the engine may make, clock and randomness included.
//
// Nothing else in the core touches a file, a clock or a source of randomness, so that a test can
// stand in for the whole machine: posix_vfs is the real one, mem_vfs keeps what was synced and can
// be cloned as a crash would leave it, fault_vfs fails chosen calls of another.
//
// Threads: a Vfs and its files may be used by any thread; one file has one writer at a time.
// Errors: Status::FromErrno with path and syscall. EINTR and short transfers are handled here.
// Paths: absolute; no call follows a symlink in the last component, except StatTarget and those
// that are given a directory that the caller chose (List, SyncDir, FreeBytes). New files have mode
// 0600, directories 0700 whatever the umask.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"

namespace shale {

class File {
 public:
  virtual ~File() = default;  // closes; an error at close is not reported (data is synced before)

  // Reads up to n bytes at `offset` into `dst`; *got < n only at the end of the file.
  virtual Status Read(uint64_t offset, size_t n, char* dst, size_t* got) = 0;
  // Writes all bytes at `offset` (the file grows as needed). On an error the content of the range
  // is undefined.
  virtual Status Write(uint64_t offset, Slice data) = 0;
  // The same for two pieces one after the other, in one system call.
  virtual Status Write2(uint64_t offset, Slice a, Slice b) = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // Reserves zeroed space up to `size` so that later writes neither grow the file nor run out of
  // space. Best effort where the file system cannot; kDiskFull when it says so.
  virtual Status Preallocate(uint64_t size) = 0;
  // Data, and the size if it changed, are on the device afterwards (fdatasync).
  virtual Status Sync() = 0;
  virtual Status Size(uint64_t* size) = 0;
  // Starts reading ahead of a sequential reader; advice only.
  virtual void ReadAhead(uint64_t offset, uint64_t n) = 0;
  const std::string& path() const { return path_; }

 protected:
  explicit File(std::string path) : path_(std::move(path)) {}

 private:
  std::string path_;
};

enum class OpenMode : uint8_t {
  kCreateNew,  // read and write; fails with errno EEXIST
  kReadWrite,  // must exist
  kRead,       // must exist
};

// Held while it lives; the operating system drops it with the process.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct FileInfo {
  enum class Type : uint8_t { kRegular, kDirectory, kOther } type = Type::kOther;
  uint64_t size = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
};

class Vfs {
 public:
  virtual ~Vfs() = default;
  static Vfs* Real();  // the operating system's; lives for ever

  // kNotADatabase when the path is not a regular file (symlink, FIFO, device, directory).
  virtual Status Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) = 0;
  virtual Status Stat(const std::string& path, FileInfo* info) = 0;        // no symlink followed
  virtual Status StatTarget(const std::string& path, FileInfo* info) = 0;  // follows symlinks
  virtual Status MakeDir(const std::string& path) = 0;
  virtual Status RemoveDir(const std::string& path) = 0;
  virtual Status Remove(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Link(const std::string& from, const std::string& to) = 0;
  virtual Status List(const std::string& path, std::vector<std::string>* names) = 0;
  virtual Status SyncDir(const std::string& path) = 0;
  virtual Status FreeBytes(const std::string& path, uint64_t* bytes) = 0;
  // Takes the operating system's exclusive lock on `file` without waiting; kDbLocked if another
  // open file description holds it (also one of this process).
  virtual Status Lock(File* file, std::unique_ptr<FileLock>* lock) = 0;

  // Identity of processes, for the owner file. Without start time: no such process.
  virtual int64_t ProcessId() = 0;
  virtual std::optional<uint64_t> ProcessStartTime(int64_t pid) = 0;
  virtual std::string BootId() = 0;

  virtual uint64_t MonotonicNanos() = 0;
  virtual uint64_t WallMillis() = 0;
  virtual uint64_t Random() = 0;
  virtual void SleepNanos(uint64_t nanos) = 0;  // background threads only
};

inline bool IsErrno(const Status& s, int error_number) {
  return s.details() != nullptr && s.details()->error_number == error_number;
}

}  // namespace shale
