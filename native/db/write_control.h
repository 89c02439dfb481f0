// WriteControl: slows writers down before memory or level 0 grow out of bounds.
//
// Two pressures, each from 0 (free) to 1 (stop): bytes in memtables over all keyspaces against the
// write buffer, and runs in level 0 (sealed memtables count as runs to come; what a strategy leaves
// there on purpose does not count). Between them writes are paid for by the byte, at a rate that
// follows from the measured speed of flush or compaction: at pressure 1/2 it equals that speed,
// towards 1 it goes to zero, so that writers settle where the background keeps up.
//
// Threads: any. Free: one relaxed load. Sync callers wait on a condition, async ones are parked and
// continued by an engine thread in order; nobody spins.
// Errors: kStalled after max_stall_ms, nothing was written. While the background fails (disk full),
// a stop answers with that error instead: no endless wait.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "db/event_queue.h"
#include "db/executor.h"
#include "db/options.h"

namespace shale {

// Level 0 of no keyspace goes above this debt of runs; flushes wait for compaction there.
inline constexpr size_t kLevel0RunsMax = 12;

class WriteControl {
 public:
  WriteControl(Vfs* vfs, Executor* executor, const DatabaseOptions& options);

  // Told, under a lock, when the first write has to wait and when writes are free again, after
  // `ms`. Set it before the first write.
  using OnStall = std::function<void(Event::Reason reason, bool active, double ms)>;
  void SetOnStall(OnStall call) { on_stall_ = std::move(call); }

  // True if writes are free: nothing to pay, nobody parked.
  bool free() const { return !engaged_.load(std::memory_order_relaxed); }

  // --- writers ---
  // Waits for what was parked before and for the debt of earlier writes, then charges `bytes`.
  Status Admit(size_t bytes);
  // Runs `go_on` here and now, or parks it; it is told ok or why the write is refused.
  void AdmitAsync(size_t bytes, std::function<void(Status)> go_on);

  // --- the background ---
  // The two figures are read and set under one lock of the caller: an older one that came last
  // would stop writers although nothing is left to do that changes it.
  // Bytes in memtables over all keyspaces. Cheap below the soft limit.
  void SetMemory(uint64_t bytes);
  uint64_t soft_limit() const { return soft_memory_; }
  // The largest debt of runs in level 0, sealed memtables included, over all keyspaces.
  void SetLevel0(size_t runs);
  void NoteFlush(uint64_t bytes, uint64_t nanos);
  void NoteCompaction(uint64_t bytes, uint64_t nanos);
  // Why memtables cannot be flushed now; ok once they can.
  void SetObstacle(Status status);
  // Lets everybody go with `status`, now and later.
  void Close(const Status& status);

  uint64_t stalls() const { return stalls_.load(std::memory_order_relaxed); }
  double stall_ms() const;
  double pressure() const;

 private:
  struct Parked {
    size_t bytes = 0;
    uint64_t since = 0;
    std::function<void(Status)> go_on;
  };
  enum class Verdict : uint8_t { kGo, kWait, kStop, kRefuse };

  // mutex_ held.
  void Update();
  Verdict Judge(uint64_t now, uint64_t* wait_nanos) const;
  void Charge(size_t bytes, uint64_t now);
  void BeginStall(uint64_t now);
  void ScheduleRelease(uint64_t delay_ms);
  void Release();
  // Parked, or let go and not handed on yet: nobody passes by.
  bool Waiting() const { return handed_on_ != parked_so_far_; }
  Status Stalled() const;

  Vfs* const vfs_;
  Executor* const executor_;
  const uint64_t hard_memory_;
  const uint64_t soft_memory_;
  const uint64_t max_stall_nanos_;

  std::atomic<bool> engaged_{false};
  std::atomic<uint64_t> memory_{0};
  std::atomic<uint64_t> stalls_{0};
  std::atomic<uint64_t> stall_nanos_{0};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  size_t level0_runs_ = 0;
  double pressure_ = 0;
  double rate_ = 0;    // bytes per second; 0 = unlimited
  double flush_rate_;  // measured, smoothed
  double compaction_rate_;
  uint64_t paid_until_ = 0;  // the debt of admitted writes ends then
  Status obstacle_;
  Status closed_;
  std::deque<Parked> parked_;
  uint64_t parked_so_far_ = 0;
  uint64_t handed_on_ = 0;  // of these, in order
  bool release_scheduled_ = false;
  Event::Reason reason_ = Event::Reason::kMemory;  // of the pressure, the last there was
  uint64_t stalled_since_ = 0;                     // 0: no write has waited since they were free
  Event::Reason stalled_by_ = Event::Reason::kMemory;
  OnStall on_stall_;
};

}  // namespace shale
