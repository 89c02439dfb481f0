// Waiting: the calling thread waits for the completion of an async call.
// Threads: one waits; the completion may come from any.
#pragma once

#include <memory>

#include "db/executor.h"

namespace shale {

// Waits for one completion.
class Waiting {
 public:
  explicit Waiting(Executor* executor);
  Completion Callback();
  Status Wait();

 private:
  struct State;
  Executor* const executor_;
  const std::shared_ptr<State> state_;
};

}  // namespace shale
