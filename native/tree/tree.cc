#include "tree/tree.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <map>
#include <new>
#include <unordered_map>
#include <utility>

#include "base/epoch.h"
#include "tree/blob_garbage.h"
#include "tree/placement.h"
#include "vfs/file_name.h"

namespace shale {

Tree::Tree(const TreeContext& context, const TreeState& state, TreeOptions options)
    : context_(context),
      id_(state.id),
      name_(state.name),
      list_(std::make_shared<SuperVersionList>()),
      counters_(std::make_shared<TableCounters>()),
      blob_counters_(std::make_shared<BlobCounters>()),
      options_(std::move(options)),
      flushed_seqno_(state.flushed_seqno) {}

Tree::~Tree() {
  if (SuperVersion* last = current_.load(std::memory_order_relaxed)) superseded_.push_back(last);
  RetireSuperseded();
}

TableContext Tree::table_context() const {
  return {context_.vfs, context_.directory, context_.cache, context_.files};
}

BlobContext Tree::blob_context() const {
  return {context_.vfs, context_.directory, context_.cache, context_.files};
}

// What the jobs have in common.
JobOutputOptions Tree::OutputOptions(const TreeOptions& options) const {
  JobOutputOptions o;
  o.tables.tables = table_context();
  o.tables.manifest = context_.manifest;
  o.tables.counters = counters_;
  if (options.kv_separation) {
    BlobOutputOptions& blobs = o.blobs.emplace();
    blobs.blobs = blob_context();
    blobs.counters = blob_counters_;
    blobs.new_file_number = [manifest = context_.manifest] { return manifest->NewFileNumber(); };
    blobs.write.codec = options.kv_separation->compression;
    blobs.file_size = options.kv_separation->file_size;
    o.threshold = options.kv_separation->threshold;
  }
  return o;
}

// ---- opening ----

Status Tree::Open(const TreeContext& context, const TreeState& state, Ref<Tree>* tree) {
  TreeOptions options;
  SHALE_RETURN_IF_ERROR(TreeOptions::Decode(state.options, &options));
  Ref<Tree> t = Ref<Tree>::Adopt(new Tree(context, state, std::move(options)));
  SHALE_RETURN_IF_ERROR(t->OpenTables(state));
  *tree = std::move(t);
  return Status::Ok();
}

namespace {

Status OpenTable(const TableContext& context, const VersionEdit::Added& added,
                 const TableOpenOptions& options, const std::shared_ptr<TableCounters>& counters,
                 Ref<TableReader>* table) {
  const Status s = TableReader::Open(context, added.meta, options, counters, table);
  if (!IsErrno(s, ENOENT)) return s;
  const std::string path = FileName(context.directory, FileKind::kTable, added.meta.number);
  return Status::Corruption("the manifest names a table that is missing", path);
}

}  // namespace

Status Tree::OpenBlobFiles(const TreeState& state, std::vector<Ref<BlobFile>>* files) const {
  files->reserve(state.blob_files.size());
  for (const auto& [number, blob] : state.blob_files) {
    const BlobFileMeta meta{number, blob.size, blob.item_count, blob.frame_bytes, blob.raw_bytes};
    SHALE_RETURN_IF_ERROR(
        BlobFile::Open(blob_context(), meta, blob_counters_, &files->emplace_back()));
  }
  return Status::Ok();
}

Status Tree::OpenTables(const TreeState& state) {
  int base_level = kLevelCount;
  for (const auto& [number, added] : state.tables) {
    if (added.place.level > 0) base_level = std::min(base_level, added.place.level);
  }
  std::vector<std::map<uint64_t, Run, std::greater<>>> draft(kLevelCount);
  Seqno highest = state.flushed_seqno == 0 ? 0 : state.flushed_seqno - 1;
  for (const auto& [number, added] : state.tables) {
    const int level = added.place.level;
    Ref<TableReader> table;
    SHALE_RETURN_IF_ERROR(OpenTable(table_context(), added,
                                    options_.OpenOptions(level == 0 ? 0 : level - base_level + 1),
                                    counters_, &table));
    highest = std::max(highest, added.meta.highest_seqno);
    next_run_order_ = std::max(next_run_order_, added.place.run_order + 1);
    Run& run = draft[static_cast<size_t>(level)][added.place.run_order];
    run.order = added.place.run_order;
    run.tables.push_back(std::move(table));
  }
  std::vector<std::vector<Run>> levels(kLevelCount);
  for (size_t i = 0; i < draft.size(); i++) {
    for (auto& [order, run] : draft[i]) {
      std::sort(run.tables.begin(), run.tables.end(), [](const auto& a, const auto& b) {
        return Slice(a->meta().first_key) < Slice(b->meta().first_key);
      });
      levels[i].push_back(std::move(run));
    }
  }
  std::vector<Ref<BlobFile>> blob_files;
  SHALE_RETURN_IF_ERROR(OpenBlobFiles(state, &blob_files));
  Ref<Version> version =
      MakeRef<Version>(next_version_id_++, std::move(levels), std::move(blob_files));
  SHALE_RETURN_IF_ERROR(version->CheckInvariants());
  highest_seqno_.store(highest, std::memory_order_relaxed);
  highest_sealed_seqno_.store(highest, std::memory_order_relaxed);
  active_ = NewMemtable(options_);
  std::lock_guard<std::mutex> lock(mutex_);
  Install(MakeRef<SuperVersion>(active_, std::vector<Ref<Memtable>>(), std::move(version), highest,
                                list_));
  return Status::Ok();
}

Ref<Memtable> Tree::NewMemtable(const TreeOptions& options) {
  const MemtableKind kind = options.memtable_auto ? MemtableKind::kRadix : options.memtable;
  return Memtable::Create(kind, next_memtable_id_++);
}

// ---- options ----

TreeOptions Tree::options() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return options_;
}

