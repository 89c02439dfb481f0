// The test of the tests: each seeded bug, switched on, has to be noticed by the oracles.
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "base/seeded_bug.h"
#include "support/crash_workload.h"
#include "support/fault_runs.h"

namespace shale {
namespace {

// Runs until something is noticed; empty if nothing was in `tries` runs.
std::string HuntWithImages(uint64_t tries, const std::function<void(WorkloadOptions*)>& adjust) {
  for (uint64_t i = 0; i < tries; ++i) {
    WorkloadOptions options;
    options.seed = TestSeed() * 100 + i;
    options.steps = 150;
    adjust(&options);
    ImageCheck check;
    check.liveness_writes = 20;
    const CrashRun run = RunCrashImages(options, 4, 1 + i % 3, check);
    if (!run.problem.empty()) return run.problem;
  }
  return "";
}

std::string Images() {
  return HuntWithImages(12, [](WorkloadOptions*) {});
}

struct Hunt {
  SeededBug bug;
  const char* name;
  std::function<std::string()> find;
};

std::vector<Hunt> Hunts() {
  return {
      {SeededBug::kNone, "none", Images},
      {SeededBug::kSkipDirSyncAfterTable, "skip dir sync after table", Images},
      {SeededBug::kEvictJournalBeforeCommit, "evict journal before commit", Images},
      {SeededBug::kAcknowledgeBeforeSync, "acknowledge before sync", Images},
      {SeededBug::kPublishBeforeJournal, "publish before journal", FindWithFaults},
      {SeededBug::kIgnoreAppendError, "ignore append error", FindWithFaults},
      {SeededBug::kNoCutBackAfterShortWrite, "no cut-back", FindWithFaults},
      {SeededBug::kRetrySync, "retry sync", FindWithFaults},
      {SeededBug::kNoFilterChecksum, "no filter checksum", FindWithFlips},
      {SeededBug::kChecksumWithoutOffset, "checksum without offset", FindWithSwaps},
      {SeededBug::kAcceptMidLogHole, "accept mid-log hole", FindWithFlips},
      {SeededBug::kDropTombstoneAboveLast, "drop tombstone above last", Images},
      {SeededBug::kCompactionIgnoresSnapshots, "ignore snapshots", FindWithSnapshots},
      {SeededBug::kSplitBatch, "split batch", Images},
      {SeededBug::kSeqnoNotRestored, "seqno not restored", Images},
      {SeededBug::kRecoveryKeepsTail, "recovery keeps tail", Images},
      {SeededBug::kFlushWithoutJournalSync, "flush without journal sync", Images},
      {SeededBug::kKeepOutputOfFailedFlush, "keep output of failed flush", FindWithFaults},
      {SeededBug::kIteratorNotPinned, "iterator not pinned", FindWithCursors},
      {SeededBug::kPrefixEndOffByOne, "prefix end", FindWithPrefixes},
      {SeededBug::kForgetSealedJournal, "forget sealed journal", Images},
      {SeededBug::kRecoverLockOfLiving, "lock of the living", FindWithLocks},
  };
}

class SeededBugTest : public testing::TestWithParam<Hunt> {};

TEST_P(SeededBugTest, IsNoticed) {
  const Hunt& hunt = GetParam();
  std::string found;
  {
    const ScopedBug bug(hunt.bug);
    found = hunt.find();
  }
  if (hunt.bug == SeededBug::kNone) {
    EXPECT_EQ(found, "");
  } else {
    EXPECT_NE(found, "") << hunt.name << " was not noticed";
  }
}

INSTANTIATE_TEST_SUITE_P(All, SeededBugTest, testing::ValuesIn(Hunts()),
                         [](const testing::TestParamInfo<Hunt>& info) {
                           std::string name;
                           for (const char c : std::string(info.param.name)) {
                             name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace shale
