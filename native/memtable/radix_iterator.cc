// Walks over a radix tree: see radix_iterator.h.
#include "memtable/radix_iterator.h"

#include "memtable/version_chain.h"

namespace shale::radix {

void Walker::Reset(bool forward) {
  stack_.clear();
  pending_ = nullptr;
  forward_ = forward;
}

void Walker::Push(NodeRef node) { stack_.push_back({node, Terminal(node), ChildBytes(node)}); }

// Pushes what lies beyond `byte` in the walker's direction. Keys shorter than the path are smaller.
void Walker::PushBeside(NodeRef node, uint8_t byte) {
  Frame frame{node, nullptr, ChildBytes(node)};
  if (forward_) {
    frame.bytes.RemoveUpTo(byte);
  } else {
    frame.bytes.RemoveFrom(byte);
    frame.terminal = Terminal(node);
  }
  if (frame.terminal != nullptr || !frame.bytes.empty()) stack_.push_back(frame);
}

void Walker::YieldIfBeside(const StoredEntry* entry, Slice key) {
  const int order = entry->key().Compare(key);
  if (forward_ ? order >= 0 : order <= 0) pending_ = entry;
}

void Walker::Start(bool forward) {
  Reset(forward);
  const NodeRef root = root_->load(std::memory_order_acquire);
  if (IsNode(root)) {
    Push(root);
  } else {
    pending_ = EntryOf(root);
  }
}

void Walker::Seek(Slice key, bool forward) {
  Reset(forward);
  NodeRef ref = root_->load(std::memory_order_acquire);
  size_t from = 0;
  while (IsNode(ref)) {
    const size_t depth = DepthOf(ref);
    const size_t same = MatchPrefix(ref, key, from);
    if (same < depth) {
      const bool node_is_larger = same == key.size() || PrefixByte(ref, same) > key[same];
      if (node_is_larger == forward) Push(ref);
      return;
    }
    if (depth == key.size()) {
      if (forward) {
        Push(ref);
      } else {
        pending_ = Terminal(ref);
      }
      return;
    }
    PushBeside(ref, key[depth]);
    ref = FindChild(ref, key[depth]);
    from = depth + 1;
  }
  if (ref != 0) YieldIfBeside(EntryOf(ref), key);
}

const StoredEntry* Walker::Next() {
  if (pending_ != nullptr) return std::exchange(pending_, nullptr);
  while (!stack_.empty()) {
    Frame& frame = stack_.back();
    const bool no_children = frame.bytes.empty();
    if (frame.terminal != nullptr && (forward_ || no_children)) {
      const StoredEntry* const entry = std::exchange(frame.terminal, nullptr);
      if (no_children) stack_.pop_back();
      return entry;
    }
    if (no_children) {
      stack_.pop_back();
      continue;
    }
    const uint8_t byte = forward_ ? frame.bytes.First() : frame.bytes.Last();
    frame.bytes.Remove(byte);
    const NodeRef child = FindChild(frame.node, byte);
    if (!IsNode(child)) {
      if (frame.bytes.empty() && frame.terminal == nullptr) stack_.pop_back();
      return EntryOf(child);
    }
    if (!frame.bytes.empty()) {
      const uint8_t beside = forward_ ? frame.bytes.First() : frame.bytes.Last();
      const NodeRef sibling = FindChild(frame.node, beside);
      if (IsNode(sibling)) PrefetchNode(sibling);
    } else if (frame.terminal == nullptr) {
      stack_.pop_back();
    }
    Push(child);
  }
  return nullptr;
}

}  // namespace shale::radix

namespace shale {

void RadixIterator::Restart() {
  ahead_first_ = 0;
  ahead_count_ = 0;
  ahead_wanted_ = 1;
}

const StoredEntry* RadixIterator::TakeKey() {
  while (ahead_count_ < ahead_wanted_) {
    const StoredEntry* const entry = walker_.Next();
    if (entry == nullptr) break;
    entry->Prefetch();
    ahead_[(ahead_first_ + ahead_count_++) % kAheadMax] = entry;
  }
  if (ahead_count_ == 0) return nullptr;
  // Half the way on, its header is there and tells how long it is.
  if (ahead_count_ > kAheadMax / 2) {
    ahead_[(ahead_first_ + kAheadMax / 2) % kAheadMax]->PrefetchRest();
  }
  const StoredEntry* const entry = ahead_[ahead_first_];
  ahead_first_ = (ahead_first_ + 1) % kAheadMax;
  --ahead_count_;
  if (ahead_wanted_ < kAheadMax) ahead_wanted_ *= 2;
  return entry;
}

void RadixIterator::Set(const StoredEntry* version) {
  current_ = version;
  valid_ = version != nullptr;
  if (valid_) version->CopyTo(&entry_);
}

void RadixIterator::SetNewest() {
  newest_ = TakeKey();
  Set(newest_);
}

void RadixIterator::SetOldest() {
  newest_ = TakeKey();
  Set(newest_ == nullptr ? nullptr : Oldest(newest_));
}

void RadixIterator::SeekToFirst() {
  Restart();
  walker_.Start(true);
  SetNewest();
}

void RadixIterator::SeekToLast() {
  Restart();
  walker_.Start(false);
  SetOldest();
}

void RadixIterator::Seek(Slice key, uint64_t tag) {
  Restart();
  walker_.Seek(key, true);
  SetNewest();
  if (!valid_ || entry_.key != key) return;
  const StoredEntry* const version = NewestBelow(newest_, TagSeqno(tag) + 1);
  if (version != nullptr) {
    Set(version);
  } else {
    SetNewest();
  }
}

void RadixIterator::SeekBefore(Slice key, uint64_t tag) {
  Restart();
  walker_.Seek(key, false);
  newest_ = TakeKey();
  if (newest_ != nullptr && newest_->HasKey(key)) {
    const StoredEntry* const version = OldestAbove(newest_, TagSeqno(tag));
    if (version != nullptr) {
      Set(version);
    } else {
      SetOldest();
    }
    return;
  }
  Set(newest_ == nullptr ? nullptr : Oldest(newest_));
}

// Lets the walker go on from the current key in the other direction.
void RadixIterator::Turn(bool forward) {
  Restart();
  walker_.Seek(entry_.key, forward);
  TakeKey();  // the current key itself
}

void RadixIterator::Next() {
  const StoredEntry* const older = Older(current_);
  if (older != nullptr) {
    Set(older);
    return;
  }
  if (!walker_.forward()) Turn(true);
  SetNewest();
}

void RadixIterator::Prev() {
  const StoredEntry* const newer = OldestAbove(newest_, current_->seqno());
  if (newer != nullptr) {
    Set(newer);
    return;
  }
  if (walker_.forward()) Turn(false);
  SetOldest();
}

void RadixIterator::SkipForward(Slice end, Seqno seqno) {
  if (table_->highest_entry_seqno() < seqno) return JumpForward(end);
  Next();
}

void RadixIterator::SkipBack(Slice start, Seqno seqno) {
  if (table_->highest_entry_seqno() < seqno) return JumpBack(start);
  Prev();
}

}  // namespace shale
