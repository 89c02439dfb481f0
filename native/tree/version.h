// Version: which tables and blob files make up a tree, at one moment. Immutable.
//
// A level is a list of runs, newest first; a run is a list of tables in key order with disjoint
// ranges, of which range tombstones are a part: a table may end (exclusively) where the next one
// starts. Runs carry an order number: of two runs in one level the one with the higher number is
// newer. Levels above 0 usually hold one run.
//
// What of a blob file is garbage follows from what the tables reference.
//
// Threads: any. Lifetime: shared; tables and blob files live as long as a version that lists them.
// Invariants:
//   I1  runs of a level in descending order number; tables of a run ascending and disjoint by user
//       key (all versions of a key, and what covers it, are in one table of a run);
//   I2  a newer version of a key is in a smaller level, or in a newer run of the same level.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/ref.h"
#include "blob/blob_file.h"
#include "table/table_reader.h"
#include "tree/options.h"

namespace shale {

class Run {
 public:
  uint64_t order = 0;
  std::vector<Ref<TableReader>> tables;

  // Index of the first table that ends at or behind `key`; tables.size() if there is none.
  // Cost: a search over contiguous key heads, and one full comparison where heads are equal.
  size_t LowerBound(Slice key) const;
  // The table whose range may contain `key`, or null.
  TableReader* Find(Slice key) const;
  // Index of the first table that starts at or behind `key`.
  size_t FirstStartingAt(Slice key) const;
  uint64_t bytes() const;
  // Whether one of its tables has range tombstones.
  bool has_ranges() const { return has_ranges_; }
  // The newest range tombstone of the run that covers `key`, with above < seqno < read_seqno; null
  // if there is none.
  const RangeTombstone* FindCover(Slice key, Seqno read_seqno, Seqno above) const;
  // Call it once the tables are final, before anything is looked up; Version does.
  void Index();

 private:
  size_t shared_ = 0;            // bytes that all last keys begin with
  std::vector<uint64_t> heads_;  // of the last keys, behind what is shared
  bool has_ranges_ = false;
};

// Where a table stands.
struct TablePlace {
  int level = 0;
  uint64_t run_order = 0;
};

// The change from one version to the next; also what the manifest records.
struct VersionEdit {
  struct Added {
    TableMeta meta;
    TablePlace place;
  };
  struct Moved {
    uint64_t number = 0;
    TablePlace place;
  };
  std::vector<Added> added;
  std::vector<uint64_t> removed;
  std::vector<Moved> moved;
};

// A blob file with what the tables of the version reference of it.
struct BlobFileUse {
  Ref<BlobFile> file;
  uint64_t live_items = 0;
  uint64_t live_bytes = 0;  // of frames

  uint64_t number() const { return file->meta().number; }
  uint64_t stale_items() const { return file->meta().item_count - live_items; }
  uint64_t stale_bytes() const { return file->meta().frame_bytes - live_bytes; }
  // Of its frames, from 0 to 1.
  double StaleShare() const {
    const auto all = static_cast<double>(file->meta().frame_bytes);
    return static_cast<double>(stale_bytes()) / all;
  }
};

// Of the value that the entry stands for.
inline uint64_t ValueSize(const Entry& entry) {
  if (entry.kind() != Kind::kBlobPointer) [[likely]]
    return entry.value.size();
  return BlobPointer::Decode(entry.value.data()).raw_length;
}

class Version : public RefCounted {
 public:
  // `blob_files`: all that the tables reference, in any order.
  Version(uint64_t id, std::vector<std::vector<Run>> levels,
          std::vector<Ref<BlobFile>> blob_files = {});

  uint64_t id() const { return id_; }
  const std::vector<Run>& level(int i) const { return levels_[static_cast<size_t>(i)]; }
  uint64_t LevelBytes(int i) const;
  // Levels fill from the bottom, so the first level in use below 0 moves up as a tree grows.
  // Options are looked up by the distance from it: 0 for level 0, 1 for the first level in use, and
  // so on.
  int PolicyLevel(int level) const;
  size_t table_count() const { return table_count_; }
  uint64_t item_count() const { return item_count_; }
  uint64_t bytes() const { return bytes_; }
  bool empty() const { return table_count_ == 0; }
  bool has_ranges() const { return has_ranges_; }
  TableReader* FindTable(uint64_t number, TablePlace* place) const;  // null if absent

  // By ascending number.
  const std::vector<BlobFileUse>& blob_files() const { return blob_files_; }
  const BlobFileUse* FindBlobFile(uint64_t number) const;  // null if absent
  // The value of an entry that is a pointer; see BlobFile::Get.
  Status ReadBlob(Slice key, Slice pointer, const ReadContext& context, bool keep,
                  BlobHit* hit) const;
  uint64_t blob_bytes() const;  // of the files
  uint64_t stale_blob_bytes() const;

  // A new version with the edit applied; `open` turns an added table into a reader that the caller
  // opened before. `new_blob_files` come along; those that nothing references any more stay behind.
  // kCorruption/kPlanStale if the edit does not fit (missing table, overlap in a run).
  Status Apply(const VersionEdit& edit, uint64_t new_id,
               const std::function<Ref<TableReader>(uint64_t number)>& open, Ref<Version>* result,
               const std::vector<Ref<BlobFile>>& new_blob_files = {}) const;
  Status CheckInvariants() const;

 private:
  void CountReferences(const BlobReferences& references);

  uint64_t id_;
  std::vector<std::vector<Run>> levels_;  // kLevelCount of them
  std::vector<BlobFileUse> blob_files_;
  size_t table_count_ = 0;
  uint64_t item_count_ = 0;
  uint64_t bytes_ = 0;
  bool has_ranges_ = false;
};

}  // namespace shale
