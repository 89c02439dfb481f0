#include "binding/filter_desk.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include "base/coding.h"
#include "vfs/vfs.h"

namespace shale {
namespace {

// How often a job that waits looks whether it was stopped.
constexpr uint64_t kSliceNanos = 5'000'000;

uint64_t NewQuestionNumber() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::string Pack(const std::vector<FilterEntry>& entries) {
  std::string packed;
  size_t size = 0;
  for (const FilterEntry& entry : entries) {
    size += 8 + entry.key.size() + (entry.value ? entry.value->size() : 0);
  }
  packed.reserve(size);
  for (const FilterEntry& entry : entries) {
    PutU32(&packed, static_cast<uint32_t>(entry.key.size()));
    PutU32(&packed, entry.value ? static_cast<uint32_t>(entry.value->size()) : kNoValue);
  }
  for (const FilterEntry& entry : entries) {
    packed.append(entry.key.data(), entry.key.size());
    if (entry.value) packed.append(entry.value->data(), entry.value->size());
  }
  return packed;
}

bool Unpack(Slice answer, size_t count, std::vector<FilterVerdict>* verdicts) {
  Reader reader(answer);
  const Slice kinds = reader.Raw(count);
  for (size_t i = 0; i < kinds.size(); i++) {
    if (kinds[i] > static_cast<uint8_t>(Verdict::kReplace)) return false;
    FilterVerdict& verdict = verdicts->emplace_back();
    verdict.verdict = static_cast<Verdict>(kinds[i]);
    if (verdict.verdict == Verdict::kReplace) verdict.value = reader.Raw(reader.U32()).ToString();
  }
  return reader.ok() && reader.AtEnd();
}

Status Gone() { return {Code::kAborted, "who gave the compaction filter has closed"}; }

}  // namespace

// --- FilterDesk --------------------------------------------------------------------------------

FilterDesk::FilterDesk(Ref<Channel> channel, std::function<bool()> serve)
    : channel_(std::move(channel)), serve_(std::move(serve)), thread_(std::this_thread::get_id()) {}

Status FilterDesk::Ask(const std::shared_ptr<Question>& question, const CompactionFilter& filter,
                       const std::string& name, uint64_t patience_ms,
                       const FilterContext& context) {
  const bool is_own_thread = std::this_thread::get_id() == thread_;
  question->must_answer_now = is_own_thread;
  const uint64_t deadline = Vfs::Real()->MonotonicNanos() + patience_ms * 1'000'000;
  Lock lock(mutex_);
  if (detached_ || !filter.alive()) return Gone();
  waiting_.push_back(question);
  changed_.notify_all();
  lock.unlock();
  channel_->PostQuestion();
  lock.lock();
  if (is_own_thread) Serve(&lock);
  while (!question->done) {
    const uint64_t now = Vfs::Real()->MonotonicNanos();
    if (now >= deadline) {
      End(question.get(),
          FilterFailure("the compaction filter '" + name + "' gave no answer within " +
                            std::to_string(patience_ms) + " ms",
                        question->number));
      break;
    }
    changed_.wait_for(lock, std::chrono::nanoseconds(std::min(kSliceNanos, deadline - now)));
    if (question->done) break;
    lock.unlock();
    Status status = context.may_wait();
    lock.lock();
    if (!status.ok() && !question->done) End(question.get(), std::move(status));
  }
  return question->status;
}

// mutex_ held.
void FilterDesk::End(Question* question, Status status) {
  question->done = true;
  question->status = std::move(status);
  std::erase_if(waiting_, [question](const auto& other) { return other.get() == question; });
  changed_.notify_all();
}

void FilterDesk::Drop(uint32_t filter) {
  const Lock lock(mutex_);
  const std::deque<std::shared_ptr<Question>> all = waiting_;
  for (const std::shared_ptr<Question>& question : all) {
    if (question->filter == filter) End(question.get(), Gone());
  }
}

std::shared_ptr<Question> FilterDesk::Take() {
  const Lock lock(mutex_);
  for (const std::shared_ptr<Question>& question : waiting_) {
    if (std::exchange(question->taken, true)) continue;
    const auto awaited = std::find(awaited_.begin(), awaited_.end(), question->control);
    if (question->control != nullptr && awaited != awaited_.end()) question->must_answer_now = true;
    return question;
  }
  return nullptr;
}

void FilterDesk::Answer(uint64_t number, Status status, std::string answer) {
  const Lock lock(mutex_);
  for (const std::shared_ptr<Question>& question : waiting_) {
    if (question->number != number) continue;
    question->answer = std::move(answer);
    return End(question.get(), std::move(status));
  }
}

// mutex_ held.
bool FilterDesk::HasUntaken() const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [](const auto& question) { return !question->taken; });
}

// mutex_ held through `lock`, released meanwhile. What JavaScript cannot be asked any more has no
// answer.
void FilterDesk::Serve(Lock* lock) {
  lock->unlock();
  const bool served = serve_();
  lock->lock();
  if (served) return;
  const std::deque<std::shared_ptr<Question>> all = waiting_;
  for (const std::shared_ptr<Question>& question : all) {
    if (!question->taken) End(question.get(), Gone());
  }
}

// Says whose questions must be answered now.
class FilterDesk::Awaiting {
 public:
  Awaiting(FilterDesk* desk, const JobControl* control) : desk_(desk) {
    desk_->awaited_.push_back(control);
  }
  ~Awaiting() { desk_->awaited_.pop_back(); }
  Awaiting(const Awaiting&) = delete;
  Awaiting& operator=(const Awaiting&) = delete;

 private:
  FilterDesk* const desk_;
};

Status FilterDesk::WaitFor(const JobControl* control,
                           const std::function<void(Completion)>& begin) {
  struct Outcome {
    bool done = false;  // mutex_, and status
    Status status;
  };
  const auto outcome = std::make_shared<Outcome>();
  const Awaiting awaiting(this, control);
  begin([desk = shared_from_this(), outcome](Status status) {
    const Lock lock(desk->mutex_);
    outcome->done = true;
    outcome->status = std::move(status);
    desk->changed_.notify_all();
  });
  Lock lock(mutex_);
  while (!outcome->done) {
    if (HasUntaken()) {
      Serve(&lock);
    } else {
      changed_.wait(lock);
    }
  }
  return outcome->status;
}

void FilterDesk::Detach() {
  const Lock lock(mutex_);
  detached_ = true;
  const std::deque<std::shared_ptr<Question>> all = std::move(waiting_);
  waiting_.clear();
  for (const std::shared_ptr<Question>& question : all) End(question.get(), Gone());
}

// --- ApplicationFilter -------------------------------------------------------------------------

Status ApplicationFilter::Judge(const std::vector<FilterEntry>& entries,
                                const FilterContext& context,
                                std::vector<FilterVerdict>* verdicts) {
  auto question = std::make_shared<Question>();
  question->number = NewQuestionNumber();
  question->filter = given_.number;
  question->count = static_cast<uint32_t>(entries.size());
  question->is_last_level = context.is_last_level;
  question->entries = Pack(entries);
  question->control = context.control;
  SHALE_RETURN_IF_ERROR(desk_->Ask(question, *this, given_.name, given_.patience_ms, context));
  if (Unpack(question->answer, entries.size(), verdicts)) return Status::Ok();
  return FilterFailure("the verdicts of a compaction filter are not packed as they should be",
                       question->number);
}

void ApplicationFilter::Drop() {
  CompactionFilter::Drop();
  desk_->Drop(given_.number);
}

}  // namespace shale
