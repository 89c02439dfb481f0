// ManifestEdit: one record of a manifest, and ManifestState: what all of them together say.
// docs/format.md, 6.1 and 6.2.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/internal_key.h"
#include "base/status.h"
#include "tree/version.h"

namespace shale {

// Numbers are on disk.
enum class DirectoryKind : uint8_t { kDatabase = 1, kTree = 2 };
inline constexpr uint32_t kBareTreeId = 1;  // of the only tree of a kTree directory

struct BlobFileState {
  uint64_t size = 0;
  uint64_t item_count = 0;
  uint64_t frame_bytes = 0;
  uint64_t raw_bytes = 0;
  uint64_t stale_items = 0;
  uint64_t stale_frame_bytes = 0;
};

struct TreeState {
  uint32_t id = 0;
  std::string name;
  std::string options;      // encoded TreeOptions
  Seqno flushed_seqno = 0;  // entries with seqno < this are in tables (exclusive, as read seqnos)
  Seqno cleared_seqno = 0;  // entries with seqno < this were cleared
  Seqno gc_seqno = 0;       // a bare tree's lower bound for reads
  Seqno created_seqno = 0;  // of the commit that created it
  std::map<uint64_t, VersionEdit::Added> tables;  // by file number
  std::map<uint64_t, BlobFileState> blob_files;   // by file number
};

struct JournalState {
  uint64_t number = 0;
  std::optional<uint64_t> final_length;  // set when sealed; then it must end exactly there
};

struct ManifestState {
  DirectoryKind kind = DirectoryKind::kDatabase;
  uint64_t next_file_number = 1;
  uint32_t next_tree_id = 1;
  Seqno last_seqno = 0;         // next seqno is above this (survives evicted journals)
  bool clean_shutdown = false;  // nothing to replay
  std::map<uint32_t, TreeState> trees;
  std::map<uint64_t, JournalState> journals;
  // Of all that is listed above, kept by ApplyTo: an edit must not cost a look at every tree.
  std::unordered_set<uint64_t> file_numbers;
  std::unordered_set<std::string> names;

  // Whether the number belongs to a table, blob file or journal that is listed.
  bool Uses(uint64_t file_number) const { return file_numbers.count(file_number) != 0; }
};

// One commit: applied as a whole or not at all.
struct ManifestEdit {
  struct StaleBlobs {
    uint64_t number = 0;
    uint64_t items = 0;
    uint64_t frame_bytes = 0;
  };
  struct TreeChange {
    uint32_t tree_id = 0;
    VersionEdit version;
    std::optional<Seqno> flushed_seqno;
    std::optional<Seqno> cleared_seqno;
    std::optional<Seqno> gc_seqno;
    std::optional<std::string> options;
    std::vector<uint64_t> removed_blob_files;
    std::vector<std::pair<uint64_t, BlobFileState>> added_blob_files;
    std::vector<StaleBlobs> stale_blobs;  // totals
  };
  std::vector<TreeState> created_trees;  // with all that they hold
  std::vector<uint32_t> deleted_trees;
  std::vector<TreeChange> changes;
  // Without final length: added. With one: sealed; Manifest::Commit adds it first where it is new.
  std::vector<JournalState> journals;
  std::vector<uint64_t> removed_journals;
  std::optional<Seqno> last_seqno;
  std::optional<bool> clean_shutdown;
  // The manifest's own.
  std::optional<DirectoryKind> snapshot;  // the record states everything
  std::optional<uint64_t> next_file_number;
  std::optional<uint32_t> next_tree_id;
  std::optional<uint64_t> successor;

  // The edit that makes `state` out of nothing.
  static ManifestEdit SnapshotOf(const ManifestState& state);

  std::string Encode() const;
  static Status Decode(Slice bytes, ManifestEdit* edit);
  // kCorruption if the edit does not fit the state.
  Status Check(const ManifestState& state) const;
  // Leaves the state as it is unless Check allows the edit.
  Status ApplyTo(ManifestState* state) const;
};

}  // namespace shale
