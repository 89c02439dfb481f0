// JournalManager: the active journal with its staged records, the prepared next one, and the sealed
// ones until every tree has flushed past them.
//
// Records are staged (encoded for the offset where they will lie) and handed over to the file in
// one write, so that a group of commits costs one system call. What is staged but not handed over
// is what the durability `buffered` means.
//
// Threads: methods under "write lock" are called with the database's write lock, one at a time; the
// others from any thread.
// Invariants:
//   I1  journals are synced in the order of their numbers: nothing in a journal counts as durable
//       before all older ones are (every Sync goes through them in order and ends at the first
//       that fails; beside another one it waits in each journal for the sync under way there);
//   I2  a sealed journal never grows;
//   I3  sealed journals leave in order, oldest first, and only when synced.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "journal/log_writer.h"

namespace shale {

// Per tree: the highest seqno that a journal may hold of it and that was not flushed when it was
// sealed.
using Watermarks = std::map<uint32_t, Seqno>;

struct SealedJournal {
  uint64_t number = 0;
  uint64_t bytes = 0;
  Seqno last_seqno = 0;  // of its last record; 0 if it has none
  Watermarks watermarks;
  bool recorded = false;              // the manifest knows its final length
  std::shared_ptr<LogWriter> writer;  // null for journals that recovery found
};

class JournalManager {
 public:
  // --- before the first append ---
  // Called for each sync of a file that succeeded, with the nanoseconds that it took by `clock`.
  void OnSync(Vfs* clock, std::function<void(uint64_t nanos)> call) {
    clock_ = clock;
    on_sync_ = std::move(call);
  }
  void AddSealed(SealedJournal journal);  // ascending numbers
  void Start(std::unique_ptr<LogWriter> active);

  // --- write lock ---
  // Room for the payload of one record; the caller fills it and ends the record.
  char* BeginRecord(size_t payload_bytes);
  void EndRecord(uint32_t count, Seqno seqno);
  // A point to cut back to when a group fails.
  struct Mark {
    size_t size = 0;
    Seqno seqno = 0;
    uint64_t stated_synced_to = 0;
  };
  Mark mark() const { return {staged_size_, staged_seqno_, stated_synced_to_}; }
  void CutBack(const Mark& mark);
  size_t staged_bytes() const { return staged_size_; }
  // Writes what is staged. On an error everything stays staged.
  Status HandOver();
  // Hands over, then writes one record without copying its payload.
  Status AppendDirect(uint32_t count, Seqno seqno, Slice payload);
  // States what is durable in a synced-to record, if no record has said so yet.
  Status Witness();
  bool has_next() const { return has_next_.load(std::memory_order_acquire); }
  // Seals the active journal (nothing may be staged) and goes on in the prepared one.
  void Rotate(Watermarks watermarks);

  // --- any thread ---
  void SetNext(std::unique_ptr<LogWriter> next);
  // Makes everything handed over so far durable.
  Status Sync();
  // The active journal takes no more records.
  bool poisoned() const { return active()->poisoned(); }
  // The last append was cut back: the next one syncs first.
  bool cut() const { return cut_.load(std::memory_order_relaxed); }
  // Highest seqno whose record was handed over; 0 if none.
  Seqno handed_over() const { return handed_over_.load(std::memory_order_acquire); }
  uint64_t active_bytes() const { return active_bytes_.load(std::memory_order_relaxed); }
  // Sealed and synced journals whose final length the manifest does not know yet.
  std::vector<std::pair<uint64_t, uint64_t>> Unrecorded() const;  // number, final length
  void MarkRecorded(uint64_t number);
  // Where all journals end that are not recorded, when no more records come. After Sync.
  std::vector<std::pair<uint64_t, uint64_t>> FinalLengths() const;
  // The oldest sealed journals that hold nothing unflushed. `flushed_seqno` answers nullopt for a
  // tree that is gone. *last_seqno: highest seqno of a record in them.
  using FlushedSeqno = std::function<std::optional<Seqno>(uint32_t tree)>;
  std::vector<uint64_t> Evictable(const FlushedSeqno& flushed_seqno, Seqno* last_seqno) const;
  void Drop(const std::vector<uint64_t>& numbers);
  // Trees that keep the oldest sealed journal from being evicted.
  std::vector<uint32_t> Pinning(const FlushedSeqno& flushed_seqno) const;

  uint64_t sealed_bytes() const { return sealed_bytes_.load(std::memory_order_relaxed); }
  uint32_t journal_count() const { return count_.load(std::memory_order_relaxed); }
  // Writes of records of commits, a group of them each.
  uint64_t appends() const { return appends_.load(std::memory_order_relaxed); }
  uint64_t bytes_written() const { return bytes_written_.load(std::memory_order_relaxed); }
  std::vector<uint64_t> numbers() const;  // of all journals, the prepared one included

 private:
  void Reserve(size_t bytes);
  Status NoteAppend(Status status);  // of the active journal
  void NoteActive();
  void CountFiles();  // mutex_ held
  std::shared_ptr<LogWriter> active() const;

  mutable std::mutex mutex_;
  std::deque<SealedJournal> sealed_;   // mutex_
  std::shared_ptr<LogWriter> active_;  // replaced under mutex_ and the write lock
  std::unique_ptr<LogWriter> next_;    // mutex_
  std::atomic<bool> has_next_{false};

  // Write lock.
  std::unique_ptr<char[]> staged_;
  size_t staged_size_ = 0;
  size_t staged_capacity_ = 0;
  size_t record_begin_ = 0;        // of the record between Begin and End
  uint64_t stated_synced_to_ = 0;  // highest among the staged records
  Seqno staged_seqno_ = 0;

  std::atomic<Seqno> handed_over_{0};
  std::atomic<bool> cut_{false};
  std::atomic<uint64_t> active_bytes_{0};
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> appends_{0};
  std::atomic<uint64_t> sealed_bytes_{0};  // written under mutex_, so that readers need no lock
  std::atomic<uint32_t> count_{0};         // likewise
  Vfs* clock_ = nullptr;
  std::function<void(uint64_t nanos)> on_sync_;
};

}  // namespace shale
