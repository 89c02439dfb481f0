#include "base/cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

std::atomic<int> living{0};

struct Block : CacheValue {
  explicit Block(CacheKey k) : key(k) { living.fetch_add(1); }
  ~Block() override {
    key = {0, 0};
    living.fetch_sub(1);
  }
  CacheKey key;
};

class CacheTest : public testing::Test {
 protected:
  ~CacheTest() override {
    while (!EpochCollect()) std::this_thread::yield();
    EXPECT_EQ(living, 0);
  }
};

Ref<CacheValue> NewBlock(CacheKey key) { return MakeRef<Block>(key); }

// Looks the block up and, on a miss, loads it. True if it was a hit.
bool Touch(Cache* cache, CacheKey key, size_t charge) {
  {
    const EpochGuard guard;
    if (cache->Lookup(key) != nullptr) return true;
  }
  cache->Insert(key, NewBlock(key), charge);
  return false;
}

TEST_F(CacheTest, FindsWhatWasInserted) {
  Cache cache(1 << 20);
  const EpochGuard guard;
  EXPECT_EQ(cache.Lookup({1, 0}), nullptr);
  const Ref<CacheValue> kept = cache.Insert({1, 0}, NewBlock({1, 0}), 4096);
  EXPECT_EQ(cache.Lookup({1, 0}), kept.get());
  EXPECT_EQ(cache.Lookup({1, 4096}), nullptr);
  EXPECT_EQ(cache.Lookup({2, 0}), nullptr);
  EXPECT_EQ(kept->ref_count(), 2u);
  const CacheStats stats = cache.stats();
  EXPECT_EQ(stats.capacity, uint64_t{1} << 20);
  EXPECT_EQ(stats.size, 4096u);
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.misses, 3u);
}

TEST_F(CacheTest, TheFirstInsertWins) {
  Cache cache(1 << 20);
  const Ref<CacheValue> first = cache.Insert({1, 0}, NewBlock({1, 0}), 100);
  const Ref<CacheValue> second = cache.Insert({1, 0}, NewBlock({1, 0}), 100);
  EXPECT_EQ(first.get(), second.get());
  EXPECT_EQ(living, 1);
  EXPECT_EQ(cache.stats().size, 100u);
}

TEST_F(CacheTest, ErasedBlocksLiveAsLongAsTheyAreUsed) {
  Cache cache(1 << 20);
  Ref<CacheValue> kept = cache.Insert({1, 0}, NewBlock({1, 0}), 100);
  cache.Erase({1, 0});
  cache.Erase({1, 0});
  cache.Erase({9, 9});
  const EpochGuard guard;
  EXPECT_EQ(cache.Lookup({1, 0}), nullptr);
  EXPECT_EQ(cache.stats().size, 0u);
  EXPECT_EQ(static_cast<Block*>(kept.get())->key.file, 1u);
}

// I1, with charges of every size and all queues in use.
TEST_F(CacheTest, NeverExceedsItsCapacity) {
  TestRandom random;
  for (const uint64_t capacity :
       {uint64_t{0}, uint64_t{100}, uint64_t{50000}, uint64_t{16} << 20}) {
    Cache cache(capacity);
    const uint64_t charge_max = capacity / 8 + 10;
    for (uint64_t i = 0; i < Scaled(5000); ++i) {
      const CacheKey key{random.Below(4), random.Below(300)};
      Touch(&cache, key, random.Below(charge_max) + 1);
      if (random.OneIn(50)) cache.Erase({random.Below(4), random.Below(300)});
      ASSERT_LE(cache.stats().size, capacity);
    }
    if (capacity > 1000) {
      EXPECT_GT(cache.stats().size, capacity / 2);
    }
  }
}

TEST_F(CacheTest, WhatIsLargerThanAShardIsNotLinked) {
  Cache cache(1 << 20);
  const Ref<CacheValue> small = cache.Insert({1, 0}, NewBlock({1, 0}), 1000);
  const Ref<CacheValue> huge = cache.Insert({2, 0}, NewBlock({2, 0}), (1 << 20) + 1);
  ASSERT_TRUE(huge);
  const EpochGuard guard;
  EXPECT_EQ(cache.Lookup({2, 0}), nullptr);
  EXPECT_NE(cache.Lookup({1, 0}), nullptr);
}

// A working set of half the capacity, and between two uses of any of its blocks a scan of ten times
// the capacity. Least-recently-used would hit nothing.
// The whole filter of a table of the default size with tiny entries.
TEST_F(CacheTest, SeveralMiBHaveAPlace) {
  Cache cache(32 << 20);
  for (int i = 0; i < 3; ++i) Touch(&cache, {1, 0}, 5 << 20);
  EXPECT_TRUE(Touch(&cache, {1, 0}, 5 << 20));
}

TEST_F(CacheTest, AScanDoesNotWashOutTheHotSet) {
  constexpr size_t kBlock = 4096;
  constexpr uint64_t kRoom = 1000;
  constexpr uint64_t kHot = kRoom / 2;
  Cache cache(kRoom * kBlock);
  TestRandom random;
  for (int round = 0; round < 4; ++round) {
    for (uint64_t i = 0; i < kHot; ++i) Touch(&cache, {1, i}, kBlock);
  }
  uint64_t scanned = 0;
  uint64_t hits = 0;
  constexpr uint64_t kTouches = 5000;
  for (uint64_t n = 0; n < kTouches; ++n) {
    for (int i = 0; i < 20; ++i) Touch(&cache, {2, scanned++}, kBlock);
    hits += Touch(&cache, {1, random.Below(kHot)}, kBlock) ? 1 : 0;
  }
  EXPECT_GT(hits, kTouches * 95 / 100);
}

