// What an edit does to the state of a manifest: ManifestEdit::Check and ApplyTo.
#include <algorithm>
#include <set>
#include <string_view>

#include "tree/manifest_edit.h"

namespace shale {
namespace {

using Added = VersionEdit::Added;

Status Misfit(const std::string& what) { return Status::Corruption("manifest edit: " + what); }

class Checker {
 public:
  Checker(const ManifestEdit& edit, const ManifestState& state) : edit_(edit), state_(state) {}

  Status Run() {
    SHALE_RETURN_IF_ERROR(CheckCounters());
    if (edit_.snapshot.value_or(state_.kind) == DirectoryKind::kTree) {
      SHALE_RETURN_IF_ERROR(CheckBareTree());
    }
    SHALE_RETURN_IF_ERROR(CheckJournals());
    SHALE_RETURN_IF_ERROR(CheckCreated());
    for (const auto& change : edit_.changes) SHALE_RETURN_IF_ERROR(CheckChange(change));
    return CheckDeleted();
  }

 private:
  Status CheckCounters() {
    next_file_ = edit_.next_file_number.value_or(state_.next_file_number);
    if (next_file_ < state_.next_file_number) return Misfit("next file number falls");
    const uint32_t next_tree = edit_.next_tree_id.value_or(state_.next_tree_id);
    if (next_tree < state_.next_tree_id) return Misfit("next tree id falls");
    if (edit_.last_seqno && *edit_.last_seqno < state_.last_seqno) return Misfit("seqno falls");
    return Status::Ok();
  }

  // One tree without a name, and no journals.
  Status CheckBareTree() {
    const auto is_it = [](const TreeState& t) { return t.id == kBareTreeId && t.name.empty(); };
    const auto& created = edit_.created_trees;
    if (!edit_.journals.empty() || edit_.next_tree_id.value_or(0) > kBareTreeId + 1 ||
        !std::all_of(created.begin(), created.end(), is_it)) {
      return Misfit("a bare tree has a journal, a name or a second tree");
    }
    return Status::Ok();
  }

  Status NewFile(uint64_t number) {
    if (number == 0 || number >= next_file_) return Misfit("file number out of range");
    if (state_.Uses(number) || !new_files_.insert(number).second) {
      return Misfit("file number used twice");
    }
    return Status::Ok();
  }

  Status CheckJournals() {
    std::set<uint64_t> added;
    for (const JournalState& j : edit_.journals) {
      if (!j.final_length) {
        SHALE_RETURN_IF_ERROR(NewFile(j.number));
        added.insert(j.number);
      } else if (state_.journals.count(j.number) == 0 && added.count(j.number) == 0) {
        return Misfit("a journal that does not exist is sealed");
      }
    }
    std::set<uint64_t> removed;
    for (uint64_t number : edit_.removed_journals) {
      const bool exists = state_.journals.count(number) != 0 || added.count(number) != 0;
      if (!exists || !removed.insert(number).second) {
        return Misfit("a journal that does not exist is removed");
      }
    }
    return Status::Ok();
  }

  Status CheckCreated() {
    const DirectoryKind kind = edit_.snapshot.value_or(state_.kind);
    std::set<std::string_view> names;
    const uint32_t next_tree = edit_.next_tree_id.value_or(state_.next_tree_id);
    for (const TreeState& tree : edit_.created_trees) {
      if (tree.id == 0 || tree.id >= next_tree) return Misfit("tree id out of range");
      if (tree.name.empty() && kind == DirectoryKind::kDatabase) {
        return Misfit("a keyspace has no name");
      }
      if (state_.trees.count(tree.id) != 0 || !created_.insert(tree.id).second) {
        return Misfit("a tree is created while it exists");
      }
      if (state_.names.count(tree.name) != 0 || !names.insert(tree.name).second) {
        return Misfit("a name is used by two trees");
      }
    }
    return Status::Ok();
  }

  Status CheckDeleted() {
    std::set<uint32_t> deleted;
    for (uint32_t id : edit_.deleted_trees) {
      const bool exists = state_.trees.count(id) != 0 || created_.count(id) != 0;
      if (!exists || !deleted.insert(id).second) {
        return Misfit("a tree that does not exist is deleted");
      }
    }
    return Status::Ok();
  }

