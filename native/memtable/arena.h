// Arena: memory of one memtable, handed out in order and freed as a whole.
//
// Nothing is allocated before the first request; the first block is 4 KiB, blocks double up to 2
// MiB, and blocks of 2 MiB are aligned to their size and offered to the system for huge pages
// (which saves a fifth to a half of a random lookup). A request of a quarter of such a block or
// more gets one of its own.
// Threads: one allocator at a time; used() and reserved() from any thread.
// Errors: std::bad_alloc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace shale {

// Blocks start at a multiple of this, so that an arena that only hands out multiples of a cache
// line hands out whole cache lines.
inline constexpr size_t kArenaBlockAlignment = 64;

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
      Unpoison(p, size);
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
  char* AddBlock(size_t size);

  // Under AddressSanitizer, what has not been handed out must not be touched.
#if defined(__SANITIZE_ADDRESS__)
  static void Poison(char* p, size_t size) { ASAN_POISON_MEMORY_REGION(p, size); }
  static void Unpoison(char* p, size_t size) { ASAN_UNPOISON_MEMORY_REGION(p, size); }
#else
  static void Poison(char*, size_t) {}
  static void Unpoison(char*, size_t) {}
#endif

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
