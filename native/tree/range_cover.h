// RangeCover: which range tombstone hides what a scan comes by.
//
// It looks at every memtable and run that has some, and remembers for how far forward the answer
// holds, so that a scan pays one comparison for most rows.
// Threads: one. Lifetime: the super version outlives it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tree/super_version.h"

namespace shale {

class RangeCover {
 public:
  // Null if nothing in `sv` has range tombstones. What comes into its active memtable afterwards is
  // not seen.
  static std::unique_ptr<RangeCover> Make(const SuperVersion& sv, Seqno read_seqno);

  // The newest below the read seqno that covers `key`; its seqno is 0 if there is none. Its keys
  // live as long as the super version.
  const RangeTombstone& At(Slice key) {
    if (!known_ || key < Slice(from_) || (has_until_ && !(key < until_))) [[unlikely]]
      Look(key);
    return cover_;
  }

 private:
  explicit RangeCover(Seqno read_seqno) : read_seqno_(read_seqno) {}

  void Look(Slice key);
  void LookAt(const RangeSet& set, Slice key);
  void LookAt(const Run& run, Slice key);
  void Take(const RangeTombstone* newer) {
    if (newer != nullptr) cover_ = *newer;
  }
  void EndAt(Slice key) {
    if (has_until_ && !(key < until_)) return;
    has_until_ = true;
    until_ = key;
  }

  const Seqno read_seqno_;
  std::vector<Ref<const RangeSet>> sets_;
  std::vector<const Run*> runs_;

  // cover_ holds for the keys from from_ up to until_.
  bool known_ = false;
  bool has_until_ = false;
  std::string from_;
  Slice until_;
  RangeTombstone cover_;
};

}  // namespace shale
