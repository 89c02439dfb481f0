#include "table/table_index.h"

#include <utility>

namespace shale {
namespace {

// What is read at open stays outside the cache.
constexpr ReadContext kPinContext{ReadMode::kMayBlock, /*fill_cache=*/false, 0};

}  // namespace

// ---- index ----

Status TableIndex::Open(BlockHandle root, IndexKind kind, bool pin) {
  root_handle_ = root;
  kind_ = kind;
  if (!pin && kind == IndexKind::kWhole) return Status::Ok();
  SHALE_RETURN_IF_ERROR(file_->Load(root, root_target(), kPinContext, nullptr, &root_));
  if (!pin) return Status::Ok();
  if (kind == IndexKind::kWhole) {
    MakeSlots();
    return Status::Ok();
  }
  ReadAhead ahead;
  std::vector<Ref<IndexBlock>> partitions(root_->entry_count());
  for (uint32_t i = 0; i < root_->entry_count(); i++) {
    SHALE_RETURN_IF_ERROR(
        file_->Load(root_->handle(i), BlockType::kData, kPinContext, &ahead, &partitions[i]));
  }
  partitions_ = std::move(partitions);
  MakeSlots();
  return Status::Ok();
}

void TableIndex::MakeSlots() {
  uint32_t count = partitions_.empty() ? root_->entry_count() : 0;
  for (const Ref<IndexBlock>& partition : partitions_) {
    partition_begins_.push_back(count);
    count += partition->entry_count();
  }
  slots_ = MakeRef<BlockSlots>(count);
}

Status TableIndex::Find(const Needle& needle, const ReadContext& context, BlockPlace* place) const {
  BlockPin<IndexBlock> root;
  if (root_) {
    root.Borrow(root_.get());
  } else {
    SHALE_RETURN_IF_ERROR(root.Acquire(*file_, root_handle_, root_target(), context));
  }
  const uint32_t i = root->LowerBound(needle);
  if (i == root->entry_count()) return Code::kNotFound;
  place->handle = root->handle(i);
  if (kind_ == IndexKind::kWhole) {
    place->slot = slot(0, i);
    return Status::Ok();
  }
  BlockPin<IndexBlock> partition;
  if (!partitions_.empty()) {
    partition.Borrow(partitions_[i].get());
  } else {
    SHALE_RETURN_IF_ERROR(partition.Acquire(*file_, place->handle, BlockType::kData, context));
  }
  const uint32_t j = partition->LowerBound(needle);
  if (j == partition->entry_count()) {
    return file_->Located(Status::Corruption("an index partition ends before its own separator"),
                          place->handle.offset);
  }
  place->handle = partition->handle(j);
  place->slot = slot(i, j);
  return Status::Ok();
}

Status TableIndex::Root(const ReadContext& context, Ref<IndexBlock>* held,
                        const IndexBlock** root) const {
  if (!root_) {
    SHALE_RETURN_IF_ERROR(file_->Load(root_handle_, root_target(), context, nullptr, held));
  }
  *root = root_ ? root_.get() : held->get();
  return Status::Ok();
}

Status TableIndex::Partition(const IndexBlock& root, uint32_t i, const ReadContext& context,
                             Ref<IndexBlock>* held, const IndexBlock** partition) const {
  if (partitions_.empty()) {
    SHALE_RETURN_IF_ERROR(file_->Load(root.handle(i), BlockType::kData, context, nullptr, held));
  }
  *partition = partitions_.empty() ? held->get() : partitions_[i].get();
  return Status::Ok();
}

size_t TableIndex::pinned_bytes() const {
  size_t bytes = root_ ? root_->charge() : 0;
  for (const Ref<IndexBlock>& partition : partitions_) bytes += partition->charge();
  return bytes + (slots_ ? slots_->bytes() : 0);
}

// ---- cursor ----

// Makes the root block root_, and leaf_ as well if it is the whole index.
Status IndexCursor::EnterRoot(const ReadContext& context) {
  Invalidate();
  if (root_ == nullptr) SHALE_RETURN_IF_ERROR(index_->Root(context, &held_root_, &root_));
  if (!partitioned()) leaf_ = root_;
  return Status::Ok();
}

Status IndexCursor::EnterPartition(uint32_t i, const ReadContext& context) {
  Invalidate();
  root_position_ = i;
  if (held_leaf_ && held_position_ == i) {
    leaf_ = held_leaf_.get();
    return Status::Ok();
  }
  Ref<IndexBlock> held;
  SHALE_RETURN_IF_ERROR(index_->Partition(*root_, i, context, &held, &leaf_));
  held_leaf_ = std::move(held);
  held_position_ = i;
  return Status::Ok();
}

Status IndexCursor::SeekToFirst(const ReadContext& context) {
  SHALE_RETURN_IF_ERROR(EnterRoot(context));
  position_ = 0;
  return partitioned() ? EnterPartition(0, context) : Status::Ok();
}

Status IndexCursor::SeekToLast(const ReadContext& context) {
  SHALE_RETURN_IF_ERROR(EnterRoot(context));
  if (partitioned()) SHALE_RETURN_IF_ERROR(EnterPartition(root_->entry_count() - 1, context));
  position_ = leaf_->entry_count() - 1;
  return Status::Ok();
}

Status IndexCursor::Seek(const Needle& needle, const ReadContext& context) {
  SHALE_RETURN_IF_ERROR(EnterRoot(context));
  if (partitioned()) {
    const uint32_t i = root_->LowerBound(needle);
    if (i == root_->entry_count()) return Status::Ok();
    SHALE_RETURN_IF_ERROR(EnterPartition(i, context));
  }
  position_ = leaf_->LowerBound(needle);
  if (partitioned() && !valid()) {
    Invalidate();
    const uint64_t offset = root_->handle(root_position_).offset;
    return index_->file_->Located(
        Status::Corruption("an index partition ends before its own separator"), offset);
  }
  return Status::Ok();
}

Status IndexCursor::Next(const ReadContext& context) {
  if (++position_ < leaf_->entry_count() || !partitioned()) return Status::Ok();
  if (root_position_ + 1 == root_->entry_count()) {
    Invalidate();
    return Status::Ok();
  }
  position_ = 0;
  return EnterPartition(root_position_ + 1, context);
}

Status IndexCursor::Prev(const ReadContext& context) {
  if (position_ != 0) {
    position_--;
    return Status::Ok();
  }
  if (!partitioned() || root_position_ == 0) {
    Invalidate();
    return Status::Ok();
  }
  SHALE_RETURN_IF_ERROR(EnterPartition(root_position_ - 1, context));
  position_ = leaf_->entry_count() - 1;
  return Status::Ok();
}

// ---- filter ----

Status TableFilter::Open(BlockHandle root, FilterKind kind, bool pin) {
  root_handle_ = root;
  kind_ = kind;
  if (kind == FilterKind::kNone) return Status::Ok();
  if (kind == FilterKind::kWhole) {
    if (!pin) return Status::Ok();
    return file_->Load(root, BlockType::kFilter, kPinContext, nullptr, &whole_);
  }
  SHALE_RETURN_IF_ERROR(file_->Load(root, BlockType::kFilter, kPinContext, nullptr, &top_));
  if (!pin) return Status::Ok();
  ReadAhead ahead;
  std::vector<Ref<FilterBlock>> partitions(top_->entry_count());
  for (uint32_t i = 0; i < top_->entry_count(); i++) {
    SHALE_RETURN_IF_ERROR(
        file_->Load(top_->handle(i), BlockType::kFilter, kPinContext, &ahead, &partitions[i]));
  }
  partitions_ = std::move(partitions);
  return Status::Ok();
}

Status TableFilter::MayContain(Slice key, uint64_t key_hash, const ReadContext& context,
                               bool* may_contain) const {
  *may_contain = true;
  if (whole_) {
    *may_contain = whole_->MayContain(key_hash);
    return Status::Ok();
  }
  if (kind_ == FilterKind::kNone) return Status::Ok();
  BlockHandle handle = root_handle_;
  BlockPin<FilterBlock> filter;
  if (kind_ == FilterKind::kPartitioned) {
    const uint32_t i = top_->LowerBound({key, 0});
    if (i == top_->entry_count()) {
      *may_contain = false;
      return Status::Ok();
    }
    handle = top_->handle(i);
    if (!partitions_.empty()) filter.Borrow(partitions_[i].get());
  }
  if (filter.get() == nullptr) {
    const Status status = filter.Acquire(*file_, handle, BlockType::kFilter, context);
    if (status.Is(Code::kWouldBlock)) return Status::Ok();
    SHALE_RETURN_IF_ERROR(status);
  }
  *may_contain = filter->MayContain(key_hash);
  return Status::Ok();
}

size_t TableFilter::pinned_bytes() const {
  size_t bytes = (top_ ? top_->charge() : 0) + (whole_ ? whole_->charge() : 0);
  for (const Ref<FilterBlock>& partition : partitions_) bytes += partition->charge();
  return bytes;
}

}  // namespace shale
