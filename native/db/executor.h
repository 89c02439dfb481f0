// Executor: where background work runs.
//
// Lanes keep one kind of work from waiting behind another: a flush never waits behind a compaction,
// and what is appended to the journal (parked writes, flush points, witnesses) never behind a sync.
// Work within a lane starts in order of submission.
// Threads: Submit from any. Shutdown waits for running work and drops what has not begun (its
// owners are told by their own state, jobs hold no promise).
// Two forms: `ThreadedExecutor` (journal 1, sync 1, flush 1, compaction n at lower priority, reader
// 2, ingest 1 threads) and `ManualExecutor` for tests: nothing runs until the test says so, on its
// thread, in an order drawn from a seed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>

#include "vfs/vfs.h"

namespace shale {

// Told once, from an engine thread or from the calling thread, when an async call has ended.
using Completion = std::function<void(Status)>;

enum class Lane : uint8_t {
  kJournal,  // appends; never waits for the device
  kSync,     // syncs of the journal, its next file, what follows a rotation
  kFlush,    // also removes files that nobody reads any more
  kCompaction,
  kReader,
  // Tables of ingestions are built. Who brings the rows may wait for it on the event loop, so it
  // waits for nothing but the page cache: what finishes an ingestion, and syncs, runs elsewhere.
  // Neither a flush nor a compaction may keep it waiting, and it keeps none of them.
  kIngest,
};
inline constexpr int kLaneCount = 6;

class Executor {
 public:
  static constexpr uint64_t kNoTimeout = std::numeric_limits<uint64_t>::max();

  virtual ~Executor() = default;
  virtual void Submit(Lane lane, std::function<void()> work) = 0;
  // Runs `work` not before `delay_ms` from now.
  virtual void SubmitAfter(Lane lane, uint64_t delay_ms, std::function<void()> work) = 0;
  virtual size_t ThreadCount(Lane lane) const = 0;  // what may run at once
  // ManualExecutor: runs one piece of due work (any lane, seeded choice); false if there is none.
  // ThreadedExecutor: always false.
  virtual bool RunOne() = 0;
  // Waits until `changed` is notified, for at most `nanos`, perhaps for less: the caller looks at
  // its condition again. With a ManualExecutor nobody else could notify: it runs one piece of work,
  // or lets time pass.
  virtual void WaitFor(std::condition_variable* changed, std::unique_lock<std::mutex>* lock,
                       uint64_t nanos = kNoTimeout) = 0;
  virtual bool is_manual() const = 0;
  virtual void Shutdown() = 0;
};

// Null if the system has not that many threads to give; opening with it says so.
std::unique_ptr<Executor> MakeThreadedExecutor(uint32_t compaction_threads);
std::unique_ptr<Executor> MakeManualExecutor(Vfs* clock, uint64_t seed);

}  // namespace shale
