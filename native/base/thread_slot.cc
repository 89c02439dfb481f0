#include "base/thread_slot.h"

#include <mutex>

namespace shale {

constinit thread_local ThreadSlot* current_thread_slot = nullptr;

namespace {

constinit std::mutex register_mutex;
constinit std::atomic<ThreadSlot*> first_slot{nullptr};
constinit thread_local bool thread_is_ending = false;

// Gives the slot back when the thread ends.
struct SlotOwner {
  ~SlotOwner() {
    thread_is_ending = true;
    ReleaseThreadSlot();
  }
};

}  // namespace

ThreadSlot* FirstThreadSlot() { return first_slot.load(std::memory_order_acquire); }

ThreadSlot* AcquireThreadSlot() {
  ThreadSlot* slot = nullptr;
  {
    const std::lock_guard<std::mutex> lock(register_mutex);
    std::atomic<ThreadSlot*>* link = &first_slot;
    uint32_t index = 0;
    for (slot = link->load(std::memory_order_relaxed); slot != nullptr;
         slot = link->load(std::memory_order_relaxed)) {
      // Acquire: takes over what the former owner wrote in its own lines.
      if (!slot->in_use.load(std::memory_order_acquire)) break;
      link = &slot->next;
      ++index;
    }
    if (slot != nullptr) {
      slot->in_use.store(true, std::memory_order_relaxed);
    } else {
      slot = new ThreadSlot(index);
      link->store(slot, std::memory_order_release);
    }
  }
  slot->transient = thread_is_ending;
  current_thread_slot = slot;
  if (!thread_is_ending) {
    thread_local SlotOwner owner;
    static_cast<void>(owner);
  }
  return slot;
}

void ReleaseThreadSlot() {
  ThreadSlot* slot = current_thread_slot;
  if (slot == nullptr) return;
  current_thread_slot = nullptr;
  slot->in_use.store(false, std::memory_order_release);
}

uint32_t ThreadIndexSlow() {
  return thread_is_ending ? kNoThreadIndex : CurrentThreadSlot()->index;
}

}  // namespace shale
