// Ingestion: a run that was built beside the tree is put on top of it.
//
//   1. Its files are complete and durable before anything is locked.
//   2. No flush runs from here on, and no other change of the version is committed. `take_seqno`
//      gives the run its seqno and seals the active memtable: all that is sealed is older than the
//      run, all that is written from now on is newer.
//   3. What is sealed is written to tables: reads stop at the first hit, so an older entry must not
//      lie above the run. Who calls has flushed just before, so that this is little.
//   4. The journal is synced up to the seqno (before_commit).
//   5. The manifest names both runs and how far the tree is flushed, in one record.
//   6. A super version with both and without the memtables is installed. Reads below the seqno pass
//      over the run, so nothing of before has to be held for them.
// A failure leaves the tree as it was, but for the memtable that was sealed.
#include <new>
#include <utility>

#include "base/seeded_bug.h"
#include "tree/flush.h"

namespace shale {
namespace {

constexpr uint64_t kIngestedTableBytes = uint64_t{64} << 20;

}  // namespace

// Written once and in order, the rows have the policies of the level below level 0: no compaction
// of theirs will come by soon.
std::unique_ptr<IngestedRun> Tree::StartIngestion() const {
  const TreeOptions now = options();
  JobOutputOptions o = OutputOptions(now);
  o.tables.write = now.WriteOptions(1, false);
  o.tables.open = now.OpenOptions(0);
  o.tables.target_size = kIngestedTableBytes;
  // Whoever brings the rows is not to wait for the device.
  o.tables.sync_at_end = true;
  if (o.blobs) o.blobs->sync_at_end = true;
  return std::make_unique<IngestedRun>(std::move(o));
}

Status Tree::Ingest(IngestedRun* run, const std::function<Status(Seqno* seqno)>& take_seqno,
                    const std::function<Status(Seqno highest)>& before_commit, JobStats* stats) {
  std::lock_guard<std::mutex> no_flush(flush_mutex_);
  // Also while the seqno is taken: a change that reads can see takes one of its own, and what it
  // holds for the reads before it must have all that is older.
  std::lock_guard<std::mutex> no_change(install_mutex_);
  if (deleted()) return Status(Code::kAborted, "the tree was deleted");
  try {
    Seqno seqno = 0;
    SHALE_RETURN_IF_ERROR(take_seqno(&seqno));
    FlushJob flush(this, Pin(), nullptr);
    if (!flush.memtables().empty()) SHALE_RETURN_IF_ERROR(flush.Write());
    SHALE_RETURN_IF_ERROR(run->output_.Open(seqno));
    if (before_commit && !BugIsOn(SeededBug::kFlushWithoutJournalSync)) {
      SHALE_RETURN_IF_ERROR(before_commit(seqno));
    }
    ManifestEdit::TreeChange change;
    change.tree_id = id_;
    change.flushed_seqno = seqno + 1;
    flush.AddTo(&change);
    const uint64_t order = next_run_order_++;
    for (const auto& table : run->output_.tables()) {
      change.version.added.push_back({table.meta, {0, order}});
    }
    SHALE_RETURN_IF_ERROR(
        CommitChange(std::move(change), {&flush.output(), &run->output_}, flush.memtables()));
    flush.CountIn(stats);
    Grow(&ingested_bytes_, run->user_bytes_);
  } catch (const std::bad_alloc&) {
    return Code::kOutOfMemory;
  }
  if (stats != nullptr) {
    stats->items_written += run->output_.item_count();
    stats->bytes_written += run->output_.bytes();
    stats->tables_written += run->output_.tables().size();
  }
  return Status::Ok();
}

}  // namespace shale
