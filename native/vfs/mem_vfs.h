// MemVfs: a whole machine in memory, strict about what a crash may lose.
//
// Reads see every write at once, as the page cache of a real system shows them; beside that, each
// file and directory keeps what of it is durable, in strict reading: a file's data by its own Sync,
// an entry by the SyncDir of its directory, and nothing else. CrashClone builds what the disk may
// hold after a crash at this moment. Clock and randomness are simulated: the same calls give the
// same results.
//
// Threads: any (one lock). The hook runs on the calling thread, outside the lock.
// Lifetime: outlives its files and locks. A clone is independent of what it was made from.
// Cost: a clone copies names and counts, not data: microseconds for a database of a few files.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "vfs/crash_policy.h"
#include "vfs/vfs.h"

namespace shale {

struct MemNode;
struct FileChange;
struct DirChange;

class MemVfs : public Vfs {
 public:
  explicit MemVfs(uint64_t seed = 1);
  ~MemVfs() override;

  enum class Mutation : uint8_t {
    kCreate,
    kWrite,
    kTruncate,
    kPreallocate,
    kSync,
    kSyncDir,
    kMakeDir,
    kRemoveDir,
    kRemove,
    kRename,
    kLink,
  };
  struct Operation {
    uint64_t index;  // 0, 1, 2, ...
    Mutation kind;
    const std::string& path;
  };
  using Hook = std::function<void(const Operation&)>;
  // Called before every operation that changes files or what of them is durable. Set it while no
  // other thread uses this object.
  void SetHook(Hook hook);
  uint64_t operation_count() const { return operations_.load(std::memory_order_relaxed); }

  // What a crash right now could lose, in the order in which it was done.
  std::vector<PendingChange> Pending() const;
  // The machine after a crash right now and a restart: no open files, no locks, another boot id,
  // another process id. `seed` decides what the policy leaves open, and the clone's randomness.
  std::unique_ptr<MemVfs> CrashClone(const CrashPolicy& policy, uint64_t seed) const;

  // A Sync of `file` that failed as on Linux: what it covered never becomes durable by a later one.
  // `keep_pages`: reads go on seeing it; else they see what was durable before, in the same file
  // size.
  void FailSync(File* file, bool keep_pages);

  // Bytes that files may take; growing beyond fails with ENOSPC. Without limit at first.
  void SetCapacity(uint64_t bytes);
  void AdvanceClock(uint64_t nanos);
  // A start time of 0 ends the process.
  void SetProcess(int64_t pid, uint64_t start_time);
  void SetProcessId(int64_t pid);

  Status Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) override;
  Status Stat(const std::string& path, FileInfo* info) override;
  Status StatTarget(const std::string& path, FileInfo* info) override { return Stat(path, info); }
  Status MakeDir(const std::string& path) override;
  Status RemoveDir(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status List(const std::string& path, std::vector<std::string>* names) override;
  Status SyncDir(const std::string& path) override;
  Status FreeBytes(const std::string& path, uint64_t* bytes) override;
  Status Lock(File* file, std::unique_ptr<FileLock>* lock) override;

  int64_t ProcessId() override;
  std::optional<uint64_t> ProcessStartTime(int64_t pid) override;
  std::string BootId() override;
  uint64_t MonotonicNanos() override;
  uint64_t WallMillis() override;
  uint64_t Random() override;
  void SleepNanos(uint64_t nanos) override;

 private:
  class OpenFile;
  class HeldLock;
  class Cloner;
  // Where a path leads: the directory, the last component, and what it names there (or null).
  struct Place {
    MemNode* directory = nullptr;
    std::string name;
    MemNode* node = nullptr;
  };

  void Announce(Mutation kind, const std::string& path);
  // The functions below require the lock.
  int Resolve(const std::string& path, Place* place) const;  // errno, or 0
  int ResolveDirectory(const std::string& path, MemNode** directory) const;
  bool Charge(MemNode* node, uint64_t size);
  void Drop(MemNode* node);
  int ReplaceTarget(const Place& from, const Place& to);
  int WriteFile(MemNode* node, uint64_t offset, Slice a, Slice b);
  int ResizeFile(MemNode* node, uint64_t size, bool only_extend);
  void Change(MemNode* node, FileChange change);
  void ChangeDirectory(MemNode* directory, DirChange change);

  mutable std::mutex mutex_;
  Ref<MemNode> root_;
  const uint64_t device_;
  uint64_t next_inode_ = 2;
  uint64_t next_sequence_ = 0;
  uint64_t capacity_ = UINT64_MAX;
  uint64_t used_bytes_ = 0;
  uint64_t boot_ = 1;
  int64_t process_id_ = 1000;
  std::map<int64_t, uint64_t> processes_;

  std::atomic<uint64_t> clock_nanos_{1};
  std::atomic<uint64_t> random_state_;
  std::atomic<uint64_t> operations_{0};
  Hook hook_;
};

}  // namespace shale
