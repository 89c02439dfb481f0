// SuperVersion: everything a reader needs, in one thing to pin: active memtable, sealed memtables, version.
//
// Immutable but for the active memtable, which one writer appends to.
// Pinning: inside an EpochGuard a reader may use Tree::current() as it is; a Ref keeps it for longer.
// A reader takes its read seqno AFTER it has pinned: then whatever was dropped by the jobs that made
// this super version is nothing that the reader could have seen.
#pragma once

#include <vector>

#include "memtable/memtable.h"
#include "tree/version.h"

namespace shale {

class SuperVersion : public RefCounted {
 public:
  SuperVersion(Ref<Memtable> a, std::vector<Ref<Memtable>> s, Ref<Version> v, Seqno n)
      : active(std::move(a)), sealed(std::move(s)), version(std::move(v)), seqno(n) {}

  const Ref<Memtable> active;
  const std::vector<Ref<Memtable>> sealed;  // newest first
  const Ref<Version> version;
  const Seqno seqno;  // highest seqno inserted when it was installed
};

}  // namespace shale
