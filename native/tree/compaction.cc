// Compaction: runs a claimed plan. Inputs stay in place until the manifest names the outputs; a job
// that is stopped or fails changes nothing.
//
//   merge  the inputs, newest first, through retention and the compaction filter, if there is one,
//          into tables of the destination; their range tombstones are cut into disjoint pieces, and
//          go where nothing is left to hide. Separated values stay in their blob files, unless too
//          much of one is garbage
//   move   the inputs change their place; not a byte is written
//   drop   the inputs leave the version
// Afterwards inputs that left the version go with their last reader.
#include <algorithm>
#include <map>
#include <new>
#include <utility>

#include "base/seeded_bug.h"
#include "tree/blob_garbage.h"
#include "tree/covered.h"
#include "tree/filtered_output.h"
#include "tree/placement.h"
#include "tree/range_fragments.h"
#include "tree/run_iterator.h"
#include "tree/tree.h"

namespace shale {
namespace {

constexpr size_t kReadAheadBytes = size_t{1} << 20;
// Tables of the level below that one output may overlap, in sizes of an output.
constexpr uint64_t kBelowFactor = 10;
// What an entry takes beside key and value, on average; for progress only.
constexpr uint64_t kEntryOverhead = 6;

}  // namespace

class Tree::CompactionJob {
 public:
  CompactionJob(Tree* tree, const CompactionPlan& plan, JobControl* control)
      : tree_(tree), plan_(plan), control_(control) {}

  Status Execute(JobStats* stats) {
    base_ = tree_->Pin()->version;
    SHALE_RETURN_IF_ERROR(Placement::Make(*base_, plan_, &placement_));
    if (control_ != nullptr) control_->total_bytes.store(placement_.input_bytes());
    Status s;
    switch (plan_.type) {
      case CompactionPlan::Type::kMerge:
        s = Merge(stats);
        break;
      case CompactionPlan::Type::kMove:
        s = Commit(nullptr);
        break;
      case CompactionPlan::Type::kDrop:
        s = Commit(nullptr);
        break;
    }
    if (!s.ok()) return s;
    if (control_ != nullptr) control_->done_bytes.store(placement_.input_bytes());
    if (plan_.type == CompactionPlan::Type::kMove) return s;
    for (const InputTable& input : placement_.inputs()) input.table->MarkObsolete();
    return s;
  }

 private:
  Status Merge(JobStats* stats) {
    const TreeOptions options = tree_->options();
    JobOutput output(OutputOptions(options));
    if (options.kv_separation && !base_->blob_files().empty()) {
      output.SetRelocated(
          ChooseRelocated(*base_, placement_.inputs(), *options.kv_separation, plan_.all_garbage));
    }
    SHALE_RETURN_IF_ERROR(Stream(&output));
    SHALE_RETURN_IF_ERROR(Commit(&output));
    if (stats != nullptr) {
      stats->bytes_read += placement_.input_bytes();
      stats->items_read += items_read_;
      stats->items_written += output.item_count();
      stats->bytes_written += output.bytes();
      stats->tables_written += output.tables().size();
    }
    return Status::Ok();
  }

  JobOutputOptions OutputOptions(const TreeOptions& options) const {
    const Version& version = *base_;
    const int level = plan_.destination_level;
    const int policy_level = placement_.PolicyLevel(version);
    JobOutputOptions job = tree_->OutputOptions(options);
    TableOutputOptions& o = job.tables;
    o.write = options.WriteOptions(policy_level, level == kLevelCount - 1);
    o.open = options.OpenOptions(policy_level);
    o.target_size = plan_.target_size != 0 ? plan_.target_size : options.strategy.OutputSize();
    o.fences = placement_.Fences(version);
    if (level > 0 && level + 1 < kLevelCount) {
      for (const Run& run : version.level(level + 1)) {
        for (const auto& table : run.tables) {
          if (!placement_.IsInput(table.get())) o.below.push_back(&table->meta());
        }
      }
      std::sort(o.below.begin(), o.below.end(), [](const TableMeta* a, const TableMeta* b) {
        return CompareUpperBounds(a->last_key, a->last_key_bound, b->last_key, b->last_key_bound) <
               0;
      });
      o.below_bytes_max = kBelowFactor * std::min(o.target_size, UINT64_MAX / kBelowFactor);
    }
    if (const auto& throttle = tree_->context_.throttle) {
      o.throttle = [&throttle, this](uint64_t bytes) {
        throttle(bytes, [this] { return control_ != nullptr && control_->stop.load(); });
      };
    }
    return job;
  }

