#include "binding/text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shale {
namespace {

// UTF-16 of one code point.
std::u16string Units(uint32_t c) {
  if (c < 0x10000) return std::u16string(1, static_cast<char16_t>(c));
  c -= 0x10000;
  return {static_cast<char16_t>(0xd800 + (c >> 10)), static_cast<char16_t>(0xdc00 + (c & 0x3ff))};
}

// UTF-8 of one code point, by the definition's table.
std::string Utf8(uint32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xc0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xe0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | c >> 18), tail(12), tail(6), tail(0)};
}

std::string Encode(const std::u16string& units) {
  std::string out(3 * units.size(), '\0');
  const size_t n = EncodeUtf8(units.data(), units.size(), out.data());
  if (n == SIZE_MAX) return "refused";
  out.resize(n);
  return out;
}

TEST(EncodeUtf8, EveryCodePoint) {
  for (uint32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    ASSERT_EQ(Encode(u"a" + Units(c) + u"z"), "a" + Utf8(c) + "z") << c;
  }
}

TEST(EncodeUtf8, EveryLoneSurrogateIsRefused) {
  for (uint32_t c = 0xd800; c <= 0xdfff; ++c) {
    const std::u16string alone(1, static_cast<char16_t>(c));
    EXPECT_EQ(Encode(alone), "refused") << c;
    EXPECT_EQ(Encode(u"a" + alone), "refused") << c;
    EXPECT_EQ(Encode(alone + u"a"), "refused") << c;
    EXPECT_EQ(Encode(alone + u"\xd800"), "refused") << c;
    EXPECT_EQ(Encode(u"\xdc00" + alone), "refused") << c;
  }
}

// Writes up to 8 bytes beyond the end, and no more.
TEST(PackAscii, EveryLengthAndPlace) {
  for (size_t n = 0; n <= 70; ++n) {
    std::u16string units(n, u'\0');
    for (size_t i = 0; i < n; ++i) units[i] = static_cast<char16_t>((i * 37 + n) % 128);
    std::vector<char> out(n + 9, '!');
    ASSERT_TRUE(PackAscii(units.data(), n, out.data())) << n;
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], static_cast<char>(units[i])) << n;
    ASSERT_EQ(out[n + 8], '!') << n;
    for (size_t i = 0; i < n; ++i) {
      for (const char16_t high : {0x80, 0xff, 0x100, 0x7f00, 0x8000, 0xd800, 0xffff}) {
        std::u16string other = units;
        other[i] = high;
        ASSERT_FALSE(PackAscii(other.data(), n, out.data()))
            << n << " " << i << " " << static_cast<int>(high);
      }
    }
  }
}

TEST(IsAscii, EveryLengthAndPlace) {
  for (size_t n = 0; n <= 40; ++n) {
    std::string text(n, 'a');
    ASSERT_TRUE(IsAscii(text)) << n;
    for (size_t i = 0; i < n; ++i) {
      std::string other = text;
      other[i] = static_cast<char>(0x80);
      ASSERT_FALSE(IsAscii(other)) << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace shale
