// Compaction filters: giving them, taking their questions, answering.

#include "binding/filter_binding.h"

#include <utility>

#include "binding/js_object.h"
#include "binding/open_core.h"

namespace shale {

Status ReadFilter(Environment* environment, napi_value given,
                  std::shared_ptr<CompactionFilter>* filter) {
  const napi_env env = environment->env();
  JsReader reader(env, given);
  size_t type = 0;
  reader.Enum("type", {"ttl", "prefixes", "application"}, &type);
  if (type == 0) {
    size_t in_value = 0;
    uint64_t offset = 0;
    uint64_t ttl = 0;
    reader.Enum("in", {"key", "value"}, &in_value);
    reader.Number("offset", &offset);
    reader.Number("ttl", &ttl);
    *filter = MakeTtlFilter(in_value == 0, offset, ttl);
  } else if (type == 1) {
    std::vector<std::string> prefixes;
    reader.List("prefixes", &prefixes, [env](napi_value item) {
      Slice bytes;
      return BorrowBytes(env, item, &bytes) ? bytes.ToString() : std::string();
    });
    *filter = MakePrefixFilter(std::move(prefixes));
  } else {
    ApplicationFilter::Given application;
    reader.Number("number", &application.number);
    reader.Text("name", &application.name);
    reader.Bool("needsBlobValues", &application.needs_blob_values);
    reader.Number("patience", &application.patience_ms);
    *filter = std::make_shared<ApplicationFilter>(environment->filters(), std::move(application));
  }
  if (reader.ok()) return Status::Ok();
  return {Code::kInvalidOption, "a compaction filter is not what lib/native makes"};
}

namespace {

// Argument: the function that takes questions and answers them; it does not throw.
napi_value OnQuestions(Call<1>& call) {
  call.environment->SetFilterServer(call.arguments[0]);
  call.SetStatus(0);
  return nullptr;
}

// kMetaHandle: the core of a database; arguments: the name of a keyspace, and a filter for it.
napi_value AddFilter(Call<2>& call) {
  Environment* e = call.environment;
  auto* core = call.Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  OpenCore* open = core->open.get();
  if (open->database() == nullptr) {
    e->Fail(Code::kDbClosed);
    return nullptr;
  }
  JsReader reader(call.env, nullptr);
  const Ref<Keyspace> keyspace = open->database()->FindKeyspace(reader.ToText(call.arguments[0]));
  if (!keyspace) {
    e->Fail(Code::kKeyspaceNotFound);
    return nullptr;
  }
  std::shared_ptr<CompactionFilter> filter;
  Status status = ReadFilter(e, call.arguments[1], &filter);
  if (status.ok()) {
    open->filters.push_back(filter);
    keyspace->tree()->AddFilter(std::move(filter));
  }
  e->Report(std::move(status));
  return nullptr;
}

napi_value ReleaseCompactions(Call<0>& call) {
  const auto* core = call.Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  core->open->ReleaseCompactions();
  call.SetStatus(0);
  return nullptr;
}

// The entries of a question (filter_desk.h), or undefined. kMetaNumber: its number; kMetaCount: the
// filter; kMetaLength: how many entries; kMetaFlags.
napi_value TakeQuestion(Call<0>& call) {
  Environment* e = call.environment;
  for (;;) {
    const std::shared_ptr<Question> question = e->filters()->Take();
    if (question == nullptr) return nullptr;
    napi_value entries = JsBytes(call.env, question->entries);
    if (entries == nullptr) {
      napi_value pending = nullptr;
      (void)napi_get_and_clear_last_exception(call.env, &pending);
      e->filters()->Answer(question->number, Code::kOutOfMemory, {});
      continue;
    }
    call.meta[kMetaCount] = question->filter;
    call.meta[kMetaLength] = question->count;
    call.meta[kMetaFlags] = (question->is_last_level ? kQuestionLastLevel : 0) |
                            (question->must_answer_now ? kQuestionNow : 0);
    e->SetDouble(kMetaNumber, static_cast<double>(question->number));
    return entries;
  }
}

// kMetaNumber: the question; argument: the verdicts (filter_desk.h).
napi_value AnswerQuestion(Call<1>& call) {
  Slice verdicts;
  if (!BorrowBytes(call.env, call.arguments[0], &verdicts)) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  const auto number = static_cast<uint64_t>(call.environment->Double(kMetaNumber));
  call.environment->filters()->Answer(number, Status::Ok(), verdicts.ToString());
  call.SetStatus(0);
  return nullptr;
}

// kMetaNumber: the question; argument: why there is no answer. kMetaFlags: kQuestionNow if the
// filter is not to blame: it would have answered later.
napi_value FailQuestion(Call<1>& call) {
  JsReader reader(call.env, nullptr);
  const auto number = static_cast<uint64_t>(call.environment->Double(kMetaNumber));
  ErrorDetails details;
  details.message = reader.ToText(call.arguments[0]);
  details.from_filter = (call.meta[kMetaFlags] & kQuestionNow) == 0;
  details.filter_question = number;
  call.environment->filters()->Answer(number, {Code::kAborted, std::move(details)}, {});
  call.SetStatus(0);
  return nullptr;
}

constexpr Export kExports[] = {
    {"onQuestions", Enter<1, OnQuestions>},
    {"addFilter", Enter<2, AddFilter>},
    {"releaseCompactions", Enter<0, ReleaseCompactions>},
    {"takeQuestion", Enter<0, TakeQuestion>},
    {"answerQuestion", Enter<1, AnswerQuestion>},
    {"failQuestion", Enter<1, FailQuestion>},
};

}  // namespace

Exports FilterExports() { return kExports; }

}  // namespace shale
