// Completion: the one way from the engine's threads back to JavaScript.
//
// An asynchronous call leaves a Reply with the engine; the answer is put on the channel of the
// environment that called, which wakes its event loop once for however many answers there are by
// then.
//
// Threads: Reply and Channel::Post from any; the rest of Channel on the environment's own thread.
// Invariants:
//   I1  every Reply answers exactly once: what is dropped unanswered answers DB_CLOSED;
//   I2  an answer to a call costs no allocation: its memory is taken when the call begins;
//   I3  after Detach nothing touches the environment; answers that come then are dropped.
// Lifetime: the channel lives as long as anyone who may still post. It keeps the event loop alive
// only while an answer is outstanding.
#pragma once

#include <node_api.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/ref.h"
#include "base/status.h"
#include "binding/handle.h"

namespace shale {

struct Answer {
  uint32_t operation = 0;
  bool is_owed = true;  // else nobody called: it says that a question waits
  Status status;
  std::string bytes;
  double number = 0;
  uint32_t flags = 0;
  // Makes the handle that is the answer, on the environment's thread; null if its core is closing.
  std::function<std::unique_ptr<Handle>()> make;
  std::unique_ptr<Answer> next;
};

class Channel : public RefCounted {
 public:
  // `deliver` is called on the environment's thread when there are answers. Null if Node refuses.
  static Ref<Channel> Create(napi_env env, napi_value deliver);

  void Post(std::unique_ptr<Answer> answer);
  // `deliver` is called although no answer may have come.
  void Wake();
  // Says that a question waits (question_desk.h).
  void PostQuestion();

  // --- the environment's thread ---
  void Begin();                    // one more answer is owed
  std::unique_ptr<Answer> Take();  // the oldest one, or null
  void Detach();

 private:
  explicit Channel(napi_env env) : env_(env) {}
  ~Channel() override;

  const napi_env env_;
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;  // mutex_; null once detached
  std::unique_ptr<Answer> incoming_;             // mutex_; newest first
  std::unique_ptr<Answer> outgoing_;             // own thread; oldest first
  uint32_t owed_ = 0;                            // own thread
};

// Made before the engine is asked, by the environment's thread, which holds a count until it knows
// that an answer will come (Owe) or did not become necessary.
class Reply {
 public:
  explicit Reply(Ref<Channel> channel)
      : channel_(std::move(channel)), answer_(std::make_unique<Answer>()) {}
  ~Reply();
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  // Filled in before Send.
  Answer& answer() { return *answer_; }
  void Send(Status status) noexcept;
  void Owe();

 private:
  Ref<Channel> channel_;
  std::unique_ptr<Answer> answer_;
  bool owed_ = false;
};

}  // namespace shale
