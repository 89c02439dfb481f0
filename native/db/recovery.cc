#include "db/recovery.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/seeded_bug.h"
#include "db/batch_ranges.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

constexpr size_t kWriteChunkBytes = size_t{1} << 20;
constexpr uint64_t kNoOffset = 0;
constexpr uint32_t kTreeIdGapMax = 1 << 20;  // creations that failed, between two that did not

}  // namespace

Recovery::Recovery(const TreeContext& context, RecoveryMode mode, uint64_t write_buffer,
                   Trees* trees)
    : context_(context),
      mode_(mode),
      write_buffer_(write_buffer),
      trees_(trees),
      state_(context.manifest->state()),
      names_in_use_(state_.names) {}

std::string Recovery::PathOf(const Journal& journal) const {
  return FileName(context_.directory, FileKind::kJournal, journal.number);
}

Status Recovery::Damage(const Journal& journal, const std::string& message, uint64_t offset) const {
  return Status::Corruption(message, PathOf(journal), offset);
}

void Recovery::Report(const std::string& path, uint64_t bytes, bool commits_known) {
  const std::string name = path.substr(path.rfind('/') + 1);
  report_.bytes_dropped += bytes;
  if (!commits_known) report_.commits_dropped = std::nullopt;
  if (std::find(report_.files.begin(), report_.files.end(), name) == report_.files.end()) {
    report_.files.push_back(name);
  }
}

// ---- replay ----

Status Recovery::Replay() {
  next_seqno_ = state_.last_seqno + 1;
  for (const auto& [id, tree] : state_.trees) {
    for (const auto& [number, table] : tree.tables) {
      next_seqno_ = std::max(next_seqno_, table.meta.highest_seqno + 1);
    }
    next_seqno_ =
        std::max({next_seqno_, tree.flushed_seqno, tree.cleared_seqno, tree.created_seqno + 1});
  }
  if (const uint64_t bytes = context_.manifest->dropped_bytes(); bytes > 0) {
    Report(FileName(context_.directory, FileKind::kManifest, context_.manifest->file_number()),
           bytes, true);
  }
  SHALE_RETURN_IF_ERROR(context_.vfs->List(context_.directory, &names_));
  SHALE_RETURN_IF_ERROR(FindJournals());
  if (state_.clean_shutdown) return Status::Ok();
  for (size_t i = 0; i < journals_.size() && !lost_; ++i) {
    if (BugIsOn(SeededBug::kForgetSealedJournal) && i + 1 < journals_.size()) continue;
    SHALE_RETURN_IF_ERROR(ReplayJournal(i));
  }
  if (mode_ != RecoveryMode::kSalvage) SHALE_RETURN_IF_ERROR(CheckReach());
  if (!BugIsOn(SeededBug::kSeqnoNotRestored)) next_seqno_ = std::max(next_seqno_, last_ + 1);
  return Status::Ok();
}

// The manifest names an effect only after the journal is durable up to it: commits below it cannot
// be missing, whatever the end of the journal looks like.
Status Recovery::CheckReach() const {
  const Seqno reached = std::max(last_, state_.last_seqno);
  for (const auto& [id, tree] : state_.trees) {
    Seqno effect = tree.created_seqno;
    if (tree.flushed_seqno > 0) effect = std::max(effect, tree.flushed_seqno - 1);
    if (effect > reached) {
      return Status::Corruption("the journals end before what is in tables", context_.directory)
          .WithKeyspace(tree.name);
    }
  }
  return Status::Ok();
}

// Those that the manifest names, and unnamed ones above: what an interrupted rotation or recovery
// left.
Status Recovery::FindJournals() {
  std::set<uint64_t> present;
  for (const std::string& name : names_) {
    const ParsedName parsed = ParseFileName(name);
    if (parsed.kind == FileKind::kJournal) present.insert(parsed.number);
  }
  for (const auto& [number, named] : state_.journals) {
    Journal journal;
    journal.number = number;
    journal.named = true;
    journal.final_length = named.final_length;
    if (present.count(number) == 0) return Damage(journal, "a journal is missing", kNoOffset);
    journals_.push_back(std::move(journal));
  }
  if (state_.clean_shutdown) return Status::Ok();
  const uint64_t highest = state_.journals.empty() ? 0 : state_.journals.rbegin()->first;
  for (auto it = present.upper_bound(highest); it != present.end(); ++it) {
    Journal journal;
    journal.number = *it;
    journals_.push_back(std::move(journal));
  }
  return Status::Ok();
}