  // The inputs, put back together to runs, newest first.
  std::unique_ptr<Iterator> NewInput() {
    std::map<std::pair<int, uint64_t>, Run> runs;
    for (const InputTable& input : placement_.inputs()) {
      runs[{input.place.level, ~input.place.run_order}].tables.push_back(input.table);
    }
    std::vector<std::unique_ptr<Iterator>> sources;
    input_runs_.reserve(runs.size());  // the iterators point into it
    for (auto& [place, run] : runs) {
      run.Index();
      input_runs_.push_back(std::move(run));
      const Run& kept = input_runs_.back();
      sources.push_back(MakeRunIterator(kept, 0, kept.tables.size(), &read_context_));
    }
    return MakeMerge(std::move(sources));
  }

  std::vector<RangeTombstone> InputRanges() const {
    std::vector<RangeTombstone> ranges;
    for (const InputTable& input : placement_.inputs()) {
      const RangeIndex* own = input.table->ranges();
      if (own == nullptr) continue;
      ranges.insert(ranges.end(), own->items().begin(), own->items().end());
    }
    return ranges;
  }

  // Without those that everybody sees and that have nothing left to hide: the inputs lose what they
  // cover, and below the output there is nothing.
  std::vector<RangeTombstone> RangesToKeep(std::vector<RangeTombstone> ranges,
                                           const RetentionView& view) const {
    const auto hides_nothing = [&](const RangeTombstone& range) {
      return view.SeenByAll(range.seqno) && !placement_.MayHideBelow(*base_, range);
    };
    ranges.erase(std::remove_if(ranges.begin(), ranges.end(), hides_nothing), ranges.end());
    return ranges;
  }

  Status Stream(JobOutput* output) {
    read_context_.fill_cache = false;
    read_context_.read_ahead_bytes = kReadAheadBytes;
    RetentionView view = tree_->context_.retention();
    if (BugIsOn(SeededBug::kCompactionIgnoresSnapshots)) view = {{}, kReadAll};
    std::vector<RangeTombstone> fragments = FragmentRanges(InputRanges(), view);
    const Ref<const RangeIndex> ranges = IndexOf(fragments);
    output->SetRanges(RangesToKeep(std::move(fragments), view));
    const auto may_exist_below = [this](Slice key) {
      return placement_.MayExistBelow(*base_, key);
    };
    std::optional<FilteredOutput> filtered;
    if (auto filter = tree_->filter(); filter != nullptr) {
      const auto fetch = [this](const Entry& entry, BlobHit* hit) {
        return base_->ReadBlob(entry.key, entry.value, read_context_, true, hit);
      };
      filtered.emplace(std::move(filter), AboutThisJob(), fetch, view, may_exist_below, output);
    }
    Retention::Sink* const sink = filtered ? static_cast<Retention::Sink*>(&*filtered) : output;
    Retention retention(std::move(view), may_exist_below, ranges.get(), sink);
    const std::unique_ptr<Iterator> it = NewInput();
    for (it->SeekToFirst(); it->valid(); it->Next()) {
      const Entry& e = it->entry();
      bytes_read_ += e.key.size() + e.value.size() + kEntryOverhead;
      SHALE_RETURN_IF_ERROR(retention.Add(e));
      if (++items_read_ % kStopCheckItems == 0 || bytes_read_ >= look_at_) {
        look_at_ = bytes_read_ + kStopCheckBytes;
        SHALE_RETURN_IF_ERROR(Progress());
      }
    }
    SHALE_RETURN_IF_ERROR(it->status());
    SHALE_RETURN_IF_ERROR(retention.Finish());
    if (filtered) {
      SHALE_RETURN_IF_ERROR(filtered->Finish());
      filter_changed_ = filtered->changed();
    }
    SHALE_RETURN_IF_ERROR(output->Finish());
    return Progress();
  }

  FilterContext AboutThisJob() const {
    FilterContext context;
    context.is_last_level = plan_.destination_level == kLevelCount - 1;
    context.now_ms = tree_->context_.vfs->WallMillis();
    context.control = control_;
    context.may_wait = [this] {
      SHALE_RETURN_IF_ERROR(Progress());
      if (control_ == nullptr || !control_->must_not_wait.load()) return Status::Ok();
      return Status(Code::kAborted, "the compaction was paused while it waited for its filter");
    };
    return context;
  }

