// RadixWalker and RadixIterator: ordered walks over a radix tree that is being written.
//
// The walker runs some keys ahead of the iterator and starts loading the entries it passes, so that
// a scan over entries that lie anywhere in memory does not wait for each of them.
// Threads: one each; the writer goes on meanwhile. A node that is replaced under a walker keeps all
// it held (radix_node.h, I2 and I3), so nothing that was there at the start is missed.
// Invariant: the stack is explicit and only holds nodes with something left; depth is bounded by
// memory, not by the thread's stack.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/iterator.h"
#include "memtable/memtable.h"
#include "memtable/radix_node.h"

namespace shale::radix {

// Yields the newest entry of each key in one direction.
class Walker {
 public:
  explicit Walker(const std::atomic<NodeRef>* root) : root_(root) {}

  void Start(bool forward);
  // Goes to the first key at or after `key` (forward), or the last one at or before it.
  void Seek(Slice key, bool forward);
  // Next entry in the direction, null at the end.
  const StoredEntry* Next();
  bool forward() const { return forward_; }

 private:
  struct Frame {
    NodeRef node;
    const StoredEntry* terminal;  // not yet yielded
    ByteSet bytes;                // children not yet entered
  };

  void Reset(bool forward);
  void Push(NodeRef node);
  void PushBeside(NodeRef node, uint8_t byte);
  void YieldIfBeside(const StoredEntry* entry, Slice key);

  const std::atomic<NodeRef>* root_;
  std::vector<Frame> stack_;
  const StoredEntry* pending_ = nullptr;  // comes before what the stack holds
  bool forward_ = true;
};

}  // namespace shale::radix

namespace shale {

class RadixIterator final : public Iterator {
 public:
  RadixIterator(const Memtable* table, const std::atomic<radix::NodeRef>* root)
      : table_(table), walker_(root) {}

  void SeekToFirst() override;
  void SeekToLast() override;
  void Seek(Slice key, uint64_t tag) override;
  void SeekBefore(Slice key, uint64_t tag) override;
  void Next() override;
  void Prev() override;
  void SkipForward(Slice end, Seqno seqno) override;
  void SkipBack(Slice start, Seqno seqno) override;

 private:
  static constexpr size_t kAheadMax = 16;  // a power of two

  void Restart();
  const StoredEntry* TakeKey();
  void Turn(bool forward);
  void SetNewest();
  void SetOldest();
  void Set(const StoredEntry* version);

  const Memtable* const table_;
  radix::Walker walker_;
  const StoredEntry* ahead_[kAheadMax];  // ring of newest entries that the walker has passed
  size_t ahead_first_ = 0;
  size_t ahead_count_ = 0;
  size_t ahead_wanted_ = 1;  // doubles with each key, so that a short scan loads little for nothing
  const StoredEntry* newest_ = nullptr;   // of the current key
  const StoredEntry* current_ = nullptr;  // the version that entry() shows
};

}  // namespace shale
