// A workload of which one call fails, and the oracles for what must hold afterwards.
#pragma once

#include <string>
#include <vector>

#include "support/crash_workload.h"
#include "vfs/fault_vfs.h"

namespace shale {

// Faults after which a disk has lied: what was reported done is not, or what is read is not there.
// Damage may be found then; wrong contents may not.
bool Lies(FaultKind kind);

// Every single fault that a run without faults gives the opportunity for.
std::vector<Fault> EnumerateFaults(const WorkloadOptions& options);

// Runs the workload with one fault and checks: typed errors, live contents, what the directory
// holds for a killed process and after a power cut, and that it goes on when the fault is over.
std::string RunFault(const WorkloadOptions& options, const Fault& fault);

// For seeded bugs: the first problem among faults that match, over some seeds; empty if there is
// none.
std::string HuntWithFaults(FaultOp op, PathClass path_class, uint64_t tries);

}  // namespace shale
