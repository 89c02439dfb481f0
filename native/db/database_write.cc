// Commits: from a call to the journal and the memtables.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/seeded_bug.h"
#include "db/batch_ranges.h"
#include "db/database_impl.h"

namespace shale {
namespace {

constexpr size_t kInlineBytesMax = 256 * 1024;  // an async form writes no more on its caller
constexpr size_t kDirectBytes = 64 * 1024;      // a larger payload is not copied before the write
constexpr uint32_t kCreationId = 0;             // among watermarks; no tree has it

char* Copy(char* dst, Slice bytes) {
  if (!bytes.empty()) std::memcpy(dst, bytes.data(), bytes.size());
  return dst + bytes.size();
}

size_t EntryBytes(const BatchEntry& entry) {
  return kEntryHeaderBytes + entry.key.size() + entry.value.size();
}

// Adds up what a batch brings to one tree after the other.
class TreeShares {
 public:
  TreeShares() = default;
  ~TreeShares() { Count(); }
  TreeShares(const TreeShares&) = delete;
  TreeShares& operator=(const TreeShares&) = delete;

  void Add(Tree* tree, size_t user_bytes, size_t journal_bytes) {
    if (tree != tree_) [[unlikely]] {
      Count();
      tree_ = tree;
      user_bytes_ = 0;
      journal_bytes_ = 0;
    }
    user_bytes_ += user_bytes;
    journal_bytes_ += journal_bytes;
  }

 private:
  void Count() const {
    if (tree_ != nullptr) tree_->CountWrite(user_bytes_, journal_bytes_);
  }