void Tree::SetOptions(const TreeOptions& options) {
  std::lock_guard<std::mutex> lock(mutex_);
  options_ = options;
}

void Tree::AddFilter(std::shared_ptr<CompactionFilter> filter) {
  std::lock_guard<std::mutex> lock(mutex_);
  filters_.push_back(std::move(filter));
}

std::shared_ptr<CompactionFilter> Tree::filter() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(filters_, [](const auto& filter) { return !filter->alive(); });
  return filters_.empty() ? nullptr : filters_.front();
}

void Tree::AddUserStrategy(std::shared_ptr<UserStrategy> strategy) {
  std::lock_guard<std::mutex> lock(mutex_);
  user_strategies_.push_back(std::move(strategy));
}

std::shared_ptr<UserStrategy> Tree::user_strategy() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(user_strategies_, [](const auto& strategy) { return !strategy->alive(); });
  if (options_.strategy.kind < StrategyKind::kUser) return nullptr;
  const auto given = std::find_if(
      user_strategies_.rbegin(), user_strategies_.rend(),
      [this](const auto& strategy) { return strategy->name() == options_.strategy.name; });
  return given == user_strategies_.rend() ? nullptr : *given;
}

bool Tree::LacksStrategy() const {
  return options().strategy.kind >= StrategyKind::kUser && user_strategy() == nullptr;
}

// ---- writes ----

size_t Tree::Add(Slice key, Slice value, Seqno seqno, Kind kind) {
  assert(kind == Kind::kValue || IsTombstone(kind));
  assert(!key.empty() && key.size() <= kKeyBytesMax && seqno <= kSeqnoMax);
  const size_t size = active_->Add(key, value, seqno, kind);
  if (seqno > highest_seqno_.load(std::memory_order_relaxed)) {
    highest_seqno_.store(seqno, std::memory_order_release);
  }
  return size;
}

size_t Tree::AddRange(Slice start, Slice end, Seqno seqno) {
  assert(!start.empty() && (end.empty() || start < end) && seqno <= kSeqnoMax);
  const size_t size = active_->AddRange(start, end, seqno);
  if (seqno > highest_seqno_.load(std::memory_order_relaxed)) {
    highest_seqno_.store(seqno, std::memory_order_release);
  }
  return size;
}

uint64_t Tree::active_bytes() const { return active_->used_bytes(); }

