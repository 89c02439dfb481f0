#include "base/hash.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <string>

#include "support/seed.h"

// The reference implementation, which the zstd library carries.
extern "C" unsigned long long ZSTD_XXH64(const void* input, size_t length, unsigned long long seed);

namespace shale {
namespace {

TEST(Hash64, PublishedVectors) {
  EXPECT_EQ(Hash64(""), 0xef46db3751d8e999u);
  EXPECT_EQ(Hash64("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(Hash64("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(Hash64("123456789"), 0x8cb841db40e6ae83u);
  EXPECT_EQ(Hash64("Nobody inspects the spammish repetition"), 0xfbcea83c8a378bf1u);
}

TEST(Hash64, EqualsTheReferenceAtEveryLength) {
  TestRandom random;
  std::string bytes(600, '\0');
  for (char& b : bytes) b = static_cast<char>(random.Next());
  for (size_t n = 0; n <= 500; ++n) {
    const size_t start = random.Below(8);
    const Slice s(bytes.data() + start, n);
    ASSERT_EQ(Hash64(s), ZSTD_XXH64(s.data(), n, 0)) << n;
  }
}

// Each input bit changes about half of the output bits.
TEST(MixBits, Spreads) {
  TestRandom random;
  uint64_t changed = 0;
  constexpr uint64_t kRounds = 200;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const uint64_t x = random.Next();
    for (unsigned bit = 0; bit < 64; ++bit) {
      const int n = std::popcount(MixBits(x) ^ MixBits(x ^ (uint64_t{1} << bit)));
      EXPECT_GT(n, 8);
      changed += static_cast<uint64_t>(n);
    }
  }
  const double mean = static_cast<double>(changed) / (kRounds * 64);
  EXPECT_NEAR(mean, 32, 1);
}

TEST(MixBits, IsABijectionOnSmallNumbers) {
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 10000; ++i) seen.insert(MixBits(i));
  EXPECT_EQ(seen.size(), 10000u);
}

}  // namespace
}  // namespace shale
