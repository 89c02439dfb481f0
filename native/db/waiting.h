// Waiting: the calling thread waits for the completion of an async call.
//
// With a manual executor nothing else would run, so the waiting thread runs the work itself.
// Threads: one waits; the completion may come from any.
#pragma once

#include <memory>

#include "db/executor.h"

namespace shale {

// Waits for one completion.
class Waiting {
 public:
  Waiting(Vfs* vfs, Executor* executor);
  Completion Callback();
  Status Wait();

 private:
  struct State;
  Vfs* const vfs_;
  Executor* const executor_;
  const std::shared_ptr<State> state_;
};

}  // namespace shale