  Status CheckChange(const ManifestEdit::TreeChange& change) {
    static const TreeState kNew;
    const auto it = state_.trees.find(change.tree_id);
    if (it == state_.trees.end() && created_.count(change.tree_id) == 0) {
      return Misfit("a tree that does not exist is changed");
    }
    const TreeState& tree = it == state_.trees.end() ? kNew : it->second;
    if ((change.flushed_seqno && *change.flushed_seqno < tree.flushed_seqno) ||
        (change.cleared_seqno && *change.cleared_seqno < tree.cleared_seqno) ||
        (change.gc_seqno && *change.gc_seqno < tree.gc_seqno)) {
      return Misfit("a seqno falls");
    }
    SHALE_RETURN_IF_ERROR(CheckTables(tree, change.version));
    return CheckBlobFiles(tree, change);
  }

  Status CheckTables(const TreeState& tree, const VersionEdit& edit) {
    std::set<uint64_t> removed;
    std::map<uint64_t, TablePlace> moved;
    for (uint64_t number : edit.removed) {
      if (tree.tables.count(number) == 0 || !removed.insert(number).second) {
        return Misfit("a table that does not exist is removed");
      }
    }
    for (const auto& m : edit.moved) {
      if (tree.tables.count(m.number) == 0 || removed.count(m.number) != 0) {
        return Misfit("a table that does not exist is moved");
      }
      if (m.place.level < 0 || m.place.level >= kLevelCount) return Misfit("level out of range");
      moved[m.number] = m.place;
    }
    for (const Added& added : edit.added) {
      SHALE_RETURN_IF_ERROR(NewFile(added.meta.number));
      if (added.place.level < 0 || added.place.level >= kLevelCount) {
        return Misfit("level out of range");
      }
    }
    return CheckRuns(tree, edit, removed, moved);
  }

  // The runs that the edit adds to must stay free of overlaps.
  static Status CheckRuns(const TreeState& tree, const VersionEdit& edit,
                          const std::set<uint64_t>& removed,
                          const std::map<uint64_t, TablePlace>& moved) {
    using RunId = std::pair<int, uint64_t>;
    std::map<RunId, std::vector<const Added*>> runs;
    for (const auto& [number, place] : moved) runs[{place.level, place.run_order}];
    for (const Added& a : edit.added) runs[{a.place.level, a.place.run_order}].push_back(&a);
    if (runs.empty()) return Status::Ok();
    for (const auto& [number, added] : tree.tables) {
      if (removed.count(number) != 0) continue;
      const auto it = moved.find(number);
      const TablePlace& place = it == moved.end() ? added.place : it->second;
      const auto run = runs.find({place.level, place.run_order});
      if (run != runs.end()) run->second.push_back(&added);
    }
    for (auto& [id, tables] : runs) {
      std::sort(tables.begin(), tables.end(), [](const Added* a, const Added* b) {
        return Slice(a->meta.first_key) < Slice(b->meta.first_key);
      });
      for (size_t i = 1; i < tables.size(); i++) {
        if (tables[i - 1]->meta.EndsBefore(tables[i]->meta.first_key)) continue;
        return Misfit("tables of one run overlap");
      }
    }
    return Status::Ok();
  }

  Status CheckBlobFiles(const TreeState& tree, const ManifestEdit::TreeChange& change) {
    std::set<uint64_t> removed;
    std::map<uint64_t, const BlobFileState*> added;
    for (uint64_t number : change.removed_blob_files) {
      if (tree.blob_files.count(number) == 0 || !removed.insert(number).second) {
        return Misfit("a blob file that does not exist is removed");
      }
    }
    for (const auto& [number, blob] : change.added_blob_files) {
      SHALE_RETURN_IF_ERROR(NewFile(number));
      added.emplace(number, &blob);
    }
    // What there is after the edit; null if it is not there.
    const auto find = [&](uint64_t number) -> const BlobFileState* {
      if (const auto it = added.find(number); it != added.end()) return it->second;
      const auto it = tree.blob_files.find(number);
      return it == tree.blob_files.end() || removed.count(number) != 0 ? nullptr : &it->second;
    };
    for (const auto& stale : change.stale_blobs) {
      const BlobFileState* blob = find(stale.number);
      if (blob == nullptr) return Misfit("a blob file that does not exist is changed");
      if (stale.items > blob->item_count || stale.frame_bytes > blob->frame_bytes) {
        return Misfit("a blob file has more garbage than content");
      }
    }
    return CheckBlobReferences(tree, change, find);
  }