Status Recovery::OpenJournal(Journal* journal) {
  const std::string path = PathOf(*journal);
  SHALE_RETURN_IF_ERROR(context_.vfs->Open(path, OpenMode::kRead, &journal->file));
  const uint64_t known = journal->final_length.value_or(0);
  const uint64_t end = journal->final_length.value_or(std::numeric_limits<uint64_t>::max());
  Status status = LogReader::Open(journal->file.get(), kJournalMagic, journal->number, known,
                                  &journal->reader, end);
  const bool bad_header = status.Is(Code::kCorruption) || status.Is(Code::kNotADatabase);
  if (!journal->named && bad_header) {
    journal->reader.reset();  // a torn creation
    return Status::Ok();
  }
  if (journal->named && status.Is(Code::kNotADatabase)) {
    return Damage(*journal, "the journal has no header", kNoOffset);
  }
  return status;
}

Status Recovery::ReplayJournal(size_t index) {
  Journal& journal = journals_[index];
  SHALE_RETURN_IF_ERROR(OpenJournal(&journal));
  if (journal.reader == nullptr) return Status::Ok();
  LogRecordHeader header;
  Slice payload;
  uint64_t offset = 0;
  do {
    while (journal.reader->Next(&header, &payload, &offset)) {
      SHALE_RETURN_IF_ERROR(ReplayRecord(index, header, payload, offset));
      if (lost_) return Status::Ok();
    }
    if (journal.reader->tail() == LogReader::Tail::kDamaged &&
        BugIsOn(SeededBug::kAcceptMidLogHole)) {
      break;
    }
    if (!journal.reader->status().ok() && !journal.reader->status().Is(Code::kCorruption)) {
      return journal.reader->status();
    }
    SHALE_RETURN_IF_ERROR(EndJournal(index));
  } while (mode_ == RecoveryMode::kSalvage && !lost_ && journal.reader->SkipDamage());
  return Status::Ok();
}

Status Recovery::ReplayRecord(size_t index, const LogRecordHeader& header, Slice payload,
                              uint64_t offset) {
  Journal& journal = journals_[index];
  const bool first_of_file = !std::exchange(journal.has_data, true);
  if (header.seqno == 0 || header.seqno > kSeqnoMax || header.count == 0) {
    return Damage(journal, "a commit has an impossible number", offset);
  }
  if (last_ != 0 && header.seqno <= last_) return Status::Ok();  // written again by a recovery
  if (empty_open_.has_value() && mode_ != RecoveryMode::kSalvage) {
    return Lose(*empty_open_, kLogHeaderBytes);
  }
  if (last_ != 0 && header.seqno != last_ + 1) {
    if (mode_ == RecoveryMode::kSalvage) {
      salvaged_ = true;
      if (report_.commits_dropped.has_value()) {
        *report_.commits_dropped += header.seqno - last_ - 1;
      }
    } else if (first_of_file && index > 0) {
      return Lose(index - 1, journals_[index - 1].reader != nullptr
                                 ? journals_[index - 1].reader->end_offset()
                                 : kNoOffset);
    } else {
      return Damage(journal, "commits are missing before this one", offset);
    }
  }
  applied_ = false;
  touched_.clear();
  Status status = Apply(&journal, header, payload);
  if (!status.ok()) return status.WithPath(PathOf(journal), offset);
  last_ = header.seqno;
  journal.last_seqno = header.seqno;
  if (applied_) report_.commits_replayed++;
  KeepTail(index, header, payload, offset);
  SealFullMemtables();
  return Relieve();
}

// The records of a journal ended, in whatever way.
Status Recovery::EndJournal(size_t index) {
  Journal& journal = journals_[index];
  const LogReader& reader = *journal.reader;
  if (journal.final_length.has_value()) {
    journal.durable_end = *journal.final_length;
  } else {
    journal.durable_end = std::max<uint64_t>(reader.synced_to(), kLogHeaderBytes);
    if (!journal.has_data && journal.named) empty_open_ = index;
    DropDurable(index, journal.durable_end);
  }
  if (reader.tail() == LogReader::Tail::kClean) return Status::Ok();
  if (mode_ == RecoveryMode::kSalvage) {
    salvaged_ = true;
    Report(PathOf(journal), reader.skipped_bytes(), false);
    return Status::Ok();
  }
  if (reader.tail() == LogReader::Tail::kDamaged) return reader.status();
  if (mode_ == RecoveryMode::kStrict) {
    return Damage(journal, "the tail of the journal is torn", reader.end_offset());
  }
  return Lose(index, reader.end_offset());
}

