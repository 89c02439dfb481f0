// JournalKeeper: the work around the journal that no writer should wait for.
//
// On the journal lane: the flush point of buffered commits and the witness of a sync, which must
// not be late and touch no device. On the sync lane: background syncs (interval, and every few
// MiB), the next journal file made ready in advance, the aftermath of a rotation (sync, final
// length into the manifest), eviction of what was flushed.
// Threads: AfterAppend and Rotate under the write lock; the rest on engine threads.
// Invariant: a journal is named in the manifest before it takes a record.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "db/commit_queue.h"
#include "journal/manager.h"
#include "tree/manifest.h"

namespace shale {

inline constexpr size_t kBufferedBytesMax = 256 * 1024;  // staged before they are handed over

class JournalKeeper {
 public:
  struct Parts {
    Vfs* vfs = nullptr;
    std::string directory;
    Executor* executor = nullptr;
    Manifest* manifest = nullptr;
    JournalManager* journal = nullptr;
    CommitQueue* queue = nullptr;
    uint32_t sync_interval_ms = 0;
    uint64_t max_journal_size = 0;
    // Highest unflushed seqno of each tree that has one (write lock).
    std::function<Watermarks()> watermarks;
    JournalManager::FlushedSeqno flushed_seqno;
    // Seals and flushes the memtables of a tree that pins the oldest journal.
    std::function<void(uint32_t tree)> flush_tree;
    // How work on the journal went that no caller hears of; what failed is tried again.
    std::function<void(const Status&)> on_state;
  };

  explicit JournalKeeper(Parts parts);

  // --- write lock ---
  // Cheap unless something is due.
  void AfterAppend() {
    if (parts_.journal->active_bytes() >= next_check_) CheckSize();
    if (!interval_armed_.load(std::memory_order_relaxed)) ArmInterval();
    if (parts_.journal->staged_bytes() != 0 && !flush_point_armed_) ArmFlushPoint();
  }

  // --- any thread ---
  // Everything up to `seqno` is durable when it returns ok. Not under the write lock.
  Status EnsureDurable(Seqno seqno);
  Status EnsureHandedOver();
  // A sync succeeded: it will be witnessed.
  void AfterSync();
  // Drops sealed journals that hold nothing unflushed.
  Status Evict();
  // No more work of its own begins.
  void Stop() { stopped_.store(true, std::memory_order_release); }

 private:
  void CheckSize();
  void ArmInterval();
  void ArmFlushPoint();
  void ArmWitness(uint64_t delay_ms);
  void BackgroundSync();
  void FlushPoint();
  void Witness();
  void PrepareNext();
  Status CreateNext();
  void Rotate();
  void AfterRotation();
  Status RecordSealed();
  void FlushStragglers();
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

  const Parts parts_;
  const uint64_t rotate_bytes_;
  const uint64_t sync_bytes_;

  uint64_t next_check_ = 0;         // write lock
  uint64_t next_sync_ = 0;          // write lock
  bool flush_point_armed_ = false;  // write lock
  std::atomic<bool> preparing_{false};
  std::atomic<bool> sync_requested_{false};
  std::atomic<bool> interval_armed_{false};
  std::atomic<bool> witness_armed_{false};
  std::atomic<bool> stopped_{false};
  std::mutex evict_mutex_;  // held across I/O, by engine threads only
};

}  // namespace shale
