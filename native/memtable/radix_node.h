// RadixNode: the inner nodes of the radix memtable.
//
// A node stands for a key prefix of `depth` bytes and branches on the byte at `depth`. Its depth
// and its type travel in the word that points at it (NodeRef), so that a lookup knows which key
// byte it needs, and how to search for it, before the node itself has arrived from memory.
//
//   offset  field
//   0       word: child count (6 bits), long-prefix flag (bit 7), key bytes 0..6 of the children
//   8       prefix: the last 8 key bytes before depth, or a pointer to a key that has them all
//   16      terminal: the entry whose key ends at depth (node 2 has none, its children are here)
//   24      further key words of 8 bytes each (node 256: presence bitmap of 4 words)
//   ..      children
//
// Threads: one writer; readers without locks.
// Invariants:
//   I1  depth, prefix and the bytes of children never change. A child comes in at the end; the
//       release store of its key byte (node 256: of the slot) makes it visible to lookups, that of
//       the count (node 256: of the bitmap) to iterators.
//   I2  a child is replaced only by one that holds everything it holds: a newer entry of the same
//       key, a grown copy of the node, or a node above it.
//   I3  prefix covers all bytes between the node and any parent it has ever had: parents only come
//       closer. So a node never changes when one is put above it, and a reader on a replaced node
//       loses nothing that was there before.
//   I4  a full node is replaced by a copy of the next type; the old one stays as it is.
//   I5  key bytes without a child repeat the first one, so that the first match is right whatever
//       the count: a lookup need not know it.
// Sizes are whole cache lines (node 2: half of one); capacities follow from that.
// Source: Leis, Kemper, Neumann: The Adaptive Radix Tree, 2013 (types by fill, path compression).
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/memory_order.h"
#include "base/slice.h"
#include "memtable/arena.h"
#include "memtable/stored_entry.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace shale::radix {

// 0, a StoredEntry (type 0), or a node: address in bits 3 to 47, type in bits 0 to 2, depth in bits
// 48 to 63.
using NodeRef = uint64_t;
static_assert(sizeof(void*) == 8, "NodeRef needs 64-bit addresses of which 48 bits are used");
static_assert(kKeyBytesMax < (size_t{1} << 16));

enum NodeType : unsigned {
  kEntry = 0,
  kNode2 = 1,
  kNode5 = 2,
  kNode12 = 3,
  kNode26 = 4,
  kNode55 = 5,
  kNode256 = 6,
};

struct NodeLayout {
  unsigned key_words;  // beyond the first
  unsigned capacity;
  unsigned bytes;
};
inline constexpr NodeLayout kLayouts[7] = {
    {0, 0, 0}, {0, 2, 32}, {0, 5, 64}, {1, 12, 128}, {3, 26, 256}, {6, 55, 512}, {4, 256, 2112},
};

inline constexpr uint64_t kCountMask = 0x3f;
inline constexpr uint64_t kLongPrefix = 0x80;

struct RadixNode {
  std::atomic<uint64_t> word;
  union {
    uint8_t tail[8];
    const char* key;
  } prefix;

  std::atomic<uint64_t>* words() { return &word; }
  const std::atomic<uint64_t>* words() const { return &word; }
};
static_assert(sizeof(RadixNode) == 16);

inline bool IsNode(NodeRef ref) { return (ref & 7) != 0; }
inline NodeType TypeOf(NodeRef ref) { return static_cast<NodeType>(ref & 7); }
inline size_t DepthOf(NodeRef ref) { return static_cast<size_t>(ref >> 48); }
inline RadixNode* NodeOf(NodeRef ref) {
  return reinterpret_cast<RadixNode*>(ref & 0x0000fffffffffff8);
}
inline StoredEntry* EntryOf(NodeRef ref) { return reinterpret_cast<StoredEntry*>(ref); }
inline NodeRef RefOf(const StoredEntry* entry) { return reinterpret_cast<NodeRef>(entry); }
inline NodeRef RefOf(const RadixNode* node, NodeType type, size_t depth) {
  return reinterpret_cast<NodeRef>(node) | type | static_cast<NodeRef>(depth) << 48;
}

// Word `i` of a node, as counted from its start.
inline std::atomic<uint64_t>* WordAt(const RadixNode* node, size_t i) {
  return const_cast<std::atomic<uint64_t>*>(node->words()) + i;
}
inline std::atomic<NodeRef>* TerminalSlot(NodeRef ref) { return WordAt(NodeOf(ref), 2); }
inline const StoredEntry* Terminal(NodeRef ref) {
  if (TypeOf(ref) == kNode2) return nullptr;
  return EntryOf(TerminalSlot(ref)->load(std::memory_order_acquire));
}
inline constexpr size_t ChildrenAt(NodeType type) {
  return type == kNode2 ? 2 : 3 + kLayouts[type].key_words;
}
inline std::atomic<NodeRef>* Child(const RadixNode* node, NodeType type, size_t index) {
  return WordAt(node, ChildrenAt(type) + index);
}

// Bit i of the result: byte i of the two words equals `byte`.
inline uint64_t MatchBytesPortable(uint64_t low, uint64_t high, uint8_t byte) {
  constexpr uint64_t kLow7 = 0x7f7f7f7f7f7f7f7f;
  auto match = [byte](uint64_t keys) {
    const uint64_t x = keys ^ (uint64_t{0x0101010101010101} * byte);
    const uint64_t zero = ~(((x & kLow7) + kLow7) | x | kLow7);  // 0x80 where a byte of x is 0
    return ((zero >> 7) * 0x0102040810204080) >> 56;             // gathers those into 8 bits
  };
  return match(low) | match(high) << 8;
}

