// Block: the in-memory form of one block of a table: verified, parsed, immutable.
//
// A block is one allocation, aligned to a cache line: the object, then whatever arrays the kind of
// block needs, then the bytes of the block. A reader that has the pointer knows where the arrays
// are before it has loaded anything. Only the bytes of very large blocks are an allocation of their
// own.
// Threads: any; nothing changes after parsing.
// Lifetime: counted; the cache holds one count, readers borrow it under an EpochGuard or share it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "base/cache.h"
#include "base/slice.h"

namespace shale {

inline constexpr size_t kCacheLineBytes = 64;

enum class BlockType : uint8_t { kData, kIndex, kFilter };

class Block : public CacheValue {
 public:
  BlockType type() const { return type_; }
  // Bytes of memory, for the cache's budget.
  size_t charge() const { return charge_; }

  static void operator delete(void* p) { ::operator delete (p, std::align_val_t{kCacheLineBytes}); }
  static void operator delete(void* p, size_t /*size*/, size_t /*extra*/) { operator delete(p); }

 protected:
  // `extra` bytes follow an object of `size` bytes.
  static void* operator new(size_t size, size_t extra) {
    return ::operator new (size + extra, std::align_val_t{kCacheLineBytes});
  }
  Block(BlockType type, size_t charge) : charge_(static_cast<uint32_t>(charge)), type_(type) {}
  ~Block() override = default;

 private:
  uint32_t charge_;  // a block is smaller than 4 GiB by the limits of the format
  BlockType type_;
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
