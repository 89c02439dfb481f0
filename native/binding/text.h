// Text: UTF-16 as JavaScript keeps it, UTF-8 as shale stores it.
//
// Cost: 2 ns for 16 ASCII characters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/slice.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace shale {

// Packs units that are all ASCII; false if one is not (dst is garbage then). Writes up to 8 bytes
// beyond dst + n.
inline bool PackAscii(const char16_t* src, size_t n, char* dst) {
  size_t i = 0;
  uint32_t high = 0;
#if defined(__SSE2__)
  __m128i all = _mm_setzero_si128();
  for (; i + 8 <= n; i += 8) {
    const __m128i units = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i));
    all = _mm_or_si128(all, units);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(dst + i), _mm_packus_epi16(units, units));
  }
  const __m128i over = _mm_and_si128(all, _mm_set1_epi16(static_cast<int16_t>(0xff80)));
  high =
      static_cast<uint32_t>(0xffff ^ _mm_movemask_epi8(_mm_cmpeq_epi8(over, _mm_setzero_si128())));
#elif defined(__ARM_NEON)
  uint16x8_t all = vdupq_n_u16(0);
  for (; i + 8 <= n; i += 8) {
    const uint16x8_t units = vld1q_u16(reinterpret_cast<const uint16_t*>(src + i));
    all = vorrq_u16(all, units);
    vst1_u8(reinterpret_cast<uint8_t*>(dst + i), vmovn_u16(units));
  }
  high = vmaxvq_u16(all) >> 7;
#endif
  for (; i < n; ++i) {
    high |= static_cast<uint32_t>(src[i]) >> 7;
    dst[i] = static_cast<char>(src[i]);
  }
  return high == 0;
}

inline bool IsAscii(Slice s) {
  const char* p = s.data();
  size_t n = s.size();
  uint64_t all = 0;
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    all |= word;
  }
  for (; n > 0; ++p, --n) all |= static_cast<uint8_t>(*p);
  return (all & 0x8080808080808080u) == 0;
}

// UTF-8 of well-formed UTF-16; dst has room for 3 * n bytes. SIZE_MAX if a surrogate stands alone.
inline size_t EncodeUtf8(const char16_t* src, size_t n, char* dst) {
  char* out = dst;
  for (size_t i = 0; i < n; ++i) {
    uint32_t c = src[i];
    if (c < 0x80) {
      *out++ = static_cast<char>(c);
      continue;
    }
    if (c < 0x800) {
      *out++ = static_cast<char>(0xc0 | (c >> 6));
      *out++ = static_cast<char>(0x80 | (c & 0x3f));
      continue;
    }
    if (c >= 0xd800 && c <= 0xdfff) {
      if (c > 0xdbff || i + 1 == n || (src[i + 1] & 0xfc00) != 0xdc00) return SIZE_MAX;
      c = 0x10000 + ((c - 0xd800) << 10) + (src[++i] - 0xdc00u);
      *out++ = static_cast<char>(0xf0 | (c >> 18));
      *out++ = static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    } else {
      *out++ = static_cast<char>(0xe0 | (c >> 12));
    }
    *out++ = static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    *out++ = static_cast<char>(0x80 | (c & 0x3f));
  }
  return static_cast<size_t>(out - dst);
}

}  // namespace shale
