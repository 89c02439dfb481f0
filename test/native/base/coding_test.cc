#include "base/coding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

// Every power of two with its neighbours.
std::vector<uint64_t> BoundaryValues() {
  std::vector<uint64_t> values = {0};
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t power = uint64_t{1} << bit;
    values.insert(values.end(), {power - 1, power, power + 1});
  }
  values.push_back(UINT64_MAX);
  return values;
}

TEST(Varint, RoundTripsAtEveryBoundary) {
  for (const uint64_t v : BoundaryValues()) {
    std::string bytes;
    PutVarint(&bytes, v);
    EXPECT_EQ(bytes.size(), VarintLength(v)) << v;
    EXPECT_LE(bytes.size(), kVarintBytesMax);
    uint64_t back = ~v;
    const char* end = DecodeVarint(bytes.data(), bytes.data() + bytes.size(), &back);
    ASSERT_EQ(end, bytes.data() + bytes.size()) << v;
    EXPECT_EQ(back, v);
    uint32_t narrow = 0;
    end = DecodeVarint32(bytes.data(), bytes.data() + bytes.size(), &narrow);
    if (v <= UINT32_MAX) {
      ASSERT_NE(end, nullptr) << v;
      EXPECT_EQ(narrow, v);
    } else {
      EXPECT_EQ(end, nullptr) << v;
    }
  }
}

TEST(Varint, KnownBytes) {
  std::string bytes;
  PutVarint(&bytes, 300);
  EXPECT_EQ(bytes, "\xac\x02");
  bytes.clear();
  PutVarint(&bytes, UINT64_MAX);
  EXPECT_EQ(bytes, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

TEST(Varint, RefusesWhatIsCutOff) {
  for (const uint64_t v : BoundaryValues()) {
    std::string bytes;
    PutVarint(&bytes, v);
    for (size_t n = 0; n < bytes.size(); ++n) {
      const std::vector<char> exact(bytes.begin(), bytes.begin() + static_cast<long>(n));
      uint64_t out = 0;
      EXPECT_EQ(DecodeVarint(exact.data(), exact.data() + n, &out), nullptr);
    }
  }
}

TEST(Varint, RefusesMoreThan64Bits) {
  uint64_t out = 0;
  const std::string eleven = std::string(10, '\x80') + '\x00';
  EXPECT_EQ(DecodeVarint(eleven.data(), eleven.data() + eleven.size(), &out), nullptr);
  const std::string overflow = std::string(9, '\xff') + '\x02';
  EXPECT_EQ(DecodeVarint(overflow.data(), overflow.data() + overflow.size(), &out), nullptr);
  const std::string endless(32, '\xff');
  EXPECT_EQ(DecodeVarint(endless.data(), endless.data() + endless.size(), &out), nullptr);
}

TEST(Coding, IntegersAreLittleEndian) {
  std::string bytes;
  PutU8(&bytes, 0x01);
  PutU16(&bytes, 0x0302);
  PutU32(&bytes, 0x07060504);
  PutU64(&bytes, 0x0f0e0d0c0b0a0908);
  ASSERT_EQ(bytes.size(), 15u);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], static_cast<char>(i + 1));
  Reader r(bytes);
  EXPECT_EQ(r.U8(), 0x01);
  EXPECT_EQ(r.U16(), 0x0302);
  EXPECT_EQ(r.U32(), 0x07060504u);
  EXPECT_EQ(r.U64(), 0x0f0e0d0c0b0a0908u);
  EXPECT_TRUE(r.ok());
  EXPECT_TRUE(r.AtEnd());
}

TEST(Reader, BytesAndRawPointIntoTheInput) {
  std::string bytes;
  PutBytes(&bytes, "hello");
  PutBytes(&bytes, "");
  bytes += "tail";
  Reader r(bytes);
  const Slice hello = r.Bytes();
  EXPECT_EQ(hello, Slice("hello"));
  EXPECT_EQ(hello.data(), bytes.data() + 1);
  EXPECT_EQ(r.Bytes(), Slice(""));
  EXPECT_EQ(r.remaining(), 4u);
  EXPECT_EQ(r.Raw(4), Slice("tail"));
  EXPECT_TRUE(r.ok());
  EXPECT_TRUE(r.AtEnd());
}

TEST(Reader, FirstFailureIsSticky) {
  const std::string bytes =
      "\x05"
      "abc";
  Reader r(bytes);
  EXPECT_TRUE(r.Bytes().empty());
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.U8(), 0);
  EXPECT_EQ(r.U64(), 0u);
  EXPECT_EQ(r.Varint(), 0u);
  EXPECT_TRUE(r.Raw(0).empty());
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.remaining(), 0u);
}

TEST(Reader, LengthsNearTheTopOfTheRangeDoNotWrap) {
  std::string bytes;
  PutVarint(&bytes, UINT64_MAX);
  bytes += "x";
  Reader r(bytes);
  EXPECT_TRUE(r.Bytes().empty());
  EXPECT_FALSE(r.ok());
  Reader raw("abc");
  raw.U8();
  EXPECT_TRUE(raw.Raw(UINT64_MAX - 1).empty());
  EXPECT_FALSE(raw.ok());
}

// Random bytes through random reads: never outside the input (the sanitizer build watches).
TEST(Reader, SurvivesAnyInput) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(20000); ++round) {
    std::vector<char> bytes(random.Below(40));
    for (char& b : bytes) b = static_cast<char>(random.Next());
    Reader r(Slice(bytes.data(), bytes.size()));
    size_t left = r.remaining();
    for (int i = 0; i < 12; ++i) {
      switch (random.Below(6)) {
        case 0:
          r.U8();
          break;
        case 1:
          r.U16();
          break;
        case 2:
          r.U32();
          break;
        case 3:
          r.U64();
          break;
        case 4:
          r.Varint();
          break;
        default: {
          const Slice s = r.Bytes();
          uint64_t sum = 0;
          for (const char c : s) sum += static_cast<uint8_t>(c);
          ASSERT_LE(sum, s.size() * 255);
        }
      }
      ASSERT_LE(r.remaining(), left);
      left = r.remaining();
    }
  }
}

}  // namespace
}  // namespace shale
