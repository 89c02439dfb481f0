// Block: the in-memory form of one block of a table: verified, parsed, immutable.
//
// A block is an object with the arrays that its kind needs right behind it, aligned to a cache
// line, so that a reader that has the pointer can start loading the arrays before it has loaded
// anything; the bytes of entries are a piece of memory of their own. Both come from BlockMemory.
// Threads: any; nothing changes after parsing.
// Lifetime: counted; the cache holds one count, readers borrow it under an EpochGuard or share it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "base/cache.h"
#include "base/slice.h"
#include "table/block_memory.h"

namespace shale {

inline constexpr size_t kCacheLineBytes = 64;

enum class BlockType : uint8_t { kData, kIndex, kFilter };

class Block : public CacheValue {
 public:
  BlockType type() const { return type_; }
  // Bytes of memory, for the cache's budget.
  size_t charge() const { return charge_; }

  // Ends the life of a block of any class: the size of its memory is known only to itself.
  static void operator delete(Block* block, std::destroying_delete_t) {
    const size_t size = block->object_bytes_;
    block->~Block();
    BlockMemory::Shared().Free(block, size);
  }

 protected:
  // `object_bytes` came from BlockMemory and hold the object and its arrays; the rest of `charge`
  // is what the block owns besides.
  Block(BlockType type, size_t object_bytes, size_t charge)
      : type_(type),
        charge_(static_cast<uint32_t>(charge)),
        object_bytes_(static_cast<uint32_t>(object_bytes)) {}
  ~Block() override = default;

  size_t object_bytes() const { return object_bytes_; }

 private:
  BlockType type_;
  uint32_t charge_;  // a block is smaller than 4 GiB by the limits of the format
  uint32_t object_bytes_;
};

// `value` as a block of class T, or null if it is a block of another type. All values that the
// cache holds for a table's file number are blocks.
template <typename T>
inline T* BlockCast(CacheValue* value) {
  auto* block = static_cast<Block*>(value);
  return block->type() == T::kType ? static_cast<T*>(block) : nullptr;
}

// Raw bytes of one block on their way from the file into a Block; reused from load to load.
class BlockBuffer {
 public:
  // Readable bytes behind the contents, so that short copies need not be exact.
  static constexpr size_t kSlackBytes = 16;
  // From this size on a block takes the buffer over instead of copying it.
  static constexpr size_t kAdoptBytes = 256 * 1024;

  // `size` bytes of undefined content; what the buffer held is gone.
  char* Reserve(size_t size) {
    if (capacity_ < size || !data_) {
      data_.reset();
      data_ = std::make_unique_for_overwrite<char[]>(size + kSlackBytes);
      capacity_ = size;
    }
    return data_.get();
  }
  const char* data() const { return data_.get(); }
  // Gives a buffer of more than `keep` bytes back.
  void Trim(size_t keep) {
    if (capacity_ <= keep) return;
    data_.reset();
    capacity_ = 0;
  }
  bool Holds(Slice raw) const { return data_ && raw.data() == data_.get(); }
  char* Release() {
    capacity_ = 0;
    return data_.release();
  }

 private:
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
};

}  // namespace shale
