#include "support/fault_runs.h"

#include <algorithm>

namespace shale {
namespace {

std::string Describe(const WorkloadOptions& options, const Fault& fault) {
  return "seed " + std::to_string(options.seed) + ", " + ToString({fault}) + ": ";
}

// With the fault over, a database that has not failed takes commits and flushes again.
std::string CheckHealed(Workload* workload, MemVfs* memory, bool lied) {
  Database* database = workload->database();
  if (database == nullptr || database->status() == DatabaseStatus::kFailed) return "";
  memory->AdvanceClock(uint64_t{20'000'000'000});
  workload->RunIdle();
  Ref<Keyspace> keyspace;
  Status status = database->OpenKeyspace("healed", SmallTree, &keyspace);
  if (status.ok()) {
    status = database->WriteOne(keyspace.get(), Kind::kValue, "k", "v", Durability::kSync);
  }
  for (const std::string& name : database->KeyspaceNames()) {
    if (!status.ok()) break;
    status = database->FlushKeyspace(database->FindKeyspace(name).get());
  }
  if (status.ok()) {
    std::string value;
    status = ReadOne(*keyspace, "k", database->visible(), &value);
    if (status.ok() && value != "v") return "another value after the fault";
  }
  if (status.ok() && !lied && database->status() != DatabaseStatus::kOpen) {
    return "still degraded after the fault: " + database->failure().ToString();
  }
  if (status.ok() || (lied && status.Is(Code::kCorruption))) return "";
  return "does not heal: " + status.ToString();
}

}  // namespace

bool Lies(FaultKind kind) {
  switch (kind) {
    case FaultKind::kLostWrite:
    case FaultKind::kMisdirectedWrite:
    case FaultKind::kBitFlipWrite:
    case FaultKind::kShortRead:
    case FaultKind::kBitFlipRead:
    case FaultKind::kMisdirectedRead:
    case FaultKind::kSyncLate:
      return true;
    default:
      return false;
  }
}

std::vector<Fault> EnumerateFaults(const WorkloadOptions& options) {
  MemVfs memory(options.seed);
  FaultVfs faults(&memory, options.seed);
  {
    Workload workload(&faults, &memory, options);
    workload.Run();
    static_cast<void>(workload.Close());
  }
  std::vector<Fault> all;
  for (size_t op = 0; op < kFaultOps; ++op) {
    for (size_t path_class = 1; path_class < kPathClasses; ++path_class) {
      const uint64_t calls =
          faults.Count(static_cast<FaultOp>(op), static_cast<PathClass>(path_class));
      for (size_t kind = 0; kind < kFaultKinds; ++kind) {
        if (!FaultApplies(static_cast<FaultKind>(kind), static_cast<FaultOp>(op))) continue;
        for (uint64_t nth = 0; nth < calls; ++nth) {
          for (const bool sticky : {false, true}) {
            all.push_back({static_cast<FaultOp>(op), static_cast<PathClass>(path_class), nth,
                           static_cast<FaultKind>(kind), sticky});
          }
        }
      }
    }
  }
  return all;
}

std::string RunFault(const WorkloadOptions& wanted, const Fault& fault) {
  WorkloadOptions options = wanted;
  const bool lied = Lies(fault.kind);
  const bool lost = lied && fault.op != FaultOp::kRead;  // the disk does not hold what it was given
  // That shows at the next open, which the workload could not tell from a bug.
  if (lost) options.reopen = false;
  // What was ingested is in tables alone: a manifest that forgets them leaves a gap that nothing
  // tells from an ingestion that failed.
  if (lost) options.ingests = false;
  MemVfs memory(options.seed);
  FaultVfs faults(&memory, options.seed);
  faults.SetPlan({fault});
  Workload workload(&faults, &memory, options);
  workload.Run();
  if (!workload.problem().empty()) return Describe(options, fault) + workload.problem();
  if (const std::string live = workload.CheckLive(); !live.empty()) {
    return Describe(options, fault) + live;
  }
  const History& history = workload.history();
  ImageCheck check;
  check.rule_r = !lost;
  check.damage_allowed = lost;
  for (const CrashPolicy& policy : {CrashPolicy::All(), CrashPolicy::None()}) {
    // What was refused has been cut back: only a failed sync or a lie tears off a tail.
    check.torn_allowed =
        lost || fault.op == FaultOp::kSync || policy.kind != CrashPolicy::Kind::kAll;
    const std::unique_ptr<MemVfs> image = memory.CrashClone(policy, options.seed);
    size_t at_least = lost ? 0 : Survivors(history, policy);
    // A failed sync may throw away what had reached the system but not the disk.
    if (fault.op == FaultOp::kSync) {
      at_least = std::min(at_least, history.acked_sync);
    }
    const std::string problem =
        CheckImage(image.get(), history, at_least, options.seed, check, options);
    if (!problem.empty()) return Describe(options, fault) + policy.ToString() + ": " + problem;
  }
  faults.SetPlan({});
  const std::string healed = CheckHealed(&workload, &memory, lied);
  if (!healed.empty()) return Describe(options, fault) + healed;
  static_cast<void>(workload.Close());
  return "";
}

std::string HuntWithFaults(FaultOp op, PathClass path_class, uint64_t tries) {
  for (uint64_t i = 0; i < tries; ++i) {
    WorkloadOptions options;
    options.seed = TestSeed() * 100 + i;
    options.steps = 50;
    for (const Fault& fault : EnumerateFaults(options)) {
      if (fault.op != op || fault.path_class != path_class || Lies(fault.kind)) continue;
      const std::string problem = RunFault(options, fault);
      if (!problem.empty()) return problem;
    }
  }
  return "";
}

}  // namespace shale
