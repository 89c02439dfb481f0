// Readers, a writer, flushes and compactions at the same time. Run it under ThreadSanitizer.
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "tree/tree_support.h"

namespace shale {
namespace {

// What a database does around a tree: seqnos, visibility and snapshots.
class Surroundings {
 public:
  Seqno visible() const { return visible_.load(std::memory_order_acquire); }
  void Publish(Seqno s) { visible_.store(s + 1, std::memory_order_release); }
  Seqno OpenSnapshot() {
    std::lock_guard<std::mutex> lock(mutex_);
    const Seqno r = visible();
    snapshots_.insert(r);
    return r;
  }
  void CloseSnapshot(Seqno r) {
    std::lock_guard<std::mutex> lock(mutex_);
    snapshots_.erase(snapshots_.find(r));
  }
  RetentionView View() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::set<Seqno> distinct(snapshots_.begin(), snapshots_.end());
    return {{distinct.begin(), distinct.end()}, visible()};
  }

 private:
  std::atomic<Seqno> visible_{1};
  std::mutex mutex_;
  std::multiset<Seqno> snapshots_;
};

constexpr uint64_t kKeys = 64;

std::string KeyOf(uint64_t k) { return "key" + std::to_string(100 + k); }

// Each commit s writes key s % kKeys with value s: so a reader at R knows the value of every key,
// and that a scan at R shows exactly the last kKeys commits below R. With ranges every
// kClearEvery-th commit removes all keys before it writes its own.
constexpr Seqno kClearEvery = 150;
bool with_ranges = false;
bool separated = false;

std::string ValueAt(uint64_t k, Seqno r) {
  const Seqno last = r - 1;
  const Seqno age = (last + kKeys - k) % kKeys;
  if (last <= age) return "absent";
  const Seqno written = last - age;
  const Seqno cleared = with_ranges ? last / kClearEvery * kClearEvery : 0;
  return written < cleared ? "absent" : std::to_string(written);
}

size_t CountAt(Seqno r) {
  size_t count = 0;
  for (uint64_t k = 0; k < kKeys; k++) count += ValueAt(k, r) != "absent" ? 1 : 0;
  return count;
}

// What a reader saw that took its seqno `read` after it had pinned the super version, and
// `published` before that. Commits between the two may be in a memtable that came after the pin,
// so the reader saw some moment between them; every moment has its own value of one of the keys.
void ExpectKeyBetween(uint64_t k, Seqno published, Seqno read, const std::string& value) {
  for (Seqno r = published; r <= read; r++) {
    if (value == ValueAt(k, r)) return;
  }
  ADD_FAILURE() << "key " << k << " is " << value << ", expected " << ValueAt(k, published)
                << " at " << published << " to " << ValueAt(k, read) << " at " << read;
}

class Stress {
 public:
  Stress() : harness_(Options()) {}

  void Run(Seqno commits) {
    harness_.UseRetention([this] { return around_.View(); });
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 2; i++) threads.emplace_back([this, i] { Read(i); });
    threads.emplace_back([this] { Scan(); });
    threads.emplace_back([this] { FlushLoop(); });
    for (int i = 0; i < 2; i++) threads.emplace_back([this] { CompactLoop(); });
    Write(commits);
    done_.store(true);
    for (auto& t : threads) t.join();
    EXPECT_OK(harness_.RotateAndFlush());
    EXPECT_OK(harness_.CompactAll());
    EXPECT_EQ(harness_.Scan(around_.visible()).size(), CountAt(around_.visible()));
  }

 private:
  static TreeOptions Options() {
    TreeOptions o = TreeHarness::SmallOptions();
    o.strategy.l0_threshold = 2;
    if (separated) {
      o.kv_separation.emplace();
      o.kv_separation->threshold = 2;
      o.kv_separation->file_size = 4096;
    }
    return o;
  }

  // At least `commits`, and on until the jobs had their part: the writer may be that much faster.
  void Write(Seqno commits) {
    Tree* const tree = harness_.tree();
    const auto enough = [&](Seqno s) {
      return s > commits && flushes_.load() > 0 && compactions_.load() > 0;
    };
    for (Seqno s = 1; !enough(s) && !testing::Test::HasFailure(); s++) {
      if (with_ranges && s % kClearEvery == 0) tree->AddRange("key", "kez", s);
      tree->Add(KeyOf(s % kKeys), std::to_string(s), s, Kind::kValue);
      around_.Publish(s);
      if (tree->active_bytes() <= 8000) continue;
      tree->Rotate();
      std::this_thread::yield();
    }
  }

