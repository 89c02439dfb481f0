// SkiplistMemtable: search with heads, splice reuse, linking.
#include "memtable/skiplist.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "base/memory_order.h"
#include "memtable/skiplist_iterator.h"

namespace shale {

using skiplist::kHeadMax;
using skiplist::kHeightMax;
using skiplist::Link;
using skiplist::Node;
using skiplist::Window;

namespace {

// Up to 8 bytes as a big-endian number, zeros behind.
uint64_t BigEndian(const char* p, size_t n) {
  uint64_t v = 0;
  if (n >= 8) {
    std::memcpy(&v, p, 8);
    if constexpr (std::endian::native == std::endian::little) v = __builtin_bswap64(v);
    return v;
  }
  for (size_t i = 0; i < 8; ++i) v = v << 8 | (i < n ? static_cast<uint8_t>(p[i]) : 0);
  return v;
}

// Keys outside the window lie before or behind all keys in it; the ends of the range do for them.
uint64_t HeadOf(Slice key, const Window* window) {
  if (window == nullptr) return 0;
  const size_t n = window->bytes;
  const int c = std::memcmp(key.data(), window->prefix, std::min(n, key.size()));
  if (c > 0) return kHeadMax;
  if (c < 0 || key.size() < n) return 0;
  return BigEndian(key.data() + n, key.size() - n);
}

// A search for one key. The window may be set while it goes on: it keeps the one it started with.
struct Search {
  Search(Slice k, const Window* w) : key(k), window(w), head(HeadOf(k, w)) {}

  // The node after `at` on `level` if it comes before the key; else null, and `*stop` is it.
  Node* Step(const Node* at, int level, Node** stop) const {
    const Link& link = at->link(level);
    const uint64_t next_head = link.head.load(kAcquire);
    Node* const next = link.next.load(kAcquire);
    if (level > 0) __builtin_prefetch(at->link(level - 1).next.load(kRelaxed));
    if (next == nullptr || next == *stop) {
      *stop = next;
      return nullptr;
    }
    const bool before =
        window != nullptr && next_head != head ? next_head < head : next->key() < key;
    if (before) return next;
    *stop = next;
    return nullptr;
  }

