#include "base/pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace shale {

namespace {

constexpr size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void* Map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}

}  // namespace

void* AllocatePages(size_t bytes) {
  if (bytes > SIZE_MAX - 2 * kHugePageBytes) throw std::bad_alloc();
  bytes = RoundUp(bytes, kPageBytes);
  if (bytes < kHugePageBytes) return Map(bytes);
  // Map more than needed and cut off what lies before and behind the aligned run.
  const size_t mapped = bytes + kHugePageBytes;
  char* const raw = static_cast<char*>(Map(mapped));
  const size_t before =
      RoundUp(reinterpret_cast<uintptr_t>(raw), kHugePageBytes) - reinterpret_cast<uintptr_t>(raw);
  char* const run = raw + before;
  if (before != 0) munmap(raw, before);
  munmap(run + bytes, mapped - before - bytes);
#ifdef MADV_HUGEPAGE
  // Only a wish: kernels without huge pages refuse it and the memory is as good as before.
  (void)madvise(run, bytes, MADV_HUGEPAGE);
#endif
  return run;
}

void FreePages(void* pages, size_t bytes) { munmap(pages, RoundUp(bytes, kPageBytes)); }

bool OfferPages([[maybe_unused]] void* pages, [[maybe_unused]] size_t bytes) {
#ifdef MADV_FREE
  return madvise(pages, RoundUp(bytes, kPageBytes), MADV_FREE) == 0;
#else
  return false;
#endif
}

}  // namespace shale
