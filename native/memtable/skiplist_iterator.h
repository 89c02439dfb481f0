// SkiplistIterator: walks the nodes of a skiplist and the versions under each.
//
// Threads: one each; the writer goes on meanwhile. Nodes are never unlinked, so a position stays
// good.
#pragma once

#include "base/iterator.h"
#include "memtable/skiplist.h"

namespace shale {

class SkiplistIterator final : public Iterator {
 public:
  explicit SkiplistIterator(const SkiplistMemtable* table) : table_(table) {}

  void SeekToFirst() override;
  void SeekToLast() override;
  void Seek(Slice key, uint64_t tag) override;
  void SeekBefore(Slice key, uint64_t tag) override;
  void Next() override;
  void Prev() override;
  void SkipForward(Slice end, Seqno seqno) override;
  void SkipBack(Slice start, Seqno seqno) override;

 private:
  void SetNode(const skiplist::Node* node);
  void SetNewest(const skiplist::Node* node);
  void SetOldest(const skiplist::Node* node);
  void Set(const StoredEntry* version);

  const SkiplistMemtable* table_;
  const skiplist::Node* node_ = nullptr;
  const StoredEntry* newest_ = nullptr;   // of the node, when the iterator came there
  const StoredEntry* current_ = nullptr;  // the version that entry() shows
};

}  // namespace shale
