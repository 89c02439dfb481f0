#include "db/write_control.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace shale {
namespace {

constexpr double kSoftMemoryShare = 0.6;
constexpr size_t kSoftLevel0Runs = 6;
constexpr double kFirstRate = 64.0 * 1024 * 1024;  // until something was measured
constexpr double kRateFloor = 1024.0 * 1024;       // a measured speed below it is not believed
constexpr double kSmoothing = 0.3;
constexpr uint64_t kCreditNanos = 1'000'000;  // debt below this is not waited for
constexpr uint64_t kDebtNanosMax = 50'000'000;

double Smooth(double old_rate, uint64_t bytes, uint64_t nanos) {
  if (bytes == 0 || nanos == 0) return old_rate;
  const double rate = static_cast<double>(bytes) * 1e9 / static_cast<double>(nanos);
  return old_rate + kSmoothing * (std::max(rate, kRateFloor) - old_rate);
}

double Share(double value, double soft, double hard) {
  if (value <= soft) return 0;
  return std::min(1.0, (value - soft) / std::max(1.0, hard - soft));
}

}  // namespace

WriteControl::WriteControl(Vfs* vfs, Executor* executor, const DatabaseOptions& options)
    : vfs_(vfs),
      executor_(executor),
      hard_memory_(options.max_write_buffer_size),
      soft_memory_(static_cast<uint64_t>(static_cast<double>(options.max_write_buffer_size) *
                                         kSoftMemoryShare)),
      max_stall_nanos_(uint64_t{options.max_stall_ms} * 1'000'000),
      flush_rate_(kFirstRate),
      compaction_rate_(kFirstRate) {}

// The stronger pressure decides; its own background speed sets the rate.
void WriteControl::Update() {
  const double memory = Share(static_cast<double>(memory_.load(std::memory_order_relaxed)),
                              static_cast<double>(soft_memory_), static_cast<double>(hard_memory_));
  const double level0 = Share(static_cast<double>(level0_runs_), kSoftLevel0Runs,
                              static_cast<double>(kLevel0RunsMax));
  pressure_ = std::max(memory, level0);
  if (pressure_ > 0) reason_ = memory > level0 ? Event::Reason::kMemory : Event::Reason::kLevel0;
  const double base = memory > level0 ? flush_rate_ : compaction_rate_;
  rate_ = pressure_ == 0 ? 0 : base * (1 - pressure_) / pressure_;
  if (pressure_ == 0) paid_until_ = 0;
  engaged_.store(pressure_ > 0 || !closed_.ok() || Waiting(), std::memory_order_relaxed);
  if (stalled_since_ != 0 && ((pressure_ == 0 && !Waiting()) || !closed_.ok())) {
    const uint64_t nanos = vfs_->MonotonicNanos() - std::exchange(stalled_since_, 0);
    if (on_stall_) on_stall_(stalled_by_, false, static_cast<double>(nanos) / 1e6);
  }
  changed_.notify_all();
  if (!parked_.empty()) ScheduleRelease(0);
}

void WriteControl::BeginStall(uint64_t now) {
  if (stalled_since_ != 0) return;
  stalled_since_ = std::max<uint64_t>(now, 1);
  stalled_by_ = reason_;
  if (on_stall_) on_stall_(stalled_by_, true, 0);
}

WriteControl::Verdict WriteControl::Judge(uint64_t now, uint64_t* wait_nanos) const {
  if (!closed_.ok()) return Verdict::kRefuse;
  if (pressure_ >= 1) return obstacle_.ok() ? Verdict::kStop : Verdict::kRefuse;
  if (pressure_ > 0 && paid_until_ > now + kCreditNanos) {
    *wait_nanos = paid_until_ - now;
    return Verdict::kWait;
  }
  return Verdict::kGo;
}

void WriteControl::Charge(size_t bytes, uint64_t now) {
  if (rate_ <= 0) return;
  const auto cost = static_cast<uint64_t>(static_cast<double>(bytes) * 1e9 / rate_);
  paid_until_ = std::min(std::max(paid_until_, now) + cost, now + kDebtNanosMax);
}

