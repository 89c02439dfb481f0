// Cursor: what a user sees of a range, one end of it: the newest visible, living entry of each key.
//
// It pins one super version and reads at one seqno, so the sequence never changes under it. A cursor goes
// in one direction; a double-ended range is two cursors over the same pin, which meet by comparing keys.
//
// Threads: one at a time; may move between threads between calls.
// Blocking: in kMemoryOnly a step that needs I/O answers kWouldBlock and loses nothing: the same call in
// kMayBlock goes on where it stopped.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tree/merge_iterator.h"
#include "tree/super_version.h"

namespace shale {

// Lower bound inclusive, upper bound exclusive, both as user keys; unset = unbounded. Callers turn gt and
// lte into these (KeyAfter).
struct Bounds {
  std::optional<std::string> lower;
  std::optional<std::string> upper;
};
// Smallest key above `key` that is a legal key; nullopt if there is none.
std::optional<std::string> KeyAfter(Slice key);
// Smallest key above all keys that start with `prefix`; nullopt if there is none (all 0xff, or empty).
std::optional<std::string> PrefixEnd(Slice prefix);

class Cursor {
 public:
  enum class Direction : uint8_t { kForward, kReverse };
  Cursor(Ref<SuperVersion> pin, Seqno read_seqno, Bounds bounds, Direction direction);
  ~Cursor();

  // Moves to the next entry (the first one at the first call). kOk: key() and value() are set and live until
  // the next call; kNotFound: the end; kWouldBlock: see above; else status() has the failure.
  Code Next(ReadMode mode);
  Slice key() const { return entry_.key; }
  Slice value() const { return entry_.value; }
  const Status& status() const { return status_; }

  // Next() continues with the first entry at or after `key` inside the bounds (kReverse: at or before it).
  // Reads nothing.
  void SeekTo(Slice key);

  const Ref<SuperVersion>& pin() const { return pin_; }
  Seqno read_seqno() const { return read_seqno_; }
  const Bounds& bounds() const { return bounds_; }

 private:
  Code Position(ReadMode mode);
  Code Step(ReadMode mode);

  Ref<SuperVersion> pin_;
  Seqno read_seqno_;
  Bounds bounds_;
  Direction direction_;
  ReadContext context_;
  std::unique_ptr<Iterator> iterator_;
  Entry entry_;
  std::string last_key_;      // where to go on after kWouldBlock
  bool has_last_key_ = false;
  bool inclusive_ = false;    // SeekTo: last_key_ itself is still to come
  bool positioned_ = false;
  bool finished_ = false;
  Status status_;
};

}  // namespace shale
