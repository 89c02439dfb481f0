// ThreadSlot: what each thread keeps for itself and others only read: its epoch and a small number.
//
// Threads: any. A slot belongs to one living thread and is reused after that thread has ended;
// slots are never freed, so that others may walk the list at any time.
// Errors: std::bad_alloc from the first call on a thread.
// Cost: one thread-local load, once the thread has its slot.
#pragma once

#include <atomic>
#include <cstdint>

namespace shale {

struct alignas(64) ThreadSlot {
  explicit ThreadSlot(uint32_t i) : index(i) {}

  std::atomic<uint64_t> epoch{0};  // see epoch.h; written by the owner
  uint32_t guard_depth = 0;        // owner only
  bool transient = false;          // owner only: to be given back with the last guard
  const uint32_t index;            // dense: the lowest free one is handed out first
  std::atomic<bool> in_use{true};
  std::atomic<ThreadSlot*> next{nullptr};  // in order of index
};

// Null until the thread has asked for its slot.
extern constinit thread_local ThreadSlot* current_thread_slot;

ThreadSlot* AcquireThreadSlot();
// For a slot taken while the thread's own destructors run: nobody else would give it back.
void ReleaseThreadSlot();
ThreadSlot* FirstThreadSlot();

inline ThreadSlot* CurrentThreadSlot() {
  ThreadSlot* slot = current_thread_slot;
  return slot != nullptr ? slot : AcquireThreadSlot();
}

// The number of the calling thread's slot; kNoThreadIndex while the thread's own destructors run.
inline constexpr uint32_t kNoThreadIndex = UINT32_MAX;
uint32_t ThreadIndexSlow();
inline uint32_t ThreadIndex() {
  const ThreadSlot* slot = current_thread_slot;
  return slot != nullptr && !slot->transient ? slot->index : ThreadIndexSlow();
}

}  // namespace shale
