#include "table/table_iterator.h"

#include <utility>

namespace shale {

TableIterator::TableIterator(Ref<const TableReader> table, const TableFile* file,
                             const TableIndex* index, Seqno global_seqno,
                             const ReadContext* context)
    : table_(std::move(table)),
      file_(file),
      tag_base_(global_seqno << 8),
      context_(context),
      index_(index) {}

Needle TableIterator::MakeNeedle(Slice key, uint64_t tag) const {
  return {key, static_cast<int64_t>(TagSeqno(tag)) - static_cast<int64_t>(tag_base_ >> 8)};
}

// Takes the outcome of a move of the index; true if there is a block.
bool TableIterator::Check(Status status) {
  valid_ = false;
  status_ = std::move(status);
  return status_.ok() && index_.valid();
}

// Makes block_ the block that the index stands on. If it cannot be had the one at hand stays: who
// comes again may begin in it.
bool TableIterator::LoadBlock() {
  const BlockHandle handle = index_.handle();
  if (block_ && handle.offset == block_offset_) return true;
  Ref<DataBlock> next;
  status_ = file_->Load(handle, BlockType::kData, *context_, &ahead_, &next, index_.slot());
  if (!status_.ok()) return false;
  block_ = std::move(next);
  attached_ = false;
  block_offset_ = handle.offset;
  return true;
}

void TableIterator::MoveTo(uint32_t ordinal) {
  if (!attached_) cursor_.Attach(block_.get());
  attached_ = true;
  cursor_.MoveTo(ordinal);
  Publish();
}

inline void TableIterator::Publish() {
  entry_ = cursor_.entry();
  entry_.tag += tag_base_;
  valid_ = true;
}

void TableIterator::EnterNextBlock() {
  if (!Check(index_.Next(*context_)) || !LoadBlock()) return;
  MoveTo(0);
}

void TableIterator::EnterPrevBlock() {
  if (!Check(index_.Prev(*context_)) || !LoadBlock()) return;
  MoveTo(block_->entry_count() - 1);
}

void TableIterator::SeekToFirst() {
  if (!Check(index_.SeekToFirst(*context_)) || !LoadBlock()) return;
  MoveTo(0);
}

void TableIterator::SeekToLast() {
  if (!Check(index_.SeekToLast(*context_)) || !LoadBlock()) return;
  MoveTo(block_->entry_count() - 1);
}

void TableIterator::Seek(Slice key, uint64_t tag) {
  const Ref<DataBlock> held = block_;  // `key` may lie in it
  const Needle needle = MakeNeedle(key, tag);
  if (!Check(index_.Seek(needle, *context_)) || !LoadBlock()) return;
  const uint32_t ordinal = block_->LowerBound(needle);
  if (ordinal == block_->entry_count()) {
    EnterNextBlock();
    return;
  }
  MoveTo(ordinal);
}

void TableIterator::SeekBefore(Slice key, uint64_t tag) {
  const Ref<DataBlock> held = block_;  // `key` may lie in it
  const Needle needle = MakeNeedle(key, tag);
  if (!Check(index_.Seek(needle, *context_))) {
    if (status_.ok()) SeekToLast();
    return;
  }
  if (!LoadBlock()) return;
  const uint32_t ordinal = block_->LowerBound(needle);
  if (ordinal == 0) {
    EnterPrevBlock();
    return;
  }
  MoveTo(ordinal - 1);
}

void TableIterator::Next() {
  cursor_.Next();
  if (cursor_.valid()) {
    Publish();
  } else {
    EnterNextBlock();
  }
}

void TableIterator::Prev() {
  cursor_.Prev();
  if (cursor_.valid()) {
    Publish();
  } else {
    EnterPrevBlock();
  }
}

void TableIterator::SkipForward(Slice end, Seqno seqno) {
  if (table_->meta().highest_seqno < seqno) return JumpForward(end);
  Next();
}

void TableIterator::SkipBack(Slice start, Seqno seqno) {
  if (table_->meta().highest_seqno < seqno) return JumpBack(start);
  Prev();
}

}  // namespace shale
