// LogWriter: appends records to one journal or manifest file and syncs it.
//
// Threads: Append and Witness under the caller's lock (one at a time); Sync may run on another thread at the
// same time as appends: it covers what was appended before it began.
// Errors: a failed append is cut back to the last good record and may be tried again; if even that fails, or
// a sync fails, the writer is poisoned: every later call returns the first error. A failed sync is
// never tried again.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "journal/log_format.h"
#include "vfs/vfs.h"

namespace shale {

class LogWriter {
 public:
  // Creates the file, preallocates, writes the header. Neither file nor directory is synced yet.
  static Status Create(Vfs* vfs, const std::string& path, const char* magic, uint64_t file_number,
                       uint64_t preallocate_bytes, std::unique_ptr<LogWriter>* writer);
  // Goes on writing behind `end_offset` of an existing file (manifests).
  static Status Reopen(Vfs* vfs, const std::string& path, uint64_t file_number, uint64_t end_offset,
                       std::unique_ptr<LogWriter>* writer);

  // One system call. On success *end is the length of the file after the record.
  // `payload` may come in two pieces.
  Status Append(RecordType type, uint32_t count, Seqno seqno, Slice payload, uint64_t* end);
  // Appends whole records that the caller encoded for the offsets from size() on; all of them or, on an
  // error, none. `stated_synced_to` is the highest synced_to among them.
  Status AppendEncoded(Slice records, uint64_t stated_synced_to);
  // Makes everything appended so far durable. Concurrent calls are serialised; a call whose bytes an
  // earlier one covered returns at once.
  Status Sync();
  // If more is durable than the last record says: appends a synced-to record (not synced itself).
  Status Witness();

  uint64_t size() const { return size_.load(std::memory_order_acquire); }
  uint64_t synced_to() const { return synced_to_.load(std::memory_order_acquire); }
  uint64_t file_number() const { return file_number_; }
  const std::string& path() const { return file_->path(); }
  ~LogWriter();

 private:
  LogWriter(std::unique_ptr<File> file, uint64_t file_number, uint64_t size)
      : file_(std::move(file)), file_number_(file_number), size_(size) {}

  struct SyncState;
  std::unique_ptr<File> file_;
  const uint64_t file_number_;
  std::atomic<uint64_t> size_;
  std::atomic<uint64_t> synced_to_{0};
  uint64_t witnessed_ = 0;
  uint64_t preallocated_ = 0;
  std::unique_ptr<SyncState> sync_state_;  // mutex, poison
};

}  // namespace shale