// The same with a cold start in the middle of the scan: blocks that come back are recognised by
// their ghosts, so the hot set settles in although the scan pushes it out of probation again and
// again.
TEST_F(CacheTest, TheHotSetSettlesInDuringAScan) {
  constexpr size_t kBlock = 4096;
  constexpr uint64_t kRoom = 1000;
  constexpr uint64_t kHot = 200;
  Cache cache(kRoom * kBlock);
  uint64_t scanned = 0;
  uint64_t hits = 0;
  uint64_t touches = 0;
  for (uint64_t round = 0; round < 40; ++round) {
    for (uint64_t i = 0; i < kHot; ++i) {
      for (int k = 0; k < 4; ++k) Touch(&cache, {2, scanned++}, kBlock);
      const bool hit = Touch(&cache, {1, i}, kBlock);
      if (round < 20) continue;
      ++touches;
      hits += hit ? 1 : 0;
    }
  }
  EXPECT_GT(hits, touches * 90 / 100);
}

// One use after loading, as by the retry of an asynchronous read, does not make a block hot.
TEST_F(CacheTest, TheRetryAfterAMissIsNotASecondUse) {
  constexpr size_t kBlock = 4096;
  constexpr uint64_t kRoom = 1000;
  Cache cache(kRoom * kBlock);
  for (int round = 0; round < 4; ++round) {
    for (uint64_t i = 0; i < kRoom / 2; ++i) Touch(&cache, {1, i}, kBlock);
  }
  for (uint64_t i = 0; i < 20 * kRoom; ++i) {
    Touch(&cache, {2, i}, kBlock);
    Touch(&cache, {2, i}, kBlock);
  }
  uint64_t hits = 0;
  for (uint64_t i = 0; i < kRoom / 2; ++i) hits += Touch(&cache, {1, i}, kBlock) ? 1 : 0;
  EXPECT_GT(hits, kRoom / 2 * 95 / 100);
}

// Blocks that were used for a while and then no more fill the main queue again and again; those in
// use get a second chance each time and stay.
TEST_F(CacheTest, BlocksInUseOutliveThoseThatWere) {
  constexpr size_t kBlock = 4096;
  constexpr uint64_t kRoom = 1000;
  constexpr uint64_t kHot = 100;
  Cache cache(kRoom * kBlock);
  uint64_t misses = 0;
  for (uint64_t round = 0; round < 200; ++round) {
    for (uint64_t i = 0; i < 4 * kHot; ++i) {
      const bool hit = Touch(&cache, {1, i % kHot}, kBlock);
      misses += hit ? 0 : 1;
    }
    for (uint64_t i = 0; i < 4 * 100; ++i) Touch(&cache, {2, round * 100 + i % 100}, kBlock);
  }
  // Once to load it, and once more while the queues settle.
  EXPECT_LE(misses, 3 * kHot);
}

TEST_F(CacheTest, DestructionReleasesEverything) {
  {
    Cache cache(1 << 20);
    for (uint64_t i = 0; i < 100; ++i) cache.Insert({1, i}, NewBlock({1, i}), 1000);
    EXPECT_EQ(living, 100);
  }
  while (!EpochCollect()) std::this_thread::yield();
  EXPECT_EQ(living, 0);
}

// A value whose destructor comes back to the cache, as that of an open table may.
struct Eraser : CacheValue {
  Eraser(Cache* c, CacheKey k) : cache(c), key(k) {}
  ~Eraser() override { cache->Erase(key); }
  Cache* const cache;
  const CacheKey key;
};

TEST_F(CacheTest, DestructorsMayUseTheCache) {
  Cache cache(10000);
  for (uint64_t i = 0; i < 500; ++i) {
    cache.Insert({1, i}, NewBlock({1, i}), 100);
    cache.Insert({2, i}, MakeRef<Eraser>(&cache, CacheKey{1, i}), 100);
    cache.Insert({2, i}, MakeRef<Eraser>(&cache, CacheKey{1, i}), 100);
  }
  for (uint64_t i = 0; i < 500; ++i) cache.Erase({2, i});
  while (!EpochCollect()) std::this_thread::yield();
}

// I2: lookups, inserts, evictions and erasures at once; what a lookup returns is what was asked
// for.
TEST_F(CacheTest, ThreadsAgree) {
  Cache cache(64 * 1024);
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> hits{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      TestRandom random(t);
      Ref<CacheValue> pinned;
      for (uint64_t i = 0; i < Scaled(20000); ++i) {
        const CacheKey key{1 + random.Below(3), random.Below(100)};
        {
          const EpochGuard guard;
          const auto* found = static_cast<Block*>(cache.Lookup(key));
          if (found != nullptr) {
            ++hits;
            wrong += found->key.file == key.file && found->key.offset == key.offset ? 0 : 1;
            if (random.OneIn(20)) pinned = Ref<CacheValue>::Share(cache.Lookup(key));
            continue;
          }
        }
        const Ref<CacheValue> got = cache.Insert(key, NewBlock(key), 300 + random.Below(2000));
        wrong += static_cast<Block*>(got.get())->key.file == key.file ? 0 : 1;
        if (pinned) wrong += static_cast<Block*>(pinned.get())->key.file != 0 ? 0 : 1;
        if (random.OneIn(30)) cache.Erase(key);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(hits, 0u);
  EXPECT_LE(cache.stats().size, 64u * 1024);
}

}  // namespace
}  // namespace shale