bool Tree::Rotate() {
  if (active_->empty()) return false;
  Ref<Memtable> fresh = NewMemtable(options());
  highest_sealed_seqno_.store(
      std::max(highest_sealed_seqno_.load(std::memory_order_relaxed), active_->highest_seqno()),
      std::memory_order_release);
  std::lock_guard<std::mutex> lock(mutex_);
  const SuperVersion* base = current();
  std::vector<Ref<Memtable>> sealed;
  sealed.reserve(base->sealed.size() + 1);
  sealed.push_back(active_);
  sealed.insert(sealed.end(), base->sealed.begin(), base->sealed.end());
  Install(MakeRef<SuperVersion>(fresh, std::move(sealed), base->version, highest_seqno(), list_,
                                base->held));
  active_ = std::move(fresh);
  return true;
}

Seqno Tree::highest_seqno() const { return highest_seqno_.load(std::memory_order_acquire); }

Seqno Tree::highest_sealed_seqno() const {
  return highest_sealed_seqno_.load(std::memory_order_acquire);
}

// ---- super versions ----

void Tree::Install(Ref<SuperVersion> next) {
  superseded_.reserve(superseded_.size() + 1);
  SuperVersion* old = current_.exchange(next.Release(), std::memory_order_seq_cst);
  if (old != nullptr) superseded_.push_back(old);
}

void Tree::RetireSuperseded() const {
  std::vector<SuperVersion*> old;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    old.swap(superseded_);
  }
  for (const SuperVersion* sv : old) EpochRetire(sv);
  EpochCollect();
}

Ref<SuperVersion> Tree::Pin() const {
  EpochGuard guard;
  return Ref<SuperVersion>::Share(current());
}

std::vector<Ref<SuperVersion>> Tree::history() const {
  RetireSuperseded();
  return list_->Living();
}

namespace {

// What an edit says of the blob files that differ between two versions.
void DescribeBlobFiles(const Version& from, const Version& to, ManifestEdit::TreeChange* change) {
  for (const BlobFileUse& use : from.blob_files()) {
    if (to.FindBlobFile(use.number()) == nullptr) {
      change->removed_blob_files.push_back(use.number());
    }
  }
  for (const BlobFileUse& use : to.blob_files()) {
    const BlobFileUse* before = from.FindBlobFile(use.number());
    const BlobFileMeta& m = use.file->meta();
    if (before == nullptr) {
      change->added_blob_files.push_back(
          {m.number, {m.size, m.item_count, m.frame_bytes, m.raw_bytes, 0, 0}});
    }
    if (use.stale_items() != (before == nullptr ? 0 : before->stale_items())) {
      change->stale_blobs.push_back({m.number, use.stale_items(), use.stale_bytes()});
    }
  }
}

}  // namespace

Status Tree::CommitChange(ManifestEdit::TreeChange change, const std::vector<JobOutput*>& outputs,
                          const std::vector<Ref<Memtable>>& flushed, bool is_visible) {
  // Until it is certain that the manifest does not name them, the files stay: also if memory
  // runs out.
  for (JobOutput* output : outputs) output->Keep();
  const Status s = CommitKept(std::move(change), outputs, flushed, is_visible);
  if (!s.ok() && context_.manifest->failure().ok()) {
    for (JobOutput* output : outputs) output->Discard();
  }
  return s;
}

void Tree::RaiseSeqnos(Seqno highest) {
  for (std::atomic<Seqno>* seqno : {&highest_seqno_, &highest_sealed_seqno_}) {
    Seqno now = seqno->load(std::memory_order_relaxed);
    while (now < highest && !seqno->compare_exchange_weak(now, highest)) {
    }
  }
}

