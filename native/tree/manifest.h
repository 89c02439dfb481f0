// Manifest: the durable truth about a directory: its trees, their options and tables, its journals.
//
// An append-only log of edits (journal/log_format.h, magic SHALEMAN). The first record of a generation is a
// whole snapshot of the state, the following ones are edits. A commit is one record and one sync, followed
// by a synced-to record, so that a damaged last commit is told from a torn one. When a generation has
// grown, the next one is written and synced whole, the old one gets a synced `successor` record and stays
// until the next open. docs/format.md, "Manifest".
//
// Threads: any; commits are serialised by its own mutex. Commit blocks on the disk: never call it with a
// lock that a reader or a writer needs.
// Errors: after a failed sync the manifest is poisoned: every later commit returns that error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "journal/log_writer.h"
#include "tree/version.h"
#include "vfs/vfs.h"

namespace shale {

enum class DirectoryKind : uint8_t { kDatabase = 1, kTree = 2 };

struct TreeState {
  uint32_t id = 0;
  std::string name;
  std::string options;        // encoded TreeOptions
  Seqno flushed_seqno = 0;    // entries with seqno < this are in tables (exclusive, as read seqnos)
  Seqno cleared_seqno = 0;    // entries with seqno < this were cleared
  Seqno created_seqno = 0;    // journal entries below it belong to an older tree of the same id: none
  std::map<uint64_t, VersionEdit::Added> tables;  // by file number
};

struct JournalState {
  uint64_t number = 0;
  std::optional<uint64_t> final_length;  // set at rotation and close; then it must end exactly there
};

struct ManifestState {
  DirectoryKind kind = DirectoryKind::kDatabase;
  uint64_t next_file_number = 1;
  uint32_t next_tree_id = 1;
  Seqno last_seqno = 0;       // next seqno is at least this (survives evicted journals)
  bool clean_shutdown = false;  // nothing to replay
  std::map<uint32_t, TreeState> trees;
  std::map<uint64_t, JournalState> journals;
};

// One commit: applied as a whole or not at all.
struct ManifestEdit {
  struct TreeChange {
    uint32_t tree_id = 0;
    VersionEdit version;
    std::optional<Seqno> flushed_seqno;
    std::optional<Seqno> cleared_seqno;
    std::optional<std::string> options;
  };
  std::vector<TreeState> created_trees;
  std::vector<uint32_t> deleted_trees;
  std::vector<TreeChange> changes;
  std::vector<JournalState> journals;        // added, or final length set
  std::vector<uint64_t> removed_journals;
  std::optional<Seqno> last_seqno;
  std::optional<bool> clean_shutdown;

  std::string Encode() const;
  static Status Decode(Slice bytes, ManifestEdit* edit);
  Status ApplyTo(ManifestState* state) const;  // kCorruption if it does not fit
};

class Manifest {
 public:
  // Creates generation 1 in an empty directory, durable when it returns.
  static Status Create(Vfs* vfs, const std::string& directory, DirectoryKind kind,
                       std::unique_ptr<Manifest>* manifest);
  // Loads the newest valid generation. kDbNotFound if there is none and the directory is empty or absent,
  // kNotADatabase if foreign files are there instead, kFormatTooNew, kCorruption.
  // `read_only` neither cuts a torn tail nor removes anything.
  static Status Load(Vfs* vfs, const std::string& directory, bool read_only,
                     std::unique_ptr<Manifest>* manifest);

  // Durable and applied to state() when it returns ok.
  Status Commit(const ManifestEdit& edit);
  ManifestState state() const;  // a copy
  // Reserves file numbers in memory; what is recorded is always above any number in use.
  uint64_t NewFileNumber();
  uint32_t NewTreeId();
  const std::string& directory() const;
  uint64_t file_number() const;                // of the live generation
  std::vector<uint64_t> live_generations() const;  // file numbers that must not be deleted
  uint64_t bytes_written() const;
  // Bytes that a torn tail lost at Load (an unacknowledged commit).
  uint64_t dropped_bytes() const;
  ~Manifest();

 private:
  class Impl;
  explicit Manifest(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
