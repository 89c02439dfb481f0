#include <algorithm>
#include <array>
#include <deque>
#include <map>

#include "base/hash.h"
#include "db/executor.h"

namespace shale {
namespace {

constexpr uint64_t kStepNanos = 1'000'000;  // of simulated time, when there is nothing to do

// Everything runs on the thread that calls RunOne, so nothing here is locked.
class ManualExecutor : public Executor {
 public:
  ManualExecutor(Vfs* clock, uint64_t seed) : clock_(clock), state_(MixBits(seed + 1) | 1) {}

  void Submit(Lane lane, std::function<void()> work) override {
    if (!stopped_) ready(lane).push_back(std::move(work));
  }
  void SubmitAfter(Lane lane, uint64_t delay_ms, std::function<void()> work) override {
    if (stopped_) return;
    delayed_.emplace(clock_->MonotonicNanos() + delay_ms * 1'000'000,
                     Delayed{lane, std::move(work)});
  }
  size_t ThreadCount(Lane) const override { return 1; }

  bool RunOne() override {
    TakeDue();
    std::array<Lane, kLaneCount> candidates{};
    size_t count = 0;
    for (int i = 0; i < kLaneCount; ++i) {
      const auto lane = static_cast<Lane>(i);
      if (!ready(lane).empty()) candidates[count++] = lane;
    }
    if (count == 0) return false;
    std::deque<std::function<void()>>& queue = ready(candidates[Draw() % count]);
    const std::function<void()> work = std::move(queue.front());
    queue.pop_front();
    work();
    return true;
  }
  void WaitFor(std::condition_variable*, std::unique_lock<std::mutex>* lock,
               uint64_t nanos) override {
    lock->unlock();
    if (!RunOne()) clock_->SleepNanos(std::min(nanos, kStepNanos));
    lock->lock();
  }
  bool is_manual() const override { return true; }

  void Shutdown() override {
    stopped_ = true;
    for (auto& queue : ready_) queue.clear();
    delayed_.clear();
  }

 private:
  struct Delayed {
    Lane lane;
    std::function<void()> work;
  };

  std::deque<std::function<void()>>& ready(Lane lane) { return ready_[static_cast<size_t>(lane)]; }
  void TakeDue() {
    const uint64_t now = clock_->MonotonicNanos();
    while (!delayed_.empty() && delayed_.begin()->first <= now) {
      Delayed& due = delayed_.begin()->second;
      ready(due.lane).push_back(std::move(due.work));
      delayed_.erase(delayed_.begin());
    }
  }
  uint64_t Draw() {
    state_ += 0x9e3779b97f4a7c15u;
    return MixBits(state_);
  }

  Vfs* const clock_;
  uint64_t state_;
  bool stopped_ = false;
  std::array<std::deque<std::function<void()>>, kLaneCount> ready_;
  std::multimap<uint64_t, Delayed> delayed_;  // by due time; equal times in order of submission
};

}  // namespace

std::unique_ptr<Executor> MakeManualExecutor(Vfs* clock, uint64_t seed) {
  return std::make_unique<ManualExecutor>(clock, seed);
}

}  // namespace shale
