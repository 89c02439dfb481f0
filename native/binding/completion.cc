#include "binding/completion.h"

#include <utility>

#include "binding/protocol.h"

namespace shale {
namespace {

// Turns a chain around without recursion or allocation.
std::unique_ptr<Answer> Reverse(std::unique_ptr<Answer> chain) {
  std::unique_ptr<Answer> reversed;
  while (chain != nullptr) {
    std::unique_ptr<Answer> rest = std::move(chain->next);
    chain->next = std::move(reversed);
    reversed = std::move(chain);
    chain = std::move(rest);
  }
  return reversed;
}

// A chain frees itself link by link: the destructor of a long one must not recurse.
void Drop(std::unique_ptr<Answer> chain) {
  while (chain != nullptr) chain = std::move(chain->next);
}

void CallDeliver(napi_env env, napi_value deliver, void*, void*) {
  if (env == nullptr) return;  // the environment is going away
  napi_value undefined;
  if (napi_get_undefined(env, &undefined) != napi_ok) return;
  // A failure here is an exception on its way to the event loop: Node reports it.
  (void)napi_call_function(env, undefined, deliver, 0, nullptr, nullptr);
}

}  // namespace

Ref<Channel> Channel::Create(napi_env env, napi_value deliver) {
  Ref<Channel> channel = Ref<Channel>::Adopt(new Channel(env));
  napi_value name;
  napi_threadsafe_function function = nullptr;
  if (napi_create_string_latin1(env, "shale", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, deliver, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                      CallDeliver, &function) != napi_ok ||
      napi_unref_threadsafe_function(env, function) != napi_ok) {
    return {};
  }
  channel->function_ = function;
  return channel;
}

Channel::~Channel() {
  Drop(std::move(incoming_));
  Drop(std::move(outgoing_));
}

void Channel::Post(std::unique_ptr<Answer> answer) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (function_ == nullptr) return;
  const bool wake = incoming_ == nullptr;
  answer->next = std::move(incoming_);
  incoming_ = std::move(answer);
  // The queue is unbounded and the function not closing: it cannot refuse. Its own lock is a leaf.
  if (wake) (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void Channel::Wake() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (function_ != nullptr) {
    (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
  }
}

void Channel::PostQuestion() {
  auto answer = std::make_unique<Answer>();
  answer->operation = kOperationQuestion;
  answer->is_owed = false;
  Post(std::move(answer));
}

void Channel::Begin() {
  if (owed_++ == 0) (void)napi_ref_threadsafe_function(env_, function_);
}

std::unique_ptr<Answer> Channel::Take() {
  if (outgoing_ == nullptr) {
    std::unique_ptr<Answer> arrived;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      arrived = std::move(incoming_);
    }
    outgoing_ = Reverse(std::move(arrived));
    if (outgoing_ == nullptr) return nullptr;
  }
  std::unique_ptr<Answer> first = std::move(outgoing_);
  outgoing_ = std::move(first->next);
  if (first->is_owed && --owed_ == 0 && function_ != nullptr) {
    (void)napi_unref_threadsafe_function(env_, function_);
  }
  return first;
}

void Channel::Detach() {
  std::unique_ptr<Answer> dropped;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    // Node closes the function itself when the environment ends, after the hook that calls this.
    function_ = nullptr;
    dropped = std::move(incoming_);
  }
  Drop(std::move(dropped));
  Drop(std::move(outgoing_));
}

Reply::~Reply() {
  if (owed_ && answer_ != nullptr) Send(Code::kDbClosed);
}

void Reply::Owe() {
  owed_ = true;
  channel_->Begin();
}

void Reply::Send(Status status) noexcept {
  answer_->status = std::move(status);
  channel_->Post(std::move(answer_));
}

}  // namespace shale