inline uint64_t MatchBytes(uint64_t low, uint64_t high, uint8_t byte) {
#if defined(__SSE2__)
  const __m128i keys = _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
  const __m128i wanted = _mm_set1_epi8(static_cast<char>(byte));
  return static_cast<uint64_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(keys, wanted)));
#else
  return MatchBytesPortable(low, high, byte);
#endif
}

// The slot of the child for `byte`, or null. Not for node 256.
template <NodeType type>
inline std::atomic<NodeRef>* FindIn(const RadixNode* node, uint8_t byte) {
  constexpr unsigned kWords = kLayouts[type].key_words;
  // Most children lie in the second line: it is on its way while the first is searched.
  if constexpr (kLayouts[type].bytes > 64) __builtin_prefetch(WordAt(node, 8));
  const uint64_t second = kWords > 0 ? WordAt(node, 3)->load(kAcquire) : 0;
  uint64_t match = MatchBytes(node->word.load(kAcquire), second, byte);
  if constexpr (kWords == 0) match &= 0xff;
  for (unsigned i = 1; i < kWords; i += 2) {
    const uint64_t low = WordAt(node, 3 + i)->load(kAcquire);
    const uint64_t high = i + 1 < kWords ? WordAt(node, 4 + i)->load(kAcquire) : low;
    match |= MatchBytes(low, high, byte) << (8 * (i + 1));
  }
  match &= ~uint64_t{1};  // that was the count
  if (match == 0) return nullptr;
  return WordAt(node, ChildrenAt(type) - 1 + static_cast<size_t>(std::countr_zero(match)));
}

// The slot of the child for `byte`, or null. The slot of a node 256 may hold 0.
inline std::atomic<NodeRef>* FindSlot(NodeRef ref, uint8_t byte) {
  const RadixNode* const node = NodeOf(ref);
  const NodeType type = TypeOf(ref);
  // Not a switch: two or three well-predicted branches beat an indirect jump.
  if (type == kNode12) return FindIn<kNode12>(node, byte);
  if (type == kNode5) return FindIn<kNode5>(node, byte);
  if (type == kNode2) return FindIn<kNode2>(node, byte);
  if (type == kNode256) return Child(node, kNode256, byte);
  return type == kNode26 ? FindIn<kNode26>(node, byte) : FindIn<kNode55>(node, byte);
}

// The child for `byte`, or 0.
inline NodeRef FindChild(NodeRef ref, uint8_t byte) {
  const std::atomic<NodeRef>* const slot = FindSlot(ref, byte);
  return slot == nullptr ? 0 : slot->load(std::memory_order_acquire);
}

// Loads what FindChild will touch.
inline void PrefetchNode(NodeRef ref) {
  const char* const node = reinterpret_cast<const char*>(NodeOf(ref));
  __builtin_prefetch(node);
  if (TypeOf(ref) >= kNode12) __builtin_prefetch(node + 64);
}

// A set of byte values; iterators take from it in either direction.
class ByteSet {
 public:
  void Add(uint8_t b) { words_[b >> 6] |= uint64_t{1} << (b & 63); }
  bool Has(uint8_t b) const { return (words_[b >> 6] >> (b & 63) & 1) != 0; }
  bool empty() const { return (words_[0] | words_[1] | words_[2] | words_[3]) == 0; }
  void SetWord(size_t i, uint64_t bits) { words_[i] = bits; }
  void RemoveUpTo(uint8_t b);  // b included
  void RemoveFrom(uint8_t b);  // b included
  // The smallest, the largest. Require !empty().
  uint8_t First() const;
  uint8_t Last() const;
  void Remove(uint8_t b) { words_[b >> 6] &= ~(uint64_t{1} << (b & 63)); }

 private:
  uint64_t words_[4] = {};
};

// The bytes that have a child.
ByteSet ChildBytes(NodeRef ref);

// First position in [from, depth) at which `key` differs from the prefix of the node, where the end
// of the key differs from everything; depth if there is none. Requires: the bytes before `from` are
// equal.
inline size_t MatchPrefix(NodeRef ref, Slice key, size_t from);
size_t MatchPrefixSlow(NodeRef ref, Slice key, size_t from);

// Byte `position` of the prefix. Requires: parent's depth < position < depth.
uint8_t PrefixByte(NodeRef ref, size_t position);

inline size_t MatchPrefix(NodeRef ref, Slice key, size_t from) {
  return from == DepthOf(ref) ? from : MatchPrefixSlow(ref, key, from);
}

// Takes memory for nodes out of whole cache lines. Writer only.
class NodeFactory {
 public:
  // An empty node for the prefix key[0, depth) below a parent that covers key[0, from). `key` must
  // live as long as the arena.
  NodeRef New(NodeType type, Slice key, size_t from, size_t depth);
  // A copy of the next larger type.
  NodeRef Grow(NodeRef ref);
  const Arena& arena() const { return arena_; }

 private:
  RadixNode* Allocate(NodeType type);

  Arena arena_;
  char* spare_half_line_ = nullptr;  // second half of the line that the last node 2 began
};

// Adds a child; false if the node is full. Requires: none is there for `byte`. Writer only.
bool AddChild(NodeRef ref, uint8_t byte, NodeRef child);

}  // namespace shale::radix
