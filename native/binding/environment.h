// Environment: what one copy of lib/native holds in one Node environment: its register file, slab,
// handles, channel and threads for calls that block.
//
// bind() makes one and returns the functions of the addon with it as their data. Two copies of the
// library in one environment that load it have one each; so has every worker thread.
//
// Threads: the environment's own, but for Channel and what Workers run.
// Lifetime: from bind() to the environment's clean-up hook, which drops answers to come, waits for
// running work, closes what JavaScript left open and frees it. No JavaScript runs after that.
#pragma once

#include <node_api.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "binding/completion.h"
#include "binding/convert.h"
#include "binding/handle.h"
#include "binding/protocol.h"
#include "binding/question_desk.h"
#include "tree/super_version.h"

namespace shale {

// Threads for calls that block and have no asynchronous form in the core: open, close,
// openKeyspace. Started when needed, at most kThreads; they wait between calls.
class Workers {
 public:
  Workers() = default;
  ~Workers() { Stop(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void Submit(std::function<void()> work);
  // Waits for what runs, drops what has not begun.
  void Stop();

 private:
  void Run();
  void RunQueued();

  static constexpr size_t kThreads = 8;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;  // mutex_
  size_t idle_ = 0;                          // mutex_
  bool stopping_ = false;                    // mutex_
  std::vector<std::thread> threads_;         // the environment's thread
};

// The state that the calls of one getMany read from, so that all its keys are of one moment.
struct PinnedState {
  Ref<RefCounted> core;  // outlives the pin
  Ref<SuperVersion> super_version;
  Seqno read_seqno = 0;

  // Assigning would let the core go first.
  void Drop() { const PinnedState gone = std::move(*this); }
};

// Reads that missed memory in this tick of the event loop; see read_binding.cc.
class MissedReads;

class Environment {
 public:
  // napi callback: bind(registerFile, deliver) -> functions.
  static napi_value Bind(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }
  uint32_t* meta() const { return meta_; }
  char* slab() const { return slab_; }
  uint32_t slab_bytes() const { return slab_bytes_; }
  HandleTable& handles() { return handles_; }
  Workers& workers() { return workers_; }
  const Ref<Channel>& channel() const { return channel_; }
  // Where the filters and strategies that this environment gives are asked.
  const std::shared_ptr<QuestionDesk>& questions() const { return questions_; }

  double Double(uint32_t word) const {
    double value;
    std::memcpy(&value, meta_ + word, sizeof(value));
    return value;
  }
  void SetDouble(uint32_t word, double value) { std::memcpy(meta_ + word, &value, sizeof(value)); }

  // Leaves the outcome in kMetaStatus: 0, or a status whose details lastError() tells.
  void Report(Status status) {
    if (status.ok()) {
      meta_[kMetaStatus] = 0;
    } else {
      Fail(std::move(status));
    }
  }
  void Fail(Status status);
  // Of a read that gave nothing: absence and "not in memory" carry no details.
  void ReportRead(Status status) {
    if (status.Is(Code::kNotFound) || status.Is(Code::kWouldBlock)) {
      meta_[kMetaStatus] = kStatusMin + static_cast<uint32_t>(status.code());
    } else {
      Fail(std::move(status));
    }
  }
  // The outcome of an asynchronous call: nothing more to come, or an answer is owed.
  void ReportAsync(Status status, std::shared_ptr<Reply> reply);
  // The outcome of a call that makes a handle: its number is left in kMetaHandle.
  void ReportMade(Status status, const Answer& answer);
  Status AddMade(const Answer& answer, uint32_t* number);
  const Status& last_error() const { return last_error_; }

  // A reply to be filed under kMetaOperation; given back by ReportAsync when it was not needed.
  std::shared_ptr<Reply> PrepareReply();
  // Runs `work` on a thread of this environment and sends what it returns.
  void RunAsync(std::function<Status(Answer*)> work);

  void SetSlab(napi_value slab);
  // What answers the questions there.
  void SetQuestionServer(napi_value serve);
  // The answers that were handed out last; JavaScript asks for their bytes and errors by index.
  std::vector<std::unique_ptr<Answer>>& taken() { return taken_; }

  Scratch key_scratch;
  Scratch value_scratch;
  PinnedState many;
  std::unique_ptr<MissedReads> missed;  // reads that wait for the end of the tick

 private:
  explicit Environment(napi_env env);
  ~Environment();
  static void CleanUp(void* environment);
  bool Init(napi_value meta, napi_value deliver);
  bool ServeQuestions() const;

  const napi_env env_;
  uint32_t* meta_ = nullptr;
  napi_ref meta_ref_ = nullptr;
  char* slab_ = nullptr;
  uint32_t slab_bytes_ = 0;
  napi_ref slab_ref_ = nullptr;
  Status last_error_;
  Ref<Channel> channel_;
  std::shared_ptr<QuestionDesk> questions_;
  napi_ref question_server_ = nullptr;
  std::shared_ptr<Reply> spare_reply_;
  std::vector<std::unique_ptr<Answer>> taken_;
  HandleTable handles_;
  Workers workers_;
};

// One call from JavaScript with up to kArguments arguments.
template <size_t kArguments>
struct Call {
  napi_env env;
  Environment* environment;
  uint32_t* meta;
  napi_value arguments[kArguments == 0 ? 1 : kArguments];

  void SetStatus(uint32_t status) const { meta[kMetaStatus] = status; }
  // Null, and the status says so, if kMetaHandle is not a `T`.
  template <typename T>
  T* Find() const {
    T* object = environment->handles().template Find<T>(meta[kMetaHandle]);
    if (object == nullptr) SetStatus(kStatusBadHandle);
    return object;
  }
};

// Every function of the addon enters here: the environment is its data, and running out of memory
// is a status like any other.
template <size_t kArguments, napi_value (*kBody)(Call<kArguments>&)>
napi_value Enter(napi_env env, napi_callback_info info) noexcept {
  Call<kArguments> call;
  size_t count = kArguments;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, call.arguments, nullptr, &data) != napi_ok) {
    return nullptr;
  }
  call.env = env;
  call.environment = static_cast<Environment*>(data);
  call.meta = call.environment->meta();
  try {
    return kBody(call);
  } catch (const std::bad_alloc&) {
    call.environment->Fail(Code::kOutOfMemory);
    return nullptr;
  }
}

// A function of the addon; each binding file has a list of its own.
struct Export {
  const char* name;
  napi_callback callback;
};
using Exports = std::span<const Export>;
Exports EnvironmentExports();
Exports ReadExports();
Exports ScanExports();
Exports DatabaseExports();
Exports MetricsExports();
Exports TreeExports();
Exports FilterExports();
Exports IngestionExports();

}  // namespace shale