Status Tree::CommitKept(ManifestEdit::TreeChange change, const std::vector<JobOutput*>& outputs,
                        const std::vector<Ref<Memtable>>& flushed, bool is_visible) {
  if (deleted()) return Status(Code::kAborted, "the tree was deleted");
  const Ref<SuperVersion> base = Pin();  // its version stays the current one until we are done
  std::vector<Ref<BlobFile>> blob_files;
  std::unordered_map<uint64_t, Ref<TableReader>> added;
  Seqno highest = 0;
  for (const JobOutput* output : outputs) {
    for (const auto& written : output->blob_files()) blob_files.push_back(written.file);
    for (const auto& table : output->tables()) {
      added.emplace(table.meta.number, table.reader);
      highest = std::max(highest, table.meta.highest_seqno);
    }
  }
  const auto open = [&](uint64_t number) {
    const auto found = added.find(number);
    return found != added.end() ? found->second : Ref<TableReader>();
  };
  Ref<Version> version;
  SHALE_RETURN_IF_ERROR(
      base->version->Apply(change.version, next_version_id_++, open, &version, blob_files));
  DescribeBlobFiles(*base->version, *version, &change);
  const std::vector<uint64_t> removed_blob_files = change.removed_blob_files;
  const std::optional<Seqno> flushed_seqno = change.flushed_seqno;
  ManifestEdit edit;
  edit.changes.push_back(std::move(change));
  if (Status s = context_.manifest->Commit(edit); !s.ok()) {
    return deleted() ? Status(Code::kAborted, "the tree was deleted") : s;
  }
  for (const JobOutput* output : outputs) Grow(&output_bytes_, output->bytes());

  RaiseSeqnos(highest);
  try {
    if (is_visible) {
      context_.at_a_seqno(id_, [&](Seqno at) { InstallVisible(std::move(version), at); });
    } else {
      InstallHidden(std::move(version), flushed);
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (flushed_seqno) flushed_seqno_ = std::max(flushed_seqno_, *flushed_seqno);
    if (deleted()) {
      for (const auto& [number, table] : added) table->MarkObsolete();
      for (const auto& file : blob_files) file->MarkObsolete();
    }
  } catch (const std::bad_alloc&) {
    // What is read here is now behind the manifest: nothing may be built upon it.
    return context_.manifest->Fail(Code::kOutOfMemory);
  }
  for (uint64_t number : removed_blob_files) {
    base->version->FindBlobFile(number)->file->MarkObsolete();
  }
  RetireSuperseded();
  return Status::Ok();
}

namespace {

// Whether a read, present or future, may go to the held version between these bounds.
bool IsNeeded(Seqno after, Seqno until, const RetentionView& view) {
  if (view.visible <= until) return true;
  const auto first = std::upper_bound(view.snapshots.begin(), view.snapshots.end(), after);
  return first != view.snapshots.end() && *first <= until;
}

HeldVersions StillNeeded(const HeldVersions& held, const RetentionView& view) {
  if (held == nullptr) return held;
  auto needed = std::make_shared<std::vector<HeldVersion>>();
  Seqno after = 0;
  for (const HeldVersion& one : *held) {
    if (IsNeeded(after, one.until, view)) needed->push_back(one);
    after = one.until;
  }
  if (needed->size() == held->size()) return held;
  return needed->empty() ? nullptr : HeldVersions(std::move(needed));
}

}  // namespace

void Tree::InstallHidden(Ref<Version> version, const std::vector<Ref<Memtable>>& flushed) {
  std::lock_guard<std::mutex> lock(mutex_);
  const SuperVersion* now = current();
  std::vector<Ref<Memtable>> sealed;
  for (const auto& m : now->sealed) {
    const auto same = [&](const Ref<Memtable>& f) { return f.get() == m.get(); };
    if (std::none_of(flushed.begin(), flushed.end(), same)) sealed.push_back(m);
  }
  Install(MakeRef<SuperVersion>(now->active, std::move(sealed), std::move(version), highest_seqno(),
                                list_, now->held));
}

void Tree::InstallVisible(Ref<Version> version, Seqno at) {
  // What is written from now on is not to stay in memory with the held one.
  Ref<Memtable> active = active_->empty() ? NewMemtable(options()) : active_;
  std::lock_guard<std::mutex> lock(mutex_);
  const SuperVersion* now = current();
  auto held = std::make_shared<std::vector<HeldVersion>>();
  if (now->held != nullptr) *held = *now->held;
  held->push_back(
      {at, MakeRef<SuperVersion>(now->active, now->sealed, now->version, now->seqno, list_)});
  Install(MakeRef<SuperVersion>(active, now->sealed, std::move(version), highest_seqno(), list_,
                                std::move(held)));
  active_ = std::move(active);
}

bool Tree::holds() const {
  EpochGuard guard;
  return current()->held != nullptr;
}

void Tree::ReleaseHeld() {
  if (holds()) ReleaseHeldBut(context_.retention());
}

void Tree::ReleaseHeldBut(const RetentionView& view) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const SuperVersion* now = current();
    HeldVersions needed = StillNeeded(now->held, view);
    if (needed == now->held) return;
    Install(MakeRef<SuperVersion>(now->active, now->sealed, now->version, highest_seqno(), list_,
                                  std::move(needed)));
  }
  RetireSuperseded();
}

