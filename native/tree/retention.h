// Retention: which versions of a key a flush or a compaction has to keep.
//
// Fed with the versions of each key newest first, it passes on what some reader may still need.
// Readers are the open snapshots and everyone who reads at `visible` or above. Snapshots cut the
// seqnos into strata: no reader can tell two versions of one stratum apart, as long as both are
// below `visible`.
//
// For the versions of one key, with p the next newer version of q, both in one stratum:
//   1. q is a value: nobody sees it through p. Dropped.
//   2. q is a tombstone under a tombstone: the older one covers as much as both, unless p is a
//      regular tombstone, which covers more. One of the two stays.
//   3. q is a tombstone under a value: kept, because p may go in a pair (4), and then q is what
//      hides the versions below. It is gone again at the level where nothing lies below.
//   4. p is a weak tombstone, q a value: a pair; both go, with all values below them in the
//      stratum, unless a value of an older stratum would come to light.
//   5. A tombstone with nothing of its key left below it, in this stream or deeper in the tree,
//      hides nothing. Dropped.
// What a range tombstone of its own stratum covers is dropped before any of this, whatever it is:
// within a stratum that is the older part of the versions, so the rules meet a key that ends
// sooner. The range tombstone goes on hiding what is older for as long as there is any.
// So a weak tombstone does no harm to a key that was written at most once since its last removal,
// however its versions are spread over the inputs of jobs.
//
// Threads: one. Memory: one key, and eight bytes for each tombstone that waits for its fate.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/internal_key.h"
#include "base/range_tombstone.h"
#include "base/status.h"

namespace shale {

// What may still be read: entries invisible to all of it may be dropped by flush and compaction.
struct RetentionView {
  std::vector<Seqno> snapshots;  // open read seqnos, ascending
  Seqno visible = 0;             // every later read seqno is at least this

  // The lowest read seqno that tells what comes from there on from `seqno`: all seqnos below it,
  // down to `seqno`, are one stratum. What is not visible yet is a stratum each.
  Seqno StratumEnd(Seqno seqno) const;
  // Every read, present or future, is at this seqno or above.
  Seqno LowestRead() const {
    return snapshots.empty() ? visible : std::min(visible, snapshots.front());
  }
  // Whether every read, present or future, sees it.
  bool SeenByAll(Seqno seqno) const { return seqno < LowestRead(); }
};

class Retention {
 public:
  // Receives what is kept, in internal order.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual Status Add(const Entry& entry) = 0;
  };
  // Whether a level below the output, or an older run that is no input, may hold `key`. Asked once
  // for a key whose oldest remaining version is a tombstone, keys ascending.
  using MayExistBelow = std::function<bool(Slice key)>;

  // `ranges` are those of the same sources, null if there are none. It and `sink` outlive this.
  Retention(RetentionView view, MayExistBelow may_exist_below, const RangeIndex* ranges,
            Sink* sink);

  // Strictly ascending in internal order, but for repetitions of (key, seqno): the first one holds.
  Status Add(const Entry& entry);
  // After the last entry.
  Status Finish();

 private:
  // Of the newest version of the stratum at hand that decides about the next one.
  enum class Cover : uint8_t {
    kNone,      // the key has just begun
    kValue,     // a value was passed on or dropped
    kRegular,   // a regular tombstone waits: it covers everything older in the stratum
    kWeak,      // a weak tombstone waits for its value
    kWeakPair,  // ... and has met it
  };

  bool SameStratum(Seqno newer, Seqno older) const { return newer < view_.StratumEnd(older); }
  bool Covered(const Entry& entry) const;
  Status Begin(const Entry& entry);
  Status NewStratum(const Entry& entry);
  Status SameStratumAs(const Entry& entry);
  Status EndKey();
  void KeepWaiting(const Entry& entry);
  Status PassWaiting();

  const RetentionView view_;
  const MayExistBelow may_exist_below_;
  const RangeIndex* const ranges_;
  Sink* const sink_;

  bool has_key_ = false;
  std::string key_;
  Seqno newer_seqno_ = 0;  // of the version before, kept or not
  Cover cover_ = Cover::kNone;
  std::vector<uint64_t> waiting_;  // tags of tombstones, newest first; kWeak*: the last one is it
};

}  // namespace shale
