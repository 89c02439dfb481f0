#include "binding/question_desk.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include "vfs/vfs.h"

namespace shale {
namespace {

// How often a job that waits looks whether it was stopped.
constexpr uint64_t kSliceNanos = 5'000'000;

uint64_t NewQuestionNumber() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Status Gone() { return {Code::kAborted, "who was to answer has closed"}; }

}  // namespace

Question::Question() : number(NewQuestionNumber()) {}

QuestionDesk::QuestionDesk(Ref<Channel> channel, std::function<bool()> serve)
    : channel_(std::move(channel)), serve_(std::move(serve)), thread_(std::this_thread::get_id()) {}

Status QuestionDesk::Ask(const std::shared_ptr<Question>& question, const Patience& patience) {
  const bool is_own_thread = std::this_thread::get_id() == thread_;
  question->must_answer_now = is_own_thread;
  const uint64_t deadline = Vfs::Real()->MonotonicNanos() + patience.ms * 1'000'000;
  Lock lock(mutex_);
  if (detached_ || !patience.is_alive()) return Gone();
  waiting_.push_back(question);
  changed_.notify_all();
  lock.unlock();
  channel_->PostQuestion();
  lock.lock();
  if (is_own_thread) Serve(&lock);
  while (!question->done) {
    const uint64_t now = Vfs::Real()->MonotonicNanos();
    if (now >= deadline) {
      End(question.get(), ApplicationFailure(patience.who + " gave no answer within " +
                                                 std::to_string(patience.ms) + " ms",
                                             question->number));
      break;
    }
    changed_.wait_for(lock, std::chrono::nanoseconds(std::min(kSliceNanos, deadline - now)));
    if (question->done) break;
    lock.unlock();
    Status status = patience.may_wait();
    lock.lock();
    if (!status.ok() && !question->done) End(question.get(), std::move(status));
  }
  return question->status;
}

// mutex_ held.
void QuestionDesk::End(Question* question, Status status) {
  question->done = true;
  question->status = std::move(status);
  std::erase_if(waiting_, [question](const auto& other) { return other.get() == question; });
  changed_.notify_all();
}

void QuestionDesk::Drop(uint32_t source) {
  const Lock lock(mutex_);
  const std::deque<std::shared_ptr<Question>> all = waiting_;
  for (const std::shared_ptr<Question>& question : all) {
    if (question->source == source) End(question.get(), Gone());
  }
}

std::shared_ptr<Question> QuestionDesk::Take() {
  const Lock lock(mutex_);
  for (const std::shared_ptr<Question>& question : waiting_) {
    if (std::exchange(question->taken, true)) continue;
    const auto awaited = std::find(awaited_.begin(), awaited_.end(), question->control);
    if (question->control != nullptr && awaited != awaited_.end()) question->must_answer_now = true;
    return question;
  }
  return nullptr;
}

// mutex_ held.
Question* QuestionDesk::Find(uint64_t number) const {
  for (const std::shared_ptr<Question>& question : waiting_) {
    if (question->number == number) return question.get();
  }
  return nullptr;
}

void QuestionDesk::Answer(uint64_t number, std::string answer) {
  const Lock lock(mutex_);
  Question* question = Find(number);
  if (question == nullptr) return;
  question->answer = std::move(answer);
  End(question, Status::Ok());
}

void QuestionDesk::AnswerPlan(uint64_t number, std::optional<CompactionPlan> plan) {
  const Lock lock(mutex_);
  Question* question = Find(number);
  if (question == nullptr) return;
  question->plan = std::move(plan);
  End(question, Status::Ok());
}

void QuestionDesk::Fail(uint64_t number, Status status) {
  const Lock lock(mutex_);
  if (Question* question = Find(number); question != nullptr) End(question, std::move(status));
}

// mutex_ held.
bool QuestionDesk::HasUntaken() const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [](const auto& question) { return !question->taken; });
}

// mutex_ held through `lock`, released meanwhile. What JavaScript cannot be asked any more has no
// answer.
void QuestionDesk::Serve(Lock* lock) {
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
class QuestionDesk::Awaiting {
 public:
  Awaiting(QuestionDesk* desk, const JobControl* control) : desk_(desk) {
    desk_->awaited_.push_back(control);
  }
  ~Awaiting() { desk_->awaited_.pop_back(); }
  Awaiting(const Awaiting&) = delete;
  Awaiting& operator=(const Awaiting&) = delete;

 private:
  QuestionDesk* const desk_;
};

Status QuestionDesk::WaitFor(const JobControl* control,
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

void QuestionDesk::Detach() {
  const Lock lock(mutex_);
  detached_ = true;
  const std::deque<std::shared_ptr<Question>> all = std::move(waiting_);
  waiting_.clear();
  for (const std::shared_ptr<Question>& question : all) End(question.get(), Gone());
}

}  // namespace shale
