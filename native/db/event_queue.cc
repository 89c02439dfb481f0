#include "db/event_queue.h"

#include <algorithm>
#include <new>
#include <utility>

namespace shale {

// ---- one listener ----

// False if the event has no place.
bool EventQueue::MakeRoom(const Event& event) {
  if (waiting_.size() < kWaitingMax) return true;
  if (event.type == Event::Type::kStall) return !event.active;
  if (event.type != Event::Type::kStatus) return false;
  const auto last = std::find_if(waiting_.rbegin(), waiting_.rend(), [](const SharedEvent& e) {
    return e->type == Event::Type::kStatus;
  });
  if (last != waiting_.rend()) waiting_.erase(std::next(last).base());
  return true;
}

bool EventQueue::Push(const SharedEvent& event) noexcept {
  try {
    if (!MakeRoom(*event)) return false;
    waiting_.push_back(event);
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (event->type == Event::Type::kStall) stalled_ = event->active;
  if (waiting_.size() == 1) wake_();
  return true;
}

bool EventQueue::Post(const SharedEvent& event) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (handle_ == DatabaseStatus::kClosed) return true;
  if (handle_ == DatabaseStatus::kClosing && event->type == Event::Type::kStatus) return true;
  // The end of what its owner has not heard of.
  if (event->type == Event::Type::kStall && !event->active && !stalled_) return true;
  return Push(event);
}

void EventQueue::PostEnd(DatabaseStatus status) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  handle_ = status;
  try {
    Event event;
    event.type = Event::Type::kStatus;
    event.status = status;
    static_cast<void>(Push(std::make_shared<const Event>(std::move(event))));
  } catch (const std::bad_alloc&) {  // its owner learns it from the status
  }
}

std::deque<SharedEvent> EventQueue::Take() {
  std::deque<SharedEvent> taken;
  std::lock_guard<std::mutex> lock(mutex_);
  taken.swap(waiting_);
  return taken;
}

// ---- all of them ----

void EventHub::Add(std::shared_ptr<EventQueue> queue) {
  std::lock_guard<std::mutex> lock(mutex_);
  queues_.push_back(std::move(queue));
  listeners_.store(static_cast<uint32_t>(queues_.size()), std::memory_order_relaxed);
}

void EventHub::Remove(const EventQueue* queue) {
  std::shared_ptr<EventQueue> last;  // goes outside the lock
  std::lock_guard<std::mutex> lock(mutex_);
  const auto at = std::find_if(queues_.begin(), queues_.end(),
                               [queue](const auto& q) { return q.get() == queue; });
  if (at == queues_.end()) return;
  last = std::move(*at);
  queues_.erase(at);
  listeners_.store(static_cast<uint32_t>(queues_.size()), std::memory_order_relaxed);
}

void EventHub::Post(Event event) {
  const auto shared = std::make_shared<const Event>(std::move(event));
  std::lock_guard<std::mutex> lock(mutex_);
  for (const std::shared_ptr<EventQueue>& queue : queues_) {
    if (!queue->Post(shared)) dropped_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace shale
