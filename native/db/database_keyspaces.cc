// Keyspaces: finding, creating and changing them.
#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "db/database_impl.h"

namespace shale {
namespace {

Status CheckName(const std::string& name) {
  if (name.empty() || name.size() > kNameBytesMax || !IsUtf8(name)) {
    return Status(Code::kInvalidName, "a keyspace name has 1 to 255 bytes of UTF-8");
  }
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte < 0x20 || byte == 0x7f;
  });
  if (control) return Status(Code::kInvalidName, "a keyspace name has no control characters");
  return Status::Ok();
}

}  // namespace

Ref<Keyspace> Database::Impl::FindKeyspace(const std::string& name) const {
  std::shared_lock<std::shared_mutex> lock(keyspaces_mutex_);
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? Ref<Keyspace>() : it->second;
}

Ref<Keyspace> Database::Impl::FindKeyspaceById(uint32_t id) const {
  std::shared_lock<std::shared_mutex> lock(keyspaces_mutex_);
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? Ref<Keyspace>() : Ref<Keyspace>::Share(it->second);
}

std::vector<Ref<Keyspace>> Database::Impl::AllKeyspaces() const {
  std::vector<Ref<Keyspace>> all;
  std::shared_lock<std::shared_mutex> lock(keyspaces_mutex_);
  for (const auto& [name, keyspace] : by_name_) all.push_back(keyspace);
  return all;
}

void Database::Impl::AddKeyspace(Ref<Keyspace> keyspace) {
  keyspace->upkeep.max_memtable_size.store(keyspace->tree()->options().max_memtable_size);
  std::unique_lock<std::shared_mutex> lock(keyspaces_mutex_);
  by_id_[keyspace->id()] = keyspace.get();
  // The key is read first: the right side of an assignment would be moved from before it.
  Ref<Keyspace>& place = by_name_[keyspace->name()];
  place = std::move(keyspace);
}

Status Database::Impl::OpenKeyspace(const std::string& name, const Merge& merge,
                                    Ref<Keyspace>* keyspace,
                                    std::shared_ptr<UserStrategy> strategy) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  SHALE_RETURN_IF_ERROR(CheckName(name));
  // A creation is a commit and keeps its place in the order of all.
  if (!FindKeyspace(name)) queue_->DrainAll();
  std::lock_guard<std::mutex> lock(create_mutex_);
  Ref<Keyspace> found = FindKeyspace(name);
  TreeOptions options;
  if (found) {
    options = found->tree()->options();
    const std::string before = options.Encode();
    SHALE_RETURN_IF_ERROR(merge(true, &options));
    SHALE_RETURN_IF_ERROR(options.Check());
    if (options.Encode() != before) {
      if (options_.read_only) {
        return Status(Code::kReadOnly, "a read-only database keeps the stored options")
            .WithKeyspace(name);
      }
      SHALE_RETURN_IF_ERROR(ChangeOptions(found.get(), options));
    }
    const bool is_given = strategy != nullptr;
    if (is_given) found->tree()->AddUserStrategy(std::move(strategy));
    CheckStrategy(*found);
    if (is_given && !options_.read_only) maintenance_->OptionsChanged(found.get());
    *keyspace = std::move(found);
    return Status::Ok();
  }
  if (options_.read_only) {
    return Status(Code::kKeyspaceNotFound, "there is no such keyspace").WithKeyspace(name);
  }
  SHALE_RETURN_IF_ERROR(merge(false, &options));
  SHALE_RETURN_IF_ERROR(options.Check());
  return CreateKeyspace(name, options, std::move(strategy), keyspace);
}

// A keyspace is compacted by a strategy of the application that has to be given in each process.
void Database::Impl::CheckStrategy(const Keyspace& keyspace) {
  if (options_.read_only) return;
  std::lock_guard<std::mutex> lock(strategies_mutex_);
  if (keyspace.tree()->LacksStrategy()) {
    lacking_[keyspace.id()] =
        Status(Code::kNotSupported, "nothing is compacted until the strategy '" +
                                        keyspace.tree()->options().strategy.name +
                                        "' is given again")
            .WithKeyspace(keyspace.name());
  } else if (lacking_.erase(keyspace.id()) == 0) {
    return;
  }
  SetProblem("strategy", lacking_.empty() ? Status::Ok() : lacking_.begin()->second);
}

Status Database::Impl::ChangeOptions(Keyspace* keyspace, const TreeOptions& options) {
  ManifestEdit edit;
  ManifestEdit::TreeChange change;
  change.tree_id = keyspace->id();
  change.options = options.Encode();
  edit.changes.push_back(std::move(change));
  Status status = manifest_->Commit(edit);
  if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  SHALE_RETURN_IF_ERROR(status);
  keyspace->tree()->SetOptions(options);
  keyspace->upkeep.max_memtable_size.store(options.max_memtable_size);
  maintenance_->OptionsChanged(keyspace);
  return Status::Ok();
}

