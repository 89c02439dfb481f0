// FilterDesk: where compactions leave questions for filters of the application, and the environment
// that gave those filters answers.
//
// The environment hears of a question on its channel. While its thread waits in a synchronous call
// for a job (WaitFor), it answers from there: its own job could not end otherwise, and those of the
// background that wait meanwhile are served as well.
//
// A question is packed: of each entry the lengths of key and value (u32 each; the latter is
// kNoValue if there is none), then the bytes of all of them. So is an answer: a byte for each entry
// (Verdict), then the length (u32) and the bytes of each new value.
//
// Threads: Ask and Drop from any, the rest on the environment's own.
// Invariants:
//   I1  a job waits no longer than its filter's patience, and ends at once when it is stopped, when
//       its filter is dropped, and when the environment ends;
//   I2  a question keeps no process alive.
// Lifetime: as long as a filter that asks here.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "binding/completion.h"
#include "binding/protocol.h"
#include "db/executor.h"
#include "tree/compaction_filter.h"

namespace shale {

struct Question {
  uint64_t number = 0;  // in this process
  uint32_t filter = 0;  // as JavaScript knows it
  uint32_t count = 0;   // entries
  bool is_last_level = false;
  std::string entries;  // packed
  const JobControl* control = nullptr;
  bool must_answer_now = false;  // the thread that is to answer waits for the job

  // The desk's mutex:
  bool taken = false;
  bool done = false;
  Status status;
  std::string answer;  // packed
};

class FilterDesk : public std::enable_shared_from_this<FilterDesk> {
 public:
  // `serve` calls into JavaScript, which takes and answers what there is; false if that is not
  // possible any more.
  FilterDesk(Ref<Channel> channel, std::function<bool()> serve);

  // Waits for the answer. `name` is that of the filter, for messages.
  Status Ask(const std::shared_ptr<Question>& question, const CompactionFilter& filter,
             const std::string& name, uint64_t patience_ms, const FilterContext& context);
  // Aborts those who wait for a filter that is not alive any more.
  void Drop(uint32_t filter);

  // --- the environment's thread ---
  std::shared_ptr<Question> Take();  // the oldest one that nobody took; null: none
  // An answer that nobody waits for any more is dropped.
  void Answer(uint64_t number, Status status, std::string answer);
  // Begins a job and waits for its end; questions are answered meanwhile.
  Status WaitFor(const JobControl* control, const std::function<void(Completion)>& begin);
  void Detach();

 private:
  using Lock = std::unique_lock<std::mutex>;
  class Awaiting;

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

// A filter that is a function of the application.
class ApplicationFilter final : public CompactionFilter {
 public:
  struct Given {
    uint32_t number = 0;
    std::string name;
    bool needs_blob_values = true;
    uint64_t patience_ms = 0;
  };
  ApplicationFilter(std::shared_ptr<FilterDesk> desk, Given given)
      : desk_(std::move(desk)), given_(std::move(given)) {}

  bool needs_blob_values() const override { return given_.needs_blob_values; }
  Status Judge(const std::vector<FilterEntry>& entries, const FilterContext& context,
               std::vector<FilterVerdict>* verdicts) override;
  void Drop() override;

 private:
  const std::shared_ptr<FilterDesk> desk_;
  const Given given_;
};

}  // namespace shale
