// Internal entries: what one version of a key is inside the engine.
//
// Order: user key ascending by unsigned bytes, then seqno descending; the kind takes no part in it.
// `tag` packs seqno and kind in one word, so that a larger tag is a newer version.
#pragma once

#include <cstdint>

#include "base/slice.h"

namespace shale {

using Seqno = uint64_t;

// Numbers are on disk: never change one.
enum class Kind : uint8_t {
  kValue = 0,
  kTombstone = 1,
  kWeakTombstone = 2,
  kRangeTombstone = 3,
  kBlobPointer = 4,
  kMergeOperand = 5,  // reserved
};
inline constexpr uint8_t kKindMax = 5;

inline constexpr Seqno kSeqnoMax = (uint64_t{1} << 53) - 1;  // largest that an entry may carry
// A read seqno R is exclusive: it sees entries with seqno < R. This one sees everything.
inline constexpr Seqno kReadAll = kSeqnoMax + 1;

inline constexpr size_t kKeyBytesMax = 65535;
inline constexpr size_t kNameBytesMax = 255;  // of a keyspace, UTF-8
inline constexpr uint64_t kValueBytesMax = uint64_t{1} << 30;
inline constexpr uint64_t kBatchBytesMax = (uint64_t{1} << 30) + (uint64_t{1} << 24);

constexpr uint64_t MakeTag(Seqno seqno, Kind kind) {
  return (seqno << 8) | static_cast<uint8_t>(kind);
}
constexpr Seqno TagSeqno(uint64_t tag) { return tag >> 8; }
constexpr Kind TagKind(uint64_t tag) { return static_cast<Kind>(tag & 0xff); }

constexpr bool IsTombstone(Kind k) { return k == Kind::kTombstone || k == Kind::kWeakTombstone; }

// One version of one key. The slices point into a memtable or a pinned block.
struct Entry {
  Slice key;
  Slice value;  // empty for tombstones
  uint64_t tag = 0;

  Seqno seqno() const { return TagSeqno(tag); }
  Kind kind() const { return TagKind(tag); }
};

// Internal order of (a, a_tag) and (b, b_tag).
inline int CompareInternal(Slice a, uint64_t a_tag, Slice b, uint64_t b_tag) {
  const int c = a.Compare(b);
  if (c != 0) return c;
  const Seqno sa = TagSeqno(a_tag);
  const Seqno sb = TagSeqno(b_tag);
  return sa > sb ? -1 : (sa < sb ? 1 : 0);
}

}  // namespace shale