Ref<SuperVersion> Tree::PinFor(Seqno read_seqno) const {
  EpochGuard guard;
  return Ref<SuperVersion>::Share(const_cast<SuperVersion*>(current()->For(read_seqno)));
}

void Tree::MarkDeleted() {
  const Ref<SuperVersion> sv = [&] {
    std::lock_guard<std::mutex> lock(mutex_);
    deleted_.store(true, std::memory_order_release);
    return Ref<SuperVersion>::Share(current());
  }();
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : sv->version->level(level)) {
      for (const auto& table : run.tables) table->MarkObsolete();
    }
  }
  for (const BlobFileUse& use : sv->version->blob_files()) use.file->MarkObsolete();
}

// ---- claims ----

Status Tree::Claim(const CompactionPlan& plan) {
  const Ref<SuperVersion> sv = Pin();
  Placement placement;
  SHALE_RETURN_IF_ERROR(Placement::Make(*sv->version, plan, &placement));
  std::lock_guard<std::mutex> lock(mutex_);
  const Version& now = *current()->version;
  for (uint64_t number : plan.tables) {
    if (claimed_.count(number) != 0) return Status(Code::kPlanStale, "a table is busy");
    // Between the look at the version and the lock another job may have removed it.
    if (&now != sv->version.get() && now.FindTable(number, nullptr) == nullptr) {
      return Status(Code::kPlanStale, "a table of the plan is gone");
    }
  }
  claimed_.insert(plan.tables.begin(), plan.tables.end());
  return Status::Ok();
}

std::optional<CompactionPlan> Tree::ChooseAndClaim(uint64_t now_ms) {
  const TreeOptions now = options();
  std::optional<CompactionPlan> plan = ChooseAndClaim(now.strategy, now_ms);
  if (plan || !now.kv_separation) return plan;
  return ClaimChosen([&](const Version& version, const std::set<uint64_t>& busy) {
    return ChooseStale(version, now, busy);
  });
}

std::optional<CompactionPlan> Tree::ChooseAndClaim(const StrategyOptions& strategy,
                                                   uint64_t now_ms) {
  return ClaimChosen([&](const Version& version, const std::set<uint64_t>& busy) {
    return ChooseFrom(version, strategy, {busy, now_ms});
  });
}

Status Tree::AskAndClaim(uint64_t now_ms, const std::function<Status()>& may_wait,
                         std::optional<CompactionPlan>* plan) {
  plan->reset();
  const std::shared_ptr<UserStrategy> strategy = user_strategy();
  if (strategy == nullptr) return Status::Ok();
  const Seqno seen_below = context_.retention().LowestRead();
  for (;;) {
    StrategyContext context{{}, now_ms, seen_below};
    Ref<SuperVersion> sv;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      context.busy_tables = claimed_;
      sv = Ref<SuperVersion>::Share(current());
    }
    SHALE_RETURN_IF_ERROR(strategy->Choose(sv, context, may_wait, plan));
    if (!plan->has_value()) return Status::Ok();
    const Status claimed = Claim(**plan);
    if (claimed.ok()) return claimed;
    const std::vector<uint64_t> wanted = std::move((*plan)->tables);
    plan->reset();
    // The end of the job that has one of its tables asks again.
    if (std::any_of(wanted.begin(), wanted.end(),
                    [&](uint64_t table) { return context.busy_tables.count(table) != 0; })) {
      return Status::Ok();
    }
    std::lock_guard<std::mutex> lock(mutex_);
    const bool has_changed = current() != sv.get() || claimed_ != context.busy_tables;
    if (has_changed) continue;
    return ApplicationFailure(
        "the compaction strategy '" + strategy->name() +
        "' answered with a plan that cannot be carried out: " + claimed.message());
  }
}

std::optional<CompactionPlan> Tree::ChooseFrom(const Version& version,
                                               const StrategyOptions& strategy,
                                               StrategyContext context) const {
  const VersionSummary summary = Summarise(version);
  if (auto plan = Choose(summary, strategy, context)) return plan;
  // What reads need is not asked for in vain: that may have to be recorded.
  context.seen_below = kReadAll;
  if (!ChooseUpkeep(summary, strategy, context)) return std::nullopt;
  context.seen_below = context_.retention().LowestRead();
  return ChooseUpkeep(summary, strategy, context);
}

