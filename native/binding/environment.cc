#include "binding/environment.h"

#include <system_error>
#include <utility>

#include "binding/js_object.h"
#include "binding/missed_reads.h"
#include "binding/open_core.h"

namespace shale {

// --- Workers -----------------------------------------------------------------------------------

void Workers::Submit(std::function<void()> work) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(work));
    if (queue_.size() <= idle_ || threads_.size() >= kThreads) {
      wake_.notify_one();
      return;
    }
  }
  try {
    threads_.emplace_back([this] { Run(); });
  } catch (const std::system_error&) {
    // Those that there are come to it. Without any, late is better than never: it is done here.
    if (threads_.empty()) RunQueued();
  }
}

void Workers::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Workers::RunQueued() {
  std::function<void()> work;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work = std::move(queue_.front());
    queue_.pop_front();
  }
  work();
}

void Workers::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    if (queue_.empty()) {
      ++idle_;
      wake_.wait(lock);
      --idle_;
      continue;
    }
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // what it holds goes outside the lock
    lock.lock();
  }
}

// --- Environment -------------------------------------------------------------------------------

Environment::Environment(napi_env env) : missed(std::make_unique<MissedReads>()), env_(env) {}

// Pins before their cores, cores one by one; whatever an engine thread still holds of them goes
// when that thread lets go.
Environment::~Environment() {
  channel_->Detach();
  questions_->Detach();
  workers_.Stop();
  missed.reset();
  many.Drop();
  std::vector<std::shared_ptr<OpenCore>> cores;
  while (std::unique_ptr<Handle> handle = handles_.RemoveAny()) {
    if (handle->type() == CoreHandle::kType) {
      cores.push_back(static_cast<CoreHandle*>(handle.get())->open);
    }
  }
  for (const std::shared_ptr<OpenCore>& core : cores) (void)core->Close();
}

void Environment::CleanUp(void* environment) { delete static_cast<Environment*>(environment); }

bool Environment::Init(napi_value meta, napi_value deliver) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_valuetype callable = napi_undefined;
  if (napi_get_typedarray_info(env_, meta, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint32_array || length != kMetaWords ||
      napi_typeof(env_, deliver, &callable) != napi_ok || callable != napi_function ||
      napi_create_reference(env_, meta, 1, &meta_ref_) != napi_ok) {
    return false;
  }
  meta_ = static_cast<uint32_t*>(data);
  channel_ = Channel::Create(env_, deliver);
  questions_ = std::make_shared<QuestionDesk>(channel_, [this] { return ServeQuestions(); });
  return static_cast<bool>(channel_);
}

bool Environment::ServeQuestions() const {
  napi_handle_scope scope = nullptr;
  napi_value serve = nullptr;
  napi_value undefined = nullptr;
  if (question_server_ == nullptr || napi_open_handle_scope(env_, &scope) != napi_ok) return false;
  const bool served = napi_get_reference_value(env_, question_server_, &serve) == napi_ok &&
                      napi_get_undefined(env_, &undefined) == napi_ok &&
                      napi_call_function(env_, undefined, serve, 0, nullptr, nullptr) == napi_ok;
  (void)napi_close_handle_scope(env_, scope);
  return served;
}

napi_value Environment::Bind(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok) return nullptr;
  auto* environment = new (std::nothrow) Environment(env);
  if (environment == nullptr) return nullptr;
  napi_value functions;
  if (!environment->Init(arguments[0], arguments[1]) ||
      napi_create_object(env, &functions) != napi_ok) {
    napi_throw_type_error(env, nullptr, "bind takes a Uint32Array of kMetaWords and a function");
    return nullptr;
  }
  for (const Exports& exports :
       {EnvironmentExports(), ReadExports(), ScanExports(), DatabaseExports(), MetricsExports(),
        TreeExports(), FilterExports(), IngestionExports()}) {
    for (const Export& entry : exports) {
      napi_value function;
      if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.callback, environment,
                               &function) != napi_ok ||
          napi_set_named_property(env, functions, entry.name, function) != napi_ok) {
        return nullptr;
      }
    }
  }
  // Added after the channel's: hooks run last in, first out.
  if (napi_add_env_cleanup_hook(env, CleanUp, environment) != napi_ok) return nullptr;
  return functions;
}

