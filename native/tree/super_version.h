// SuperVersion: everything a reader needs, in one thing to pin: active memtable, sealed memtables,
// version.
//
// Immutable but for the active memtable, which one writer appends to.
// Where tables were dropped while something could still read them, the one of before is held and
// lower read seqnos go to it; see For().
// Pinning: inside an EpochGuard a reader may use Tree::current() as it is; a Ref keeps it for
// longer. A reader takes its read seqno AFTER it has pinned: then whatever was dropped by the jobs
// that made this super version is nothing that the reader could have seen. What was committed
// between the two may be in a later memtable: the reader then sees the tree as it was when the
// pinned one was sealed, which is a moment between the two as well, and never half a commit.
// When it has its read seqno it looks besides whether what it has pinned is still the current one,
// and begins anew if not (Tree::CurrentAt): what was committed behind ingested rows is in a
// memtable before there is a super version that has the rows, though both become visible later.
// Threads: any.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "memtable/memtable.h"
#include "tree/version.h"

namespace shale {

class SuperVersion;

// The living super versions of one tree. It owns none of them: each enters itself and leaves when
// the last reader lets go, so that looking at the history keeps nothing alive.
class SuperVersionList {
 public:
  // Newest first. Shares only what still has an owner.
  std::vector<Ref<SuperVersion>> Living() const;

 private:
  friend class SuperVersion;
  mutable std::mutex mutex_;           // a leaf: nothing else is locked while it is held
  std::vector<SuperVersion*> living_;  // oldest first
};

// Reads at `until` and below, down to the one before in the list, see what was there then.
struct HeldVersion {
  Seqno until = 0;
  Ref<SuperVersion> super_version;
};
// Oldest first; null: none.
using HeldVersions = std::shared_ptr<const std::vector<HeldVersion>>;

class SuperVersion final : public RefCounted {
 public:
  SuperVersion(Ref<Memtable> a, std::vector<Ref<Memtable>> s, Ref<Version> v, Seqno n,
               std::shared_ptr<SuperVersionList> list = nullptr, HeldVersions h = nullptr);

  // What a read at `read_seqno` goes to: this one, or one that it holds.
  const SuperVersion* For(Seqno read_seqno) const {
    return held == nullptr ? this : Find(read_seqno);
  }

  const Ref<Memtable> active;
  const std::vector<Ref<Memtable>> sealed;  // newest first
  const Ref<Version> version;
  const Seqno seqno;  // highest seqno inserted when it was installed
  const HeldVersions held;

 private:
  ~SuperVersion() override;
  const SuperVersion* Find(Seqno read_seqno) const;

  const std::shared_ptr<SuperVersionList> list_;
};

}  // namespace shale
