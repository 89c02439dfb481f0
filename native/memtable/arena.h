// Arena: memory of one memtable, handed out in order and freed as a whole.
//
// Nothing is allocated before the first request; the first block is 4 KiB, blocks double up to 2 MiB, and
// blocks of 2 MiB are aligned to their size and offered to the system for huge pages (which saves a fifth
// to a half of a random lookup). A request larger than a block gets one of its own.
// Threads: one allocator at a time; bytes() from any thread.
// Errors: std::bad_alloc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shale {

class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Aligned to 8 bytes, not cleared.
  char* Allocate(size_t size) {
    size = (size + 7) & ~size_t{7};
    if (size <= static_cast<size_t>(limit_ - next_)) {
      char* p = next_;
      next_ += size;
      used_.store(used_.load(std::memory_order_relaxed) + size, std::memory_order_relaxed);
      return p;
    }
    return AllocateSlow(size);
  }
  // Bytes handed out, rounding included: what the memtable weighs for limits.
  size_t used() const { return used_.load(std::memory_order_relaxed); }
  // Bytes taken from the system.
  size_t reserved() const { return reserved_.load(std::memory_order_relaxed); }

 private:
  char* AllocateSlow(size_t size);

  struct Block {
    char* data;
    size_t size;
  };
  char* next_ = nullptr;
  char* limit_ = nullptr;
  size_t next_block_size_ = 4096;
  std::atomic<size_t> used_{0};
  std::atomic<size_t> reserved_{0};
  std::vector<Block> blocks_;
};

}  // namespace shale