Status Recovery::Lose(size_t index, uint64_t offset) {
  const Journal& journal = journals_[index];
  const uint64_t bytes = journal.reader != nullptr ? journal.reader->dropped_bytes() : 0;
  SHALE_RETURN_IF_ERROR(CheckBehindLoss(index, offset));
  if (mode_ == RecoveryMode::kStrict) {
    return Damage(journal, "commits are missing at the end of the journal", offset);
  }
  if (bytes > 0) Report(PathOf(journal), bytes, false);
  lost_ = true;
  return Status::Ok();
}

// What lies behind a loss must not have been durable. Counts what is dropped there.
Status Recovery::CheckBehindLoss(size_t lost, uint64_t offset) {
  for (size_t i = lost + 1; i < journals_.size(); ++i) {
    Journal& journal = journals_[i];
    journal.reader.reset();
    SHALE_RETURN_IF_ERROR(OpenJournal(&journal));
    if (journal.reader == nullptr) continue;
    LogRecordHeader header;
    Slice payload;
    uint64_t at = 0;
    uint64_t commits = 0;
    uint64_t bytes = 0;
    while (journal.reader->Next(&header, &payload, &at)) {
      if (header.seqno <= last_) continue;
      commits++;
      bytes += kLogRecordHeaderBytes + payload.size();
    }
    if (journal.reader->tail() == LogReader::Tail::kDamaged || !journal.reader->status().ok()) {
      return journal.reader->status();
    }
    if (journal.reader->synced_to() > kLogHeaderBytes || journal.final_length.has_value()) {
      return Damage(journals_[lost], "commits that were durable are missing", offset);
    }
    if (commits > 0) {
      if (report_.commits_dropped.has_value()) *report_.commits_dropped += commits;
      Report(PathOf(journal), bytes + journal.reader->dropped_bytes(),
             journal.reader->dropped_bytes() == 0);
    }
    journal.durable_end = kLogHeaderBytes;
  }
  return Status::Ok();
}

Status Recovery::Apply(Journal* journal, const LogRecordHeader& header, Slice payload) {
  const BatchRanges ranges(payload);
  BatchReader entries(payload);
  BatchEntry entry;
  uint32_t count = 0;
  uint64_t bytes = 0;
  while (entries.Next(&entry)) {
    uint64_t raw_length = 0;
    SHALE_RETURN_IF_ERROR(CheckJournalEntry(entry, &raw_length));
    bytes += kEntryHeaderBytes + entry.key.size() + raw_length;
    if (bytes > kBatchBytesMax) return Status::Corruption("a commit is larger than one may be");
    const bool cancelled = ranges.Cancels(entry, count);
    SHALE_RETURN_IF_ERROR(ApplyEntry(journal, header.seqno, entry, cancelled));
    if (IsKeyspaceRecord(entry.kind) && header.count != 1) {
      return Status::Corruption("a keyspace record shares its commit");
    }
    count++;
  }
  SHALE_RETURN_IF_ERROR(entries.status());
  if (count != header.count) return Status::Corruption("a commit has another number of entries");
  return Status::Ok();
}

Status Recovery::ApplyEntry(Journal* journal, Seqno seqno, const BatchEntry& entry,
                            bool cancelled) {
  if (entry.kind == kKeyspaceCreate) return CreateTree(seqno, entry);
  const auto it = trees_->find(entry.keyspace);
  if (it == trees_->end()) {
    const bool deleted_here = deleted_.count(entry.keyspace) != 0;
    if (entry.keyspace < state_.next_tree_id || deleted_here) return Status::Ok();
    if (entry.kind == kKeyspaceDelete) {
      // It takes back a creation whose record may be gone.
      deleted_.insert(entry.keyspace);
      return PassOverId(entry.keyspace);
    }
    return Status::Corruption("a commit writes to a keyspace that never was");
  }
  Tree* tree = it->second.get();
  if (entry.kind == kKeyspaceDelete) {
    deleted_.insert(entry.keyspace);
    names_in_use_.erase(tree->name());
    gone_.push_back(std::move(it->second));
    trees_->erase(it);
    return Status::Ok();
  }
  if (entry.kind == kTablesChanged) return Status::Ok();  // the manifest has it
  if (cancelled || seqno < tree->flushed_seqno()) return Status::Ok();
  const uint64_t before = tree->active_bytes();
  RangeTombstone range;
  if (entry.kind == kKeyspaceClear) {
    tree->AddRange(FirstKey(), Slice(), seqno);
  } else if (DecodeRange(entry, &range)) {
    tree->AddRange(range.start, range.end, seqno);
  } else {
    Slice value;
    SHALE_RETURN_IF_ERROR(DecodeValue(entry, &scratch_, &value));
    tree->Add(entry.key, value, seqno, entry.kind);
    tree->CountWrite(entry.key.size() + value.size(), 0);
  }
  memory_ += tree->active_bytes() - before;
  if (touched_.empty() || touched_.back() != tree) touched_.push_back(tree);
  applied_ = true;
  Seqno& mark = journal->watermarks[entry.keyspace];
  mark = std::max(mark, seqno);
  return Status::Ok();
}

