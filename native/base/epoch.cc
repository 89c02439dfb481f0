// Why this is safe. A reader stores the epoch in its slot by a sequentially consistent exchange and
// then loads the global epoch again; a collector first advances the global epoch and then reads the
// slots. If the collector misses the reader's exchange, its advance comes before the reader's
// second load in the single total order; that load then reads the advance, and with it everything
// that happened before the collector took the lock, retirements and the replaced pointers included.
// So the reader cannot load a pointer that is about to be released. If the collector sees the slot,
// a value above an object's epoch was read from an advance that came after its retirement, which
// shows the new pointer for the same reason.
#include "base/epoch.h"

#include <mutex>
#include <new>
#include <vector>

namespace shale {

namespace {

constexpr size_t kCollectAt = 64;  // retired objects that trigger a collection
constexpr size_t kReleaseAtOnce = 64;

struct Retired {
  const RefCounted* object;
  uint64_t epoch;
};

struct State {
  State() { retired.reserve(1024); }

  std::mutex mutex;
  std::vector<Retired> retired;
  size_t releasing = 0;  // taken off the list, not yet released
  size_t collect_at = kCollectAt;
};

constinit std::atomic<uint64_t> global_epoch{1};

// Never destroyed: objects may be retired by static destructors.
State& GetState() {
  static State& state = *new State;
  return state;
}

uint64_t OldestEpochInUse() {
  uint64_t oldest = UINT64_MAX;
  for (ThreadSlot* s = FirstThreadSlot(); s != nullptr;
       s = s->next.load(std::memory_order_acquire)) {
    const uint64_t epoch = s->epoch.load(std::memory_order_seq_cst);
    if (epoch != 0 && epoch < oldest) oldest = epoch;
  }
  return oldest;
}

// Moves up to kReleaseAtOnce objects that nobody can see to `ready`. Requires the lock.
size_t TakeReady(State* state, const RefCounted** ready) {
  if (state->retired.empty()) return 0;
  global_epoch.fetch_add(1, std::memory_order_seq_cst);
  const uint64_t oldest = OldestEpochInUse();
  size_t taken = 0;
  size_t kept = 0;
  for (const Retired& r : state->retired) {
    if (r.epoch < oldest && taken < kReleaseAtOnce) {
      ready[taken++] = r.object;
    } else {
      state->retired[kept++] = r;
    }
  }
  state->retired.resize(kept);
  state->releasing += taken;
  // What a slow reader holds back is not looked at again with every retirement.
  state->collect_at = kept < kCollectAt / 2 ? kCollectAt : 2 * kept;
  return taken;
}

}  // namespace

EpochGuard::EpochGuard() : slot_(CurrentThreadSlot()) {
  if (slot_->guard_depth++ != 0) return;
  slot_->epoch.exchange(global_epoch.load(std::memory_order_relaxed), std::memory_order_seq_cst);
  static_cast<void>(global_epoch.load(std::memory_order_seq_cst));
}

EpochGuard::~EpochGuard() {
  if (--slot_->guard_depth != 0) return;
  slot_->epoch.store(0, std::memory_order_release);
  if (slot_->transient) ReleaseThreadSlot();
}

void EpochRetire(const RefCounted* object) {
  State& state = GetState();
  bool collect = false;
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    try {
      state.retired.push_back({object, global_epoch.load(std::memory_order_relaxed)});
    } catch (const std::bad_alloc&) {
      return;  // out of memory and cannot wait for the readers: a leak is the lesser harm
    }
    collect = state.retired.size() >= state.collect_at;
  }
  if (collect) EpochCollect();
}

bool EpochCollect() {
  State& state = GetState();
  const RefCounted* ready[kReleaseAtOnce];
  for (;;) {
    size_t taken = 0;
    {
      const std::lock_guard<std::mutex> lock(state.mutex);
      taken = TakeReady(&state, ready);
      if (taken == 0) return state.retired.empty() && state.releasing == 0;
    }
    for (size_t i = 0; i < taken; ++i) ready[i]->Unref();
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.releasing -= taken;
  }
}

}  // namespace shale
