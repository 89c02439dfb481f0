// Cursor: what a user sees of a range, one end of it: the newest visible, living entry of each key.
//
// It pins one super version and reads at one seqno, so the sequence never changes under it. A
// cursor goes in one direction; a double-ended range is two cursors over the same pin, which meet
// by comparing keys.
//
// Threads: one at a time; may move between threads between calls.
// Blocking: in kMemoryOnly a step that needs I/O, or that passes over more than kHiddenMax hidden
// entries in one turn, answers kWouldBlock and loses nothing: the same call in kMayBlock goes on
// where it stopped. After a failure the same holds: the next call tries again.
// Cost: over a single memtable a step adds about ten nanoseconds to that of the source; over tables
// it copies the key, and in reverse the value too. Long runs of versions of one key are jumped
// over, and so is what a range tombstone covers where a source holds nothing newer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tree/merge_iterator.h"
#include "tree/range_cover.h"
#include "tree/super_version.h"

namespace shale {

// Lower bound inclusive, upper bound exclusive, both as user keys; unset = unbounded. Callers turn
// gt and lte into these (KeyAfter).
struct Bounds {
  std::optional<std::string> lower;
  std::optional<std::string> upper;
};
// Smallest key above `key` that is a legal key; nullopt if there is none.
std::optional<std::string> KeyAfter(Slice key);
// Smallest key above all keys that start with `prefix`; nullopt if there is none (all 0xff, or
// empty).
std::optional<std::string> PrefixEnd(Slice prefix);

class Cursor {
 public:
  enum class Direction : uint8_t { kForward, kReverse };
  // `pin`: what reads at `read_seqno` go to (SuperVersion::For).
  Cursor(Ref<SuperVersion> pin, Seqno read_seqno, Bounds bounds, Direction direction);
  ~Cursor();

  // Hidden entries that memory alone may pass over from one BeginTurn to the next.
  static constexpr uint32_t kHiddenMax = 16 * 1024;
  void BeginTurn() { hidden_left_ = kHiddenMax; }

  // Moves to the next entry (the first one at the first call). kOk: key() and value() are set and
  // live until the next call; kNotFound: the end; kWouldBlock: see above; else status() has the
  // failure.
  Code Next(ReadMode mode);
  Slice key() const { return entry_.key; }
  // What the entry holds: of a separated value a pointer, until LoadValue().
  Slice value() const { return entry_.value; }
  uint64_t value_size() const { return ValueSize(entry_); }
  // Puts the value into the place of a pointer. Anything but kOk: as for Next(), and the cursor
  // stays on the entry.
  Code LoadValue(ReadMode mode) {
    return entry_.kind() != Kind::kBlobPointer ? Code::kOk : LoadBlob(mode);
  }
  // Of the last call; ok at the end.
  const Status& status() const { return status_; }

  // Next() continues with the first entry at or after `key` inside the bounds (kReverse: at or
  // before it). Reads nothing.
  void SeekTo(Slice key);

  const Ref<SuperVersion>& pin() const { return pin_; }
  Seqno read_seqno() const { return read_seqno_; }
  const Bounds& bounds() const { return bounds_; }

 private:
  // Where the next call has to go on when the iterator has no position.
  enum class Resume : uint8_t { kStart, kBehindLast, kAtSeek };

  Code LoadBlob(ReadMode mode);
  void OpenSources();
  void AddRun(const Run& run, std::vector<std::unique_ptr<Iterator>>* sources);
  void PositionForward();
  void PositionReverse();
  Code SettleForward();
  Code SettleReverse();
  bool ReadGroup(bool* visible);
  void JumpToNewest(bool* visible);
  Code Lost();
  // Counts a hidden entry; true if it is one too many for this turn.
  bool OneTooMany() {
    return context_.mode == ReadMode::kMemoryOnly && (hidden_left_ == 0 || --hidden_left_ == 0);
  }
  Code GiveUpTurn();
  bool SkipCovered();
  void Remember(Slice key);
  void GrowReadAhead();

  Ref<SuperVersion> pin_;
  const Seqno read_seqno_;
  const Bounds bounds_;
  const Direction direction_;
  bool stable_ = false;      // slices of the sources live as long as the pin: memtables only
  bool positioned_ = false;  // the iterator stands where the next call goes on
  bool finished_ = false;
  bool has_upper_ = false;
  bool has_lower_ = false;
  uint32_t hidden_left_ = kHiddenMax;
  Resume resume_ = Resume::kStart;
  Slice upper_;
  Slice lower_;

  ReadContext context_;
  uint64_t scanned_bytes_ = 0;
  uint64_t grow_at_ = 0;  // next time when read-ahead grows

  std::unique_ptr<Iterator> iterator_;
  std::unique_ptr<RangeCover> ranges_;  // null if there are no range tombstones
  Entry entry_;
  Ref<CacheValue> blob_;  // holds entry_.value once it was loaded
  Slice last_;            // the last key that is dealt with; in last_key_ unless stable_
  bool has_last_ = false;
  std::string last_key_;
  Entry group_;  // reverse: the key at hand and its newest visible version so far
  std::string group_key_;
  std::string group_value_;
  std::string seek_key_;
  Status status_;
};

}  // namespace shale
