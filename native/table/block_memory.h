// BlockMemory: where blocks live: equal sizes side by side in huge pages.
//
// A random read touches the head array and one entry of a block. With the system's heap both lie
// scattered over small pages, and most reads pay for page walks as well as for the data; here the
// small arrays of all blocks are neighbours, and 2 MiB are one page where the system has them.
// Threads: any (one lock; blocks come and go with I/O, not with reads).
// Invariants:
//   I1  a span holds pieces of one size; its header is at its start, found by masking an address.
//   I2  a span without pieces in use serves any size again; a run without spans in use goes back
//       to the system, but for one that is kept.
// Cost: at most 1/16 of a size above 1 KiB is lost to rounding.
// Lifetime: the process's instance is never destroyed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace shale {

class BlockMemory {
 public:
  static constexpr size_t kAlignment = 64;
  // Larger pieces come from the system directly.
  static constexpr size_t kPieceBytesMax = 18 * 1024;

  BlockMemory() = default;
  ~BlockMemory();
  BlockMemory(const BlockMemory&) = delete;
  BlockMemory& operator=(const BlockMemory&) = delete;

  // The one that blocks use.
  static BlockMemory& Shared();

  // Aligned to kAlignment. Errors: std::bad_alloc.
  void* Allocate(size_t size);
  // Requires the size that was asked for.
  void Free(void* piece, size_t size);

  // Memory taken from the system for pieces up to kPieceBytesMax.
  size_t run_bytes() const;

 private:
  static constexpr size_t kRunBytes = size_t{2} << 20;
  static constexpr size_t kSpanBytes = size_t{128} << 10;
  static constexpr size_t kSpansPerRun = kRunBytes / kSpanBytes;
  static constexpr size_t kClasses = 16 + 16 * 5;

  struct Span;
  // A list of spans, linked through their headers.
  struct SpanList {
    Span* first = nullptr;
    void Push(Span* span);
    void Remove(Span* span);
  };

  static size_t ClassOf(size_t size);
  static size_t ClassBytes(size_t size_class);
  // The functions below require the lock.
  Span* TakeSpan(size_t size_class);
  void GiveBack(Span* span);
  void AddRun();
  void RemoveRun(Span* any_span);

  mutable std::mutex mutex_;
  std::array<SpanList, kClasses> partial_;  // spans with both used and free pieces, by class
  SpanList free_;                           // spans without pieces
  size_t free_count_ = 0;
  size_t runs_ = 0;
};

// A piece of the shared memory until somebody takes it over.
class BlockPiece {
 public:
  explicit BlockPiece(size_t size) : data_(BlockMemory::Shared().Allocate(size)), size_(size) {}
  ~BlockPiece() {
    if (data_ != nullptr) BlockMemory::Shared().Free(data_, size_);
  }
  BlockPiece(const BlockPiece&) = delete;
  BlockPiece& operator=(const BlockPiece&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  void* Release() { return std::exchange(data_, nullptr); }

 private:
  void* data_;
  const size_t size_;
};

}  // namespace shale
