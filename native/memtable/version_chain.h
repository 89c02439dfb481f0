// Version chain: the versions of one key, newest first, in the two memtables alike.
//
// The index structure points at the newest entry; the others hang behind it. A short chain is a
// plain list. Once a version draws a height above one, as every fourth does, the chain gets a
// ChainIndex: a skiplist over all versions but the newest. So a version is found and added in
// logarithmic time at any length and in any order of seqnos, while a key with one version pays
// nothing and a few versions cost next to nothing.
//
// Threads: one writer; readers start from a newest entry, which may have been superseded meanwhile.
// Invariants:
//   I1  newest->next is null, the next older entry, or (lowest bit set) the ChainIndex; the next of
//       any other entry is null or the next older one.
//   I2  the ChainIndex holds every version older than the newest, and never loses one: a replaced
//       version gives its place to its successor.
//   I3  a tall entry that is not linked above level 0 keeps its height in link 1, which no reader
//       looks at.
//   I4  an entry's links are complete before it is linked, lowest level first.
// Cost: NewestBelow, OldestAbove, Oldest, AddVersion O(log n) expected; Older O(1) unless
// superseded.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "memtable/arena.h"
#include "memtable/stored_entry.h"

namespace shale {

inline constexpr int kChainHeightMax = 12;
inline constexpr int kChainHeightBits = 2;

// Heights for skiplists: above every level goes one in 2^bits. Seeded alike everywhere, so that
// runs repeat.
class HeightSource {
 public:
  int Next(int bits, int max) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    const int zeros = std::countr_zero((state_ >> 16) | (uint64_t{1} << 40));
    const int height = 1 + zeros / bits;
    return height < max ? height : max;
  }

 private:
  uint64_t state_ = 0x9e3779b97f4a7c15;
};

struct AddedVersion {
  StoredEntry* newest;  // what the index structure must point at from now on
  size_t bytes;         // taken by the entry
  bool replaced;        // there was one with this seqno
};

// Makes an entry that has no older or newer version.
StoredEntry* NewStoredEntry(const Entry& entry, Arena* arena);

// Adds a version of newest's key. The caller publishes `newest` of the result where it differs.
AddedVersion AddVersion(StoredEntry* newest, const Entry& entry, Arena* arena,
                        HeightSource* heights);

namespace chain_internal {
const StoredEntry* NewestBelowInIndex(uintptr_t next, Seqno bound);
const StoredEntry* OlderInIndex(const StoredEntry* entry, uintptr_t next);
}  // namespace chain_internal

// Newest version with a seqno below `bound`, or null.
inline const StoredEntry* NewestBelow(const StoredEntry* newest, Seqno bound) {
  const StoredEntry* entry = newest;
  while (entry != nullptr && entry->seqno() >= bound) {
    const uintptr_t next = entry->links.next.load(std::memory_order_acquire);
    if ((next & 1) != 0) return chain_internal::NewestBelowInIndex(next, bound);
    entry = reinterpret_cast<const StoredEntry*>(next);
  }
  return entry;
}

// The version just older than `entry`, or null.
inline const StoredEntry* Older(const StoredEntry* entry) {
  const uintptr_t next = entry->links.next.load(std::memory_order_acquire);
  if ((next & 1) != 0) return chain_internal::OlderInIndex(entry, next);
  return reinterpret_cast<const StoredEntry*>(next);
}

// Oldest version with a seqno above `seqno`, or null. Looks at `newest` and what is older.
const StoredEntry* OldestAbove(const StoredEntry* newest, Seqno seqno);
const StoredEntry* Oldest(const StoredEntry* newest);

}  // namespace shale