// Nobody else gets the id.
Status Recovery::PassOverId(uint32_t id) {
  if (id - state_.next_tree_id > kTreeIdGapMax) {
    return Status::Corruption("a keyspace record has an impossible id");
  }
  while (context_.manifest->NewTreeId() < id) {
  }
  return Status::Ok();
}

// A creation whose manifest commit did not happen.
Status Recovery::CreateTree(Seqno seqno, const BatchEntry& entry) {
  const uint32_t id = entry.keyspace;
  const bool existed = id < state_.next_tree_id || deleted_.count(id) != 0;
  if (existed || trees_->count(id) != 0) return Status::Ok();
  SHALE_RETURN_IF_ERROR(PassOverId(id));
  TreeState state;
  state.id = id;
  state.name = entry.key.ToString();
  state.options = entry.value.ToString();
  state.created_seqno = seqno;
  if (!names_in_use_.insert(state.name).second) {
    return Status::Corruption("two keyspaces have one name");
  }
  Ref<Tree> tree;
  SHALE_RETURN_IF_ERROR(Tree::Open(context_, state, &tree));
  trees_->emplace(id, std::move(tree));
  created_.push_back(std::move(state));
  return Status::Ok();
}

// ---- memory ----

// Not while memtables wait to be flushed: these must not take what is not durable with them.
void Recovery::SealFullMemtables() {
  if (sealed_at_ != 0) return;
  for (Tree* tree : touched_) {
    if (tree->active_bytes() >= tree->max_memtable_size()) tree->Rotate();
  }
}

// Half of the write buffer is in use: everything is sealed where it stands, and once that is known
// to be durable the largest trees go to tables.
Status Recovery::Relieve() {
  if (write_buffer_ == 0 || memory_ <= write_buffer_ / 2) return Status::Ok();
  if (sealed_at_ == 0) {
    for (const auto& [id, tree] : *trees_) tree->Rotate();
    sealed_at_ = last_;
  }
  if (durable() < sealed_at_) return Status::Ok();
  sealed_at_ = 0;
  const Status status = FlushLargest();
  if (!status.Is(Code::kDiskFull)) return status;
  write_buffer_ = 0;  // rather more memory than a database that does not open
  return Status::Ok();
}

// The largest trees, until half of the write buffer is free again.
Status Recovery::FlushLargest() {
  std::vector<std::pair<uint64_t, Tree*>> sealed;
  for (const auto& [id, tree] : *trees_) {
    // What the journals created and the manifest does not know yet holds nothing.
    if (state_.trees.count(id) == 0 || tree->sealed_bytes() == 0) continue;
    sealed.emplace_back(tree->sealed_bytes(), tree.get());
  }
  std::stable_sort(sealed.begin(), sealed.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [bytes, tree] : sealed) {
    if (memory_ <= write_buffer_ / 2) break;
    SHALE_RETURN_IF_ERROR(tree->Flush(nullptr, nullptr, nullptr));
    memory_ -= bytes;
  }
  return Status::Ok();
}

// ---- what was not durable ----

void Recovery::KeepTail(size_t index, const LogRecordHeader& header, Slice payload,
                        uint64_t offset) {
  if (journals_[index].final_length.has_value()) return;
  DropDurable(index, header.synced_to);
  tail_.push_back({index, offset, header.count, header.seqno, payload.ToString()});
}

// Records that turned out to be durable, in a file that will stay. Only from the front: behind one
// that is written again, all have to be.
void Recovery::DropDurable(size_t index, uint64_t durable_end) {
  if (!journals_[index].named) return;
  while (!tail_.empty() && tail_.front().journal == index && tail_.front().end() <= durable_end) {
    tail_.pop_front();
  }
}

