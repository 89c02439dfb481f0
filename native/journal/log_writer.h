// LogWriter: appends records to one journal or manifest file and syncs it.
//
// Threads: Append and Witness under the caller's lock (one at a time); Sync may run on another
// thread at the same time as appends: it covers what was appended before it began.
// Errors: a failed append is cut back to the last good record and may be tried again (the cut is
// synced before the next record, so that no crash brings the failed one back); if that fails, or a
// sync fails, the writer is poisoned: every later call returns the first error. A failed sync is
// never tried again; it is kSyncFailed, indeterminate.
// Space is reserved ahead in growing steps; that it cannot be had fails nothing by itself.
// Cost: one system call per append, one more where a step of reserved space ends.
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
  // Creates the file, reserves space, writes the header. Neither file nor directory is synced yet.
  // `preallocate_bytes`: how long the file is expected to become, the limit of one step; 0 reserves
  // nothing.
  static Status Create(Vfs* vfs, const std::string& path, const char* magic, uint64_t file_number,
                       uint64_t preallocate_bytes, std::unique_ptr<LogWriter>* writer);
  // Goes on writing behind `end_offset` of an existing file (manifests): cuts off what follows and
  // syncs, so that all of the file is durable.
  static Status Reopen(Vfs* vfs, const std::string& path, uint64_t file_number, uint64_t end_offset,
                       std::unique_ptr<LogWriter>* writer);

  // On success *end is the length of the file after the record.
  // kBatchTooLarge if the payload exceeds kLogPayloadBytesMax; kDiskFull, kIoError: no trace is
  // left.
  Status Append(RecordType type, uint32_t count, Seqno seqno, Slice payload, uint64_t* end);
  // Appends whole records that the caller encoded for the offsets from size() on; all of them or,
  // on an error, none. `stated_synced_to` is the highest synced_to among them.
  Status AppendEncoded(Slice records, uint64_t stated_synced_to);
  // Makes everything appended so far durable. Concurrent calls are serialised; a call whose bytes
  // an earlier one covered returns at once. *reached_device: whether this one did not.
  Status Sync(bool* reached_device = nullptr);
  // If more is durable than the last record says: appends a synced-to record (not synced itself).
  Status Witness();

  // A call failed in a way that ends this writer; see Errors.
  bool poisoned() const { return poisoned_.load(std::memory_order_acquire); }
  // A failed append was cut back and no sync has covered that yet.
  bool cut() const {
    return cuts_.load(std::memory_order_relaxed) != synced_cuts_.load(std::memory_order_acquire);
  }
  uint64_t size() const { return size_.load(std::memory_order_acquire); }
  uint64_t synced_to() const { return synced_to_.load(std::memory_order_acquire); }
  uint64_t file_number() const { return file_number_; }
  const std::string& path() const { return file_->path(); }
  ~LogWriter();

 private:
  struct SyncState;

  LogWriter(std::unique_ptr<File> file, uint64_t file_number, uint64_t size);
  // One system call for both pieces; they hold whole records.
  Status Write(Slice a, Slice b, uint64_t stated_synced_to);
  void Reserve(uint64_t end);
  // Removes what a failed append left at size().. size() + length.
  Status CutBack(uint64_t length);
  // Makes the cuts durable, before the next record.
  Status SyncCuts();
  // Records the first error for good and returns it.
  Status Poison(Status error);
  Status Poisoned() const;

  std::unique_ptr<File> file_;
  const uint64_t file_number_;
  std::atomic<uint64_t> size_;
  std::atomic<uint64_t> synced_to_{0};
  std::atomic<uint64_t> cuts_{0};         // cut-backs so far
  std::atomic<uint64_t> synced_cuts_{0};  // how many of them a sync has covered
  std::atomic<bool> poisoned_{false};
  uint64_t witnessed_ = 0;  // highest synced_to that a record states
  uint64_t reserved_;       // space was asked for up to here
  uint64_t step_max_ = 0;   // largest step of reserved space; 0: none is reserved
  std::unique_ptr<SyncState> sync_state_;
};

}  // namespace shale
