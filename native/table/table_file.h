// TableFile: the blocks of one table file, from the cache or from the disk.
//
// Threads: any; a ReadAhead belongs to one reader.
// Errors: kWouldBlock in ReadMode::kMemoryOnly when a block is not in memory; kCorruption with path
// and offset for damage, a file that is too short included; what the vfs says otherwise. Nothing
// that failed is cached: the next read tries again.
// Cost: a block in memory is one cache lookup, or none if a slot leads to it; one that is not is
// one read, one checksum, one decompression, one check of every entry.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "base/cache.h"
#include "base/iterator.h"
#include "base/ref.h"
#include "table/block.h"
#include "table/data_block.h"
#include "table/filter_block.h"
#include "table/index_block.h"
#include "table/table_counters.h"
#include "table/table_format.h"
#include "vfs/file_cache.h"
#include "vfs/vfs.h"

namespace shale {

struct TableContext;

// What a reader that goes through a file in order has read beyond what it asked for.
class ReadAhead {
 public:
  // The stored bytes at [offset, offset + size) of `file`, which lie before `limit`. Valid until
  // the next call. Reads up to `chunk_max` bytes at once: all of it from the start when `at_once`,
  // else more with every read that continues the one before. Works in both directions.
  Status Get(File* file, uint64_t offset, size_t size, uint64_t limit, size_t chunk_max,
             bool at_once, Slice* bytes);

 private:
  BlockBuffer buffer_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  size_t chunk_ = 0;
};

class TableFile {
 public:
  // What compaction reads at once.
  static constexpr size_t kBypassChunkBytes = size_t{1} << 20;

  TableFile(const TableContext& context, uint64_t number, uint64_t size,
            std::shared_ptr<TableCounters> counters);

  const std::string& path() const { return path_; }
  uint64_t number() const { return number_; }
  uint64_t footer_offset() const { return size_ - kTableFooterBytes; }
  TableCounters& counters() const { return *counters_; }

  // kCorruption unless the file has the size that the table is known by.
  Status CheckSize() const;
  // Exactly `size` bytes.
  Status Read(uint64_t offset, size_t size, char* dst) const;
  // The raw bytes of a block, from the file. *raw lies in `stored`, in `raw_buffer` or in `ahead`.
  Status ReadBlock(BlockHandle handle, BlockType type, const ReadContext& context, ReadAhead* ahead,
                   BlockBuffer* stored, BlockBuffer* raw_buffer, Slice* raw) const;

  // A block in memory: borrowed until the caller's EpochGuard ends. Null if it is not there, or not
  // of this type; then one that may block reads it.
  template <typename T>
  T* Borrow(BlockHandle handle, ReadMode mode) const {
    CacheValue* value = cache_->Lookup({number_, handle.offset}, mode == ReadMode::kMayBlock);
    return value == nullptr ? nullptr : BlockCast<T>(value);
  }
  // The block at `handle`, as the context allows. `target` is what the handles of an index block
  // point to; `ahead` may be null; a data
  // block may have a slot.
  template <typename T>
  Status Load(BlockHandle handle, BlockType target, const ReadContext& context, ReadAhead* ahead,
              Ref<T>* block, BlockSlot slot = {}) const;
  // The block that a slot leads to, if there is one; borrowed as by Borrow().
  DataBlock* BorrowSlot(BlockSlot slot) const {
    DataBlock* block = slot.Borrow();
    if (block != nullptr) cache_->Touch(block);
    return block;
  }

  // `status` with path and offset.
  Status Located(const Status& status, uint64_t offset) const {
    return status.WithPath(path_, offset);
  }
  // Closes and deletes the file.
  void Remove() const;

 private:
  Status Parse(Slice raw, BlockType target, BlockBuffer* buffer, Ref<DataBlock>* block) const;
  Status Parse(Slice raw, BlockType target, BlockBuffer* buffer, Ref<IndexBlock>* block) const;
  Status Parse(Slice raw, BlockType target, BlockBuffer* buffer, Ref<FilterBlock>* block) const;

  Cache* const cache_;
  FileCache* const files_;
  const std::string path_;
  const uint64_t number_;
  const uint64_t size_;
  const std::shared_ptr<TableCounters> counters_;
};

// How a point read holds a block: borrowed where nothing may block, counted where it may.
template <typename T>
class BlockPin {
 public:
  const T* get() const { return block_; }
  const T* operator->() const { return block_; }

  void Borrow(const T* block) { block_ = block; }
  Status Acquire(const TableFile& file, BlockHandle handle, BlockType target,
                 const ReadContext& context, BlockSlot slot = {}) {
    if (context.mode == ReadMode::kMemoryOnly) {
      if constexpr (std::is_same_v<T, DataBlock>) block_ = file.BorrowSlot(slot);
      if (block_ == nullptr) block_ = file.Borrow<T>(handle, context.mode);
      if (block_ == nullptr) return Code::kWouldBlock;
      file.counters().Count(TableCount::kLoadsCached, context);
      return Status::Ok();
    }
    SHALE_RETURN_IF_ERROR(file.Load(handle, target, context, nullptr, &ref_, slot));
    block_ = ref_.get();
    return Status::Ok();
  }
  Ref<T> TakeRef() { return std::move(ref_); }

 private:
  const T* block_ = nullptr;
  Ref<T> ref_;
};

}  // namespace shale
