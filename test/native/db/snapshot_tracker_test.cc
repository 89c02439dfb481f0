#include "db/snapshot_tracker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

TEST(SnapshotTrackerTest, AgreesWithAList) {
  TestRandom random;
  std::atomic<Seqno> visible{1};
  SnapshotTracker tracker(&visible);
  std::vector<Seqno> open;
  for (uint64_t i = 0; i < Scaled(20000); ++i) {
    const uint64_t what = random.Below(10);
    if (what < 4) {
      visible.fetch_add(random.Below(3));
    } else if (what < 6) {
      EXPECT_EQ(tracker.Open(), visible.load());
      open.push_back(visible.load());
    } else if (what < 7 && !open.empty()) {
      const Seqno seqno = open[random.Below(open.size())];
      tracker.OpenAt(seqno);
      open.push_back(seqno);
    } else if (!open.empty()) {
      const auto it = open.begin() + static_cast<std::ptrdiff_t>(random.Below(open.size()));
      tracker.Close(*it);
      open.erase(it);
    }
    std::vector<Seqno> expected = open;
    std::sort(expected.begin(), expected.end());
    expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
    const RetentionView view = tracker.View();
    ASSERT_EQ(view.snapshots, expected);
    ASSERT_EQ(view.visible, visible.load());
    ASSERT_EQ(tracker.open_count(), open.size());
    ASSERT_EQ(tracker.oldest().has_value(), !open.empty());
    if (!open.empty()) {
      ASSERT_EQ(*tracker.oldest(), expected.front());
    }
  }
}

TEST(SnapshotTrackerTest, ClosingWhatIsNotOpenDoesNothing) {
  std::atomic<Seqno> visible{5};
  SnapshotTracker tracker(&visible);
  tracker.Close(5);
  const Seqno seqno = tracker.Open();
  tracker.Close(seqno);
  tracker.Close(seqno);
  EXPECT_EQ(tracker.open_count(), 0u);
}

// Whatever a view takes for free must lie above every snapshot that opens later.
TEST(SnapshotTrackerTest, NoSnapshotSlipsInBelowAView) {
  std::atomic<Seqno> visible{1};
  SnapshotTracker tracker(&visible);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; i < 200000; ++i) visible.fetch_add(1, std::memory_order_release);
    stop.store(true);
  });
  std::vector<std::thread> readers;
  std::atomic<uint64_t> wrong{0};
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const RetentionView view = tracker.View();
        const Seqno seqno = tracker.Open();
        if (seqno < view.visible) wrong++;
        const RetentionView later = tracker.View();
        if (!std::binary_search(later.snapshots.begin(), later.snapshots.end(), seqno)) wrong++;
        tracker.Close(seqno);
      }
    });
  }
  writer.join();
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_EQ(tracker.open_count(), 0u);
}

}  // namespace
}  // namespace shale
