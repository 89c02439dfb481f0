#include "table/block_memory.h"

#include <bit>
#include <new>

#include "base/pages.h"
#include "base/sanitized.h"

namespace shale {

// Lies at the start of a span, in front of its pieces.
struct BlockMemory::Span {
  Span* next;
  Span* previous;
  void* free_pieces;  // linked through their first word
  uint32_t size_class;
  uint32_t used;         // pieces
  uint32_t touched;      // pieces that were ever used; those behind are free as well
  uint32_t capacity;     // pieces
  uint32_t free_in_run;  // in the header of the run's first span only: spans without pieces

  static Span* Of(void* piece) {
    return reinterpret_cast<Span*>(reinterpret_cast<uintptr_t>(piece) & ~(kSpanBytes - 1));
  }
  Span* first_of_run() {
    return reinterpret_cast<Span*>(reinterpret_cast<uintptr_t>(this) & ~(kRunBytes - 1));
  }
  char* piece(uint32_t i) {
    return reinterpret_cast<char*>(this) + kAlignment + i * ClassBytes(size_class);
  }
};

BlockMemory& BlockMemory::Shared() {
  static BlockMemory& memory = *new BlockMemory;
  return memory;
}

BlockMemory::~BlockMemory() {
  // What is still in use belongs to blocks that outlive this; only what is free goes.
  while (free_.first != nullptr && free_.first->first_of_run()->free_in_run == kSpansPerRun) {
    RemoveRun(free_.first);
  }
}

void BlockMemory::SpanList::Push(Span* span) {
  span->next = first;
  span->previous = nullptr;
  if (first != nullptr) first->previous = span;
  first = span;
}

void BlockMemory::SpanList::Remove(Span* span) {
  (span->previous != nullptr ? span->previous->next : first) = span->next;
  if (span->next != nullptr) span->next->previous = span->previous;
}

// Classes: multiples of 64 up to 1 KiB, then sixteen to each doubling.
size_t BlockMemory::ClassOf(size_t size) {
  if (size <= 1024) return size == 0 ? 0 : (size - 1) / 64;
  const auto doubling = static_cast<size_t>(std::bit_width(size - 1)) - 11;
  const size_t step = size_t{64} << doubling;
  return 16 + 16 * doubling + (size - 1 - (size_t{1024} << doubling)) / step;
}

size_t BlockMemory::ClassBytes(size_t size_class) {
  if (size_class < 16) return (size_class + 1) * 64;
  const size_t doubling = (size_class - 16) / 16;
  return (size_t{1024} << doubling) + ((size_class - 16) % 16 + 1) * (size_t{64} << doubling);
}

void* BlockMemory::Allocate(size_t size) {
  if (size >= kHugePageBytes && !kSanitized) return AllocatePages(size);
  if (size > kPieceBytesMax || kSanitized)
    return ::operator new (size, std::align_val_t{kAlignment});
  const size_t size_class = ClassOf(size);
  const std::lock_guard<std::mutex> lock(mutex_);
  Span* span = partial_[size_class].first;
  if (span == nullptr) span = TakeSpan(size_class);
  void* piece = span->free_pieces;
  if (piece != nullptr) {
    span->free_pieces = *static_cast<void**>(piece);
  } else {
    piece = span->piece(span->touched++);
  }
  if (++span->used == span->capacity) partial_[size_class].Remove(span);
  return piece;
}

void BlockMemory::Free(void* piece, size_t size) {
  if (size >= kHugePageBytes && !kSanitized) return FreePages(piece, size);
  if (size > kPieceBytesMax || kSanitized)
    return ::operator delete (piece, std::align_val_t{kAlignment});
  const std::lock_guard<std::mutex> lock(mutex_);
  Span* span = Span::Of(piece);
  *static_cast<void**>(piece) = span->free_pieces;
  span->free_pieces = piece;
  if (span->used-- == span->capacity) partial_[span->size_class].Push(span);
  if (span->used != 0) return;
  partial_[span->size_class].Remove(span);
  GiveBack(span);
}

// A span for pieces of this class, in the list of the class.
BlockMemory::Span* BlockMemory::TakeSpan(size_t size_class) {
  if (free_.first == nullptr) AddRun();
  Span* span = free_.first;
  free_.Remove(span);
  free_count_--;
  span->first_of_run()->free_in_run--;
  span->free_pieces = nullptr;
  span->size_class = static_cast<uint32_t>(size_class);
  span->used = 0;
  span->touched = 0;
  span->capacity = static_cast<uint32_t>((kSpanBytes - kAlignment) / ClassBytes(size_class));
  partial_[size_class].Push(span);
  return span;
}

void BlockMemory::GiveBack(Span* span) {
  free_.Push(span);
  free_count_++;
  const bool run_is_free = ++span->first_of_run()->free_in_run == kSpansPerRun;
  // One free run stays, so that a cache at its limit does not ask the system again and again.
  if (run_is_free && free_count_ >= 2 * kSpansPerRun) RemoveRun(span);
}

void BlockMemory::AddRun() {
  char* run = static_cast<char*>(AllocatePages(kRunBytes));
  runs_++;
  for (size_t i = 0; i < kSpansPerRun; i++) {
    auto* span = ::new (run + i * kSpanBytes) Span();
    free_.Push(span);
    free_count_++;
  }
  reinterpret_cast<Span*>(run)->free_in_run = kSpansPerRun;
}

void BlockMemory::RemoveRun(Span* any_span) {
  char* run = reinterpret_cast<char*>(any_span->first_of_run());
  for (size_t i = 0; i < kSpansPerRun; i++) {
    free_.Remove(reinterpret_cast<Span*>(run + i * kSpanBytes));
    free_count_--;
  }
  runs_--;
  FreePages(run, kRunBytes);
}

size_t BlockMemory::run_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return runs_ * kRunBytes;
}

}  // namespace shale
