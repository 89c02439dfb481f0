// Bare trees: the caller supplies seqnos and says when to flush and compact.

#include <utility>

#include "binding/environment.h"
#include "binding/filter_binding.h"
#include "binding/open_core.h"
#include "binding/options_binding.h"
#include "binding/view.h"

namespace shale {
namespace {

Status Open(const std::string& path, const StandaloneOptions& options,
            const GivenTreeOptions& given, Answer* answer) {
  auto open = std::make_shared<OpenCore>();
  SHALE_RETURN_IF_ERROR(StandaloneTree::Open(Vfs::Real(), MakeThreadedExecutor(1), path, options,
                                             given.Merge(), &open->tree));
  if (options.filter != nullptr) open->filters.push_back(options.filter);
  open->NoteStrategy(nullptr, options.strategy);
  answer->make = [open] { return std::make_unique<CoreHandle>(open); };
  return Status::Ok();
}

// Arguments: path, TreeEngineSettings.
template <bool kAsync>
napi_value OpenTree(Call<2>& call) {
  Environment* e = call.environment;
  JsReader reader(call.env, nullptr);
  const std::string path = reader.ToText(call.arguments[0]);
  StandaloneOptions options;
  GivenTreeOptions given;
  Status status = ReadStandaloneOptions(call.env, call.arguments[1], &options, &given);
  napi_value filter = nullptr;
  if (status.ok() && JsReader(call.env, call.arguments[1]).Get("filter", &filter)) {
    status = ReadFilter(e, filter, &options.filter);
  }
  napi_value tree = nullptr;
  if (status.ok() && JsReader(call.env, call.arguments[1]).Get("tree", &tree)) {
    status = ReadUserStrategy(e, tree, &options.strategy);
  }
  if (!status.ok()) {
    e->Fail(std::move(status));
  } else if constexpr (kAsync) {
    e->RunAsync(
        [path, options, given](Answer* answer) { return Open(path, options, given, answer); });
  } else {
    Answer answer;
    status = Open(path, options, given, &answer);
    e->ReportMade(std::move(status), answer);
  }
  return nullptr;
}

// The tree of the core in kMetaHandle; null, and the status says so, once it is closing.
template <size_t kArguments>
OpenCore* FindTree(const Call<kArguments>& call) {
  auto* core = call.template Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  if (core->open->tree.get() == nullptr) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  call.SetStatus(0);
  return core->open.get();
}

// Makes the ReadTarget of the tree in kMetaHandle and returns its path.
napi_value DescribeTree(Call<0>& call) {
  if (FindTree(call) == nullptr) return nullptr;
  std::shared_ptr<OpenCore> open = call.Find<CoreHandle>()->open;
  call.meta[kMetaHandle] =
      call.environment->handles().Add(std::make_unique<ReadTarget>(open, Ref<Keyspace>()));
  call.SetStatus(0);
  return JsText(call.env, open->tree->path());
}

// A seqno that an entry may carry, from kMetaSeqno.
bool EntrySeqno(Environment* e, Seqno* seqno) {
  const double given = e->Double(kMetaSeqno);
  if (!(given >= 0 && given <= static_cast<double>(kSeqnoMax))) {
    e->Fail({Code::kInvalidArgument, "seqno must be a safe integer"});
    return false;
  }
  *seqno = static_cast<Seqno>(given);
  return true;
}

// kMetaHandle: the core; key in argument 0, value in argument 1; kMetaFlags: the kind; kMetaSeqno:
// of the entry. kMetaNumber, kMetaNumber2: bytes of the entry, of the memtable after it.
napi_value Add(Call<2>& call) {
  Environment* e = call.environment;
  OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &e->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  const auto kind = static_cast<Kind>(std::min(call.meta[kMetaFlags], 2u));
  ValueArgument value;
  if (kind == Kind::kValue && !value.Read(call.env, call.arguments[1], &e->value_scratch)) {
    call.SetStatus(kStatusBadValue);
    return nullptr;
  }
  Seqno seqno = 0;
  if (!EntrySeqno(e, &seqno)) return nullptr;
  uint64_t item_size = 0;
  uint64_t memtable_size = 0;
  Status status =
      open->tree->Add(kind, key.slice(), value.slice(), seqno, &item_size, &memtable_size);
  e->SetDouble(kMetaNumber, static_cast<double>(item_size));
  e->SetDouble(kMetaNumber2, static_cast<double>(memtable_size));
  e->Report(std::move(status));
  e->value_scratch.Trim();
  return nullptr;
}

// A range tombstone. kMetaHandle: the core; arguments: lower and upper, Uint8Array, the upper one
// or undefined; else as Add.
napi_value AddRange(Call<2>& call) {
  Environment* e = call.environment;
  OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  const Bounds range = ReadBounds(call.env, call.arguments[0], call.arguments[1]);
  Seqno seqno = 0;
  if (!EntrySeqno(e, &seqno)) return nullptr;
  uint64_t item_size = 0;
  uint64_t memtable_size = 0;
  Status status = open->tree->AddRange(range.lower.value_or(""), range.upper.value_or(""), seqno,
                                       &item_size, &memtable_size);
  e->SetDouble(kMetaNumber, static_cast<double>(item_size));
  e->SetDouble(kMetaNumber2, static_cast<double>(memtable_size));
  e->Report(std::move(status));
  return nullptr;
}

// kMetaNumber: the seqno.
napi_value GcSeqno(Call<0>& call) {
  const OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  call.environment->SetDouble(kMetaNumber, static_cast<double>(open->tree->gc_seqno()));
  return nullptr;
}

napi_value SetGcSeqno(Call<0>& call) {
  OpenCore* open = FindTree(call);
  Seqno seqno = 0;
  if (open == nullptr || !EntrySeqno(call.environment, &seqno)) return nullptr;
  call.environment->Report(open->tree->SetGcSeqno(seqno));
  return nullptr;
}

napi_value RotateTree(Call<0>& call) {
  OpenCore* open = FindTree(call);
  if (open != nullptr) call.meta[kMetaCount] = open->tree->RotateMemtable() ? 1 : 0;
  return nullptr;
}

template <bool kAsync>
napi_value FlushTree(Call<0>& call) {
  OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  if constexpr (kAsync) {
    std::shared_ptr<Reply> reply = call.environment->PrepareReply();
    open->tree->FlushAsync([reply](Status outcome) { reply->Send(std::move(outcome)); });
    call.environment->ReportAsync(Code::kWouldBlock, std::move(reply));
  } else {
    call.environment->Report(open->tree->Flush());
  }
  return nullptr;
}

// A handle to a job of the core in kMetaHandle.
template <size_t kArguments>
uint32_t AddJob(const Call<kArguments>& call, const std::shared_ptr<JobControl>& control) {
  const std::shared_ptr<OpenCore> open = call.template Find<CoreHandle>()->open;
  return call.environment->handles().Add(std::make_unique<JobHandle>(open, control));
}

// job(tree, control), and its outcome; out of memory is one as well.
template <typename Job>
Status Outcome(const Job& job, StandaloneTree* tree, JobControl* control) {
  try {
    return job(tree, control);
  } catch (const std::bad_alloc&) {
    return Code::kOutOfMemory;
  }
}

// Waits for job(tree, control), which may ask a filter of this environment meanwhile: it runs on a
// thread of its own, so that whatever that filter does, closing the tree included, can end it.
template <typename Job>
void RunJobHere(Environment* e, const Ref<StandaloneTree>& tree,
                const std::shared_ptr<JobControl>& control, Job job) {
  if (tree->tree()->filter() == nullptr) return e->Report(job(tree.get(), control.get()));
  e->Report(e->questions()->WaitFor(control.get(), [&](const Completion& told) {
    e->workers().Submit(
        [tree, control, job, told] { told(Outcome(job, tree.get(), control.get())); });
  }));
}

// Runs job(tree, control) here, or on a compaction thread with a job handle to watch it.
template <bool kAsync, typename Job>
void RunJob(const Call<1>& call, OpenCore* open, Job job) {
  Environment* e = call.environment;
  std::shared_ptr<JobControl> control = open->NewJob();
  if constexpr (!kAsync) {
    RunJobHere(e, Ref<StandaloneTree>(open->tree), control, std::move(job));
    return;
  }
  std::shared_ptr<Reply> reply = e->PrepareReply();
  const uint32_t handle = AddJob(call, control);
  Ref<StandaloneTree> tree = open->tree;
  const bool taken = open->tree->Submit(Lane::kCompaction, [tree, control, reply, job] {
    reply->Send(Outcome(job, tree.get(), control.get()));
  });
  if (!taken) e->handles().Remove(handle);
  call.meta[kMetaHandle] = handle;
  e->ReportAsync(taken ? Code::kWouldBlock : Code::kDbClosed, std::move(reply));
}

// Argument: PlanData, or the StrategySetting of a strategy that shall decide once.
template <bool kAsync>
napi_value CompactTree(Call<1>& call) {
  OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  Environment* e = call.environment;
  if (JsReader(call.env, call.arguments[0]).Has("kind")) {
    CompactionPlan plan;
    if (Status status = ReadPlan(call.env, call.arguments[0], &plan); !status.ok()) {
      e->Fail(std::move(status));
      return nullptr;
    }
    RunJob<kAsync>(call, open, [plan](StandaloneTree* tree, JobControl* control) {
      return tree->Compact(plan, control);
    });
    return nullptr;
  }
  StrategyOptions strategy;
  if (Status status = ReadStrategy(call.env, call.arguments[0], &strategy); !status.ok()) {
    e->Fail(std::move(status));
    return nullptr;
  }
  RunJob<kAsync>(call, open, [strategy](StandaloneTree* tree, JobControl* control) {
    return tree->CompactOnce(strategy, control);
  });
  return nullptr;
}

// The asynchronous form also makes a job.
template <bool kAsync, size_t kArguments>
void RunPlanner(Call<kArguments>& call, OpenCore* open, Planner planner) {
  Environment* e = call.environment;
  std::shared_ptr<JobControl> control = open->NewJob();
  if constexpr (!kAsync) {
    const auto begin = [&](Completion completion) {
      open->tree->RunAsync(std::move(planner), control, std::move(completion));
    };
    e->Report(e->questions()->WaitFor(control.get(), begin));
    return;
  }
  // Its own lane does the work: waiting there for it would be waiting for ever.
  std::shared_ptr<Reply> reply = e->PrepareReply();
  call.meta[kMetaHandle] = AddJob(call, control);
  open->tree->RunAsync(std::move(planner), control, [reply, tree = open->tree](Status status) {
    reply->Send(std::move(status));
  });
  e->ReportAsync(Code::kWouldBlock, std::move(reply));
}

// kMetaNumber: bytes of an output table, 0 = the strategy's.
template <bool kAsync>
napi_value CompactWholeTree(Call<1>& call) {
  OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  const auto size = static_cast<uint64_t>(std::max(call.environment->Double(kMetaNumber), 0.0));
  RunPlanner<kAsync>(call, open, [size](const Tree& tree) { return tree.MajorPlan(size); });
  return nullptr;
}

// Arguments: lower and upper, Uint8Array or undefined.
template <bool kAsync>
napi_value DropTreeRange(Call<2>& call) {
  OpenCore* open = FindTree(call);
  if (open == nullptr) return nullptr;
  const Bounds range = ReadBounds(call.env, call.arguments[0], call.arguments[1]);
  RunPlanner<kAsync>(call, open, [range](const Tree& tree) { return tree.DropRangePlan(range); });
  return nullptr;
}

constexpr Export kExports[] = {
    {"openTree", Enter<2, OpenTree<true>>},
    {"openTreeSync", Enter<2, OpenTree<false>>},
    {"describeTree", Enter<0, DescribeTree>},
    {"addSync", Enter<2, Add>},
    {"addRangeSync", Enter<2, AddRange>},
    {"gcSeqno", Enter<0, GcSeqno>},
    {"setGcSeqno", Enter<0, SetGcSeqno>},
    {"rotateTree", Enter<0, RotateTree>},
    {"flushTree", Enter<0, FlushTree<true>>},
    {"flushTreeSync", Enter<0, FlushTree<false>>},
    {"compactTree", Enter<1, CompactTree<true>>},
    {"compactTreeSync", Enter<1, CompactTree<false>>},
    {"dropTreeRange", Enter<2, DropTreeRange<true>>},
    {"dropTreeRangeSync", Enter<2, DropTreeRange<false>>},
    {"compactWholeTree", Enter<1, CompactWholeTree<true>>},
    {"compactWholeTreeSync", Enter<1, CompactWholeTree<false>>},
};

}  // namespace

Exports TreeExports() { return kExports; }

}  // namespace shale
