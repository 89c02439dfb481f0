// SkiplistIterator: see skiplist_iterator.h.
#include "memtable/skiplist_iterator.h"

#include "base/memory_order.h"

namespace shale {

using skiplist::Node;

void SkiplistIterator::Set(const StoredEntry* version) {
  current_ = version;
  valid_ = version != nullptr;
  if (valid_) version->CopyTo(&entry_);
}

void SkiplistIterator::SetNode(const Node* node) {
  node_ = node;
  newest_ = node == nullptr ? nullptr : node->newest.load(kAcquire);
}

void SkiplistIterator::SetNewest(const Node* node) {
  SetNode(node);
  Set(newest_);
  if (node != nullptr) __builtin_prefetch(node->link(0).next.load(kAcquire));
}

void SkiplistIterator::SetOldest(const Node* node) {
  SetNode(node);
  Set(newest_ == nullptr ? nullptr : Oldest(newest_));
  if (node != nullptr) __builtin_prefetch(node->prev.load(kAcquire));
}

void SkiplistIterator::SeekToFirst() { SetNewest(table_->First()); }

void SkiplistIterator::SeekToLast() { SetOldest(table_->Last()); }

void SkiplistIterator::Seek(Slice key, uint64_t tag) {
  SetNewest(table_->FindAtOrAfter(key));
  if (!valid_ || entry_.key != key) return;
  const StoredEntry* const version = NewestBelow(newest_, TagSeqno(tag) + 1);
  if (version != nullptr) {
    Set(version);
  } else {
    SetNewest(node_->link(0).next.load(kAcquire));
  }
}

void SkiplistIterator::SeekBefore(Slice key, uint64_t tag) {
  const Node* const node = table_->FindAtOrAfter(key);
  if (node != nullptr && node->key() == key) {
    SetNode(node);
    const StoredEntry* const version = OldestAbove(newest_, TagSeqno(tag));
    if (version != nullptr) {
      Set(version);
    } else {
      SetOldest(node->prev.load(kAcquire));
    }
    return;
  }
  SetOldest(table_->FindBefore(key));
}

void SkiplistIterator::Next() {
  const StoredEntry* const older = Older(current_);
  if (older != nullptr) {
    Set(older);
  } else {
    SetNewest(node_->link(0).next.load(kAcquire));
  }
}

void SkiplistIterator::Prev() {
  const StoredEntry* const newer = OldestAbove(newest_, current_->seqno());
  if (newer != nullptr) {
    Set(newer);
  } else {
    SetOldest(node_->prev.load(kAcquire));
  }
}

void SkiplistIterator::SkipForward(Slice end, Seqno seqno) {
  if (table_->highest_entry_seqno() < seqno) return JumpForward(end);
  Next();
}

void SkiplistIterator::SkipBack(Slice start, Seqno seqno) {
  if (table_->highest_entry_seqno() < seqno) return JumpBack(start);
  Prev();
}

}  // namespace shale
