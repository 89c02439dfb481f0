// SkiplistMemtable: a skiplist of keys, each with its chain of versions.
//
// Towers are inlined in front of the nodes. Beside every next pointer stands the head of that next
// key: the 8 bytes behind a prefix that the first keys had in common (the window), as a number.
// Most steps are then decided without touching the next node at all, which is what a skiplist
// spends its time on.
//
// Threads, lifetime: as Memtable.
// Invariants:
//   I1  a node, once linked, is never unlinked; its key never changes.
//   I2  link: the writer stores next, then head (release); readers load head (acquire), then next.
//       A reader may so pair a head with a newer, smaller next, and both decisions stay right: a
//       head below the wanted one means that next is below it as well; a head above leads down a
//       level, where only a node that came during this very search can be missed.
//   I3  heads order keys as far as they go: head(a) < head(b) implies a < b. Equal heads say
//       nothing.
//   I4  the window is set once, after every link that was there has got its head.
//   I5  prev of a node is a node before it with nothing between but nodes that came later than the
//       load.
// Cost: O(log n) expected, O(1) for a key next to the last one added; a step in either direction
// O(1).
// Source: Pugh 1990; published-node rule as in LevelDB.
#pragma once

#include <atomic>
#include <memory>

#include "memtable/arena.h"
#include "memtable/memtable.h"
#include "memtable/version_chain.h"

namespace shale {

namespace skiplist {

inline constexpr int kHeightMax = 20;
inline constexpr int kHeightBits = 1;  // every second node rises: heads make levels cheap
inline constexpr uint64_t kHeadMax = ~uint64_t{0};

struct Node;

struct Link {
  std::atomic<uint64_t> head{kHeadMax};
  std::atomic<Node*> next{nullptr};
};

// Lies between its tower (link 0 nearest) and the rest of its first entry.
struct Node {
  std::atomic<Node*> prev;  // null for the first node
  std::atomic<StoredEntry*> newest;
  StoredEntry first;

  Slice key() const { return first.key(); }
  Link& link(int level) { return reinterpret_cast<Link*>(this)[-1 - level]; }
  const Link& link(int level) const { return reinterpret_cast<const Link*>(this)[-1 - level]; }
};

// What all keys of the window begin with.
struct Window {
  const char* prefix;
  size_t bytes;
};

}  // namespace skiplist

class SkiplistMemtable final : public Memtable {
 public:
  explicit SkiplistMemtable(uint64_t id) : Memtable(id) {}

  size_t Add(Slice key, Slice value, Seqno seqno, Kind kind) override;
  bool Get(Slice key, Seqno read_seqno, Entry* entry) const override;
  std::unique_ptr<Iterator> NewIterator() const override;
  // Does nothing: what a search touches first is touched by every search.
  void Prefetch(Slice) const override {}

  // For the iterator.
  const skiplist::Node* FindAtOrAfter(Slice key) const;
  const skiplist::Node* FindBefore(Slice key) const;
  const skiplist::Node* First() const;
  const skiplist::Node* Last() const;

  // Whether every level lists its nodes in order, with their heads.
  bool IsOrderedForTest() const;

 private:
  size_t index_used_bytes() const override { return arena_.used(); }
  size_t index_reserved_bytes() const override { return arena_.reserved(); }

  using Node = skiplist::Node;
  static constexpr size_t kWindowSample = 16;  // keys seen before the window is set

  // The tower before the first node, as if it were a node; it has nothing but links.
  Node* start() const;
  Node* FindSplice(Slice key);
  Node* NewNode(const Entry& entry, int height);
  void LinkNode(Node* node, int height);
  void SetWindow();

  Arena arena_;
  HeightSource heights_;
  mutable skiplist::Link start_[skiplist::kHeightMax];
  std::atomic<const skiplist::Window*> window_{nullptr};
  std::atomic<int> height_{1};  // of the highest node; a reader that sees less just starts lower

  // Writer only: the last node added or met, its height, and per level the last node before it.
  Node* hint_ = nullptr;
  int hint_height_ = 0;
  Node* before_[skiplist::kHeightMax] = {};
  size_t node_count_ = 0;
};

}  // namespace shale
