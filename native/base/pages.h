// Pages: large runs of memory straight from the operating system.
//
// Runs of 2 MiB and more start at a multiple of 2 MiB and are offered to the system for huge pages,
// so that a random access into them costs fewer page-table walks.
// Threads: any.
#pragma once

#include <cstddef>

namespace shale {

inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kHugePageBytes = size_t{2} << 20;

// Zeroed memory; `bytes` is rounded up to kPageBytes. Errors: std::bad_alloc.
void* AllocatePages(size_t bytes);

// Gives back what AllocatePages(bytes) returned, with the same `bytes`.
void FreePages(void* pages, size_t bytes);

// Lets the system take the pages when it runs short, until they are written to again; what they
// held is lost. False where it knows no such thing.
bool OfferPages(void* pages, size_t bytes);

}  // namespace shale
