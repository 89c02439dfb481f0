// Compaction filters and strategies: giving them, taking their questions, answering.

#include "binding/filter_binding.h"

#include <utility>

#include "binding/application_filter.h"
#include "binding/application_strategy.h"
#include "binding/js_object.h"
#include "binding/open_core.h"
#include "binding/options_binding.h"
#include "binding/view.h"

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
    *filter = std::make_shared<ApplicationFilter>(environment->questions(), std::move(application));
  }
  if (reader.ok()) return Status::Ok();
  return {Code::kInvalidOption, "a compaction filter is not what lib/native makes"};
}

Status ReadUserStrategy(Environment* environment, napi_value given,
                        std::shared_ptr<UserStrategy>* strategy) {
  const napi_env env = environment->env();
  napi_value setting = nullptr;
  napi_value source = nullptr;
  if (!JsReader(env, given).Get("compaction", &setting)) return Status::Ok();
  JsReader reader(env, setting);
  if (!reader.Get("source", &source)) return Status::Ok();
  ApplicationStrategy::Given application;
  reader.Text("name", &application.name);
  JsReader from(env, source);
  from.Number("number", &application.number);
  from.Number("patience", &application.patience_ms);
  *strategy =
      std::make_shared<ApplicationStrategy>(environment->questions(), std::move(application));
  if (reader.ok() && from.ok()) return Status::Ok();
  return {Code::kInvalidOption, "a compaction strategy is not what lib/native makes"};
}

namespace {

// Argument: the function that takes questions and answers them; it does not throw.
napi_value OnQuestions(Call<1>& call) {
  call.environment->SetQuestionServer(call.arguments[0]);
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

// What a strategy is asked: a VersionData and its context.
napi_value StrategyQuestion(napi_env env, const Question& question) {
  const StrategyContext& context = question.context;
  return JsObject(env)
      .Set("version", VersionObject(env, *question.tree->version))
      .Set("busyTables",
           JsArray(env, context.busy_tables,
                   [env](uint64_t id) { return JsNumber(env, static_cast<double>(id)); }))
      .Number("now", context.now_ms)
      .Real("seenBelow", static_cast<double>(context.seen_below))
      .value();
}

// What is asked, or undefined if nothing is: of a filter packed entries (application_filter.h), of
// a strategy an object. kMetaNumber: the question; kMetaCount: the filter or strategy; kMetaLength:
// how many entries; kMetaFlags.
napi_value TakeQuestion(Call<0>& call) {
  Environment* e = call.environment;
  for (;;) {
    const std::shared_ptr<Question> question = e->questions()->Take();
    if (question == nullptr) return nullptr;
    napi_value asked = question->tree ? StrategyQuestion(call.env, *question)
                                      : JsBytes(call.env, question->entries);
    if (asked == nullptr) {
      napi_value pending = nullptr;
      (void)napi_get_and_clear_last_exception(call.env, &pending);
      e->questions()->Fail(question->number, Code::kOutOfMemory);
      continue;
    }
    call.meta[kMetaCount] = question->source;
    call.meta[kMetaLength] = question->count;
    call.meta[kMetaFlags] = (question->is_last_level ? kQuestionLastLevel : 0) |
                            (question->must_answer_now ? kQuestionNow : 0);
    e->SetDouble(kMetaNumber, static_cast<double>(question->number));
    return asked;
  }
}

uint64_t QuestionNumber(const Environment* environment) {
  return static_cast<uint64_t>(environment->Double(kMetaNumber));
}

// kMetaNumber: the question; argument: the verdicts (application_filter.h).
napi_value AnswerQuestion(Call<1>& call) {
  Slice verdicts;
  if (!BorrowBytes(call.env, call.arguments[0], &verdicts)) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  const uint64_t number = QuestionNumber(call.environment);
  call.environment->questions()->Answer(number, verdicts.ToString());
  call.SetStatus(0);
  return nullptr;
}

// kMetaNumber: the question; argument: a PlanData, or undefined.
napi_value AnswerWithPlan(Call<1>& call) {
  const uint64_t number = QuestionNumber(call.environment);
  napi_valuetype type = napi_undefined;
  CompactionPlan plan;
  if (napi_typeof(call.env, call.arguments[0], &type) == napi_ok && type == napi_undefined) {
    call.environment->questions()->AnswerPlan(number, std::nullopt);
  } else if (Status status = ReadPlan(call.env, call.arguments[0], &plan); status.ok()) {
    call.environment->questions()->AnswerPlan(number, std::move(plan));
  } else {
    call.environment->questions()->Fail(number, std::move(status));
  }
  call.SetStatus(0);
  return nullptr;
}

// kMetaNumber: the question; argument: why there is no answer. kMetaFlags: kQuestionNow if the
// filter is not to blame: it would have answered later.
napi_value FailQuestion(Call<1>& call) {
  JsReader reader(call.env, nullptr);
  ErrorDetails details;
  details.message = reader.ToText(call.arguments[0]);
  details.from_application = (call.meta[kMetaFlags] & kQuestionNow) == 0;
  details.question = QuestionNumber(call.environment);
  call.environment->questions()->Fail(details.question, {Code::kAborted, std::move(details)});
  call.SetStatus(0);
  return nullptr;
}

constexpr Export kExports[] = {
    {"onQuestions", Enter<1, OnQuestions>},
    {"addFilter", Enter<2, AddFilter>},
    {"releaseCompactions", Enter<0, ReleaseCompactions>},
    {"takeQuestion", Enter<0, TakeQuestion>},
    {"answerQuestion", Enter<1, AnswerQuestion>},
    {"answerWithPlan", Enter<1, AnswerWithPlan>},
    {"failQuestion", Enter<1, FailQuestion>},
};

}  // namespace

Exports FilterExports() { return kExports; }

}  // namespace shale