  Tree* tree_ = nullptr;
  uint64_t user_bytes_ = 0;
  uint64_t journal_bytes_ = 0;
};

bool IsData(Kind kind) { return kind == Kind::kValue || IsTombstone(kind); }

}  // namespace

// ---- checks ----

Status Database::Impl::CheckOne(const Keyspace* keyspace, Kind kind, Slice key, Slice value) const {
  if (options_.read_only) return Status(Code::kReadOnly, "the database was opened read-only");
  if (!IsData(kind)) return Status(Code::kInvalidArgument, "not a kind that can be written");
  if (key.empty()) return Status(Code::kInvalidKey, "a key has at least one byte");
  if (key.size() > kKeyBytesMax) {
    return Status(Code::kKeyTooLarge,
                  "the key has " + std::to_string(key.size()) + " bytes, the limit is 65535");
  }
  if (value.size() > options_.max_value_size) {
    return Status(Code::kValueTooLarge, "the value has " + std::to_string(value.size()) +
                                            " bytes, the limit is " +
                                            std::to_string(options_.max_value_size));
  }
  if (IsTombstone(kind) && !value.empty()) {
    return Status(Code::kInvalidValue, "a tombstone has no value");
  }
  if (keyspace->deleted()) {
    return Status(Code::kKeyspaceDeleted, "the keyspace was deleted")
        .WithKeyspace(keyspace->name());
  }
  return Status::Ok();
}

Status Database::Impl::CheckEntries(Slice entries, Commit* commit, bool* compress) const {
  commit->count = 0;
  if (entries.size() > kBatchBytesMax) {
    return Status(Code::kBatchTooLarge, "the batch has " + std::to_string(entries.size()) +
                                            " bytes, the limit is " +
                                            std::to_string(kBatchBytesMax));
  }
  BatchReader reader(entries);
  BatchEntry entry;
  const Keyspace* keyspace = nullptr;
  std::shared_lock<std::shared_mutex> lock(keyspaces_mutex_);
  while (reader.Next(&entry)) {
    if (keyspace == nullptr || keyspace->id() != entry.keyspace) {
      const auto it = by_id_.find(entry.keyspace);
      if (it == by_id_.end()) {
        return Status(Code::kInvalidArgument, "an entry names no keyspace of this database");
      }
      keyspace = it->second;
    }
    if (entry.kind == Kind::kRangeTombstone) {
      RangeTombstone range;
      if (!DecodeRange(entry, &range)) {
        return Status(Code::kInvalidArgument, "not a range of keys that can be removed");
      }
      SHALE_RETURN_IF_ERROR(CheckOne(keyspace, Kind::kTombstone, entry.key, Slice()));
      commit->has_ranges = true;
    } else {
      SHALE_RETURN_IF_ERROR(CheckOne(keyspace, entry.kind, entry.key, entry.value));
    }
    if (entry.codec != Codec::kNone) {
      return Status(Code::kInvalidArgument, "the entries of a batch are not compressed");
    }
    if (entry.kind == Kind::kValue && Compresses(entry.value)) *compress = true;
    ++commit->count;
  }
  if (!reader.status().ok()) {
    return Status(Code::kInvalidArgument, reader.status().message());
  }
  return Status::Ok();
}

// Large values compressed, where that makes them smaller.
std::string Database::Impl::JournalForm(const Commit& commit) const {
  std::string form;
  std::string scratch;
  BatchEntry entry;
  if (commit.keyspace != nullptr) {
    entry.kind = commit.kind;
    entry.keyspace = commit.keyspace->id();
    entry.key = commit.key;
    entry.value = commit.value;
    AppendForJournal(entry, options_.journal_compression, &scratch, &form);
    return form;
  }
  BatchReader reader(commit.entries);
  while (reader.Next(&entry)) {
    AppendForJournal(entry, options_.journal_compression, &scratch, &form);
  }
  return form;
}

// ---- what the holder of the write lock does ----

void Database::Impl::Stage(const Commit& commit, Seqno seqno) {
  if (!commit.journal.empty() || commit.keyspace == nullptr) {
    const Slice payload = commit.journal.empty() ? commit.entries : commit.journal;
    Copy(journal_.BeginRecord(payload.size()), payload);
  } else {
    const size_t size = kEntryHeaderBytes + commit.key.size() + commit.value.size();
    char* p = journal_.BeginRecord(size);
    EncodeEntryHeader(p, commit.kind, Codec::kNone, commit.key.size(), commit.keyspace->id(),
                      commit.value.size());
    Copy(Copy(p + kEntryHeaderBytes, commit.key), commit.value);
  }
  journal_.EndRecord(commit.count, seqno);
}

Status Database::Impl::Append(Commit* const* commits, size_t n, Seqno first) {
  const Commit& leader = *commits[0];
  const JournalManager::Mark mark = journal_.mark();
  Status status;
  const Slice whole = leader.journal.empty() ? leader.entries : leader.journal;
  if (n == 1 && whole.size() >= kDirectBytes) {
    status = journal_.AppendDirect(leader.count, first, whole);
  } else {
    struct Guard {
      JournalManager* journal;
      const JournalManager::Mark* mark;
      ~Guard() {
        if (mark != nullptr) journal->CutBack(*mark);
      }
    } guard{&journal_, &mark};
    const Durability left_here =
        BugIsOn(SeededBug::kAcknowledgeBeforeHandOver) ? Durability::kOs : Durability::kBuffered;
    bool hand_over = false;
    for (size_t i = 0; i < n; ++i) {
      Stage(*commits[i], first + i);
      hand_over = hand_over || commits[i]->durability > left_here;
    }
    if (hand_over || journal_.staged_bytes() >= kBufferedBytesMax) status = journal_.HandOver();
    if (status.ok() || BugIsOn(SeededBug::kPublishBeforeJournal)) guard.mark = nullptr;
  }
  if (!status.ok()) {
    SetProblem("journal", status);
    if (journal_.poisoned()) queue_->Fail(status);
  } else if (journal_problem_.load(std::memory_order_relaxed)) {
    SetProblem("journal", Status::Ok());
  }
  return status;
}

void Database::Impl::Touch(Keyspace* keyspace) {
  if (std::exchange(keyspace->upkeep.touched, true)) return;
  touched_.push_back(keyspace);
}

void Database::Impl::InsertEntries(const Commit& commit, WriteCounts* counts) {
  const BatchRanges ranges(commit.has_ranges ? commit.entries : Slice());
  BatchReader reader(commit.entries);
  BatchEntry entry;
  TreeShares shares;
  Keyspace* keyspace = nullptr;
  if (commit.count > 1) counts->batches++;
  for (uint64_t position = 0; reader.Next(&entry); ++position) {
    if (keyspace == nullptr || keyspace->id() != entry.keyspace) {
      keyspace = by_id_.find(entry.keyspace)->second;
      Touch(keyspace);
    }
    // The value of a range begins with what it says of its end.
    const size_t bytes =
        entry.key.size() + entry.value.size() - (entry.kind == Kind::kRangeTombstone ? 1 : 0);
    shares.Add(keyspace->tree(), bytes, commit.journal.empty() ? EntryBytes(entry) : 0);
    (entry.kind == Kind::kValue ? counts->inserts : counts->removes)++;
    counts->bytes += bytes;
    if (ranges.Cancels(entry, position)) continue;
    RangeTombstone range;
    if (entry.kind != Kind::kRangeTombstone) [[likely]] {
      keyspace->tree()->Add(entry.key, entry.value, commit.seqno, entry.kind);
    } else if (DecodeRange(entry, &range)) {
      keyspace->tree()->AddRange(range.start, range.end, commit.seqno);
    }
  }
  // Where the journal compresses values it has entries of other sizes.
  BatchReader stored(commit.journal);
  while (stored.Next(&entry)) {
    shares.Add(by_id_.find(entry.keyspace)->second->tree(), 0, EntryBytes(entry));
  }
}

void Database::Impl::Insert(Commit* const* commits, size_t n) {
  WriteCounts counts;
  for (size_t i = 0; i < n; ++i) {
    const Commit& commit = *commits[i];
    if (commit.keyspace == nullptr) {
      InsertEntries(commit, &counts);
      continue;
    }
    Tree* const tree = commit.keyspace->tree();
    tree->Add(commit.key, commit.value, commit.seqno, commit.kind);
    const size_t bytes = commit.key.size() + commit.value.size();
    tree->CountWrite(bytes,
                     commit.journal.empty() ? kEntryHeaderBytes + bytes : commit.journal.size());
    (commit.kind == Kind::kValue ? counts.inserts : counts.removes)++;
    counts.bytes += bytes;
    Touch(commit.keyspace);
  }
  CountWrites(counts);
}

void Database::Impl::CountWrites(const WriteCounts& counts) {
  const auto grow = [](std::atomic<uint64_t>* sum, uint64_t n) {
    if (n != 0) {
      sum->store(sum->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
  };
  grow(&inserts_, counts.inserts);
  grow(&removes_, counts.removes);
  grow(&batches_, counts.batches);
  grow(&written_bytes_, counts.bytes);
}

void Database::Impl::AfterGroup() {
  uint64_t grown = 0;
  for (Keyspace* keyspace : touched_) {
    Keyspace::Upkeep& upkeep = keyspace->upkeep;
    upkeep.touched = false;
    const uint64_t active = keyspace->tree()->active_bytes();
    grown += active - upkeep.counted_active;
    upkeep.counted_active = active;
  }
  const uint64_t total = memory_.fetch_add(grown, std::memory_order_relaxed) + grown;
  for (Keyspace* keyspace : touched_) {
    const Keyspace::Upkeep& upkeep = keyspace->upkeep;
    if (upkeep.counted_active >= upkeep.max_memtable_size.load(std::memory_order_relaxed)) {
      RotateTree(keyspace);
    }
  }
  touched_.clear();
  if (total > options_.max_write_buffer_size / 2) RelieveMemory(total);
  if (total > control_->soft_limit() || !control_->free()) maintenance_->MemoryGrew();
  keeper_->AfterAppend();
}

bool Database::Impl::RotateTree(Keyspace* keyspace) {
  if (!keyspace->tree()->Rotate()) return false;
  memory_.fetch_sub(std::exchange(keyspace->upkeep.counted_active, 0));
  maintenance_->Sealed(keyspace);
  return true;
}

// Half of the write buffer is in use: the largest memtables go to tables, whatever their own
// limits. Enough of them for writers to be free then: a stopped writer seals nothing more.
// Looks around only when memory has grown by a step since the last time.
void Database::Impl::RelieveMemory(uint64_t total) {
  const uint64_t step = options_.max_write_buffer_size / 32;
  if (total >= relieved_at_ && total - relieved_at_ < step) return;
  relieved_at_ = total;
  std::vector<Keyspace*> candidates;
  uint64_t active = 0;
  std::shared_lock<std::shared_mutex> lock(keyspaces_mutex_);
  for (const auto& [id, keyspace] : by_id_) {
    if (keyspace->upkeep.counted_active == 0) continue;
    active += keyspace->upkeep.counted_active;
    candidates.push_back(keyspace);
  }
  std::sort(candidates.begin(), candidates.end(), [](const Keyspace* a, const Keyspace* b) {
    return a->upkeep.counted_active > b->upkeep.counted_active;
  });
  const uint64_t soft = control_->soft_limit();
  const uint64_t wanted =
      std::max(options_.max_write_buffer_size / 4, total > soft ? total - soft : uint64_t{0});
  uint64_t sealed = total > active ? total - active : 0;  // on its way to tables already
  for (Keyspace* keyspace : candidates) {
    if (sealed >= wanted) break;
    sealed += keyspace->upkeep.counted_active;
    RotateTree(keyspace);
  }
}

Status Database::Impl::Sync() {
  Status status = journal_.Sync();
  if (status.ok()) keeper_->AfterSync();
  return status;
}

void Database::Impl::OnFailure(const Status& failure) {
  if (failure.Is(Code::kSyncFailed)) {
    TellError(Event::During::kSync, failure);
  } else if (!journal_problem_.load(std::memory_order_relaxed)) {
    TellError(Event::During::kJournal, failure);
  }
  SetProblem("failed", failure);
}

Watermarks Database::Impl::UnflushedSeqnos() const {
  Watermarks marks;
  std::shared_lock<std::shared_mutex> lock(keyspaces_mutex_);
  for (const auto& [id, keyspace] : by_id_) {
    const Seqno highest = keyspace->tree()->highest_seqno();
    if (highest != 0 && highest >= keyspace->tree()->flushed_seqno()) marks[id] = highest;
  }
  if (const Seqno creation = creation_.load(); creation != 0) marks[kCreationId] = creation;
  return marks;
}

std::optional<Seqno> Database::Impl::FlushedSeqno(uint32_t tree) const {
  if (tree == kCreationId) {
    // They come one by one: those before this one have ended.
    const Seqno creation = creation_.load();
    return creation != 0 ? std::optional(creation) : std::nullopt;
  }
  const Ref<Keyspace> keyspace = FindKeyspaceById(tree);
  if (!keyspace) return std::nullopt;
  return keyspace->tree()->flushed_seqno();
}

void Database::Impl::SetProblem(const char* source, const Status& status) {
  std::lock_guard<std::mutex> lock(problems_mutex_);
  if (status.ok()) {
    problems_.erase(source);
  } else if (problems_.count("failed") == 0) {
    problems_[source] = status;
  }
  const bool journal_fails = problems_.count("journal") != 0;
  const bool failed = journal_problem_.exchange(journal_fails, std::memory_order_relaxed);
  // Writes may go on failing: the first one tells. A failed sync is told where it ends writing.
  if (journal_fails && !failed && !status.Is(Code::kSyncFailed)) {
    TellError(Event::During::kJournal, status);
  }
  TellStatus();
}

void Database::Impl::TellStatus() {
  DatabaseStatus now = problems_.empty() ? DatabaseStatus::kOpen : DatabaseStatus::kDegraded;
  if (problems_.count("failed") != 0) now = DatabaseStatus::kFailed;
  if (std::exchange(told_status_, now) == now) return;
  events_->Tell(Event::Type::kStatus, [&](Event* event) {
    event->status = now;
    event->cause = Cause();
  });
}

void Database::Impl::TellError(Event::During during, const Status& status) {
  events_->Tell(Event::Type::kError, [&](Event* event) {
    event->during = during;
    event->cause = status;
  });
}

// ---- sync forms ----

void Database::Impl::BeginTiming(Commit* commit) const {
  Latency::Own& own = latencies_->insert.own();
  if (commit->durability == Durability::kSync) {
    commit->begun = latencies_->Now();
  } else if (own.Begin()) {
    commit->weight = own.Weight(Latencies::kInsertDistance);
    commit->begun = latencies_->Now();
  }
}

Status Database::Impl::Admit(Commit* commit, size_t bytes) {
  queue_->NoteWait(commit);
  return control_->Admit(bytes);
}

Status Database::Impl::WriteOne(Keyspace* keyspace, Kind kind, Slice key, Slice value,
                                Durability durability) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  SHALE_RETURN_IF_ERROR(CheckOne(keyspace, kind, key, value));
  Commit commit;
  commit.keyspace = keyspace;
  commit.kind = kind;
  commit.key = key;
  commit.value = value;
  commit.durability = durability;
  BeginTiming(&commit);
  if (!control_->free()) SHALE_RETURN_IF_ERROR(Admit(&commit, commit.bytes()));
  if (!Compresses(value)) return queue_->Run(&commit);
  const std::string journal_bytes = JournalForm(commit);  // before the write lock is taken
  commit.journal = Slice(journal_bytes);
  return queue_->Run(&commit);
}

Status Database::Impl::Write(Slice entries, Durability durability) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  if (options_.read_only) return Status(Code::kReadOnly, "the database was opened read-only");
  Commit commit;
  commit.durability = durability;
  BeginTiming(&commit);
  bool compress = false;
  SHALE_RETURN_IF_ERROR(CheckEntries(entries, &commit, &compress));
  if (commit.count == 0) return Status::Ok();
  if (BugIsOn(SeededBug::kSplitBatch) && commit.count > 1) {
    BatchReader first(entries);
    BatchEntry entry;
    first.Next(&entry);
    const size_t size = static_cast<size_t>(entry.value.end() - entries.data());
    SHALE_RETURN_IF_ERROR(Write(Slice(entries.data(), size), durability));
    return Write(Slice(entries.data() + size, entries.size() - size), durability);
  }
  if (!control_->free()) SHALE_RETURN_IF_ERROR(Admit(&commit, entries.size()));
  commit.entries = entries;
  std::string journal_bytes;
  if (compress) journal_bytes = JournalForm(commit);
  commit.journal = Slice(journal_bytes);
  return queue_->Run(&commit);
}

// ---- async forms ----

// Here and now where that needs no waiting, else with a copy of the bytes on an engine thread.
// After a failed append the journal syncs before it takes another record: that is not for the
// caller.
Status Database::Impl::RunAsync(const Call& call, Commit* commit, bool compress,
                                Ref<Keyspace> keyspace) {
  const size_t bytes = commit->bytes();
  const bool journal_ready = !journal_problem_.load(std::memory_order_relaxed) && !journal_.cut();
  if (control_->free() && bytes <= kInlineBytesMax && !compress && journal_ready) {
    const Status status = queue_->TryRun(commit);
    if (!status.Is(Code::kStalled)) return status;
  }
  queue_->NoteWait(commit);
  auto deferred = std::make_shared<DeferredCommit>();
  deferred->keyspace = std::move(keyspace);
  deferred->bytes.reserve(bytes);
  deferred->bytes.append(commit->key.data(), commit->key.size());
  deferred->bytes.append(commit->value.data(), commit->value.size());
  deferred->bytes.append(commit->entries.data(), commit->entries.size());
  deferred->commit = std::move(*commit);
  Commit& own = deferred->commit;
  const char* p = deferred->bytes.data();
  own.key = Slice(p, own.key.size());
  own.value = Slice(p + own.key.size(), own.value.size());
  own.entries = Slice(p + own.key.size() + own.value.size(), own.entries.size());
  if (compress && bytes <= kInlineBytesMax) {
    deferred->journal_bytes = JournalForm(own);
    own.journal = Slice(deferred->journal_bytes);
  } else if (compress) {
    deferred->compress = [this, &own] { return JournalForm(own); };
  }
  // Close waits until it was queued or refused.
  control_->AdmitAsync(bytes, [this, deferred, call](Status status) {
    if (!status.ok()) {
      deferred->commit.completion(std::move(status));
      return;
    }
    queue_->Defer(deferred);
  });
  return Code::kWouldBlock;
}

Status Database::Impl::WriteOneAsync(Keyspace* keyspace, Kind kind, Slice key, Slice value,
                                     Durability durability, Completion completion) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  SHALE_RETURN_IF_ERROR(CheckOne(keyspace, kind, key, value));
  Commit commit;
  commit.keyspace = keyspace;
  commit.kind = kind;
  commit.key = key;
  commit.value = value;
  commit.durability = durability;
  commit.completion = std::move(completion);
  BeginTiming(&commit);
  return RunAsync(call, &commit, Compresses(value), Ref<Keyspace>::Share(keyspace));
}

