// QuestionDesk: where compactions leave questions for filters and strategies of the application,
// and the environment that gave those answers.
//
// The environment hears of a question on its channel. While its thread waits in a synchronous call
// for a job (WaitFor), it answers from there: its own job could not end otherwise, and those of the
// background that wait meanwhile are served as well.
//
// Threads: Ask and Drop from any, the rest on the environment's own.
// Invariants:
//   I1  who asks waits no longer than the patience of what is asked, and no longer than it may
//       wait: a stop, a Drop and the end of the environment end that;
//   I2  a question keeps no process alive.
// Lifetime: as long as a filter or strategy that asks here.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "binding/completion.h"
#include "binding/protocol.h"
#include "db/executor.h"
#include "tree/strategy.h"
#include "tree/super_version.h"

namespace shale {

struct JobControl;

struct Question {
  Question();
  const uint64_t number;  // in this process
  uint32_t source = 0;    // the filter or strategy, as JavaScript knows it
  // Of a filter:
  uint32_t count = 0;  // entries
  bool is_last_level = false;
  std::string entries;  // packed, see application_filter.h
  const JobControl* control = nullptr;
  // Of a strategy:
  Ref<SuperVersion> tree;
  StrategyContext context;

  bool must_answer_now = false;  // the thread that is to answer waits for the job
  // The desk's mutex:
  bool taken = false;
  bool done = false;
  Status status;
  std::string answer;                  // of a filter, packed
  std::optional<CompactionPlan> plan;  // of a strategy
};

// How long somebody waits for an answer.
struct Patience {
  uint64_t ms = 0;
  std::function<bool()> is_alive;    // whether what is asked is still there
  std::function<Status()> may_wait;  // asked again and again
  std::string who;                   // "the compaction filter 'x'"
};

class QuestionDesk : public std::enable_shared_from_this<QuestionDesk> {
 public:
  // `serve` calls into JavaScript, which takes and answers what there is; false if that is not
  // possible any more.
  QuestionDesk(Ref<Channel> channel, std::function<bool()> serve);

  // Waits for the answer. kAborted when who was to answer is gone, and what may_wait() says; an
  // ApplicationFailure when it has failed or was too slow.
  Status Ask(const std::shared_ptr<Question>& question, const Patience& patience);
  // Aborts those who wait for what is not there any more.
  void Drop(uint32_t source);

  // --- the environment's thread ---
  std::shared_ptr<Question> Take();  // the oldest one that nobody took; null: none
  // An answer that nobody waits for any more is dropped.
  void Answer(uint64_t number, std::string answer);
  void AnswerPlan(uint64_t number, std::optional<CompactionPlan> plan);
  void Fail(uint64_t number, Status status);
  // Begins a job and waits for its end; questions are answered meanwhile.
  Status WaitFor(const JobControl* control, const std::function<void(Completion)>& begin);
  void Detach();

 private:
  using Lock = std::unique_lock<std::mutex>;
  class Awaiting;

  Question* Find(uint64_t number) const;
  void End(Question* question, Status status);
  bool HasUntaken() const;
  void Serve(Lock* lock);

  const Ref<Channel> channel_;
  const std::function<bool()> serve_;
  const std::thread::id thread_;
  std::vector<const JobControl*> awaited_;  // own thread

  std::mutex mutex_;
  std::condition_variable changed_;
  bool detached_ = false;                          // mutex_
  std::deque<std::shared_ptr<Question>> waiting_;  // mutex_
};

}  // namespace shale
