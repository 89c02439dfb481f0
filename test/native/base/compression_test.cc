#include "base/compression.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

class CompressionTest : public testing::TestWithParam<Codec> {};

std::string Words(TestRandom* random, size_t size) {
  static const char* const words[] = {"shale ", "keyspace ", "memtable ", "journal ", "block "};
  std::string text;
  while (text.size() < size) text += words[random->Below(5)] + std::to_string(random->Below(100));
  text.resize(size);
  return text;
}

// Into memory of exactly the stated size, so that the sanitizer sees a byte too many.
Status DecompressExactly(Codec codec, Slice input, size_t raw_size, std::string* out) {
  const std::vector<char> exact_input(input.begin(), input.end());
  const auto dst = std::make_unique<char[]>(raw_size);
  const Slice copy(exact_input.data(), exact_input.size());
  SHALE_RETURN_IF_ERROR(Decompress(codec, copy, dst.get(), raw_size));
  out->assign(dst.get(), raw_size);
  return {};
}

TEST_P(CompressionTest, RoundTrips) {
  TestRandom random;
  for (const size_t size : {400, 1000, 4095, 4096, 4097, 65536, 1 << 20, 3000000}) {
    const std::string raw = Words(&random, size);
    std::string stored = "left over from before";
    ASSERT_TRUE(Compress(GetParam(), raw, &stored)) << size;
    EXPECT_LE(stored.size(), raw.size() - raw.size() / 8);
    std::string back;
    ASSERT_TRUE(DecompressExactly(GetParam(), stored, raw.size(), &back).ok()) << size;
    EXPECT_EQ(back, raw);
  }
}

TEST_P(CompressionTest, LeavesAloneWhatDoesNotShrink) {
  TestRandom random;
  for (const size_t size : {0, 1, 2, 7, 8, 9, 4096, 100000}) {
    std::string noise(size, '\0');
    for (char& b : noise) b = static_cast<char>(random.Next());
    std::string stored;
    EXPECT_FALSE(Compress(GetParam(), noise, &stored)) << size;
  }
}

TEST_P(CompressionTest, SavesAnEighthOrNothing) {
  TestRandom random;
  // Noise with a compressible tail: around the threshold both answers occur, and both keep the
  // rule.
  int compressed = 0;
  constexpr int kRounds = 64;
  for (int round = 0; round < kRounds; ++round) {
    std::string raw(4096, 'x');
    for (size_t i = 0; i < 4096 - static_cast<size_t>(round) * 16; ++i) {
      raw[i] = static_cast<char>(random.Next());
    }
    std::string stored;
    if (!Compress(GetParam(), raw, &stored)) continue;
    ++compressed;
    EXPECT_LE(stored.size(), raw.size() - raw.size() / 8);
  }
  EXPECT_GT(compressed, 0);
  EXPECT_LT(compressed, kRounds);
}

TEST_P(CompressionTest, TheStatedSizeMustBeTheRealOne) {
  TestRandom random;
  const std::string raw = Words(&random, 10000);
  std::string stored;
  ASSERT_TRUE(Compress(GetParam(), raw, &stored));
  std::string back;
  for (const size_t wrong : {size_t{0}, size_t{1}, raw.size() - 1, raw.size() + 1}) {
    const Status s = DecompressExactly(GetParam(), stored, wrong, &back);
    EXPECT_TRUE(s.Is(Code::kCorruption)) << wrong;
  }
}

TEST_P(CompressionTest, RefusesCutOffInput) {
  TestRandom random;
  const std::string raw = Words(&random, 3000);
  std::string stored;
  ASSERT_TRUE(Compress(GetParam(), raw, &stored));
  std::string back;
  for (size_t n = 0; n < stored.size(); ++n) {
    const Status s = DecompressExactly(GetParam(), Slice(stored).Prefix(n), raw.size(), &back);
    ASSERT_TRUE(s.Is(Code::kCorruption)) << n;
  }
}

// Damaged input decodes to something of the right size or is refused; it never writes elsewhere.
TEST_P(CompressionTest, SurvivesDamage) {
  TestRandom random;
  const std::string raw = Words(&random, 5000);
  std::string stored;
  ASSERT_TRUE(Compress(GetParam(), raw, &stored));
  uint64_t refused = 0;
  const uint64_t rounds = Scaled(3000);
  for (uint64_t round = 0; round < rounds; ++round) {
    std::string damaged = stored;
    for (uint64_t i = random.Below(4) + 1; i > 0; --i) {
      damaged[random.Below(damaged.size())] = static_cast<char>(random.Next());
    }
    std::string back;
    refused += DecompressExactly(GetParam(), damaged, raw.size(), &back).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 0u);
}

TEST_P(CompressionTest, SurvivesNoise) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(3000); ++round) {
    std::string noise(random.Below(200), '\0');
    for (char& b : noise) b = static_cast<char>(random.Next());
    std::string back;
    static_cast<void>(DecompressExactly(GetParam(), noise, random.Below(1000), &back));
  }
}

TEST_P(CompressionTest, ThreadsDoNotShareContexts) {
  std::vector<std::thread> threads;
  std::vector<int> good(4);
  for (size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&, t] {
      const std::string raw(2000 + t, static_cast<char>('a' + t));
      for (int i = 0; i < 200; ++i) {
        std::string stored;
        std::string back;
        const bool ok = Compress(GetParam(), raw, &stored) &&
                        DecompressExactly(GetParam(), stored, raw.size(), &back).ok();
        good[t] += ok && back == raw ? 1 : 0;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const int g : good) EXPECT_EQ(g, 200);
}

INSTANTIATE_TEST_SUITE_P(Codecs, CompressionTest, testing::Values(Codec::kLz4, Codec::kZstd),
                         [](const auto& info) {
                           return info.param == Codec::kLz4 ? "Lz4" : "Zstd";
                         });

TEST(Compression, NoneStoresAsIs) {
  std::string stored;
  EXPECT_FALSE(Compress(Codec::kNone, std::string(1000, 'x'), &stored));
  std::string back;
  ASSERT_TRUE(DecompressExactly(Codec::kNone, "abc", 3, &back).ok());
  EXPECT_EQ(back, "abc");
  EXPECT_TRUE(DecompressExactly(Codec::kNone, "", 0, &back).ok());
  EXPECT_TRUE(DecompressExactly(Codec::kNone, "abc", 2, &back).Is(Code::kCorruption));
  EXPECT_TRUE(DecompressExactly(Codec::kNone, "abc", 4, &back).Is(Code::kCorruption));
}

TEST(Compression, UnknownCodecIsCorruption) {
  char dst[4];
  EXPECT_TRUE(Decompress(static_cast<Codec>(kCodecMax + 1), "abcd", dst, 4).Is(Code::kCorruption));
}

// A zstd frame whose header asks for a window of many gigabytes.
TEST(Compression, ClaimedWindowIsNotAllocated) {
  const char frame[] = "\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00";
  std::string back;
  const Status s = DecompressExactly(Codec::kZstd, Slice(frame, 9), 64, &back);
  EXPECT_TRUE(s.Is(Code::kCorruption));
}

}  // namespace
}  // namespace shale
