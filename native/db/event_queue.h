// Events: what happens in the background of a database, for those who want to hear of it.
//
// A listener has a queue that any thread fills and its owner empties. Without listeners an event is
// not even made: Wanted() is one relaxed load. All queues get the events in the same order, the one
// in which they were posted.
//
// Threads: any. The two mutexes are leaves but for `wake`, which must not come back.
// Errors: what does not fit, or what there is no memory for, is dropped and counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tree/strategy.h"

namespace shale {

enum class DatabaseStatus : uint8_t { kOpen = 0, kDegraded, kFailed, kClosing, kClosed };

struct Event {
  enum class Type : uint8_t { kFlush, kCompaction, kStall, kStatus, kError };
  // What writers are held up by.
  enum class Reason : uint8_t { kMemory, kLevel0 };
  enum class During : uint8_t { kFlush, kCompaction, kSync, kJournal, kFilter, kStrategy };

  Type type = Type::kFlush;
  std::string keyspace;                           // flush, compaction
  uint64_t tables = 0;                            // flush
  uint64_t bytes_read = 0;                        // compaction
  uint64_t bytes_written = 0;                     // flush, compaction
  double ms = 0;                                  // flush, compaction, the end of a stall
  CompactionPlan plan;                            // compaction
  Reason reason = Reason::kMemory;                // stall
  bool active = false;                            // stall
  DatabaseStatus status = DatabaseStatus::kOpen;  // status
  Status cause;                                   // status, error
  During during = During::kFlush;                 // error
};
using SharedEvent = std::shared_ptr<const Event>;

class EventQueue {
 public:
  // So many wait. Beyond that only two kinds are taken: a status, instead of the last one that
  // waits, and the end of a stall whose beginning was taken.
  static constexpr size_t kWaitingMax = 1024;

  // `wake` is called when the first event of an empty queue has come.
  explicit EventQueue(std::function<void()> wake) : wake_(std::move(wake)) {}

  // False if it was dropped.
  bool Post(const SharedEvent& event) noexcept;
  // The handle of its owner is being closed, or is closed. Changes of the core's status are of no
  // interest from then on, and after kClosed nothing is.
  void PostEnd(DatabaseStatus status) noexcept;
  // Takes what waits, oldest first.
  std::deque<SharedEvent> Take();

 private:
  // mutex_ held.
  bool Push(const SharedEvent& event) noexcept;
  bool MakeRoom(const Event& event);

  const std::function<void()> wake_;
  std::mutex mutex_;
  std::deque<SharedEvent> waiting_;                // mutex_
  bool stalled_ = false;                           // mutex_: the last stall that was taken began
  DatabaseStatus handle_ = DatabaseStatus::kOpen;  // mutex_
};

class EventHub {
 public:
  bool Wanted() const { return listeners_.load(std::memory_order_relaxed) != 0; }
  void Add(std::shared_ptr<EventQueue> queue);
  void Remove(const EventQueue* queue);
  void Post(Event event);
  // Posts what fill(&event) makes of an event of this type, if anybody wants it.
  template <typename Fill>
  void Tell(Event::Type type, Fill fill) noexcept {
    if (!Wanted()) return;
    try {
      Event event;
      event.type = type;
      fill(&event);
      Post(std::move(event));
    } catch (const std::bad_alloc&) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> listeners_{0};
  std::atomic<uint64_t> dropped_{0};
  std::mutex mutex_;
  std::vector<std::shared_ptr<EventQueue>> queues_;  // mutex_
};

}  // namespace shale
