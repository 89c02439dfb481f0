#include "base/epoch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

constexpr uint64_t kAlive = 0x600d600d600d600d;

struct Canary : RefCounted {
  explicit Canary(std::atomic<int>* c) : living(c) { living->fetch_add(1); }
  ~Canary() override {
    word.store(0, std::memory_order_relaxed);
    living->fetch_sub(1);
  }
  std::atomic<int>* const living;
  std::atomic<uint64_t> word{kAlive};
};

void CollectAll() {
  while (!EpochCollect()) std::this_thread::yield();
}

size_t SlotCount() {
  size_t n = 0;
  for (ThreadSlot* s = FirstThreadSlot(); s != nullptr; s = s->next.load()) ++n;
  return n;
}

size_t SlotsInUse() {
  size_t n = 0;
  for (ThreadSlot* s = FirstThreadSlot(); s != nullptr; s = s->next.load()) {
    n += s->in_use.load() ? 1 : 0;
  }
  return n;
}

TEST(Epoch, ReleasesWhatNobodyCanSee) {
  std::atomic<int> living{0};
  EpochRetire(new Canary(&living));
  CollectAll();
  EXPECT_EQ(living, 0);
}

TEST(Epoch, AGuardHoldsBackWhatWasRetiredAfterItBegan) {
  std::atomic<int> living{0};
  {
    const EpochGuard guard;
    EpochRetire(new Canary(&living));
    EXPECT_FALSE(EpochCollect());
    EXPECT_EQ(living, 1);
    { const EpochGuard nested; }
    // I1: the inner guard must not have cleared the slot.
    EXPECT_FALSE(EpochCollect());
    EXPECT_EQ(living, 1);
  }
  EXPECT_TRUE(EpochCollect());
  EXPECT_EQ(living, 0);
}

TEST(Epoch, ALaterGuardDoesNotHoldBack) {
  std::atomic<int> living{0};
  const auto* canary = new Canary(&living);
  {
    const EpochGuard early;
    EpochRetire(canary);
    EXPECT_FALSE(EpochCollect());  // advances the epoch
  }
  const EpochGuard late;
  EXPECT_TRUE(EpochCollect());
  EXPECT_EQ(living, 0);
}

TEST(Epoch, RetireDropsOneCountOnly) {
  std::atomic<int> living{0};
  Ref<Canary> kept = MakeRef<Canary>(&living);
  EpochRetire(Ref<Canary>(kept).Release());
  CollectAll();
  EXPECT_EQ(living, 1);
  EXPECT_EQ(kept->ref_count(), 1u);
  kept.reset();
  EXPECT_EQ(living, 0);
}

TEST(Epoch, RetiredObjectsAreCollectedWithoutBeingAsked) {
  std::atomic<int> living{0};
  for (int i = 0; i < 1000; ++i) EpochRetire(new Canary(&living));
  EXPECT_LT(living, 200);
  CollectAll();
  EXPECT_EQ(living, 0);
}

// A destructor that retires others and collects, as a super version does with what it held.
struct Parent : RefCounted {
  explicit Parent(std::atomic<int>* living) : child(new Canary(living)) {}
  ~Parent() override {
    EpochRetire(child);
    EpochCollect();
  }
  Canary* const child;
};

TEST(Epoch, DestructorsMayRetire) {
  std::atomic<int> living{0};
  EpochRetire(new Parent(&living));
  CollectAll();
  EXPECT_EQ(living, 0);
}

TEST(Epoch, SlotsAreReusedAfterThreadsEnd) {
  CollectAll();
  const size_t before = SlotCount();
  for (int i = 0; i < 50; ++i) std::thread([] { const EpochGuard guard; }).join();
  EXPECT_LE(SlotCount(), before + 1);
}

// Destroyed after the thread has given its slot back, because it was made first.
struct LateUser {
  ~LateUser() { const EpochGuard guard; }
};

TEST(Epoch, AGuardInAThreadDestructorGivesItsSlotBack) {
  const EpochGuard own;
  const size_t before = SlotsInUse();
  std::thread([] {
    thread_local LateUser user;
    static_cast<void>(user);
    const EpochGuard guard;
  }).join();
  EXPECT_EQ(SlotsInUse(), before);
}

// Readers follow a pointer that writers keep replacing; what they see is never a released object
// (I2).
TEST(Epoch, ReadersNeverSeeAReleasedObject) {
  std::atomic<int> living{0};
  std::atomic<Canary*> current{new Canary(&living)};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> bad{0};
  std::atomic<uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&] {
      Ref<Canary> pinned;
      uint64_t n = 0;
      while (!stop.load(std::memory_order_relaxed) || n == 0) {
        const EpochGuard guard;
        Canary* seen = current.load(std::memory_order_acquire);
        bad += seen->word.load(std::memory_order_relaxed) == kAlive ? 0 : 1;
        if (pinned) bad += pinned->word.load(std::memory_order_relaxed) == kAlive ? 0 : 1;
        if (n % 16 == 0) pinned = Ref<Canary>::Share(seen);
        ++n;
      }
      reads += n;
    });
  }
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&] {
      for (uint64_t i = 0; i < Scaled(10000); ++i) {
        EpochRetire(current.exchange(new Canary(&living), std::memory_order_acq_rel));
      }
    });
  }
  for (std::thread& t : writers) t.join();
  stop = true;
  for (std::thread& t : readers) t.join();
  EXPECT_EQ(bad, 0u);
  EXPECT_GT(reads, 0u);
  current.load()->Unref();
  CollectAll();
  EXPECT_EQ(living, 0);
}

}  // namespace
}  // namespace shale