void Environment::Fail(Status status) {
  meta_[kMetaStatus] = kStatusMin + static_cast<uint32_t>(status.code());
  last_error_ = std::move(status);
}

Status Environment::AddMade(const Answer& answer, uint32_t* number) {
  std::unique_ptr<Handle> handle = answer.make();
  if (handle == nullptr) return Code::kDbClosed;
  *number = handles_.Add(std::move(handle));
  if (*number == 0) return {Code::kOutOfMemory, "too many open handles"};
  return Status::Ok();
}

void Environment::ReportMade(Status status, const Answer& answer) {
  Report(status.ok() ? AddMade(answer, meta_ + kMetaHandle) : std::move(status));
}

std::shared_ptr<Reply> Environment::PrepareReply() {
  std::shared_ptr<Reply> reply = std::move(spare_reply_);
  if (reply == nullptr) reply = std::make_shared<Reply>(channel_);
  reply->answer().operation = meta_[kMetaOperation];
  return reply;
}

void Environment::ReportAsync(Status status, std::shared_ptr<Reply> reply) {
  if (status.Is(Code::kWouldBlock)) {
    reply->Owe();
    meta_[kMetaStatus] = kStatusPending;
    return;
  }
  spare_reply_ = std::move(reply);
  Report(std::move(status));
}

void Environment::RunAsync(std::function<Status(Answer*)> work) {
  std::shared_ptr<Reply> reply = PrepareReply();
  workers_.Submit([reply, work = std::move(work)] {
    Status status;
    try {
      status = work(&reply->answer());
    } catch (const std::bad_alloc&) {
      status = Code::kOutOfMemory;
    }
    reply->Send(std::move(status));
  });
  ReportAsync(Code::kWouldBlock, std::move(reply));
}

void Environment::SetSlab(napi_value slab) {
  Slice bytes;
  napi_ref reference = nullptr;
  if (!BorrowBytes(env_, slab, &bytes) ||
      napi_create_reference(env_, slab, 1, &reference) != napi_ok) {
    meta_[kMetaStatus] = kStatusBadArgument;
    return;
  }
  if (slab_ref_ != nullptr) (void)napi_delete_reference(env_, slab_ref_);
  slab_ref_ = reference;
  slab_ = const_cast<char*>(bytes.data());
  slab_bytes_ = static_cast<uint32_t>(bytes.size());
  meta_[kMetaStatus] = 0;
}

void Environment::SetQuestionServer(napi_value serve) {
  if (question_server_ != nullptr) (void)napi_delete_reference(env_, question_server_);
  question_server_ = nullptr;
  (void)napi_create_reference(env_, serve, 1, &question_server_);
}

// --- functions ---------------------------------------------------------------------------------