Status WriteControl::Admit(size_t bytes) {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t begin = vfs_->MonotonicNanos();
  const uint64_t deadline = begin + max_stall_nanos_;
  const uint64_t ahead = parked_so_far_;
  uint64_t now = begin;
  Status status;
  for (;;) {
    uint64_t wait = kDebtNanosMax;
    const Verdict verdict = Judge(now, &wait);
    if (verdict == Verdict::kRefuse) {
      status = closed_.ok() ? obstacle_ : closed_;
      break;
    }
    if (verdict == Verdict::kGo && handed_on_ >= ahead) break;
    if (now >= deadline) {
      status = Stalled();
      break;
    }
    BeginStall(begin);
    wait = std::min(wait, deadline - now);
    executor_->WaitFor(&changed_, &lock, wait);
    now = vfs_->MonotonicNanos();
  }
  if (now != begin) {
    stalls_.fetch_add(1, std::memory_order_relaxed);
    stall_nanos_.fetch_add(now - begin, std::memory_order_relaxed);
  }
  if (status.ok()) Charge(bytes, now);
  return status;
}

void WriteControl::AdmitAsync(size_t bytes, std::function<void(Status)> go_on) {
  Status status;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t now = vfs_->MonotonicNanos();
    uint64_t wait = 0;
    const Verdict verdict = Judge(now, &wait);
    if (verdict == Verdict::kRefuse) {
      status = closed_.ok() ? obstacle_ : closed_;
    } else if (verdict != Verdict::kGo || Waiting()) {
      parked_.push_back({bytes, now, std::move(go_on)});
      parked_so_far_++;
      stalls_.fetch_add(1, std::memory_order_relaxed);
      BeginStall(now);
      engaged_.store(true, std::memory_order_relaxed);
      if (verdict != Verdict::kStop) ScheduleRelease(wait / 1'000'000 + 1);
      return;
    } else {
      Charge(bytes, now);
    }
  }
  go_on(std::move(status));
}

void WriteControl::ScheduleRelease(uint64_t delay_ms) {
  if (std::exchange(release_scheduled_, true)) return;
  if (delay_ms == 0) {
    executor_->Submit(Lane::kJournal, [this] { Release(); });
  } else {
    executor_->SubmitAfter(Lane::kJournal, delay_ms, [this] { Release(); });
  }
}

// Lets parked writes go in their order, as far as the debt allows.
void WriteControl::Release() {
  for (bool handed_on = false;; handed_on = true) {
    Parked next;
    Status status;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      release_scheduled_ = false;
      if (handed_on) {
        handed_on_++;
        changed_.notify_all();
      }
      if (parked_.empty()) {
        Update();
        return;
      }
      const uint64_t now = vfs_->MonotonicNanos();
      uint64_t wait = 0;
      const Verdict verdict = Judge(now, &wait);
      if (verdict == Verdict::kStop) return;  // the next change goes on here
      if (verdict == Verdict::kWait) return ScheduleRelease(wait / 1'000'000 + 1);
      if (verdict == Verdict::kRefuse) status = closed_.ok() ? obstacle_ : closed_;
      next = std::move(parked_.front());
      parked_.pop_front();
      stall_nanos_.fetch_add(now - next.since, std::memory_order_relaxed);
      if (status.ok()) Charge(next.bytes, now);
    }
    next.go_on(std::move(status));
  }
}

void WriteControl::SetMemory(uint64_t bytes) {
  memory_.store(bytes, std::memory_order_relaxed);
  if (bytes <= soft_memory_ && free()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  Update();
}

void WriteControl::SetLevel0(size_t runs) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (runs == level0_runs_) return;
  level0_runs_ = runs;
  Update();
}

void WriteControl::NoteFlush(uint64_t bytes, uint64_t nanos) {
  std::lock_guard<std::mutex> lock(mutex_);
  flush_rate_ = Smooth(flush_rate_, bytes, nanos);
}

void WriteControl::NoteCompaction(uint64_t bytes, uint64_t nanos) {
  std::lock_guard<std::mutex> lock(mutex_);
  compaction_rate_ = Smooth(compaction_rate_, bytes, nanos);
}

void WriteControl::SetObstacle(Status status) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (obstacle_.ok() && status.ok()) return;
  obstacle_ = std::move(status);
  Update();
}

void WriteControl::Close(const Status& status) {
  std::deque<Parked> parked;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = status;
    parked.swap(parked_);
    handed_on_ += parked.size();
    const uint64_t now = vfs_->MonotonicNanos();
    for (const Parked& write : parked) {
      stall_nanos_.fetch_add(now - write.since, std::memory_order_relaxed);
    }
    Update();
  }
  for (Parked& write : parked) write.go_on(status);
}

Status WriteControl::Stalled() const {
  return Status(Code::kStalled, pressure_ >= 1
                                    ? "the background cannot keep up; nothing was written"
                                    : "writes are slowed down; nothing was written");
}

double WriteControl::stall_ms() const {
  return static_cast<double>(stall_nanos_.load(std::memory_order_relaxed)) / 1e6;
}

double WriteControl::pressure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return pressure_;
}

}  // namespace shale
