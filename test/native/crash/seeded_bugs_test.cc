// The test of the tests: each seeded bug, switched on, has to be noticed by the oracles.
#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <utility>

#include "base/seeded_bug.h"
#include "support/bug_hunts.h"
#include "support/corruption_runs.h"
#include "support/crash_workload.h"
#include "support/fault_runs.h"

namespace shale {
namespace {

// A hunt makes up to so many tries and returns the first problem; empty if there is none.
using Find = std::string (*)(uint64_t tries);

std::string ImagesWith(uint64_t tries, uint64_t memtable, uint64_t max_journal_size) {
  for (uint64_t i = 0; i < tries; ++i) {
    WorkloadOptions options;
    options.seed = TestSeed() * 100 + i;
    options.steps = 150;
    options.memtable = memtable;
    options.max_journal_size = max_journal_size;
    ImageCheck check;
    check.liveness_writes = 20;
    const CrashRun run = RunCrashImages(options, 4, 1 + i % 3, check);
    if (!run.problem.empty()) return run.problem;
  }
  return "";
}

std::string Images(uint64_t tries) { return ImagesWith(tries, 2048, 32 * 1024); }
// Journals come and go all the time.
std::string ImagesOfSmallJournals(uint64_t tries) { return ImagesWith(tries, 1024, 8 * 1024); }

std::string JournalWrites(uint64_t tries) {
  return HuntWithFaults(FaultOp::kWrite, PathClass::kJournal, tries);
}
std::string JournalSyncs(uint64_t tries) {
  return HuntWithFaults(FaultOp::kSync, PathClass::kJournal, tries);
}
std::string TableWrites(uint64_t tries) {
  return HuntWithFaults(FaultOp::kWrite, PathClass::kTable, tries);
}

struct Hunt {
  SeededBug bug;
  const char* name;
  Find find;
};

constexpr Hunt kHunts[] = {
    {SeededBug::kSkipDirSyncAfterTable, "SkipDirSyncAfterTable", Images},
    {SeededBug::kEvictJournalBeforeCommit, "EvictJournalBeforeCommit", ImagesOfSmallJournals},
    {SeededBug::kAcknowledgeBeforeHandOver, "AcknowledgeBeforeHandOver", Images},
    {SeededBug::kAcknowledgeBeforeSync, "AcknowledgeBeforeSync", Images},
    {SeededBug::kPublishBeforeJournal, "PublishBeforeJournal", JournalWrites},
    {SeededBug::kIgnoreAppendError, "IgnoreAppendError", JournalWrites},
    {SeededBug::kNoCutBackAfterShortWrite, "NoCutBackAfterShortWrite", JournalWrites},
    {SeededBug::kRetrySync, "RetrySync", JournalSyncs},
    {SeededBug::kNoFilterChecksum, "NoFilterChecksum", HuntWithFlips},
    {SeededBug::kChecksumWithoutOffset, "ChecksumWithoutOffset", HuntWithSwaps},
    {SeededBug::kAcceptMidLogHole, "AcceptMidLogHole", HuntWithFlips},
    {SeededBug::kDropTombstoneAboveLast, "DropTombstoneAboveLast", Images},
    {SeededBug::kCompactionIgnoresSnapshots, "CompactionIgnoresSnapshots", HuntWithSnapshots},
    {SeededBug::kSplitBatch, "SplitBatch", Images},
    {SeededBug::kSeqnoNotRestored, "SeqnoNotRestored", Images},
    {SeededBug::kRecoveryKeepsTail, "RecoveryKeepsTail", Images},
    {SeededBug::kFlushWithoutJournalSync, "FlushWithoutJournalSync", Images},
    {SeededBug::kKeepOutputOfFailedFlush, "KeepOutputOfFailedFlush", TableWrites},
    {SeededBug::kIteratorNotPinned, "IteratorNotPinned", HuntWithCursors},
    {SeededBug::kPrefixEndOffByOne, "PrefixEndOffByOne", HuntWithPrefixes},
    {SeededBug::kForgetSealedJournal, "ForgetSealedJournal", Images},
    {SeededBug::kRecoverLockOfLiving, "RecoverLockOfLiving", HuntWithLocks},
};
static_assert(std::size(kHunts) == static_cast<size_t>(SeededBug::kEnd) - 1);

class SeededBugTest : public testing::TestWithParam<Hunt> {};

TEST_P(SeededBugTest, IsNoticed) {
  constexpr uint64_t kTriesMax = 40;
  const Hunt& hunt = GetParam();
  const ScopedBug bug(hunt.bug);
  EXPECT_NE(hunt.find(kTriesMax), "") << hunt.name << " was not noticed, SEED=" << TestSeed();
}

INSTANTIATE_TEST_SUITE_P(All, SeededBugTest, testing::ValuesIn(kHunts),
                         [](const testing::TestParamInfo<Hunt>& info) { return info.param.name; });

TEST(SeededBugsTest, EachOneHasItsHunt) {
  std::set<SeededBug> hunted;
  for (const Hunt& hunt : kHunts) hunted.insert(hunt.bug);
  EXPECT_EQ(hunted.size(), std::size(kHunts));
}

using NamedFind = std::pair<const char*, Find>;
class HuntTest : public testing::TestWithParam<NamedFind> {};

TEST_P(HuntTest, FindsNothingWhereNothingIsWrong) { EXPECT_EQ(GetParam().second(1), ""); }

constexpr NamedFind kFinds[] = {
    {"Images", Images},
    {"ImagesOfSmallJournals", ImagesOfSmallJournals},
    {"JournalWrites", JournalWrites},
    {"JournalSyncs", JournalSyncs},
    {"TableWrites", TableWrites},
    {"Flips", HuntWithFlips},
    {"Swaps", HuntWithSwaps},
    {"Snapshots", HuntWithSnapshots},
    {"Cursors", HuntWithCursors},
    {"Prefixes", HuntWithPrefixes},
    {"Locks", HuntWithLocks},
};

INSTANTIATE_TEST_SUITE_P(All, HuntTest, testing::ValuesIn(kFinds),
                         [](const testing::TestParamInfo<NamedFind>& info) {
                           return info.param.first;
                         });

}  // namespace
}  // namespace shale
