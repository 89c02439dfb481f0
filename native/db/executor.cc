#include "db/executor.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "vfs/thread_priority.h"

namespace shale {
namespace {

constexpr int kCompactionNiceness = 10;
constexpr size_t kReaderThreads = 2;

// One lane: its queue, its delayed work and its threads.
class LaneWorkers {
 public:
  ~LaneWorkers() { Stop(); }

  void Start(size_t threads, int niceness) {
    for (size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this, niceness] { Run(niceness); });
    }
  }

  void Submit(std::function<void()> work) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    ready_.push_back(std::move(work));
    wake_.notify_one();
  }

  void SubmitAfter(uint64_t delay_ms, std::function<void()> work) {
    const uint64_t due = Vfs::Real()->MonotonicNanos() + delay_ms * 1'000'000;
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    delayed_.emplace(due, std::move(work));
    wake_.notify_one();
  }

  void Stop() {
    std::deque<std::function<void()>> ready;
    std::multimap<uint64_t, std::function<void()>> delayed;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      ready.swap(ready_);
      delayed.swap(delayed_);
      wake_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  size_t thread_count() const { return threads_.size(); }

 private:
  void Run(int niceness) {
    LowerThreadPriority(niceness);
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stopping_) {
      TakeDue();
      if (ready_.empty()) {
        Wait(&lock);
        continue;
      }
      std::function<void()> work = std::move(ready_.front());
      ready_.pop_front();
      // Who knew when the next is due may be this thread, while the others wait for ever.
      if (!ready_.empty() || !delayed_.empty()) wake_.notify_one();
      lock.unlock();
      work();
      work = nullptr;  // what it holds goes outside the lock
      lock.lock();
    }
  }

  void TakeDue() {
    if (delayed_.empty()) return;
    const uint64_t now = Vfs::Real()->MonotonicNanos();
    while (!delayed_.empty() && delayed_.begin()->first <= now) {
      ready_.push_back(std::move(delayed_.begin()->second));
      delayed_.erase(delayed_.begin());
    }
  }

  void Wait(std::unique_lock<std::mutex>* lock) {
    if (delayed_.empty()) {
      wake_.wait(*lock);
      return;
    }
    const uint64_t now = Vfs::Real()->MonotonicNanos();
    const uint64_t due = delayed_.begin()->first;
    if (due > now) wake_.wait_for(*lock, std::chrono::nanoseconds(due - now));
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> ready_;
  std::multimap<uint64_t, std::function<void()>> delayed_;  // by due time
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

class ThreadedExecutor : public Executor {
 public:
  explicit ThreadedExecutor(uint32_t compaction_threads) {
    lane(Lane::kJournal).Start(1, 0);
    lane(Lane::kSync).Start(1, 0);
    lane(Lane::kFlush).Start(1, 0);
    lane(Lane::kCompaction).Start(std::max<uint32_t>(1, compaction_threads), kCompactionNiceness);
    lane(Lane::kReader).Start(kReaderThreads, 0);
    lane(Lane::kIngest).Start(1, 0);
    for (int i = 0; i < kLaneCount; ++i) {
      thread_counts_[static_cast<size_t>(i)] = lanes_[static_cast<size_t>(i)].thread_count();
    }
  }
  ~ThreadedExecutor() override { ThreadedExecutor::Shutdown(); }

  void Submit(Lane to, std::function<void()> work) override { lane(to).Submit(std::move(work)); }
  void SubmitAfter(Lane to, uint64_t delay_ms, std::function<void()> work) override {
    lane(to).SubmitAfter(delay_ms, std::move(work));
  }
  size_t ThreadCount(Lane of) const override { return thread_counts_[static_cast<size_t>(of)]; }
  bool RunOne() override { return false; }
  void WaitFor(std::condition_variable* changed, std::unique_lock<std::mutex>* lock,
               uint64_t nanos) override {
    if (nanos == kNoTimeout) {
      changed->wait(*lock);
    } else {
      changed->wait_for(*lock, std::chrono::nanoseconds(nanos));
    }
  }
  bool is_manual() const override { return false; }
  void Shutdown() override {
    std::call_once(shut_down_, [this] {
      for (LaneWorkers& workers : lanes_) workers.Stop();
    });
  }

 private:
  LaneWorkers& lane(Lane of) { return lanes_[static_cast<size_t>(of)]; }

  std::array<LaneWorkers, kLaneCount> lanes_;
  std::array<size_t, kLaneCount> thread_counts_{};
  std::once_flag shut_down_;
};

}  // namespace

std::unique_ptr<Executor> MakeThreadedExecutor(uint32_t compaction_threads) {
  try {
    return std::make_unique<ThreadedExecutor>(compaction_threads);
  } catch (const std::system_error&) {
    return nullptr;
  }
}

}  // namespace shale