// The creation is a commit like any other: journaled and synced in order, then recorded in the
// manifest with its seqno. Others go on writing meanwhile; nothing can be written to the keyspace
// before it is there for good. Until then, or until it was taken back, its journal stays.
Status Database::Impl::CreateKeyspace(const std::string& name, const TreeOptions& options,
                                      std::shared_ptr<UserStrategy> strategy,
                                      Ref<Keyspace>* keyspace) {
  TreeState state;
  state.id = manifest_->NewTreeId();
  state.name = name;
  state.options = options.Encode();
  Ref<Tree> tree;
  SHALE_RETURN_IF_ERROR(Tree::Open(Context(), state, &tree));
  if (strategy != nullptr) tree->AddUserStrategy(std::move(strategy));
  auto created = MakeRef<Keyspace>(state.id, name, std::move(tree));
  SHALE_RETURN_IF_ERROR(
      AppendKeyspaceRecord(kKeyspaceCreate, state.id, name, state.options, &state.created_seqno));
  Status status = CommitCreation(state);
  if (status.ok()) {
    creation_.store(0);
    {
      const CommitQueue::WriteLock lock(queue_.get());
      AddKeyspace(created);
    }
    CheckStrategy(*created);
    *keyspace = std::move(created);
  } else if (!queue_->failed()) {
    TakeBack(state.id, status);
  }
  return status;
}

// The journal says that the keyspace exists and the manifest does not: another commit says that it
// does not. If that fails as well, nothing may follow.
void Database::Impl::TakeBack(uint32_t id, const Status& cause) {
  Seqno seqno = 0;
  if (!AppendKeyspaceRecord(kKeyspaceDelete, id, Slice(), Slice(), &seqno).ok()) {
    return queue_->Fail(cause);
  }
  // A failed sync fails the queue.
  if (queue_->SyncTo(seqno).ok()) creation_.store(0);
}

Status Database::Impl::CommitCreation(const TreeState& state) {
  SHALE_RETURN_IF_ERROR(queue_->SyncTo(state.created_seqno));
  ManifestEdit edit;
  edit.created_trees.push_back(state);
  Status status = manifest_->Commit(edit);
  if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  return status;
}

Status Database::Impl::AppendKeyspaceRecord(Kind kind, uint32_t id, Slice key, Slice value,
                                            Seqno* seqno) {
  WriteBatch batch;
  batch.Add(kind, id, key, value);
  const CommitQueue::WriteLock lock(queue_.get());
  SHALE_RETURN_IF_ERROR(AppendLocked(batch, seqno));
  if (kind == kKeyspaceCreate) creation_.store(*seqno);
  queue_->PublishOne(*seqno);
  return Status::Ok();
}

// Write lock held. The commit is to be published.
Status Database::Impl::AppendLocked(const WriteBatch& batch, Seqno* seqno) {
  if (queue_->failed()) return queue_->DbFailed();
  *seqno = queue_->next_seqno();
  const JournalManager::Mark mark = journal_.mark();
  __builtin_memcpy(journal_.BeginRecord(batch.bytes().size()), batch.bytes().data(),
                   batch.bytes().size());
  journal_.EndRecord(1, *seqno);
  const Status status = journal_.HandOver();
  if (!status.ok()) {
    journal_.CutBack(mark);
    SetProblem("journal", status);
    if (journal_.poisoned()) queue_->Fail(status);
  }
  return status;
}

// The manifest has made the change. It becomes visible as a commit of its own, so that a snapshot
// is from before it or from after. If the journal takes none, it becomes visible with the next
// commit of somebody else.
void Database::Impl::ChangeTables(uint32_t id, const std::function<void(Seqno)>& install) {
  const Ref<Keyspace> keyspace = FindKeyspaceById(id);
  WriteBatch batch;
  batch.Add(kTablesChanged, id, Slice(), Slice());
  const CommitQueue::WriteLock lock(queue_.get());
  if (keyspace && !snapshots_.View().snapshots.empty()) RotateTree(keyspace.get());
  Seqno seqno = 0;
  const bool appended = AppendLocked(batch, &seqno).ok();
  install(appended ? seqno : queue_->next_seqno());
  // Not before: who closes a snapshot takes the flag away if nothing is held.
  may_hold_.store(true);
  if (appended) queue_->PublishOne(seqno);
}

}  // namespace shale
