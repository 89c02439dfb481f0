// Iterator: the one internal iterator interface over versions in internal order.
//
// Every source implements it: memtable, table, run, merge. The current entry is a plain member, so
// that a step costs one virtual call and reading the entry none.
//
// Threads: one thread at a time.
// Contract: after a call that ends with !valid(), status() tells whether the end was reached (ok),
// the next step needs I/O that the read mode forbids (kWouldBlock), or something failed. After
// kWouldBlock or an error the position is lost: seek again. Slices of entry() live until the next
// call.
#pragma once

#include "base/internal_key.h"
#include "base/lookup_tally.h"
#include "base/status.h"

namespace shale {

// What a read may do when a block is not in memory.
enum class ReadMode : uint8_t {
  kMemoryOnly,  // answer kWouldBlock
  kMayBlock,    // read it here and now
};

// Shared by one reader and the iterators below it; the owner may change it between calls.
struct ReadContext {
  ReadMode mode = ReadMode::kMayBlock;
  bool fill_cache = true;        // false for compaction: neither looks for a place nor takes one
  size_t read_ahead_bytes = 0;   // 0: block by block
  LookupTally* tally = nullptr;  // of a point lookup, which is counted as a whole; null: at once
};

// Sorts before every entry of the same key.
inline constexpr uint64_t kTagNewest = ~uint64_t{0};

class Iterator {
 public:
  virtual ~Iterator() = default;
  Iterator() = default;
  Iterator(const Iterator&) = delete;
  Iterator& operator=(const Iterator&) = delete;

  bool valid() const { return valid_; }
  const Entry& entry() const { return entry_; }
  const Status& status() const { return status_; }

  virtual void SeekToFirst() = 0;
  virtual void SeekToLast() = 0;
  // First entry at or after (key, tag) in internal order. Seek(key, MakeTag(R - 1, ...)) finds the
  // newest version visible at R; use SeekTag(R).
  virtual void Seek(Slice key, uint64_t tag) = 0;
  // Last entry strictly before (key, tag) in internal order. With tag = kTagNewest: the last entry
  // of a smaller key.
  virtual void SeekBefore(Slice key, uint64_t tag) = 0;
  virtual void Next() = 0;  // requires valid()
  virtual void Prev() = 0;  // requires valid()
  // As Next and Prev, and may pass over more: entries with a seqno below `seqno` and a key before
  // `end` (empty: whatever it is), or at or behind `start`.
  virtual void SkipForward(Slice, Seqno) { Next(); }
  virtual void SkipBack(Slice, Seqno) { Prev(); }

 protected:
  // For sources that hold nothing newer.
  void JumpForward(Slice end) {
    if (end.empty()) {
      valid_ = false;
    } else {
      Seek(end, kTagNewest);
    }
  }
  void JumpBack(Slice start) { SeekBefore(start, kTagNewest); }

  Entry entry_;
  bool valid_ = false;
  Status status_;
};

class EmptyIterator final : public Iterator {
 public:
  void SeekToFirst() override {}
  void SeekToLast() override {}
  void Seek(Slice, uint64_t) override {}
  void SeekBefore(Slice, uint64_t) override {}
  void Next() override {}
  void Prev() override {}
};

// The tag to seek for the newest version with seqno < read_seqno. Requires read_seqno > 0.
constexpr uint64_t SeekTag(Seqno read_seqno) {
  return MakeTag(read_seqno - 1, static_cast<Kind>(0xff));
}

}  // namespace shale