namespace {

napi_value SetSlab(Call<1>& call) {
  call.environment->SetSlab(call.arguments[0]);
  return nullptr;
}

// Fills one record; the bytes go to the slab at *offset where they are few and fit.
void WriteRecord(Environment* environment, Answer* answer, uint32_t* record, uint32_t* offset) {
  if (answer->status.ok() && answer->make != nullptr) {
    uint32_t handle = 0;
    try {
      answer->status = environment->AddMade(*answer, &handle);
    } catch (const std::bad_alloc&) {
      answer->status = Code::kOutOfMemory;
    }
    answer->number = handle;
  }
  const Code code = answer->status.code();
  record[kRecordOperation] = answer->operation;
  record[kRecordStatus] = code == Code::kOk ? 0 : kStatusMin + static_cast<uint32_t>(code);
  record[kRecordOffset] = kNotInSlab;
  record[kRecordLength] = static_cast<uint32_t>(answer->bytes.size());
  record[kRecordFlags] = answer->flags;
  std::memcpy(record + kRecordNumber, &answer->number, sizeof(double));
  const size_t size = answer->bytes.size();
  if (size < kOwnBufferMin && size <= environment->slab_bytes() - *offset) {
    std::memcpy(environment->slab() + *offset, answer->bytes.data(), size);
    record[kRecordOffset] = *offset;
    *offset =
        std::min((*offset + static_cast<uint32_t>(size) + 7) & ~7u, environment->slab_bytes());
  }
}

// kMetaCount answers, from kMetaOffset of the slab on.
napi_value TakeAnswers(Call<0>& call) {
  Environment* e = call.environment;
  std::vector<std::unique_ptr<Answer>>& taken = e->taken();
  taken.clear();
  taken.reserve(kRecordMax);
  uint32_t offset = std::min(call.meta[kMetaOffset], e->slab_bytes());
  while (taken.size() < kRecordMax) {
    std::unique_ptr<Answer> answer = e->channel()->Take();
    if (answer == nullptr) break;
    uint32_t* record = call.meta + kMetaRecords + taken.size() * kRecordWords;
    taken.push_back(std::move(answer));
    WriteRecord(e, taken.back().get(), record, &offset);
  }
  call.meta[kMetaCount] = static_cast<uint32_t>(taken.size());
  call.meta[kMetaOffset] = offset;
  call.SetStatus(0);
  return nullptr;
}

Answer* TakenAnswer(const Call<1>& call) {
  std::vector<std::unique_ptr<Answer>>& taken = call.environment->taken();
  const uint32_t index = call.meta[kMetaCount];
  return index < taken.size() ? taken[index].get() : nullptr;
}

// The bytes of answer kMetaCount into a buffer of at least their length.
napi_value TakeBytes(Call<1>& call) {
  Answer* answer = TakenAnswer(call);
  Slice target;
  if (answer == nullptr || !BorrowBytes(call.env, call.arguments[0], &target) ||
      target.size() < answer->bytes.size()) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  std::memcpy(const_cast<char*>(target.data()), answer->bytes.data(), answer->bytes.size());
  std::string().swap(answer->bytes);
  call.SetStatus(0);
  return nullptr;
}

// What is known about the failure of answer kMetaCount.
napi_value TakeError(Call<1>& call) {
  const Answer* answer = TakenAnswer(call);
  return answer == nullptr ? nullptr : ErrorObject(call.env, answer->status);
}

napi_value LastError(Call<0>& call) {
  return ErrorObject(call.env, call.environment->last_error());
}

// Gives a handle up. A database or tree is closed, in the background: this is for what was
// abandoned.
template <bool kAbandoned>
napi_value Release(Call<0>& call) {
  std::unique_ptr<Handle> handle = call.environment->handles().Remove(call.meta[kMetaHandle]);
  call.SetStatus(0);
  if (kAbandoned && handle != nullptr) handle->OnAbandoned();
  if (handle == nullptr || handle->type() != CoreHandle::kType) return nullptr;
  std::shared_ptr<OpenCore> open = static_cast<CoreHandle*>(handle.get())->open;
  if (open->BeginClose()) {
    std::shared_ptr<Closing> closing = open->closing;
    call.environment->workers().Submit([closing] { (void)closing->RunOrWait(); });
  }
  return nullptr;
}

constexpr Export kExports[] = {
    {"setSlab", Enter<1, SetSlab>},       {"takeAnswers", Enter<0, TakeAnswers>},
    {"takeBytes", Enter<1, TakeBytes>},   {"takeError", Enter<1, TakeError>},
    {"lastError", Enter<0, LastError>},   {"release", Enter<0, Release<false>>},
    {"abandon", Enter<0, Release<true>>},
};

}  // namespace

Exports EnvironmentExports() { return kExports; }

}  // namespace shale
