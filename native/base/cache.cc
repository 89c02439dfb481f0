#include "base/cache.h"

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include "base/hash.h"

namespace shale {

namespace {

// So that the whole filter of a large table has a place: it may take several MiB.
constexpr uint64_t kShardBytesMin = uint64_t{32} << 20;
constexpr uint64_t kShardsMax = 64;
constexpr uint64_t kBytesPerBucket = 4096;
constexpr uint64_t kBucketsMin = 64;
constexpr uint8_t kUsesToPromote = 2;
// How many used entries one eviction may pass over: bounds the time under the lock.
constexpr int kSecondChancesMax = 128;

enum Counter : size_t { kHits, kMisses };

uint64_t HashKey(CacheKey key) {
  return MixBits(key.file * uint64_t{0x9e3779b97f4a7c15} + key.offset);
}

uint64_t ShardCount(uint64_t capacity) {
  return std::clamp<uint64_t>(std::bit_floor(capacity / kShardBytesMin), 1, kShardsMax);
}

}  // namespace

// Remembers which keys were evicted lately: four places per set, the oldest makes room. A wrong yes
// (equal fingerprints) does no harm.
class Cache::Ghosts {
 public:
  explicit Ghosts(size_t places) : places_(places) {}

  void Remember(uint64_t hash) {
    Ghost* const set = SetOf(hash);
    Ghost* victim = set;
    for (Ghost* g = set; g != set + kWays; ++g) {
      if (Age(*g) > Age(*victim)) victim = g;
    }
    *victim = {Fingerprint(hash), ++now_};
  }

  // True if `hash` was among the last `horizon` remembered; forgets it.
  bool Recall(uint64_t hash, uint64_t horizon) {
    Ghost* const set = SetOf(hash);
    for (Ghost* g = set; g != set + kWays; ++g) {
      if (g->time == 0 || g->fingerprint != Fingerprint(hash)) continue;
      const bool recent = Age(*g) <= horizon;
      *g = {};
      return recent;
    }
    return false;
  }

 private:
  static constexpr size_t kWays = 4;
  struct Ghost {
    uint32_t fingerprint = 0;
    uint32_t time = 0;  // 0: free
  };

  static uint32_t Fingerprint(uint64_t hash) { return static_cast<uint32_t>(hash >> 26); }
  uint32_t Age(const Ghost& g) const { return g.time == 0 ? UINT32_MAX : now_ - g.time; }
  Ghost* SetOf(uint64_t hash) { return &places_[hash & (places_.size() - 1) & ~(kWays - 1)]; }

  std::vector<Ghost> places_;  // a power of two of them
  uint32_t now_ = 0;
};

class Cache::Shard {
 public:
  explicit Shard(uint64_t capacity)
      : buckets_(BucketCount(capacity)), capacity_(capacity), ghosts_(BucketCount(capacity)) {}

  ~Shard() {
    for (Queue* queue : {&probation_, &main_}) {
      for (Entry* e = queue->newest; e != nullptr; e = e->older) e->value->OnUnlink();
      RetireAll(queue->newest);
    }
  }

  CacheValue* Lookup(CacheKey key, uint64_t hash) {
    Entry* e = BucketOf(hash).load(std::memory_order_acquire);
    while (e != nullptr && !e->Is(key)) e = e->chain.load(std::memory_order_acquire);
    if (e == nullptr) return nullptr;
    e->value->MarkUsed();
    return e->value.get();
  }

  Ref<CacheValue> Insert(CacheKey key, uint64_t hash, Ref<CacheValue> value, size_t charge) {
    Ref<Entry> entry = MakeRef<Entry>(key, hash, std::move(value), charge);
    Entry* evicted = nullptr;
    Ref<CacheValue> result;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      result = Link(&entry, &evicted);
    }
    // Outside the lock: a destructor that runs there may come back to this cache.
    RetireAll(evicted);
    return result;
  }

