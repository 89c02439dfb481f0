// Manifest: the durable truth about a directory: its trees, their options and tables, its journals.
//
// An append-only log of edits (journal/log_format.h, magic SHALEMAN). The first record of a
// generation is a whole snapshot of the state, the following ones are edits. A commit is one record
// and one sync, followed by a synced-to record, so that a damaged last commit is told from a torn
// one. When a generation has grown, the next one is written and synced whole, the old one gets a
// synced `successor` record and stays until the next open. docs/format.md, 6.
//
// Threads: any; commits are serialised by its own mutex. Commit blocks on the disk: never call it
// with a lock that a reader or a writer needs. state() and the numbers never wait for the disk.
// Errors: after a failed sync the manifest is poisoned: every later commit returns that error.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "journal/log_writer.h"
#include "tree/manifest_edit.h"
#include "vfs/vfs.h"

namespace shale {

class Manifest {
 public:
  // Creates the first generation in an empty directory, durable when it returns.
  static Status Create(Vfs* vfs, const std::string& directory, DirectoryKind kind,
                       std::unique_ptr<Manifest>* manifest);
  // Loads the live generation. kDbNotFound if there is none and the directory is empty or absent
  // (or holds nothing but the torn creation of a first one), kNotADatabase if foreign files are
  // there instead, kFormatTooNew, kCorruption.
  // `read_only`: nothing is cut, removed or written; every Commit answers kReadOnly.
  static Status Load(Vfs* vfs, const std::string& directory, bool read_only,
                     std::unique_ptr<Manifest>* manifest);

  // Durable and applied to state() when it returns ok. kCorruption if the edit does not fit the
  // state: then nothing was written. Seqnos that never decrease (last, flushed, cleared, gc) are
  // raised to what holds already.
  Status Commit(const ManifestEdit& edit);
  // Ok unless the manifest writes no more. Then it is unknown whether the last commit took effect:
  // what it names must stay.
  Status failure() const;
  // Ends writing with `cause`, which is returned: what was committed could not be taken over.
  Status Fail(const Status& cause);
  ManifestState state() const;  // a copy
  // Reserves file numbers in memory; what is recorded is always above any number in use.
  uint64_t NewFileNumber();
  uint32_t NewTreeId();
  const std::string& directory() const;
  uint64_t file_number() const;                    // of the live generation
  std::vector<uint64_t> live_generations() const;  // file numbers that must not be deleted
  uint64_t bytes() const;                          // of all generations that are kept
  // Bytes that a torn tail lost at Load (an unacknowledged commit).
  uint64_t dropped_bytes() const;
  ~Manifest();

 private:
  class Impl;
  explicit Manifest(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