  // Reads at `*r`; if that is 0, at what is visible after the pin.
  std::string Get(uint64_t k, Seqno* r) {
    Tree* const tree = harness_.tree();
    const bool latest = *r == 0;
    {
      // First the super version, then the read seqno: see super_version.h.
      EpochGuard guard;
      SuperVersion* const sv = tree->current();
      if (latest) *r = around_.visible();
      TreeHit hit;
      const Status s = tree->Get(sv, KeyOf(k), *r, ReadMode::kMemoryOnly, &hit);
      if (s.ok()) return hit.value.ToString();
      if (s.Is(Code::kNotFound)) return "absent";
      EXPECT_TRUE(s.Is(Code::kWouldBlock)) << s.ToString();
    }
    const Ref<SuperVersion> sv = tree->Pin();
    if (latest) *r = around_.visible();
    TreeHit hit;
    const Status s = tree->Get(sv.get(), KeyOf(k), *r, ReadMode::kMayBlock, &hit);
    if (s.ok()) return hit.value.ToString();
    return s.Is(Code::kNotFound) ? "absent" : s.ToString();
  }

  void Read(uint64_t stream) {
    std::mt19937_64 random(TestSeed() + stream);
    while (!done_.load() && !testing::Test::HasFailure()) {
      const Seqno published = around_.visible();
      Seqno read = 0;
      const uint64_t k = random() % kKeys;
      const std::string value = Get(k, &read);
      ExpectKeyBetween(k, published, read, value);
      if (random() % 16 != 0) continue;
      // A snapshot is older than the pin: here the seqno says everything.
      Seqno snapshot = around_.OpenSnapshot();
      for (int i = 0; i < 20; i++) {
        const uint64_t other = random() % kKeys;
        const std::string seen = Get(other, &snapshot);
        EXPECT_EQ(seen, ValueAt(other, snapshot)) << "key " << other << " at " << snapshot;
      }
      around_.CloseSnapshot(snapshot);
    }
  }

  void Scan() {
    for (bool forward = true; !done_.load() && !testing::Test::HasFailure(); forward = !forward) {
      const Seqno published = around_.visible();
      Ref<SuperVersion> pin = harness_.tree()->Pin();
      const Seqno read = around_.visible();
      Cursor cursor(std::move(pin), read, {},
                    forward ? Cursor::Direction::kForward : Cursor::Direction::kReverse);
      std::map<uint64_t, Seqno> seen;
      for (;;) {
        Code code = cursor.Next(ReadMode::kMemoryOnly);
        if (code == Code::kWouldBlock) code = cursor.Next(ReadMode::kMayBlock);
        if (code == Code::kOk) code = cursor.LoadValue(ReadMode::kMayBlock);
        if (code != Code::kOk) {
          ASSERT_EQ(code, Code::kNotFound) << cursor.status().ToString();
          break;
        }
        seen[std::stoull(cursor.key().ToString().substr(3)) - 100] =
            std::stoull(cursor.value().ToString());
      }
      // The newest value tells the moment; everything else has to be of that same moment.
      Seqno moment = 1;
      for (const auto& [k, value] : seen) moment = std::max(moment, value + 1);
      EXPECT_GE(moment, published);
      EXPECT_LE(moment, read);
      EXPECT_EQ(seen.size(), CountAt(moment)) << "at " << moment;
      for (const auto& [k, value] : seen) {
        EXPECT_EQ(std::to_string(value), ValueAt(k, moment)) << "key " << k << " at " << moment;
      }
    }
  }

  void FlushLoop() {
    while (!done_.load()) {
      JobStats stats;
      EXPECT_OK(harness_.tree()->Flush(
          nullptr, [](Seqno) { return Status(); }, &stats));
      if (stats.items_read != 0) flushes_++;
      static_cast<void>(harness_.tree()->history());
      std::this_thread::yield();
    }
  }
  void CompactLoop() {
    while (!done_.load()) {
      if (auto plan = harness_.tree()->ChooseAndClaim(0)) {
        EXPECT_OK(harness_.tree()->Compact(*plan, nullptr, nullptr));
        compactions_++;
      }
      std::this_thread::yield();
    }
  }

  TreeHarness harness_;
  Surroundings around_;
  std::atomic<bool> done_{false};
  std::atomic<int> flushes_{0};
  std::atomic<int> compactions_{0};
};

TEST(TreeConcurrency, EveryReaderSeesWhatItsSeqnoSays) {
  with_ranges = false;
  Stress().Run(Scaled(30000));
}

TEST(TreeConcurrency, AlsoWhileRangesAreRemoved) {
  with_ranges = true;
  Stress().Run(Scaled(30000));
  with_ranges = false;
}

TEST(TreeConcurrency, AlsoWhileValuesAreSeparatedAndMoved) {
  separated = true;
  Stress().Run(Scaled(30000));
  separated = false;
}

}  // namespace
}  // namespace shale