  void Erase(CacheKey key, uint64_t hash) {
    Entry* found = nullptr;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      found = Find(key, hash);
      if (found != nullptr) Unlink(found);
    }
    if (found != nullptr) EpochRetire(found);
  }

  uint64_t bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return probation_.bytes + main_.bytes;
  }

 private:
  struct Entry : RefCounted {
    Entry(CacheKey k, uint64_t h, Ref<CacheValue> v, size_t c)
        : key(k), hash(h), value(std::move(v)), charge(c) {}
    bool Is(CacheKey k) const { return key.file == k.file && key.offset == k.offset; }
    std::atomic<uint8_t>& uses() const { return value->uses_; }

    // Read without the lock.
    const CacheKey key;
    std::atomic<Entry*> chain{nullptr};
    // Under the lock.
    bool in_main = false;
    const uint64_t hash;
    const Ref<CacheValue> value;
    const size_t charge;
    Entry* newer = nullptr;
    Entry* older = nullptr;
  };

  struct Queue {
    Entry* newest = nullptr;
    Entry* oldest = nullptr;
    uint64_t bytes = 0;
    uint64_t count = 0;

    void Push(Entry* e) {
      e->newer = nullptr;
      e->older = newest;
      (newest != nullptr ? newest->newer : oldest) = e;
      newest = e;
      bytes += e->charge;
      ++count;
    }
    void Remove(Entry* e) {
      (e->newer != nullptr ? e->newer->older : newest) = e->older;
      (e->older != nullptr ? e->older->newer : oldest) = e->newer;
      bytes -= e->charge;
      --count;
    }
  };

  static size_t BucketCount(uint64_t capacity) {
    return static_cast<size_t>(std::bit_ceil(std::max(capacity / kBytesPerBucket, kBucketsMin)));
  }
  static void RetireAll(Entry* newest) {
    while (newest != nullptr) EpochRetire(std::exchange(newest, newest->older));
  }

  std::atomic<Entry*>& BucketOf(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  Queue& QueueOf(const Entry* e) { return e->in_main ? main_ : probation_; }

  // The functions below require the lock.

  Entry* Find(CacheKey key, uint64_t hash) {
    Entry* e = BucketOf(hash).load(std::memory_order_relaxed);
    while (e != nullptr && !e->Is(key)) e = e->chain.load(std::memory_order_relaxed);
    return e;
  }

  // Takes *entry over if it can be linked. What had to go is chained through `older` to *evicted.
  Ref<CacheValue> Link(Ref<Entry>* entry, Entry** evicted) {
    Entry* e = entry->get();
    if (Entry* present = Find(e->key, e->hash)) return present->value;
    Ref<CacheValue> result = e->value;
    if (e->charge > capacity_) return result;
    MakeRoom(e->charge, evicted);
    entry->Release();
    e->uses().store(0, std::memory_order_relaxed);
    e->in_main = ghosts_.Recall(e->hash, std::max<uint64_t>(probation_.count + main_.count, 16));
    QueueOf(e).Push(e);
    std::atomic<Entry*>& bucket = BucketOf(e->hash);
    e->chain.store(bucket.load(std::memory_order_relaxed), std::memory_order_relaxed);
    bucket.store(e, std::memory_order_release);
    e->value->OnLink();
    return result;
  }

  // The entry's own chain pointer stays: readers that are on it go on from there.
  void Unlink(Entry* e) {
    std::atomic<Entry*>* link = &BucketOf(e->hash);
    while (link->load(std::memory_order_relaxed) != e) {
      link = &link->load(std::memory_order_relaxed)->chain;
    }
    link->store(e->chain.load(std::memory_order_relaxed), std::memory_order_release);
    QueueOf(e).Remove(e);
    e->value->OnUnlink();
  }

  void Evict(Entry* e, Entry** evicted) {
    Unlink(e);
    e->older = *evicted;
    *evicted = e;
  }

  void MakeRoom(size_t charge, Entry** evicted) {
    while (probation_.bytes + main_.bytes + charge > capacity_) {
      const bool over_share = probation_.bytes >= capacity_ / 10;
      if (probation_.oldest != nullptr && (over_share || main_.oldest == nullptr)) {
        TakeFromProbation(evicted);
      } else {
        TakeFromMain(evicted);
      }
    }
  }

  // Moves the oldest entry to the main queue or evicts it.
  void TakeFromProbation(Entry** evicted) {
    Entry* e = probation_.oldest;
    if (e->uses().load(std::memory_order_relaxed) < kUsesToPromote) {
      ghosts_.Remember(e->hash);
      Evict(e, evicted);
      return;
    }
    e->uses().store(0, std::memory_order_relaxed);
    probation_.Remove(e);
    e->in_main = true;
    main_.Push(e);
  }

  void TakeFromMain(Entry** evicted) {
    for (int i = 0; i < kSecondChancesMax; ++i) {
      Entry* e = main_.oldest;
      const uint8_t uses = e->uses().load(std::memory_order_relaxed);
      if (uses == 0) break;
      e->uses().store(static_cast<uint8_t>(uses - 1), std::memory_order_relaxed);
      main_.Remove(e);
      main_.Push(e);
    }
    Evict(main_.oldest, evicted);
  }

  std::vector<std::atomic<Entry*>> buckets_;  // a power of two of them; never resized
  const uint64_t capacity_;

  alignas(64) mutable std::mutex mutex_;
  Queue probation_;
  Queue main_;
  Ghosts ghosts_;
};

Cache::Cache(uint64_t capacity_bytes) : capacity_(capacity_bytes) {
  const uint64_t count = ShardCount(capacity_bytes);
  for (uint64_t i = 0; i < count; ++i) {
    shards_.push_back(std::make_unique<Shard>(capacity_bytes / count));
  }
}

Cache::~Cache() {
  shards_.clear();
  EpochCollect();
}

// The top bits; the buckets inside a shard use the low ones.
Cache::Shard& Cache::ShardOf(uint64_t hash) const {
  return *shards_[(hash >> 58) & (shards_.size() - 1)];
}

CacheValue* Cache::Lookup(CacheKey key, bool count_miss) {
  const uint64_t hash = HashKey(key);
  CacheValue* value = ShardOf(hash).Lookup(key, hash);
  if (value != nullptr) {
    lookups_.Add(kHits);
  } else if (count_miss) {
    lookups_.Add(kMisses);
  }
  return value;
}

void Cache::Touch(CacheValue* value) {
  value->MarkUsed();
  lookups_.Add(kHits);
}

Ref<CacheValue> Cache::Insert(CacheKey key, Ref<CacheValue> value, size_t charge) {
  const uint64_t hash = HashKey(key);
  return ShardOf(hash).Insert(key, hash, std::move(value), charge);
}

void Cache::Erase(CacheKey key) {
  const uint64_t hash = HashKey(key);
  ShardOf(hash).Erase(key, hash);
}

CacheStats Cache::stats() const {
  CacheStats s;
  s.capacity = capacity_;
  for (const auto& shard : shards_) s.size += shard->bytes();
  s.hits = lookups_.Sum(kHits);
  s.misses = lookups_.Sum(kMisses);
  return s;
}

}  // namespace shale
