// Epochs: how readers use shared objects without touching a shared cache line.
//
// A reader holds an EpochGuard while it uses a pointer that it loaded from an atomic; whoever
// replaces that pointer retires the old object, which is released once every guard that could have
// seen it is gone. Used for the current super version and for blocks in the cache.
//
// Threads: any. Entering writes only the thread's own slot. A guard is never held across I/O or a
// wait, and ends on the thread that began it.
// Inside a guard an object's count is at least one (the publisher's), so AddRef() is safe and makes
// the pin outlive the guard.
// Invariants:
//   I1  slot = 0 means the thread holds no guard.
//   I2  an object retired at epoch e is released only when no slot holds a value in 1..e.
// Cost: one exchange on a private cache line to enter, one store to leave; nested guards are free.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/ref.h"
#include "base/thread_slot.h"

namespace shale {

class EpochGuard {
 public:
  EpochGuard();
  ~EpochGuard();
  EpochGuard(const EpochGuard&) = delete;
  EpochGuard& operator=(const EpochGuard&) = delete;

 private:
  ThreadSlot* const slot_;
};

// Drops one count of `object` when no guard can still be using it. Call it after the pointer to the
// object was replaced. Waits for no reader; now and then releases what others retired (their
// destructors run here: hold no lock that one of them takes).
void EpochRetire(const RefCounted* object);
// Releases what is safe now; true if nothing retired is left. Called after installs and at close.
bool EpochCollect();

}  // namespace shale
