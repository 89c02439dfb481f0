#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace shale {
namespace {

// One code point, by the definition's table; also what is none.
std::string Encoded(uint32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xc0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xe0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | c >> 18), tail(12), tail(6), tail(0)};
}

TEST(IsUtf8, EveryCodePointAndNoSurrogate) {
  for (uint32_t c = 0; c <= 0x1fffff; c++) {
    const bool valid = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
    ASSERT_EQ(IsUtf8("a" + Encoded(c) + "z"), valid) << std::hex << c;
  }
  EXPECT_TRUE(IsUtf8(""));
}

// There are as many as code points make: none has a second form, none is cut off.
TEST(IsUtf8, NothingElseOfUpToThreeBytes) {
  size_t valid[4] = {};
  for (size_t size = 1; size <= 3; size++) {
    for (uint32_t i = 0; i < uint32_t{1} << (8 * size); i++) {
      const char bytes[3] = {static_cast<char>(i), static_cast<char>(i >> 8),
                             static_cast<char>(i >> 16)};
      valid[size] += IsUtf8(Slice(bytes, size)) ? 1 : 0;
    }
  }
  const size_t one = 0x80;
  const size_t two = 0x800 - 0x80;
  const size_t three = 0x10000 - 0x800 - 0x800;  // without surrogates
  EXPECT_EQ(valid[1], one);
  EXPECT_EQ(valid[2], one * one + two);
  EXPECT_EQ(valid[3], one * one * one + 2 * one * two + three);
}

// Of four bytes: everything that may follow each first byte.
TEST(IsUtf8, NothingElseOfFourBytes) {
  for (uint32_t lead = 0xf0; lead <= 0xff; lead++) {
    size_t valid = 0;
    for (uint32_t i = 0; i < uint32_t{1} << 16; i++) {
      const char bytes[4] = {static_cast<char>(lead), static_cast<char>(i),
                             static_cast<char>(i >> 8), static_cast<char>(0x80)};
      valid += IsUtf8(Slice(bytes, 4)) ? 1 : 0;
    }
    const size_t seconds = lead == 0xf0 ? 48 : lead < 0xf4 ? 64 : lead == 0xf4 ? 16 : 0;
    EXPECT_EQ(valid, seconds * 64) << std::hex << lead;
  }
  EXPECT_FALSE(IsUtf8("\xf0\x9f\x98"));
  EXPECT_FALSE(IsUtf8("\xf0\x9f\x98z"));
  EXPECT_TRUE(IsUtf8("\xf0\x9f\x98\x80"));
}

}  // namespace
}  // namespace shale
