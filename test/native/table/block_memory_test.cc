#include "table/block_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

struct Piece {
  char* data;
  size_t size;
  char fill;
};

Piece Make(BlockMemory* memory, size_t size, char fill) {
  auto* data = static_cast<char*>(memory->Allocate(size));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % BlockMemory::kAlignment, 0u);
  std::memset(data, fill, size);
  return {data, size, fill};
}
// No other piece has written into this one.
void CheckAndFree(BlockMemory* memory, const Piece& piece) {
  for (size_t i = 0; i < piece.size; i++) ASSERT_EQ(piece.data[i], piece.fill) << i;
  memory->Free(piece.data, piece.size);
}

TEST(BlockMemory, EverySizeHasItsOwnBytes) {
  BlockMemory memory;
  std::vector<Piece> pieces;
  for (size_t size = 8; size <= BlockMemory::kPieceBytesMax + 100; size += 37) {
    pieces.push_back(Make(&memory, size, static_cast<char>(size)));
  }
  pieces.push_back(Make(&memory, size_t{3} << 20, 'x'));
  for (const Piece& piece : pieces) CheckAndFree(&memory, piece);
}

TEST(BlockMemory, RandomComingAndGoing) {
  TestRandom random;
  BlockMemory memory;
  std::vector<Piece> pieces;
  size_t bytes = 0;
  for (uint64_t i = 0; i < Scaled(50000); i++) {
    if (pieces.empty() || (bytes < (8 << 20) && random.Below(10) < 6)) {
      const size_t size = random.OneIn(3) ? 1 + random.Below(BlockMemory::kPieceBytesMax)
                                          : 4000 + random.Below(400);
      pieces.push_back(Make(&memory, size, static_cast<char>(random.Next())));
      bytes += size;
    } else {
      std::swap(pieces[random.Below(pieces.size())], pieces.back());
      bytes -= pieces.back().size;
      CheckAndFree(&memory, pieces.back());
      pieces.pop_back();
    }
  }
  for (const Piece& piece : pieces) CheckAndFree(&memory, piece);
}

// Pieces of one size use the memory well, and what is given back serves other sizes and goes back
// to the system.
TEST(BlockMemory, MemoryIsUsedAgainAndGivenBack) {
  BlockMemory memory;
  const size_t before = memory.run_bytes();
  for (const size_t size : {200, 500, 1100, 4250, 8300, 17000}) {
    std::vector<void*> pieces;
    for (size_t bytes = 0; bytes < (20 << 20); bytes += size) {
      pieces.push_back(memory.Allocate(size));
    }
    const size_t used = memory.run_bytes() - before;
    if (used != 0) {  // with a sanitizer its own allocator is used
      EXPECT_GE(used, 20u << 20);
      EXPECT_LE(used, 26u << 20) << size;
    }
    for (void* piece : pieces) memory.Free(piece, size);
    EXPECT_LE(memory.run_bytes(), 4u << 20);
  }
}

TEST(BlockMemory, ManyThreads) {
  BlockMemory memory;
  const uint64_t seed = TestSeed();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + t);
      std::vector<Piece> pieces;
      for (uint64_t i = 0; i < Scaled(3000); i++) {
        pieces.push_back(Make(&memory, 1 + random() % 6000, static_cast<char>(random())));
        if (pieces.size() > 50) {
          std::swap(pieces[random() % pieces.size()], pieces.back());
          CheckAndFree(&memory, pieces.back());
          pieces.pop_back();
        }
      }
      for (const Piece& piece : pieces) CheckAndFree(&memory, piece);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace shale
