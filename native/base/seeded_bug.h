// Seeded bugs: faults that a test switches on to prove that the crash and fault oracles notice
// them.
//
// Without SHALE_TEST_HOOKS every question is the constant false and leaves nothing in the code.
// Threads: any; switch while nothing of the engine runs.
#pragma once

#include <atomic>
#include <cstdint>

namespace shale {

enum class SeededBug : uint8_t {
  kNone = 0,
  kSkipDirSyncAfterTable,       // a new table's directory entry is not made durable
  kEvictJournalBeforeCommit,    // a journal is deleted before the manifest forgot it
  kAcknowledgeBeforeHandOver,   // an os commit is told done while its record is in the process
  kAcknowledgeBeforeSync,       // a sync commit is told done without its fdatasync
  kPublishBeforeJournal,        // a commit becomes visible although its append failed
  kIgnoreAppendError,           // a failed append is told done
  kNoCutBackAfterShortWrite,    // what a failed append left in the file stays there
  kRetrySync,                   // a failed fdatasync is tried again and believed
  kNoFilterChecksum,            // filter blocks are not verified
  kChecksumWithoutOffset,       // checksums do not depend on the place in the file
  kAcceptMidLogHole,            // damage before the durable end of a journal passes for a torn tail
  kDropTombstoneAboveLast,      // a compaction drops tombstones that still cover something below
  kCompactionIgnoresSnapshots,  // flush and compaction do not ask for open snapshots
  kSplitBatch,                  // a batch becomes two journal records
  kSeqnoNotRestored,            // the next seqno after a reopen does not count replayed commits
  kRecoveryKeepsTail,           // recovery does not write the unsynced tail again
  kFlushWithoutJournalSync,  // tables are committed before the journal that their entries came from
  kKeepOutputOfFailedFlush,  // the output of a flush that ran out of space stays listed
  kIteratorNotPinned,        // a reader does not keep the tables of its version
  kPrefixEndOffByOne,        // the end of a prefix range leaves its last keys out
  kForgetSealedJournal,      // recovery replays the newest journal only
  kRecoverLockOfLiving,      // an owner file counts as stale although its process lives
  kEnd,
};

#ifdef SHALE_TEST_HOOKS
inline std::atomic<SeededBug> g_seeded_bug{SeededBug::kNone};
inline bool BugIsOn(SeededBug bug) { return g_seeded_bug.load(std::memory_order_relaxed) == bug; }

// Switches one bug on for its lifetime.
class ScopedBug {
 public:
  explicit ScopedBug(SeededBug bug) { g_seeded_bug.store(bug); }
  ~ScopedBug() { g_seeded_bug.store(SeededBug::kNone); }
  ScopedBug(const ScopedBug&) = delete;
  ScopedBug& operator=(const ScopedBug&) = delete;
};
#else
constexpr bool BugIsOn(SeededBug) { return false; }
#endif

}  // namespace shale