  Status Progress() const {
    if (tree_->deleted()) return Status(Code::kAborted, "the tree was deleted");
    if (control_ == nullptr) return Status::Ok();
    if (control_->stop.load(std::memory_order_relaxed)) {
      return Status(Code::kAborted, "the compaction was stopped");
    }
    control_->done_bytes.store(std::min(bytes_read_, placement_.input_bytes()),
                               std::memory_order_relaxed);
    return Status::Ok();
  }

  Status Commit(JobOutput* output) {
    std::lock_guard<std::mutex> lock(tree_->install_mutex_);
    // Other jobs may have committed since the claim.
    const Ref<Version> now = tree_->Pin()->version;
    Placement placement;
    SHALE_RETURN_IF_ERROR(Placement::Make(*now, plan_, &placement));
    const std::vector<TableOutput::Table> none;
    const auto& added = output != nullptr ? output->tables() : none;
    ManifestEdit::TreeChange change;
    SHALE_RETURN_IF_ERROR(MakeChange(*now, placement, added, &change));
    const bool drops = plan_.type == CompactionPlan::Type::kDrop && plan_.is_visible;
    std::vector<JobOutput*> outputs;
    if (output != nullptr) outputs.push_back(output);
    return tree_->CommitChange(std::move(change), outputs, {}, drops || filter_changed_);
  }

  Status MakeChange(const Version& version, const Placement& placement,
                    const std::vector<TableOutput::Table>& added,
                    ManifestEdit::TreeChange* change) {
    change->tree_id = tree_->id_;
    const bool move = plan_.type == CompactionPlan::Type::kMove;
    std::vector<const TableMeta*> outputs;
    for (const auto& table : added) outputs.push_back(&table.meta);
    if (move) {
      for (const InputTable& input : placement.inputs()) outputs.push_back(&input.table->meta());
    }
    TablePlace place{plan_.destination_level, 0};
    if (!outputs.empty()) {
      SHALE_RETURN_IF_ERROR(
          placement.ChooseRunOrder(version, outputs, tree_->next_run_order_, &place.run_order));
      tree_->next_run_order_ = std::max(tree_->next_run_order_, place.run_order + 1);
    }
    for (const auto& table : added) change->version.added.push_back({table.meta, place});
    for (const InputTable& input : placement.inputs()) {
      const uint64_t number = input.table->meta().number;
      if (move) {
        change->version.moved.push_back({number, place});
      } else {
        change->version.removed.push_back(number);
      }
    }
    return Status::Ok();
  }

  Tree* const tree_;
  const CompactionPlan& plan_;
  JobControl* const control_;
  Ref<Version> base_;  // not the super version: a long job must not keep memtables alive
  Placement placement_;
  ReadContext read_context_;
  std::vector<Run> input_runs_;
  uint64_t items_read_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t look_at_ = 0;         // bytes read at which it looks whether it was told to stop
  bool filter_changed_ = false;  // reads can tell
};

void Tree::DropCovered() {
  // What is dropped may have been the last thing that a table of range tombstones hid.
  while (has_ranges() && !deleted()) {
    const RetentionView view = context_.retention();
    std::set<uint64_t> busy;
    Ref<SuperVersion> sv;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy = claimed_;
      sv = Ref<SuperVersion>::Share(current());
    }
    const auto plan = ChooseCovered(*sv->version, view, busy);
    sv.reset();
    if (!plan || !Claim(*plan).ok() || !Compact(*plan, nullptr, nullptr).ok()) return;
  }
}

Status Tree::Compact(const CompactionPlan& plan, JobControl* control, JobStats* stats) {
  class ClaimHolder {
   public:
    ClaimHolder(Tree* tree, const CompactionPlan& plan) : tree_(tree), plan_(plan) {}
    ~ClaimHolder() {
      std::lock_guard<std::mutex> lock(tree_->mutex_);
      for (uint64_t number : plan_.tables) tree_->claimed_.erase(number);
    }

   private:
    Tree* tree_;
    const CompactionPlan& plan_;
  };
  Status status;
  try {
    const ClaimHolder holder(this, plan);
    status = CompactionJob(this, plan, control).Execute(stats);
    if (status.from_application() && !name_.empty()) status = status.WithKeyspace(name_);
    ReleaseHeld();
  } catch (const std::bad_alloc&) {
    status = Code::kOutOfMemory;
  }
  return status;
}

}  // namespace shale
