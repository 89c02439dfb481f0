#include "base/pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <new>

namespace shale {
namespace {

TEST(Pages, AreZeroedWritableAndAligned) {
  for (const size_t size : {size_t{1}, kPageBytes, kPageBytes + 1, kHugePageBytes - 1,
                            kHugePageBytes, kHugePageBytes + 1, 5 * kHugePageBytes}) {
    auto* const pages = static_cast<char*>(AllocatePages(size));
    const size_t alignment = size >= kHugePageBytes ? kHugePageBytes : kPageBytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pages) % alignment, 0u) << size;
    EXPECT_EQ(pages[0], 0);
    EXPECT_EQ(pages[size / 2], 0);
    EXPECT_EQ(pages[size - 1], 0);
    std::memset(pages, 0xab, size);
    FreePages(pages, size);
  }
}

TEST(Pages, RunsDoNotOverlap) {
  char* runs[8];
  for (int i = 0; i < 8; ++i) {
    runs[i] = static_cast<char*>(AllocatePages(kHugePageBytes));
    std::memset(runs[i], i + 1, kHugePageBytes);
  }
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(runs[i][0], i + 1);
    EXPECT_EQ(runs[i][kHugePageBytes - 1], i + 1);
    FreePages(runs[i], kHugePageBytes);
  }
}

TEST(Pages, AbsurdSizesThrow) {
  EXPECT_THROW(AllocatePages(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(AllocatePages(SIZE_MAX / 2), std::bad_alloc);
}

}  // namespace
}  // namespace shale
