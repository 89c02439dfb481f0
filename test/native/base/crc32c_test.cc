#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

uint32_t Portable(Slice s) { return Crc32cExtendPortable(0, s.data(), s.size()); }

// RFC 3720, B.4, and the check value of the catalogue of CRC algorithms.
TEST(Crc32c, PublishedVectors) {
  std::string ascending(32, '\0');
  std::string descending(32, '\0');
  for (int i = 0; i < 32; ++i) {
    ascending[static_cast<size_t>(i)] = static_cast<char>(i);
    descending[static_cast<size_t>(i)] = static_cast<char>(31 - i);
  }
  std::string read_command(48, '\0');
  read_command[0] = 0x01;
  read_command[1] = static_cast<char>(0xc0);
  read_command[16] = 0x14;
  read_command[22] = 0x04;
  read_command[27] = 0x14;
  read_command[31] = 0x18;
  read_command[32] = 0x28;
  read_command[40] = 0x02;
  const struct {
    std::string bytes;
    uint32_t crc;
  } vectors[] = {
      {"", 0},
      {"a", 0xc1d04330},
      {"123456789", 0xe3069283},
      {std::string(32, '\0'), 0x8a9136aa},
      {std::string(32, '\xff'), 0x62a8ab43},
      {ascending, 0x46dd794e},
      {descending, 0x113fdb5c},
      {read_command, 0xd9963a56},
  };
  for (const auto& v : vectors) {
    EXPECT_EQ(Crc32c(v.bytes), v.crc) << v.bytes;
    EXPECT_EQ(Portable(v.bytes), v.crc) << v.bytes;
  }
}

// Every length up to past the first join of three streams, and around each longer one, at every
// alignment of the start.
TEST(Crc32c, HardwareEqualsTable) {
  TestRandom random;
  std::vector<char> bytes(40000);
  for (char& b : bytes) b = static_cast<char>(random.Next());
  std::vector<size_t> sizes;
  for (size_t n = 0; n <= 600; ++n) sizes.push_back(n);
  for (const size_t stride : {256, 1024, 4096}) {
    for (size_t times = 1; times <= 2; ++times) {
      for (int delta = -9; delta <= 9; ++delta) {
        sizes.push_back(3 * stride * times + static_cast<size_t>(delta));
      }
    }
  }
  for (const size_t n : sizes) {
    const size_t start = random.Below(9);
    const auto crc = static_cast<uint32_t>(random.Next());
    ASSERT_EQ(Crc32cExtend(crc, bytes.data() + start, n),
              Crc32cExtendPortable(crc, bytes.data() + start, n))
        << n;
  }
  for (uint64_t round = 0; round < Scaled(2000); ++round) {
    const size_t start = random.Below(1000);
    const size_t n = random.Below(bytes.size() - start);
    ASSERT_EQ(Crc32cExtend(0, bytes.data() + start, n),
              Crc32cExtendPortable(0, bytes.data() + start, n))
        << n;
  }
}

TEST(Crc32c, ExtendsInPieces) {
  TestRandom random;
  std::string bytes(20000, '\0');
  for (char& b : bytes) b = static_cast<char>(random.Next());
  const uint32_t whole = Crc32c(bytes);
  for (int round = 0; round < 50; ++round) {
    const size_t cut = random.Below(bytes.size() + 1);
    const uint32_t head = Crc32c(Slice(bytes).Prefix(cut));
    EXPECT_EQ(Crc32cExtend(head, bytes.data() + cut, bytes.size() - cut), whole);
  }
}

TEST(Crc32c, KeyIsPartOfTheSum) {
  const Slice bytes = "block";
  std::string spelled;
  for (const uint64_t word : {uint64_t{7}, uint64_t{4096}}) {
    for (int i = 0; i < 8; ++i) spelled.push_back(static_cast<char>(word >> (8 * i)));
  }
  EXPECT_EQ(Crc32cKey(7, 4096), Crc32c(spelled));
  EXPECT_EQ(Crc32cKeyed(7, 4096, bytes), Crc32c(spelled + "block"));
  EXPECT_NE(Crc32cKeyed(7, 4096, bytes), Crc32cKeyed(8, 4096, bytes));
  EXPECT_NE(Crc32cKeyed(7, 4096, bytes), Crc32cKeyed(7, 4097, bytes));
}

TEST(Crc32c, NoticesEveryFlippedBit) {
  std::string bytes(300, 'x');
  const uint32_t good = Crc32c(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_NE(Crc32c(bytes), good) << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
}

}  // namespace
}  // namespace shale
