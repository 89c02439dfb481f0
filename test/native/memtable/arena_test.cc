// Arena: what it hands out is apart, aligned and counted.
#include "memtable/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

TEST(ArenaTest, TakesNothingBeforeTheFirstRequest) {
  Arena arena;
  EXPECT_EQ(arena.used(), 0u);
  EXPECT_EQ(arena.reserved(), 0u);
  arena.Allocate(1);
  EXPECT_EQ(arena.used(), 8u);
  EXPECT_EQ(arena.reserved(), 4096u);
}

TEST(ArenaTest, RunsDoNotOverlapAndStayWhole) {
  TestRandom random;
  Arena arena;
  struct Run {
    char* data;
    size_t size;
    char fill;
  };
  std::vector<Run> runs;
  size_t used = 0;
  for (uint64_t i = 0; i < Scaled(3000); ++i) {
    size_t size = 1 + random.Below(200);
    if (random.OneIn(50)) size = 1 + random.Below(100'000);
    if (random.OneIn(500)) size = 1 + random.Below(3 << 20);
    char* const data = arena.Allocate(size);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(data) % 8, 0u);
    const char fill = static_cast<char>(random.Below(256));
    std::memset(data, fill, size);
    runs.push_back({data, size, fill});
    used += (size + 7) / 8 * 8;
    ASSERT_EQ(arena.used(), used);
    ASSERT_GE(arena.reserved(), used);
  }
  for (const Run& run : runs) {
    for (size_t i = 0; i < run.size; ++i) ASSERT_EQ(run.data[i], run.fill);
  }
}

TEST(ArenaTest, BlocksDoubleAndWasteLittle) {
  Arena arena;
  size_t blocks = 0;
  size_t reserved = 0;
  for (size_t i = 0; i < (size_t{16} << 20) / 1024; ++i) {
    arena.Allocate(1024);
    if (arena.reserved() == reserved) continue;
    const size_t block = arena.reserved() - reserved;
    reserved = arena.reserved();
    EXPECT_EQ(block, std::min(size_t{4096} << blocks, size_t{2} << 20));
    ++blocks;
  }
  EXPECT_LE(arena.reserved(), arena.used() + (size_t{2} << 20));
}

// A large value must not end the block that small ones still fit into.
TEST(ArenaTest, LargeRequestsGetTheirOwnBlock) {
  Arena arena;
  char* const first = arena.Allocate(64);
  const size_t before = arena.reserved();
  arena.Allocate(size_t{1} << 20);
  EXPECT_EQ(arena.reserved(), before + (size_t{1} << 20));
  EXPECT_EQ(arena.Allocate(64), first + 64);
  EXPECT_THROW(arena.Allocate(~size_t{0} - 4096), std::bad_alloc);
}

TEST(ArenaTest, WholeCacheLinesStayWholeCacheLines) {
  Arena arena;
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_EQ(reinterpret_cast<uintptr_t>(arena.Allocate(64 << (i % 4))) % 64, 0u);
  }
}

}  // namespace
}  // namespace shale
