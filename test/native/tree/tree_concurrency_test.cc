// Readers, a writer, flushes and compactions at the same time. Run it under ThreadSanitizer.
#include <atomic>
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
// and that a scan at R shows exactly the last kKeys commits below R.
void ExpectKey(uint64_t k, Seqno r, const std::string& value) {
  Seqno newest = 0;
  if (r > 1) {
    const Seqno last = r - 1;
    newest = last - (last + kKeys - k) % kKeys;
    if (newest > last) newest = 0;
  }
  const std::string expected = newest == 0 ? "absent" : std::to_string(newest);
  ASSERT_EQ(value, expected) << "key " << k << " at " << r;
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
    EXPECT_EQ(harness_.Scan(around_.visible()).size(), kKeys);
    EXPECT_GT(flushes_.load(), 0);
    EXPECT_GT(compactions_.load(), 0);
  }

 private:
  static TreeOptions Options() {
    TreeOptions o = TreeHarness::SmallOptions();
    o.strategy.l0_threshold = 2;
    return o;
  }

  void Write(Seqno commits) {
    Tree* const tree = harness_.tree();
    for (Seqno s = 1; s <= commits && !testing::Test::HasFailure(); s++) {
      tree->Add(KeyOf(s % kKeys), std::to_string(s), s, Kind::kValue);
      around_.Publish(s);
      if (tree->active_bytes() > 8000) tree->Rotate();
    }
  }

  std::string Get(uint64_t k, Seqno fixed, Seqno* r) {
    Tree* const tree = harness_.tree();
    {
      // First the super version, then the read seqno: see super_version.h.
      EpochGuard guard;
      SuperVersion* const sv = tree->current();
      *r = fixed != 0 ? fixed : around_.visible();
      TreeHit hit;
      const Status s = tree->Get(sv, KeyOf(k), *r, ReadMode::kMemoryOnly, &hit);
      if (s.ok()) return hit.value.ToString();
      if (s.Is(Code::kNotFound)) return "absent";
      EXPECT_TRUE(s.Is(Code::kWouldBlock)) << s.ToString();
    }
    const Ref<SuperVersion> sv = tree->Pin();
    *r = fixed != 0 ? fixed : around_.visible();
    TreeHit hit;
    const Status s = tree->Get(sv.get(), KeyOf(k), *r, ReadMode::kMayBlock, &hit);
    if (s.ok()) return hit.value.ToString();
    return s.Is(Code::kNotFound) ? "absent" : s.ToString();
  }

  void Read(uint64_t stream) {
    std::mt19937_64 random(TestSeed() + stream);
    while (!done_.load() && !testing::Test::HasFailure()) {
      Seqno r = 0;
      const uint64_t k = random() % kKeys;
      const std::string value = Get(k, 0, &r);
      ExpectKey(k, r, value);
      if (random() % 16 != 0) continue;
      const Seqno snapshot = around_.OpenSnapshot();
      for (int i = 0; i < 20; i++) {
        const uint64_t other = random() % kKeys;
        const std::string seen = Get(other, snapshot, &r);
        ExpectKey(other, snapshot, seen);
      }
      around_.CloseSnapshot(snapshot);
    }
  }

  void Scan() {
    for (bool forward = true; !done_.load() && !testing::Test::HasFailure(); forward = !forward) {
      Ref<SuperVersion> pin = harness_.tree()->Pin();
      const Seqno r = around_.visible();
      Cursor cursor(std::move(pin), r, {},
                    forward ? Cursor::Direction::kForward : Cursor::Direction::kReverse);
      uint64_t count = 0;
      for (;;) {
        Code code = cursor.Next(ReadMode::kMemoryOnly);
        if (code == Code::kWouldBlock) code = cursor.Next(ReadMode::kMayBlock);
        if (code != Code::kOk) {
          ASSERT_EQ(code, Code::kNotFound) << cursor.status().ToString();
          break;
        }
        const uint64_t k = std::stoull(cursor.key().ToString().substr(3)) - 100;
        ExpectKey(k, r, cursor.value().ToString());
        count++;
      }
      ASSERT_EQ(count, std::min<Seqno>(r - 1, kKeys)) << "at " << r;
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

TEST(TreeConcurrency, EveryReaderSeesWhatItsSeqnoSays) { Stress().Run(Scaled(30000)); }

}  // namespace
}  // namespace shale