std::optional<CompactionPlan> Tree::ClaimChosen(const Chooser& choose) {
  // Another job may claim between choice and claim; then there is something new to choose from.
  for (int attempt = 0; attempt < 8; attempt++) {
    std::set<uint64_t> busy;
    Ref<SuperVersion> sv;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy = claimed_;
      sv = Ref<SuperVersion>::Share(current());
    }
    std::optional<CompactionPlan> plan = choose(*sv->version, busy);
    if (!plan || Claim(*plan).ok()) return plan;
  }
  return std::nullopt;
}

std::optional<double> Tree::DueIn(uint64_t now_ms) const {
  const StrategyOptions strategy = options().strategy;
  if (!strategy.MaxAge().has_value()) return std::nullopt;
  const auto due = DueAt(Summarise(*Pin()->version), strategy, now_ms);
  return due ? std::optional<double>(*due - static_cast<double>(now_ms)) : std::nullopt;
}

Seqno Tree::AwaitedBelow() const {
  const StrategyOptions strategy = options().strategy;
  const Ref<SuperVersion> sv = Pin();
  Seqno below = 0;
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : sv->version->level(level)) {
      for (const auto& table : run.tables) {
        const TableMeta& m = table->meta();
        const uint64_t ranges = m.range_tombstone_count;
        const uint64_t tombstones = m.tombstone_count + m.weak_tombstone_count + ranges;
        if (ranges == 0 && !IsDense(tombstones, m.item_count + ranges, strategy)) continue;
        below = std::max(below, m.highest_seqno + 1);
      }
    }
  }
  return below;
}

std::optional<CompactionPlan> Tree::MajorPlan(uint64_t target_size) const {
  const Ref<SuperVersion> sv = Pin();
  if (sv->version->empty()) return std::nullopt;
  CompactionPlan plan;
  plan.destination_level = kLevelCount - 1;
  plan.target_size = target_size;
  plan.all_garbage = true;
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : sv->version->level(level)) {
      for (const auto& table : run.tables) plan.tables.push_back(table->meta().number);
    }
  }
  return plan;
}

std::optional<CompactionPlan> Tree::DropRangePlan(const Bounds& range) const {
  const Ref<SuperVersion> sv = Pin();
  const Slice lower = range.lower ? Slice(*range.lower) : Slice();
  std::optional<Slice> upper;
  if (range.upper) upper = Slice(*range.upper);
  return ChooseDropRange(Summarise(*sv->version), lower, upper);
}

// ---- views ----

bool Tree::has_ranges() const {
  EpochGuard guard;
  return current()->version->has_ranges();
}

uint64_t Tree::max_memtable_size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return options_.max_memtable_size;
}

bool Tree::HasSealed() const { return sealed_count() != 0; }

uint64_t Tree::memtable_bytes() const {
  EpochGuard guard;
  const SuperVersion* sv = current();
  uint64_t sum = sv->active->used_bytes();
  for (const auto& m : sv->sealed) sum += m->used_bytes();
  return sum;
}

uint64_t Tree::sealed_bytes() const {
  EpochGuard guard;
  uint64_t sum = 0;
  for (const auto& m : current()->sealed) sum += m->used_bytes();
  return sum;
}

size_t Tree::sealed_count() const {
  EpochGuard guard;
  return current()->sealed.size();
}

size_t Tree::level0_runs() const {
  EpochGuard guard;
  return current()->version->level(0).size();
}

uint64_t Tree::table_bytes() const {
  EpochGuard guard;
  return current()->version->bytes();
}

uint64_t Tree::blob_bytes() const {
  EpochGuard guard;
  return current()->version->blob_bytes();
}

uint64_t Tree::stale_blob_bytes() const {
  EpochGuard guard;
  return current()->version->stale_blob_bytes();
}

uint64_t Tree::approximate_len() const {
  EpochGuard guard;
  const SuperVersion* sv = current();
  uint64_t sum = sv->active->item_count() + sv->version->item_count();
  for (const auto& m : sv->sealed) sum += m->item_count();
  return sum;
}

Seqno Tree::flushed_seqno() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return flushed_seqno_;
}

}  // namespace shale
