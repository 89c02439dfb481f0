// Flush: the sealed memtables of a tree become tables of one new run in level 0.
//
//   1. All sealed memtables are merged, newest first, through retention into tables of up to 64
//      MiB. Tombstones stay, whatever lies below: only compactions drop them. Range tombstones are
//      cut into disjoint pieces. Large values go to blob files where values are separated.
//   2. The files and their directory entries are synced.
//   3. The journal is synced up to the last entry (before_commit), so that no keyspace can survive
//      a power cut further than the others.
//   4. The manifest names the run, its blob files and how far the tree is flushed, in one record.
//   5. A super version without the memtables and with the run is installed.
// A failure before 4 leaves nothing behind; the memtables stay sealed and are flushed by the next
// call.
#include <algorithm>
#include <new>
#include <utility>

#include "base/seeded_bug.h"
#include "tree/flush.h"
#include "tree/range_fragments.h"

namespace shale {
namespace {

constexpr uint64_t kFlushTableBytes = uint64_t{64} << 20;

}  // namespace

Tree::FlushJob::FlushJob(Tree* tree, Ref<SuperVersion> base, JobControl* control)
    : tree_(tree), base_(std::move(base)), control_(control), output_(OutputOptions()) {}

Status Tree::FlushJob::Execute(const std::function<Status(Seqno highest)>& before_commit,
                               JobStats* stats) {
  Status s = Write();
  if (s.Is(Code::kDiskFull) && BugIsOn(SeededBug::kKeepOutputOfFailedFlush)) {
    output_.DropUnfinished();
    s = output_.Finish();
  }
  SHALE_RETURN_IF_ERROR(s);
  if (before_commit && !BugIsOn(SeededBug::kFlushWithoutJournalSync)) {
    SHALE_RETURN_IF_ERROR(before_commit(Highest()));
  }
  SHALE_RETURN_IF_ERROR(Commit());
  CountIn(stats);
  return Status::Ok();
}

void Tree::FlushJob::CountIn(JobStats* stats) const {
  if (stats == nullptr) return;
  stats->memtables += base_->sealed.size();
  stats->items_read += items_read_;
  stats->items_written += output_.item_count();
  stats->bytes_written += output_.bytes();
  stats->tables_written += output_.tables().size();
}

JobOutputOptions Tree::FlushJob::OutputOptions() const {
  const TreeOptions options = tree_->options();
  JobOutputOptions o = tree_->OutputOptions(options);
  o.tables.write = options.WriteOptions(0, false);
  o.tables.open = options.OpenOptions(0);
  o.tables.target_size = kFlushTableBytes;
  return o;
}

Seqno Tree::FlushJob::Highest() const {
  Seqno highest = 0;
  for (const auto& m : base_->sealed) highest = std::max(highest, m->highest_seqno());
  return highest;
}

// Sealed memtables get no more of them.
std::vector<RangeTombstone> Tree::FlushJob::Ranges() const {
  std::vector<RangeTombstone> ranges;
  for (const auto& m : base_->sealed) {
    const Ref<const RangeSet> set = m->ranges().Pin();
    if (!set) continue;
    for (const auto& part : set->parts()) {
      ranges.insert(ranges.end(), part->items().begin(), part->items().end());
    }
  }
  return ranges;
}

Status Tree::FlushJob::Write() {
  RetentionView view = tree_->context_.retention();
  if (BugIsOn(SeededBug::kCompactionIgnoresSnapshots)) view = {{}, kReadAll};
  std::vector<RangeTombstone> fragments = FragmentRanges(Ranges(), view);
  const Ref<const RangeIndex> ranges = IndexOf(fragments);
  Retention retention(
      std::move(view), [](Slice) { return true; }, ranges.get(), &output_);
  output_.SetRanges(std::move(fragments));
  std::vector<std::unique_ptr<Iterator>> sources;
  uint64_t items = 0;
  for (const auto& m : base_->sealed) {
    sources.push_back(m->NewIterator());
    items += m->item_count();
  }
  if (control_ != nullptr) control_->total_bytes.store(tree_->memtable_bytes());
  const std::unique_ptr<Iterator> it = MakeMerge(std::move(sources));
  uint64_t bytes = 0;
  for (it->SeekToFirst(); it->valid(); it->Next()) {
    bytes += it->entry().value.size();
    SHALE_RETURN_IF_ERROR(retention.Add(it->entry()));
    if (++items_read_ % kStopCheckItems == 0 || bytes >= kStopCheckBytes) {
      bytes = 0;
      SHALE_RETURN_IF_ERROR(Progress(items));
    }
  }
  SHALE_RETURN_IF_ERROR(it->status());
  SHALE_RETURN_IF_ERROR(retention.Finish());
  return output_.Finish();
}

Status Tree::FlushJob::Progress(uint64_t items) const {
  if (control_ == nullptr) return Status::Ok();
  if (control_->stop.load(std::memory_order_relaxed)) {
    return Status(Code::kAborted, "the flush was stopped");
  }
  const double part = static_cast<double>(items_read_) / static_cast<double>(items);
  const uint64_t total = control_->total_bytes.load(std::memory_order_relaxed);
  control_->done_bytes.store(static_cast<uint64_t>(part * static_cast<double>(total)));
  return Status::Ok();
}

void Tree::FlushJob::AddTo(ManifestEdit::TreeChange* change) const {
  if (output_.tables().empty()) return;
  const uint64_t order = tree_->next_run_order_++;
  for (const auto& table : output_.tables()) {
    change->version.added.push_back({table.meta, {0, order}});
  }
}

Status Tree::FlushJob::Commit() {
  std::lock_guard<std::mutex> lock(tree_->install_mutex_);
  ManifestEdit::TreeChange change;
  change.tree_id = tree_->id_;
  change.flushed_seqno = Highest() + 1;
  AddTo(&change);
  return tree_->CommitChange(std::move(change), {&output_}, base_->sealed);
}

Status Tree::Flush(JobControl* control, const std::function<Status(Seqno highest)>& before_commit,
                   JobStats* stats) {
  std::lock_guard<std::mutex> lock(flush_mutex_);
  Ref<SuperVersion> base = Pin();
  if (base->sealed.empty()) return Status::Ok();
  try {
    return FlushJob(this, std::move(base), control).Execute(before_commit, stats);
  } catch (const std::bad_alloc&) {
    return Code::kOutOfMemory;
  }
}

}  // namespace shale
