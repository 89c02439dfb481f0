#include "db/waiting.h"

#include <condition_variable>
#include <mutex>
#include <utility>

namespace shale {

struct Waiting::State {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  Status status;
};

Waiting::Waiting(Executor* executor) : executor_(executor), state_(std::make_shared<State>()) {}

Completion Waiting::Callback() {
  return [state = state_](Status status) {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->done = true;
    state->status = std::move(status);
    state->changed.notify_all();
  };
}

Status Waiting::Wait() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  while (!state_->done) executor_->WaitFor(&state_->changed, &lock);
  return state_->status;
}

}  // namespace shale
