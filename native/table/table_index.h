// TableIndex and TableFilter: from a key to the block that may hold it.
//
// Both come whole or partitioned. What is pinned is held by Ref from open to close and read without
// the cache, and an index then leads to its data blocks by slots (data_block.h); of what is not
// pinned only the top block over partitions stays in memory.
// Threads: any; an IndexCursor one.
// Bytes: docs/format.md, "Index" and "Filter".
#pragma once

#include <cstdint>
#include <vector>

#include "base/iterator.h"
#include "base/ref.h"
#include "base/status.h"
#include "table/table_file.h"

namespace shale {

// A data block: where it lies, and the short way to it (none unless the index is pinned).
struct BlockPlace {
  BlockHandle handle;
  BlockSlot slot;
};

class TableIndex {
 public:
  explicit TableIndex(const TableFile* file) : file_(file) {}

  // Reads what stays in memory.
  Status Open(BlockHandle root, IndexKind kind, bool pin);

  // The block that holds the first entry at or after the needle, or ends right before it. kNotFound
  // if the needle is behind all entries. In kMemoryOnly requires an EpochGuard.
  Status Find(const Needle& needle, const ReadContext& context, BlockPlace* place) const;

  size_t pinned_bytes() const;
  IndexKind kind() const { return kind_; }
  BlockHandle root_handle() const { return root_handle_; }

 private:
  friend class IndexCursor;
  // The block itself if it is pinned, else the one that *held then keeps.
  Status Root(const ReadContext& context, Ref<IndexBlock>* held, const IndexBlock** root) const;
  Status Partition(const IndexBlock& root, uint32_t i, const ReadContext& context,
                   Ref<IndexBlock>* held, const IndexBlock** partition) const;
  void MakeSlots();
  BlockSlot slot(uint32_t partition, uint32_t i) const {
    const uint32_t begin = partitions_.empty() ? 0 : partition_begins_[partition];
    return {slots_.get(), begin + i};
  }
  BlockType root_target() const {
    return kind_ == IndexKind::kWhole ? BlockType::kData : BlockType::kIndex;
  }

  const TableFile* const file_;
  BlockHandle root_handle_;
  IndexKind kind_ = IndexKind::kWhole;
  Ref<IndexBlock> root_;                     // null if it goes through the cache
  std::vector<Ref<IndexBlock>> partitions_;  // empty unless pinned
  std::vector<uint32_t> partition_begins_;   // number of the first data block of each
  Ref<BlockSlots> slots_;                    // one for each data block; null unless pinned
};

// A position over the data blocks of a table.
class IndexCursor {
 public:
  explicit IndexCursor(const TableIndex* index) : index_(index) {}

  bool valid() const { return leaf_ != nullptr && position_ < leaf_->entry_count(); }
  // Requires valid().
  BlockHandle handle() const { return leaf_->handle(position_); }
  BlockSlot slot() const { return index_->slot(root_position_, position_); }

  // After an error the cursor is not valid. Not valid without an error: behind one of the ends.
  Status SeekToFirst(const ReadContext& context);
  Status SeekToLast(const ReadContext& context);
  // First block whose separator is not before the needle.
  Status Seek(const Needle& needle, const ReadContext& context);
  Status Next(const ReadContext& context);  // requires valid()
  Status Prev(const ReadContext& context);  // requires valid()

 private:
  Status EnterRoot(const ReadContext& context);
  Status EnterPartition(uint32_t i, const ReadContext& context);
  void Invalidate() { leaf_ = nullptr; }
  bool partitioned() const { return index_->kind_ == IndexKind::kPartitioned; }

  const TableIndex* const index_;
  const IndexBlock* root_ = nullptr;  // once it was needed
  const IndexBlock* leaf_ = nullptr;  // a partition or the whole index; null: not valid
  Ref<IndexBlock> held_root_;         // what is not pinned, kept for the next seek
  Ref<IndexBlock> held_leaf_;         // a partition
  uint32_t held_position_ = 0;        // of held_leaf_
  uint32_t root_position_ = 0;
  uint32_t position_ = 0;
};

class TableFilter {
 public:
  explicit TableFilter(const TableFile* file) : file_(file) {}

  Status Open(BlockHandle root, FilterKind kind, bool pin);

  // *may_contain = false only if the key is certainly not in the table. Where the filter would have
  // to be read and must not be, the answer is true. In kMemoryOnly requires an EpochGuard.
  Status MayContain(Slice key, uint64_t key_hash, const ReadContext& context,
                    bool* may_contain) const;

  size_t pinned_bytes() const;
  FilterKind kind() const { return kind_; }
  BlockHandle root_handle() const { return root_handle_; }
  const IndexBlock* top() const { return top_.get(); }

 private:
  const TableFile* const file_;
  BlockHandle root_handle_;
  FilterKind kind_ = FilterKind::kNone;
  Ref<IndexBlock> top_;     // only if partitioned
  Ref<FilterBlock> whole_;  // only if pinned
  std::vector<Ref<FilterBlock>> partitions_;
};

}  // namespace shale
