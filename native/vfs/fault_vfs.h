// FaultVfs: another Vfs of which chosen calls fail.
//
// A test runs once without a plan and reads how often each operation was called; then once for each
// call and each kind of fault that applies to it.
// Threads: any (one lock around the counting; the calls themselves run outside it).
// Lifetime: the wrapped Vfs outlives this one, this one its files and locks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "vfs/fault_plan.h"
#include "vfs/vfs.h"

namespace shale {

class MemVfs;

class FaultVfs : public Vfs {
 public:
  // `seed` decides which bit flips and how much of a failed write is done.
  explicit FaultVfs(Vfs* base, uint64_t seed = 1);
  // Over memory, failed syncs also lose what they should have made durable.
  explicit FaultVfs(MemVfs* base, uint64_t seed = 1);
  ~FaultVfs() override;

  // Counting of `nth` begins anew. An empty plan ends all faults.
  void SetPlan(FaultPlan plan);
  // Calls since this object was made; kAny counts all classes.
  uint64_t Count(FaultOp op, PathClass path_class = PathClass::kAny) const;
  // Faults that have happened since the last SetPlan.
  uint64_t fired() const;

  Status Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) override;
  Status Stat(const std::string& path, FileInfo* info) override;
  Status StatTarget(const std::string& path, FileInfo* info) override;
  Status MakeDir(const std::string& path) override;
  Status RemoveDir(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status List(const std::string& path, std::vector<std::string>* names) override;
  Status SyncDir(const std::string& path) override;
  Status FreeBytes(const std::string& path, uint64_t* bytes) override;
  Status Lock(File* file, std::unique_ptr<FileLock>* lock) override;

  int64_t ProcessId() override { return base_->ProcessId(); }
  std::optional<uint64_t> ProcessStartTime(int64_t pid) override {
    return base_->ProcessStartTime(pid);
  }
  std::string BootId() override { return base_->BootId(); }
  uint64_t MonotonicNanos() override { return base_->MonotonicNanos(); }
  uint64_t WallMillis() override { return base_->WallMillis(); }
  uint64_t Random() override { return base_->Random(); }
  void SleepNanos(uint64_t nanos) override { base_->SleepNanos(nanos); }

 private:
  class FaultFile;
  struct Rule {
    Fault fault;
    uint64_t seen = 0;
  };

  // Counts the call and says what happens to it.
  std::optional<FaultKind> Next(FaultOp op, PathClass path_class);
  // Next for calls that only an errno can happen to: ok if none does.
  Status Check(FaultOp op, PathClass path_class, const char* syscall, const std::string& path);
  uint64_t NextRandom();

  Vfs* const base_;
  MemVfs* const memory_ = nullptr;
  mutable std::mutex mutex_;
  std::vector<Rule> rules_;
  std::array<std::array<uint64_t, kPathClasses>, kFaultOps> counts_{};
  std::array<bool, kPathClasses> late_sync_error_{};
  uint64_t fired_ = 0;
  uint64_t random_;
};

}  // namespace shale