  const Slice key;
  const Window* const window;
  const uint64_t head;
};

}  // namespace

Node* SkiplistMemtable::start() const { return reinterpret_cast<Node*>(start_ + kHeightMax); }

// ---- reading ----

const Node* SkiplistMemtable::FindAtOrAfter(Slice key) const {
  const Search search(key, window_.load(kAcquire));
  const Node* at = start();
  Node* stop = nullptr;
  for (int level = height_.load(kRelaxed) - 1; level >= 0; --level) {
    while (const Node* next = search.Step(at, level, &stop)) at = next;
  }
  // A head may have told of a node behind one that has come since (I2).
  const Node* found = stop;
  while (found != nullptr && found->key() < key) found = found->link(0).next.load(kAcquire);
  return found;
}

const Node* SkiplistMemtable::FindBefore(Slice key) const {
  const Search search(key, window_.load(kAcquire));
  const Node* at = start();
  Node* stop = nullptr;
  for (int level = height_.load(kRelaxed) - 1; level >= 0; --level) {
    while (const Node* next = search.Step(at, level, &stop)) at = next;
  }
  return at == start() ? nullptr : at;
}

const Node* SkiplistMemtable::First() const { return start()->link(0).next.load(kAcquire); }

const Node* SkiplistMemtable::Last() const {
  const Node* at = start();
  for (int level = height_.load(kRelaxed) - 1; level >= 0; --level) {
    while (const Node* next = at->link(level).next.load(kAcquire)) at = next;
  }
  return at == start() ? nullptr : at;
}

bool SkiplistMemtable::Get(Slice key, Seqno read_seqno, Entry* entry) const {
  const Node* const node = FindAtOrAfter(key);
  if (node == nullptr || node->key() != key) return false;
  const StoredEntry* const found = NewestBelow(node->newest.load(kAcquire), read_seqno);
  if (found == nullptr) return false;
  found->CopyTo(entry);
  return true;
}

bool SkiplistMemtable::IsOrderedForTest() const {
  const Window* const window = window_.load(kAcquire);
  for (int level = 0; level < kHeightMax; ++level) {
    const Node* at = start();
    while (const Node* next = at->link(level).next.load(kAcquire)) {
      if (at != start() && !(at->key() < next->key())) return false;
      if (window != nullptr && at->link(level).head.load(kAcquire) != HeadOf(next->key(), window)) {
        return false;
      }
      at = next;
    }
  }
  return true;
}

std::unique_ptr<Iterator> SkiplistMemtable::NewIterator() const {
  return std::make_unique<SkiplistIterator>(this);
}

// ---- adding ----

// Sets before_ to the last node before the key on each level; returns what follows on level 0.
Node* SkiplistMemtable::FindSplice(Slice key) {
  if (hint_ != nullptr) {
    Node* const behind = hint_->link(0).next.load(kRelaxed);
    const int order = hint_->key().Compare(key);
    if (order < 0 && (behind == nullptr || !(behind->key() < key))) {
      std::fill_n(before_, hint_height_, hint_);
      return behind;
    }
    if (order >= 0 && (before_[0] == start() || before_[0]->key() < key)) return hint_;
  }
  const Search search(key, window_.load(kRelaxed));
  Node* at = start();
  Node* stop = nullptr;
  const int height = height_.load(kRelaxed);
  std::fill(before_ + height, before_ + kHeightMax, start());
  for (int level = height - 1; level >= 0; --level) {
    while (Node* next = search.Step(at, level, &stop)) at = next;
    before_[level] = at;
  }
  return stop;
}

Node* SkiplistMemtable::NewNode(const Entry& entry, int height) {
  const size_t towers = static_cast<size_t>(height) * sizeof(Link);
  const size_t header = sizeof(Node) - sizeof(StoredEntry);
  char* const place = arena_.Allocate(towers + header + StoredEntry::Bytes(entry)) + towers;
  Node* const node = reinterpret_cast<Node*>(place);
  new (&node->first.links.next) std::atomic<uintptr_t>(0);
  StoredEntry::Write(reinterpret_cast<char*>(&node->first), entry, false);
  new (&node->prev) std::atomic<Node*>(nullptr);
  new (&node->newest) std::atomic<StoredEntry*>(&node->first);
  for (int level = 0; level < height; ++level) new (&node->link(level)) Link;
  return node;
}

// Links a node behind before_.
void SkiplistMemtable::LinkNode(Node* node, int height) {
  const uint64_t head = HeadOf(node->key(), window_.load(kRelaxed));
  node->prev.store(before_[0] == start() ? nullptr : before_[0], kRelaxed);
  for (int level = 0; level < height; ++level) {
    const Link& before = before_[level]->link(level);
    node->link(level).head.store(before.head.load(kRelaxed), kRelaxed);
    node->link(level).next.store(before.next.load(kRelaxed), kRelaxed);
  }
  for (int level = 0; level < height; ++level) {
    Link& before = before_[level]->link(level);
    before.next.store(node, kRelease);
    before.head.store(head, kRelease);
  }
  Node* const behind = node->link(0).next.load(kRelaxed);
  if (behind != nullptr) behind->prev.store(node, kRelease);
}

void SkiplistMemtable::SetWindow() {
  const Slice first = First()->key();
  const Slice last = Last()->key();
  const size_t end = std::min(first.size(), last.size());
  size_t same = 0;
  while (same < end && first[same] == last[same]) ++same;
  Window* const window = new (arena_.Allocate(sizeof(Window))) Window{first.data(), same};
  for (int level = 0; level < kHeightMax; ++level) {
    Node* next;
    for (Node* at = start(); (next = at->link(level).next.load(kRelaxed)) != nullptr; at = next) {
      at->link(level).head.store(HeadOf(next->key(), window), kRelaxed);
    }
  }
  window_.store(window, kRelease);
}

size_t SkiplistMemtable::Add(Slice key, Slice value, Seqno seqno, Kind kind) {
  const Entry entry{key, value, MakeTag(seqno, kind)};
  Node* const at = FindSplice(key);
  if (at != nullptr && at->key() == key) {
    StoredEntry* const newest = at->newest.load(kRelaxed);
    const AddedVersion added = AddVersion(newest, entry, &arena_, &heights_);
    if (added.newest != newest) at->newest.store(added.newest, kRelease);
    hint_ = at;
    for (hint_height_ = 0; hint_height_ < kHeightMax; ++hint_height_) {
      const Link& link = before_[hint_height_]->link(hint_height_);
      if (link.next.load(kRelaxed) != at) break;
    }
    if (!added.replaced) Count(seqno);
    return added.bytes;
  }
  const int height = heights_.Next(skiplist::kHeightBits, kHeightMax);
  Node* const node = NewNode(entry, height);
  LinkNode(node, height);
  if (height > height_.load(kRelaxed)) height_.store(height, kRelaxed);
  hint_ = node;
  hint_height_ = height;
  Count(seqno);
  if (++node_count_ == kWindowSample) SetWindow();
  return StoredEntry::Bytes(entry);
}

}  // namespace shale