Status Database::Impl::WriteAsync(Slice entries, Durability durability, Completion completion) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  if (options_.read_only) return Status(Code::kReadOnly, "the database was opened read-only");
  Commit commit;
  commit.durability = durability;
  BeginTiming(&commit);
  bool compress = false;
  SHALE_RETURN_IF_ERROR(CheckEntries(entries, &commit, &compress));
  if (commit.count == 0) return Status::Ok();
  commit.entries = entries;
  commit.completion = std::move(completion);
  return RunAsync(call, &commit, compress, Ref<Keyspace>());
}

// ---- persist ----

Status Database::Impl::Persist(Durability durability) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  if (options_.read_only) return Status::Ok();
  if (durability != Durability::kBuffered) queue_->DrainAll();
  if (queue_->failed()) return queue_->SyncTo(kSeqnoMax);
  if (durability == Durability::kBuffered) return Status::Ok();
  const Seqno last = queue_->next_seqno() - 1;
  if (durability == Durability::kOs) {
    return journal_.handed_over() >= last ? Status::Ok() : keeper_->EnsureHandedOver();
  }
  return keeper_->EnsureDurable(last);
}

Status Database::Impl::PersistAsync(Durability durability, Completion completion) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  if (options_.read_only) return Status::Ok();
  if (durability == Durability::kBuffered) {
    return queue_->failed() ? queue_->SyncTo(kSeqnoMax) : Status::Ok();
  }
  const Seqno last = queue_->next_seqno() - 1;
  if (!queue_->HasDeferred() && !queue_->failed()) {
    const bool handed_over = journal_.handed_over() >= last;
    if (durability == Durability::kOs && handed_over) return Status::Ok();
    if (durability == Durability::kSync && queue_->synced() >= last) return Status::Ok();
  }
  const Lane lane = durability == Durability::kSync ? Lane::kSync : Lane::kJournal;
  executor_->Submit(lane, [this, durability, call, told = std::move(completion)] {
    queue_->DrainAll();
    if (durability == Durability::kOs) {
      told(queue_->failed() ? queue_->SyncTo(kSeqnoMax) : keeper_->EnsureHandedOver());
    } else {
      told(queue_->failed() ? queue_->SyncTo(kSeqnoMax)
                            : keeper_->EnsureDurable(queue_->next_seqno() - 1));
    }
  });
  return Code::kWouldBlock;
}

}  // namespace shale
