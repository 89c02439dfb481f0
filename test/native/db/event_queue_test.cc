#include "db/event_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace shale {
namespace {

Event Flush(uint64_t tables) {
  Event event;
  event.type = Event::Type::kFlush;
  event.tables = tables;
  return event;
}

Event OfStatus(DatabaseStatus status) {
  Event event;
  event.type = Event::Type::kStatus;
  event.status = status;
  return event;
}

Event Stall(bool active) {
  Event event;
  event.type = Event::Type::kStall;
  event.active = active;
  return event;
}

struct Listener {
  std::atomic<int> wakes{0};
  std::shared_ptr<EventQueue> queue = std::make_shared<EventQueue>([this] { wakes++; });
};

TEST(Events, WithoutListenersNothingIsWanted) {
  EventHub hub;
  EXPECT_FALSE(hub.Wanted());
  Listener a;
  hub.Add(a.queue);
  EXPECT_TRUE(hub.Wanted());
  hub.Remove(a.queue.get());
  hub.Remove(a.queue.get());
  EXPECT_FALSE(hub.Wanted());
  hub.Post(Flush(1));
  EXPECT_TRUE(a.queue->Take().empty());
}

TEST(Events, ComeInOrderAndWakeOnce) {
  EventHub hub;
  Listener a;
  Listener b;
  hub.Add(a.queue);
  hub.Add(b.queue);
  for (uint64_t i = 0; i < 5; ++i) hub.Post(Flush(i));
  EXPECT_EQ(a.wakes, 1);
  const auto first = a.queue->Take();
  hub.Post(Flush(5));
  EXPECT_EQ(a.wakes, 2);
  EXPECT_EQ(b.wakes, 1);
  EXPECT_EQ(a.queue->Take().size(), 1u);
  const auto all = b.queue->Take();
  ASSERT_EQ(first.size(), 5u);
  ASSERT_EQ(all.size(), 6u);
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(all[i]->tables, i);
  EXPECT_EQ(hub.dropped(), 0u);
}

TEST(Events, TooManyAreDroppedButForTheLastStatusAndTheEndOfAStall) {
  EventHub hub;
  Listener a;
  hub.Add(a.queue);
  hub.Post(Stall(true));
  hub.Post(OfStatus(DatabaseStatus::kDegraded));
  for (uint64_t i = 2; i < EventQueue::kWaitingMax; ++i) hub.Post(Flush(i));
  EXPECT_EQ(hub.dropped(), 0u);
  hub.Post(Flush(0));
  EXPECT_EQ(hub.dropped(), 1u);
  hub.Post(OfStatus(DatabaseStatus::kOpen));
  hub.Post(OfStatus(DatabaseStatus::kFailed));
  hub.Post(Stall(false));
  hub.Post(Stall(true));
  hub.Post(Stall(false));
  EXPECT_EQ(hub.dropped(), 2u);  // the second stall; its end is of no interest then
  const auto taken = a.queue->Take();
  ASSERT_EQ(taken.size(), EventQueue::kWaitingMax + 1);
  EXPECT_EQ(taken.front()->type, Event::Type::kStall);
  EXPECT_EQ(taken[1]->type, Event::Type::kFlush);
  EXPECT_EQ(taken[taken.size() - 2]->status, DatabaseStatus::kFailed);
  EXPECT_EQ(taken.back()->type, Event::Type::kStall);
  EXPECT_FALSE(taken.back()->active);
}

TEST(Events, TheEndOfAStallThatBeganUnheardIsNotTold) {
  EventHub hub;
  Listener a;
  hub.Add(a.queue);
  hub.Post(Stall(false));
  EXPECT_TRUE(a.queue->Take().empty());
  EXPECT_EQ(hub.dropped(), 0u);
}

TEST(Events, EndWithTheHandle) {
  EventHub hub;
  Listener a;
  hub.Add(a.queue);
  a.queue->PostEnd(DatabaseStatus::kClosing);
  hub.Post(OfStatus(DatabaseStatus::kDegraded));
  hub.Post(Flush(1));
  a.queue->PostEnd(DatabaseStatus::kClosed);
  hub.Post(Flush(2));
  const auto taken = a.queue->Take();
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0]->status, DatabaseStatus::kClosing);
  EXPECT_EQ(taken[1]->tables, 1u);
  EXPECT_EQ(taken[2]->status, DatabaseStatus::kClosed);
}

// Listeners come and go while several threads post, no more than a queue holds.
TEST(Events, FromManyThreads) {
  EventHub hub;
  Listener a;
  hub.Add(a.queue);
  constexpr uint64_t kEach = EventQueue::kWaitingMax / 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&hub] {
      for (uint64_t i = 0; i < kEach; ++i) hub.Post(Flush(i));
    });
  }
  size_t taken = 0;
  for (int i = 0; i < 100; ++i) {
    Listener passing;
    hub.Add(passing.queue);
    taken += a.queue->Take().size();
    hub.Remove(passing.queue.get());
  }
  for (std::thread& t : threads) t.join();
  taken += a.queue->Take().size();
  EXPECT_EQ(taken, EventQueue::kWaitingMax);
  EXPECT_EQ(hub.dropped(), 0u);
}

}  // namespace
}  // namespace shale