  // Tables point into blob files of their tree.
  template <typename Find>
  static Status CheckBlobReferences(const TreeState& tree, const ManifestEdit::TreeChange& change,
                                    const Find& find) {
    const auto are_there = [&](const Added& table) {
      return std::all_of(table.meta.blobs.begin(), table.meta.blobs.end(),
                         [&](const BlobReference& b) { return find(b.number) != nullptr; });
    };
    const auto& tables = change.version;
    bool sound = std::all_of(tables.added.begin(), tables.added.end(), are_there);
    // Those that were there before lose something only with a file.
    if (!change.removed_blob_files.empty()) {
      const std::set<uint64_t> gone(tables.removed.begin(), tables.removed.end());
      for (const auto& [number, table] : tree.tables) {
        sound = sound && (gone.count(number) != 0 || are_there(table));
      }
    }
    return sound ? Status::Ok() : Misfit("a table points into a blob file that does not exist");
  }

  const ManifestEdit& edit_;
  const ManifestState& state_;
  uint64_t next_file_ = 0;
  std::set<uint64_t> new_files_;
  std::set<uint32_t> created_;
};

using FileNumbers = std::unordered_set<uint64_t>;

void ApplyChange(const ManifestEdit::TreeChange& change, TreeState* tree, FileNumbers* files) {
  if (change.options) tree->options = *change.options;
  if (change.flushed_seqno) tree->flushed_seqno = *change.flushed_seqno;
  if (change.cleared_seqno) tree->cleared_seqno = *change.cleared_seqno;
  if (change.gc_seqno) tree->gc_seqno = *change.gc_seqno;
  for (uint64_t number : change.version.removed) {
    tree->tables.erase(number);
    files->erase(number);
  }
  for (const auto& m : change.version.moved) tree->tables[m.number].place = m.place;
  for (const Added& added : change.version.added) {
    tree->tables[added.meta.number] = added;
    files->insert(added.meta.number);
  }
  for (uint64_t number : change.removed_blob_files) {
    tree->blob_files.erase(number);
    files->erase(number);
  }
  for (const auto& [number, blob] : change.added_blob_files) {
    tree->blob_files[number] = blob;
    files->insert(number);
  }
  for (const auto& stale : change.stale_blobs) {
    BlobFileState& blob = tree->blob_files[stale.number];
    blob.stale_items = stale.items;
    blob.stale_frame_bytes = stale.frame_bytes;
  }
}

}  // namespace

Status ManifestEdit::Check(const ManifestState& state) const {
  const auto holds_something = [](const TreeState& t) {
    return !t.tables.empty() || !t.blob_files.empty();
  };
  if (std::any_of(created_trees.begin(), created_trees.end(), holds_something)) {
    // Encoding turns what a created tree holds into changes of it.
    ManifestEdit plain;
    SHALE_RETURN_IF_ERROR(Decode(Encode(), &plain));
    return Checker(plain, state).Run();
  }
  return Checker(*this, state).Run();
}

Status ManifestEdit::ApplyTo(ManifestState* state) const {
  SHALE_RETURN_IF_ERROR(Check(*state));
  if (snapshot) state->kind = *snapshot;
  if (next_file_number) state->next_file_number = *next_file_number;
  if (next_tree_id) state->next_tree_id = *next_tree_id;
  if (last_seqno) state->last_seqno = *last_seqno;
  if (clean_shutdown) state->clean_shutdown = *clean_shutdown;
  FileNumbers* files = &state->file_numbers;
  for (const JournalState& j : journals) {
    state->journals[j.number] = j;
    files->insert(j.number);
  }
  for (uint64_t number : removed_journals) {
    state->journals.erase(number);
    files->erase(number);
  }
  for (const TreeState& tree : created_trees) {
    state->trees[tree.id] = tree;
    state->names.insert(tree.name);
    for (const auto& [number, table] : tree.tables) files->insert(number);
    for (const auto& [number, blob] : tree.blob_files) files->insert(number);
  }
  for (const TreeChange& change : changes) {
    ApplyChange(change, &state->trees[change.tree_id], files);
  }
  for (uint32_t id : deleted_trees) {
    const TreeState& tree = state->trees.at(id);
    state->names.erase(tree.name);
    for (const auto& [number, table] : tree.tables) files->erase(number);
    for (const auto& [number, blob] : tree.blob_files) files->erase(number);
    state->trees.erase(id);
  }
  return Status::Ok();
}

}  // namespace shale
