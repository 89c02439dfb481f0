// Radix nodes: making, filling, growing, comparing prefixes.
#include "memtable/radix_node.h"

#include <algorithm>
#include <new>

#include "base/memory_order.h"

namespace shale::radix {

namespace {

// Where key byte `index` of a node lies: word 0 has seven behind the count, then come the words
// from 3 on.
struct Lane {
  size_t word;
  unsigned shift;
};
Lane LaneOf(size_t index) {
  const size_t position = index + 1;
  return {position < 8 ? 0 : position / 8 + 2, static_cast<unsigned>(position % 8 * 8)};
}

uint8_t LaneByte(const RadixNode* node, size_t index) {
  const Lane lane = LaneOf(index);
  return static_cast<uint8_t>(WordAt(node, lane.word)->load(kRelaxed) >> lane.shift);
}

uint64_t Repeat(uint8_t byte) { return uint64_t{0x0101010101010101} * byte; }

uint64_t WithByte(uint64_t word, unsigned shift, uint8_t byte) {
  return (word & ~(uint64_t{0xff} << shift)) | uint64_t{byte} << shift;
}

// The bitmap of a node 256.
std::atomic<uint64_t>* BitmapWord(const RadixNode* node, uint8_t byte) {
  return WordAt(node, 3 + (byte >> 6));
}

void AddTo256(RadixNode* node, uint8_t byte, NodeRef child) {
  Child(node, kNode256, byte)->store(child, kRelease);
  std::atomic<uint64_t>* const bits = BitmapWord(node, byte);
  bits->store(bits->load(kRelaxed) | uint64_t{1} << (byte & 63), kRelease);
}

}  // namespace

void ByteSet::RemoveUpTo(uint8_t b) {
  for (unsigned i = 0; i < b >> 6; ++i) words_[i] = 0;
  words_[b >> 6] &= ~uint64_t{0} << (b & 63) << 1;
}

void ByteSet::RemoveFrom(uint8_t b) {
  words_[b >> 6] &= ~(~uint64_t{0} << (b & 63));
  for (unsigned i = (b >> 6) + 1; i < 4; ++i) words_[i] = 0;
}

uint8_t ByteSet::First() const {
  unsigned i = 0;
  while (words_[i] == 0) ++i;
  return static_cast<uint8_t>(i * 64 + static_cast<unsigned>(std::countr_zero(words_[i])));
}

uint8_t ByteSet::Last() const {
  unsigned i = 3;
  while (words_[i] == 0) --i;
  return static_cast<uint8_t>(i * 64 + 63 - static_cast<unsigned>(std::countl_zero(words_[i])));
}

ByteSet ChildBytes(NodeRef ref) {
  const RadixNode* const node = NodeOf(ref);
  ByteSet set;
  if (TypeOf(ref) == kNode256) {
    for (size_t i = 0; i < 4; ++i) set.SetWord(i, WordAt(node, 3 + i)->load(kAcquire));
    return set;
  }
  uint64_t keys = node->word.load(kAcquire);
  const size_t count = keys & kCountMask;
  size_t next_word = 3;
  for (size_t i = 0; i < count; ++i) {
    keys = (i & 7) == 7 ? WordAt(node, next_word++)->load(kRelaxed) : keys >> 8;
    set.Add(static_cast<uint8_t>(keys));
  }
  return set;
}

size_t MatchPrefixSlow(NodeRef ref, Slice key, size_t from) {
  const RadixNode* const node = NodeOf(ref);
  const size_t depth = DepthOf(ref);
  const size_t end = std::min(depth, key.size());
  size_t at = from;
  if ((node->word.load(kRelaxed) & kLongPrefix) != 0) {
    const char* const other = node->prefix.key;
    if (end > at && std::memcmp(key.data() + at, other + at, end - at) == 0) return end;
    while (at < end && key.data()[at] == other[at]) ++at;
    return at;
  }
  // Equal bytes up to `end`, whichever end came first, leave the answer `end`.
  while (at < end && key[at] == node->prefix.tail[8 - (depth - at)]) ++at;
  return at;
}

uint8_t PrefixByte(NodeRef ref, size_t position) {
  const RadixNode* const node = NodeOf(ref);
  if ((node->word.load(kRelaxed) & kLongPrefix) != 0) {
    return static_cast<uint8_t>(node->prefix.key[position]);
  }
  return node->prefix.tail[8 - (DepthOf(ref) - position)];
}

RadixNode* NodeFactory::Allocate(NodeType type) {
  char* place;
  if (type == kNode2 && spare_half_line_ != nullptr) {
    place = spare_half_line_;
    spare_half_line_ = nullptr;
  } else if (type == kNode2) {
    place = arena_.Allocate(kArenaBlockAlignment);
    spare_half_line_ = place + kArenaBlockAlignment / 2;
  } else {
    place = arena_.Allocate(kLayouts[type].bytes);
  }
  // Not met on any system we know: addresses beyond 48 bits are handed out on demand only.
  if (reinterpret_cast<uintptr_t>(place) >> 48 != 0) throw std::bad_alloc();
  RadixNode* const node = new (place) RadixNode;
  node->word.store(0, kRelaxed);
  for (size_t i = 2; i < kLayouts[type].bytes / 8; ++i) {
    new (WordAt(node, i)) std::atomic<uint64_t>(0);
  }
  return node;
}

NodeRef NodeFactory::New(NodeType type, Slice key, size_t from, size_t depth) {
  RadixNode* const node = Allocate(type);
  if (depth - from <= sizeof node->prefix.tail) {
    const size_t n = std::min(depth, sizeof node->prefix.tail);
    std::memset(node->prefix.tail, 0, sizeof node->prefix.tail);
    std::memcpy(node->prefix.tail + 8 - n, key.data() + depth - n, n);
  } else {
    node->prefix.key = key.data();
    node->word.store(kLongPrefix, kRelaxed);
  }
  return RefOf(node, type, depth);
}

NodeRef NodeFactory::Grow(NodeRef ref) {
  const RadixNode* const old = NodeOf(ref);
  const NodeType type = static_cast<NodeType>(TypeOf(ref) + 1);
  RadixNode* const node = Allocate(type);
  node->prefix = old->prefix;
  const uint64_t word = old->word.load(kRelaxed);
  const size_t count = word & kCountMask;
  if (TypeOf(ref) != kNode2) {
    WordAt(node, 2)->store(WordAt(old, 2)->load(kRelaxed), kRelaxed);
  }
  if (type == kNode256) {
    node->word.store(word & kLongPrefix, kRelaxed);
    for (size_t i = 0; i < count; ++i) {
      AddTo256(node, LaneByte(old, i), Child(old, TypeOf(ref), i)->load(kRelaxed));
    }
  } else {
    node->word.store(word, kRelaxed);
    for (size_t i = 0; i < kLayouts[type].key_words; ++i) {
      const bool is_there = i < kLayouts[TypeOf(ref)].key_words;
      WordAt(node, 3 + i)
          ->store(is_there ? WordAt(old, 3 + i)->load(kRelaxed) : Repeat(LaneByte(old, 0)),
                  kRelaxed);
    }
    for (size_t i = 0; i < count; ++i) {
      Child(node, type, i)->store(Child(old, TypeOf(ref), i)->load(kRelaxed), kRelaxed);
    }
  }
  return RefOf(node, type, DepthOf(ref));
}

bool AddChild(NodeRef ref, uint8_t byte, NodeRef child) {
  RadixNode* const node = NodeOf(ref);
  const NodeType type = TypeOf(ref);
  if (type == kNode256) {
    AddTo256(node, byte, child);
    return true;
  }
  uint64_t word = node->word.load(kRelaxed);
  const size_t count = word & kCountMask;
  if (count == kLayouts[type].capacity) return false;
  Child(node, type, count)->store(child, kRelaxed);
  if (count == 0) {
    for (size_t i = 0; i < kLayouts[type].key_words; ++i) {
      WordAt(node, 3 + i)->store(Repeat(byte), kRelaxed);
    }
    word = (word & 0xff) | (Repeat(byte) & ~uint64_t{0xff});
  } else if (const Lane lane = LaneOf(count); lane.word == 0) {
    word = WithByte(word, lane.shift, byte);
  } else {
    std::atomic<uint64_t>* const keys = WordAt(node, lane.word);
    keys->store(WithByte(keys->load(kRelaxed), lane.shift, byte), kRelease);
  }
  node->word.store(word + 1, kRelease);
  return true;
}

}  // namespace shale::radix