Status Recovery::WriteTail(JournalManager* journal) {
  if (BugIsOn(SeededBug::kRecoveryKeepsTail)) {
    for (Journal& old : journals_) {
      if (!old.final_length.has_value() && old.reader != nullptr) {
        old.durable_end = old.reader->end_offset();
      }
    }
    return Status::Ok();
  }
  for (const TailRecord& record : tail_) {
    Journal& from = journals_[record.journal];
    from.durable_end = std::min(from.durable_end, record.offset);
    char* payload = journal->BeginRecord(record.payload.size());
    __builtin_memcpy(payload, record.payload.data(), record.payload.size());
    journal->EndRecord(record.count, record.seqno);
    if (journal->staged_bytes() >= kWriteChunkBytes) SHALE_RETURN_IF_ERROR(journal->HandOver());
  }
  return journal->HandOver();
}

Status Recovery::Finish(JournalManager* journal, uint64_t preallocate_bytes) {
  const uint64_t number = context_.manifest->NewFileNumber();
  std::unique_ptr<LogWriter> writer;
  SHALE_RETURN_IF_ERROR(LogWriter::Create(context_.vfs,
                                          FileName(context_.directory, FileKind::kJournal, number),
                                          kJournalMagic, number, preallocate_bytes, &writer));
  journal->Start(std::move(writer));
  if (!salvaged_) SHALE_RETURN_IF_ERROR(WriteTail(journal));
  SHALE_RETURN_IF_ERROR(journal->Sync());
  SHALE_RETURN_IF_ERROR(context_.vfs->SyncDir(context_.directory));
  ManifestEdit edit = TreesEdit();
  if (salvaged_) {
    // Before the manifest says where the old journals end: until then they can be read again.
    SHALE_RETURN_IF_ERROR(context_.manifest->Commit(edit));
    SHALE_RETURN_IF_ERROR(FlushSalvaged());
    edit = ManifestEdit();
    edit.last_seqno = next_seqno_ - 1;
  }
  for (const Journal& old : journals_) {
    if (!old.named) continue;
    if (salvaged_) {
      edit.removed_journals.push_back(old.number);  // the next open must not find its damage
    } else if (!old.final_length.has_value()) {
      edit.journals.push_back({old.number, old.durable_end});
    }
  }
  edit.journals.push_back({number, std::nullopt});
  SHALE_RETURN_IF_ERROR(context_.manifest->Commit(edit));
  for (const Ref<Tree>& tree : gone_) tree->MarkDeleted();
  gone_.clear();
  for (Journal& old : journals_) {
    if (!old.named || salvaged_) continue;
    SealedJournal sealed;
    sealed.number = old.number;
    sealed.bytes = old.final_length.value_or(old.durable_end);
    sealed.last_seqno = old.last_seqno;
    sealed.watermarks = std::move(old.watermarks);
    sealed.recorded = true;
    journal->AddSealed(std::move(sealed));
  }
  journals_.clear();
  tail_.clear();
  // Now all is durable: what replay could not flush is flushed as soon as the database is open.
  if (memory_ <= write_buffer_ / 2) return Status::Ok();
  for (const auto& [id, tree] : *trees_) tree->Rotate();
  return Status::Ok();
}

// What the journals said of trees.
ManifestEdit Recovery::TreesEdit() const {
  ManifestEdit edit;
  // A tree that was created and deleted in the journals alone never reached the manifest.
  for (const TreeState& tree : created_) {
    if (deleted_.count(tree.id) == 0) edit.created_trees.push_back(tree);
  }
  for (const uint32_t id : deleted_) {
    if (state_.trees.count(id) != 0) edit.deleted_trees.push_back(id);
  }
  edit.clean_shutdown = false;
  return edit;
}

// What was salvaged has gaps that no journal may have: it goes to tables at once.
Status Recovery::FlushSalvaged() {
  for (const auto& [id, tree] : *trees_) {
    tree->Rotate();
    SHALE_RETURN_IF_ERROR(tree->Flush(nullptr, nullptr, nullptr));
  }
  return Status::Ok();
}

void Recovery::RemoveOrphans(const std::vector<uint64_t>& journals) {
  const ManifestState state = context_.manifest->state();
  const std::set<uint64_t> known(journals.begin(), journals.end());
  for (const std::string& name : names_) {
    const ParsedName parsed = ParseFileName(name);
    const bool ours = parsed.kind == FileKind::kJournal || parsed.kind == FileKind::kTable ||
                      parsed.kind == FileKind::kBlob;
    if (!ours || known.count(parsed.number) != 0 || state.Uses(parsed.number)) continue;
    // What cannot be removed now is an orphan at the next open as well.
    static_cast<void>(context_.vfs->Remove(context_.directory + "/" + name));
  }
}

}  // namespace shale
