// Databases and keyspaces: opening, writing, maintenance, closing.

#include <utility>

#include "binding/environment.h"
#include "binding/filter_binding.h"
#include "binding/open_core.h"
#include "binding/options_binding.h"
#include "binding/view.h"

namespace shale {
namespace {

// --- opening and closing -----------------------------------------------------------------------

Status Open(const std::string& path, const DatabaseOptions& options, Answer* answer) {
  auto open = std::make_shared<OpenCore>();
  SHALE_RETURN_IF_ERROR(DatabaseHandle::Open(path, options, &open->handle));
  answer->make = [open] { return std::make_unique<CoreHandle>(open); };
  return Status::Ok();
}

// Arguments: path, DatabaseSettings.
template <bool kAsync>
napi_value OpenDatabase(Call<2>& call) {
  JsReader reader(call.env, nullptr);
  const std::string path = reader.ToText(call.arguments[0]);
  DatabaseOptions options;
  if (Status status = ReadDatabaseOptions(call.env, call.arguments[1], &options); !status.ok()) {
    call.environment->Fail(std::move(status));
  } else if constexpr (kAsync) {
    call.environment->RunAsync(
        [path, options](Answer* answer) { return Open(path, options, answer); });
  } else {
    Answer answer;
    status = Open(path, options, &answer);
    call.environment->ReportMade(std::move(status), answer);
  }
  return nullptr;
}

// The open core in kMetaHandle; null, and the status says so, once it is closing.
template <size_t kArguments>
OpenCore* FindOpen(const Call<kArguments>& call) {
  auto* core = call.template Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  if (core->open->closed()) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  call.SetStatus(0);
  return core->open.get();
}

template <size_t kArguments>
Database* FindDatabase(const Call<kArguments>& call) {
  OpenCore* open = FindOpen(call);
  if (open == nullptr) return nullptr;
  if (open->database() == nullptr) call.SetStatus(kStatusBadHandle);
  return open->database();
}

napi_value DescribeDatabase(Call<0>& call) {
  const Database* database = FindDatabase(call);
  if (database == nullptr) return nullptr;
  return JsObject(call.env)
      .Text("path", database->path())
      .Set("recovery", RecoveryObject(call.env, database->recovery()))
      .value();
}

// kMetaCount: DatabaseStatus.
napi_value StatusOfDatabase(Call<0>& call) {
  const Database* database = FindDatabase(call);
  if (database != nullptr) call.meta[kMetaCount] = static_cast<uint32_t>(database->status());
  return nullptr;
}

// Databases and bare trees. From the call on everything that goes through this handle is DB_CLOSED.
napi_value CloseCore(Call<0>& call) {
  auto* core = call.Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  core->open->BeginClose();
  call.environment->RunAsync(
      [closing = core->open->closing](Answer*) { return closing->RunOrWait(); });
  return nullptr;
}

napi_value CloseCoreSync(Call<0>& call) {
  auto* core = call.Find<CoreHandle>();
  if (core != nullptr) call.environment->Report(core->open->Close());
  return nullptr;
}

// --- keyspaces ---------------------------------------------------------------------------------

// Argument: the name, TreeSettingsGiven. The handle made is a ReadTarget.
template <bool kAsync>
napi_value OpenKeyspace(Call<2>& call) {
  auto* core = call.Find<CoreHandle>();
  if (core == nullptr || FindDatabase(call) == nullptr) return nullptr;
  JsReader reader(call.env, nullptr);
  const std::string name = reader.ToText(call.arguments[0]);
  GivenTreeOptions given;
  std::shared_ptr<UserStrategy> strategy;
  Status status = GivenTreeOptions::Read(call.env, call.arguments[1], &given);
  if (status.ok()) status = ReadUserStrategy(call.environment, call.arguments[1], &strategy);
  if (!status.ok()) {
    call.environment->Fail(std::move(status));
    return nullptr;
  }
  const auto open = [open = core->open, database = Ref<Database>::Share(core->open->database()),
                     name, given, strategy](Answer* answer) {
    Ref<Keyspace> keyspace;
    SHALE_RETURN_IF_ERROR(database->OpenKeyspace(name, given.Merge(), &keyspace, strategy));
    answer->make = [open, keyspace, strategy] {
      open->NoteStrategy(keyspace.get(), strategy);
      return std::make_unique<ReadTarget>(open, keyspace);
    };
    return Status::Ok();
  };
  if constexpr (kAsync) {
    call.environment->RunAsync(open);
  } else {
    Answer answer;
    status = open(&answer);
    call.environment->ReportMade(std::move(status), answer);
  }
  return nullptr;
}

template <size_t kArguments>
ReadTarget* FindKeyspace(const Call<kArguments>& call) {
  auto* target = call.template Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  if (target->keyspace() == nullptr) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  call.SetStatus(0);
  return target;
}

napi_value DescribeKeyspace(Call<0>& call) {
  const auto* target = call.template Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  call.SetStatus(0);
  return JsObject(call.env).Number("id", target->id()).Text("name", target->name()).value();
}

napi_value KeyspaceNames(Call<0>& call) {
  const Database* database = FindDatabase(call);
  if (database == nullptr) return nullptr;
  return JsArray(call.env, database->KeyspaceNames(),
                 [&call](const std::string& name) { return JsText(call.env, name); });
}

// --- writes ------------------------------------------------------------------------------------

Durability DurabilityOf(const uint32_t* meta) {
  return static_cast<Durability>(std::min(meta[kMetaFlags] & 3u, 2u));
}

// One entry: key in argument 0, value (unless it is a removal) in argument 1; kMetaFlags:
// durability and kind.
template <bool kAsync, bool kHasValue>
napi_value WriteEntry(Call<kHasValue ? 2 : 1>& call) {
  Environment* e = call.environment;
  auto* target = call.template Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &e->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  Database* const database = target->database();
  if (database == nullptr) {
    e->Fail(Code::kDbClosed);
    return nullptr;
  }
  ValueArgument given;
  Kind kind = Kind::kValue;
  if constexpr (kHasValue) {
    if (!given.Read(call.env, call.arguments[1], &e->value_scratch) ||
        given.slice().size() > database->options().max_value_size) {
      call.SetStatus(kStatusBadValue);
      return nullptr;
    }
  } else {
    const bool weak =
        (call.meta[kMetaFlags] >> kWriteKindShift) == static_cast<uint32_t>(Kind::kWeakTombstone);
    kind = weak ? Kind::kWeakTombstone : Kind::kTombstone;
  }
  const Durability durability = DurabilityOf(call.meta);
  if constexpr (kAsync) {
    std::shared_ptr<Reply> reply = e->PrepareReply();
    Status status =
        database->WriteOneAsync(target->keyspace(), kind, key.slice(), given.slice(), durability,
                                [reply](Status outcome) { reply->Send(std::move(outcome)); });
    e->ReportAsync(std::move(status), std::move(reply));
  } else {
    e->Report(database->WriteOne(target->keyspace(), kind, key.slice(), given.slice(), durability));
  }
  if constexpr (kHasValue) e->value_scratch.Trim();
  return nullptr;
}

// A batch: its encoded entries in argument 0; kMetaFlags: durability.
template <bool kAsync>
napi_value WriteEntries(Call<1>& call) {
  Environment* e = call.environment;
  Database* const database = FindDatabase(call);
  if (database == nullptr) return nullptr;
  Slice entries;
  if (!BorrowBytes(call.env, call.arguments[0], &entries)) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  const Durability durability = DurabilityOf(call.meta);
  if constexpr (kAsync) {
    std::shared_ptr<Reply> reply = e->PrepareReply();
    Status status = database->WriteAsync(
        entries, durability, [reply](Status outcome) { reply->Send(std::move(outcome)); });
    e->ReportAsync(std::move(status), std::move(reply));
  } else {
    e->Report(database->Write(entries, durability));
  }
  return nullptr;
}

template <bool kAsync>
napi_value Persist(Call<0>& call) {
  Environment* e = call.environment;
  Database* const database = FindDatabase(call);
  if (database == nullptr) return nullptr;
  if constexpr (kAsync) {
    std::shared_ptr<Reply> reply = e->PrepareReply();
    Status status = database->PersistAsync(
        DurabilityOf(call.meta), [reply](Status outcome) { reply->Send(std::move(outcome)); });
    e->ReportAsync(std::move(status), std::move(reply));
  } else {
    e->Report(database->Persist(DurabilityOf(call.meta)));
  }
  return nullptr;
}

// --- snapshots ---------------------------------------------------------------------------------

// kMetaNumber: the read seqno.
napi_value OpenSnapshot(Call<0>& call) {
  OpenCore* open = FindOpen(call);
  if (open == nullptr || FindDatabase(call) == nullptr) return nullptr;
  const auto place = open->snapshots.insert(0);  // memory first: then nothing can fail
  const Seqno seqno = open->database()->snapshots().Open();
  auto node = open->snapshots.extract(place);
  node.value() = seqno;
  open->snapshots.insert(std::move(node));
  call.environment->SetDouble(kMetaNumber, static_cast<double>(seqno));
  return nullptr;
}

// Closing one that is not open, or whose database is closing, changes nothing. kMetaFlags:
// kSnapshotAbandoned.
napi_value CloseSnapshot(Call<0>& call) {
  auto* core = call.Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  call.SetStatus(0);
  const double given = call.environment->Double(kMetaNumber);
  OpenCore* open = core->open.get();
  if (open->closed() || !(given >= 0 && given < static_cast<double>(kReadAll))) return nullptr;
  const auto place = open->snapshots.find(static_cast<Seqno>(given));
  if (place == open->snapshots.end()) return nullptr;
  if ((call.meta[kMetaFlags] & kSnapshotAbandoned) != 0) {
    open->database()->handle_counts()->snapshots_abandoned.fetch_add(1, std::memory_order_relaxed);
  }
  open->database()->snapshots().Close(*place);
  open->snapshots.erase(place);
  return nullptr;
}

// --- maintenance -------------------------------------------------------------------------------

napi_value Figures(Call<0>& call) {
  const Database* database = FindDatabase(call);
  return database == nullptr ? nullptr : DatabaseFiguresObject(call.env, *database);
}

// kMetaCount: whether there was anything to rotate.
napi_value Rotate(Call<0>& call) {
  ReadTarget* target = FindKeyspace(call);
  if (target == nullptr) return nullptr;
  call.meta[kMetaCount] = target->database()->RotateMemtable(target->keyspace()) ? 1 : 0;
  return nullptr;
}

template <bool kAsync>
napi_value FlushKeyspace(Call<0>& call) {
  Environment* e = call.environment;
  ReadTarget* target = FindKeyspace(call);
  if (target == nullptr) return nullptr;
  if constexpr (kAsync) {
    std::shared_ptr<Reply> reply = e->PrepareReply();
    Status status = target->database()->FlushKeyspaceAsync(
        target->keyspace(), [reply](Status outcome) { reply->Send(std::move(outcome)); });
    e->ReportAsync(std::move(status), std::move(reply));
  } else {
    e->Report(target->database()->FlushKeyspace(target->keyspace()));
  }
  return nullptr;
}

// The asynchronous form also makes a job. The other one may run filters, which may do anything:
// nothing of the target is touched after it.
template <bool kAsync, size_t kArguments>
void RunPlanner(Call<kArguments>& call, ReadTarget* target, Planner planner, WhenBusy when_busy) {
  Environment* e = call.environment;
  std::shared_ptr<JobControl> control = target->open()->NewJob();
  if constexpr (kAsync) {
    std::shared_ptr<Reply> reply = e->PrepareReply();
    call.meta[kMetaHandle] = e->handles().Add(std::make_unique<JobHandle>(target->open(), control));
    target->database()->RunAsync(target->keyspace(), std::move(planner), when_busy,
                                 std::move(control),
                                 [reply](Status outcome) { reply->Send(std::move(outcome)); });
    e->ReportAsync(Code::kWouldBlock, std::move(reply));
  } else {
    const auto begin = [&](Completion completion) {
      target->database()->RunAsync(target->keyspace(), std::move(planner), when_busy, control,
                                   std::move(completion));
    };
    e->Report(e->questions()->WaitFor(control.get(), begin));
  }
}

// kMetaNumber: bytes of an output table, 0 = the strategy's.
template <bool kAsync>
napi_value MajorCompaction(Call<0>& call) {
  ReadTarget* target = FindKeyspace(call);
  if (target == nullptr) return nullptr;
  const auto size = static_cast<uint64_t>(std::max(call.environment->Double(kMetaNumber), 0.0));
  RunPlanner<kAsync>(
      call, target, [size](const Tree& tree) { return tree.MajorPlan(size); }, WhenBusy::kWait);
  return nullptr;
}

// Arguments: lower and upper, Uint8Array or undefined.
template <bool kAsync>
napi_value DropRange(Call<2>& call) {
  ReadTarget* target = FindKeyspace(call);
  if (target == nullptr) return nullptr;
  const Bounds range = ReadBounds(call.env, call.arguments[0], call.arguments[1]);
  RunPlanner<kAsync>(
      call, target, [range](const Tree& tree) { return tree.DropRangePlan(range); },
      WhenBusy::kWait);
  return nullptr;
}

// Argument: PlanData.
template <bool kAsync>
napi_value CompactKeyspace(Call<1>& call) {
  ReadTarget* target = FindKeyspace(call);
  if (target == nullptr) return nullptr;
  CompactionPlan plan;
  if (Status status = ReadPlan(call.env, call.arguments[0], &plan); !status.ok()) {
    call.environment->Fail(std::move(status));
    return nullptr;
  }
  RunPlanner<kAsync>(
      call, target, [plan](const Tree&) { return std::optional<CompactionPlan>(plan); },
      WhenBusy::kFail);
  return nullptr;
}

// kMetaNumber and kMetaNumber2: bytes done, bytes in all.
napi_value JobProgress(Call<0>& call) {
  const auto* job = call.Find<JobHandle>();
  if (job == nullptr) return nullptr;
  const JobControl& control = *job->control;
  call.environment->SetDouble(kMetaNumber, static_cast<double>(control.done_bytes.load()));
  call.environment->SetDouble(kMetaNumber2, static_cast<double>(control.total_bytes.load()));
  call.SetStatus(0);
  return nullptr;
}

napi_value StopJob(Call<0>& call) {
  const auto* job = call.Find<JobHandle>();
  if (job == nullptr) return nullptr;
  job->open->Stop(job->control.get());
  call.SetStatus(0);
  return nullptr;
}

// --- background compaction, of a database or a bare tree ---------------------------------------

// Calls use(core) with the database or the tree.
template <typename Use>
auto WithCore(OpenCore* open, Use use) {
  return open->handle != nullptr ? use(open->database()) : use(open->tree.get());
}

// kMetaCount: CompactorState.
napi_value CompactorState(Call<0>& call) {
  OpenCore* open = FindOpen(call);
  if (open == nullptr) return nullptr;
  call.meta[kMetaCount] =
      WithCore(open, [](auto* core) { return static_cast<uint32_t>(core->compactor_state()); });
  return nullptr;
}

napi_value CompactorJobs(Call<0>& call) {
  OpenCore* open = FindOpen(call);
  if (open == nullptr) return nullptr;
  return JobsArray(call.env, WithCore(open, [](auto* core) { return core->jobs(); }));
}

napi_value ResumeCompactor(Call<0>& call) {
  OpenCore* open = FindOpen(call);
  if (open != nullptr) WithCore(open, [](auto* core) { core->ResumeCompaction(); });
  return nullptr;
}

template <bool kPause>
napi_value WaitForCompactor(Call<0>& call) {
  OpenCore* open = FindOpen(call);
  if (open == nullptr) return nullptr;
  std::shared_ptr<Reply> reply = call.environment->PrepareReply();
  const auto done = [reply](Status outcome) { reply->Send(std::move(outcome)); };
  WithCore(open, [&done](auto* core) {
    if constexpr (kPause) {
      core->PauseCompaction(done);
    } else {
      core->DrainCompaction(done);
    }
  });
  call.environment->ReportAsync(Code::kWouldBlock, std::move(reply));
  return nullptr;
}

constexpr Export kExports[] = {
    {"openDatabase", Enter<2, OpenDatabase<true>>},
    {"openDatabaseSync", Enter<2, OpenDatabase<false>>},
    {"describeDatabase", Enter<0, DescribeDatabase>},
    {"databaseStatus", Enter<0, StatusOfDatabase>},
    {"close", Enter<0, CloseCore>},
    {"closeSync", Enter<0, CloseCoreSync>},
    {"openKeyspace", Enter<2, OpenKeyspace<true>>},
    {"openKeyspaceSync", Enter<2, OpenKeyspace<false>>},
    {"describeKeyspace", Enter<0, DescribeKeyspace>},
    {"keyspaceNames", Enter<0, KeyspaceNames>},
    {"insert", Enter<2, WriteEntry<true, true>>},
    {"insertSync", Enter<2, WriteEntry<false, true>>},
    {"remove", Enter<1, WriteEntry<true, false>>},
    {"removeSync", Enter<1, WriteEntry<false, false>>},
    {"write", Enter<1, WriteEntries<true>>},
    {"writeSync", Enter<1, WriteEntries<false>>},
    {"persist", Enter<0, Persist<true>>},
    {"persistSync", Enter<0, Persist<false>>},
    {"openSnapshot", Enter<0, OpenSnapshot>},
    {"closeSnapshot", Enter<0, CloseSnapshot>},
    {"figures", Enter<0, Figures>},
    {"rotate", Enter<0, Rotate>},
    {"flushKeyspace", Enter<0, FlushKeyspace<true>>},
    {"flushKeyspaceSync", Enter<0, FlushKeyspace<false>>},
    {"majorCompaction", Enter<0, MajorCompaction<true>>},
    {"majorCompactionSync", Enter<0, MajorCompaction<false>>},
    {"dropRange", Enter<2, DropRange<true>>},
    {"dropRangeSync", Enter<2, DropRange<false>>},
    {"compactKeyspace", Enter<1, CompactKeyspace<true>>},
    {"jobProgress", Enter<0, JobProgress>},
    {"stopJob", Enter<0, StopJob>},
    {"compactorState", Enter<0, CompactorState>},
    {"compactorJobs", Enter<0, CompactorJobs>},
    {"resumeCompactor", Enter<0, ResumeCompactor>},
    {"pauseCompactor", Enter<0, WaitForCompactor<true>>},
    {"drainCompactor", Enter<0, WaitForCompactor<false>>},
};

}  // namespace

Exports DatabaseExports() { return kExports; }

}  // namespace shale
