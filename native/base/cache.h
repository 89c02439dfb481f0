// Cache: blocks in memory, bounded by bytes, shared by all trees of a database.
//
// Lookups take no lock and write no shared line (except a saturating use count, at most three times
// per entry); they need an EpochGuard. Inserts lock one shard.
// Eviction: S3-FIFO per shard. New entries enter a small probationary queue (10 %) and move to the
// main queue only if looked up twice more (once is what the retry after an asynchronous miss does),
// so a scan passes through without washing out what is hot; keys evicted from probation are
// remembered (ghosts) and enter the main queue when they come back.
// Threads: any.
// Invariants:
//   I1  the charges of all linked entries of a shard never exceed its share of the capacity; an
//       entry larger than the shard's share is not linked at all.
//   I2  an evicted value is retired through the epoch, never freed under a reader.
// Pinned entries (a Ref held outside) are not counted against the capacity once evicted.
// Cost: besides the charges about 1 % of the capacity, for entries of 4 KiB and more.
// Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/epoch.h"
#include "base/metrics.h"
#include "base/ref.h"

namespace shale {

// What lies in the cache: a parsed, verified, immutable block.
class CacheValue : public RefCounted {
 public:
  // Called under a lock when lookups begin and cease to find the value, the latter before it is
  // retired: between the two it may be reached by a shorter way as well (see Cache::Touch). They
  // must be quick and not come back to the cache.
  virtual void OnLink() {}
  virtual void OnUnlink() {}

 private:
  friend class Cache;
  void MarkUsed() {
    const uint8_t uses = uses_.load(std::memory_order_relaxed);
    if (uses < kUsesMax) uses_.store(static_cast<uint8_t>(uses + 1), std::memory_order_relaxed);
  }

  static constexpr uint8_t kUsesMax = 3;
  std::atomic<uint8_t> uses_{0};
};

struct CacheKey {
  uint64_t file = 0;  // file number: unique in the database, never used twice
  uint64_t offset = 0;
};

struct CacheStats {
  uint64_t capacity = 0;
  uint64_t size = 0;
  uint64_t hits = 0;
  uint64_t misses = 0;
};

class Cache {
 public:
  explicit Cache(uint64_t capacity_bytes);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // Borrowed: valid inside the caller's EpochGuard; share it to keep it. Null on a miss.
  // Counts a hit or a miss in the thread's own counters; a miss only if the value will be read now:
  // who may not wait for it comes again.
  CacheValue* Lookup(CacheKey key, bool count_miss = true);
  // What Lookup does besides looking, for a value that was reached between its OnLink and OnUnlink.
  // Requires an EpochGuard, as Lookup does.
  void Touch(CacheValue* value);
  // Links `value` (unless the key is present: then that one is returned and `value` dropped). The
  // caller keeps its own count in any case.
  Ref<CacheValue> Insert(CacheKey key, Ref<CacheValue> value, size_t charge);
  // Unlinks an entry if present (its file was deleted).
  void Erase(CacheKey key);
  CacheStats stats() const;

 private:
  class Ghosts;
  class Shard;
  Shard& ShardOf(uint64_t hash) const;

  const uint64_t capacity_;
  std::vector<std::unique_ptr<Shard>> shards_;  // a power of two of them
  Counters<2> lookups_;                         // hits, misses
};

}  // namespace shale
