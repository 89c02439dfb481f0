// Convert: keys and values from JavaScript: a Uint8Array's bytes, or a string's UTF-8 bytes.
//
// Keys are copied before anything looks at them: the memory may be shared with another thread, and
// what was compared must be what is stored. Values are borrowed for the duration of the call.
// Strings are read as UTF-16 and packed here: for ASCII that takes half the time of asking for
// UTF-8, and lone surrogates, which the engine would turn into U+FFFD, are seen.
//
// Cost: about 11 ns for a key of 16 bytes, 12 ns for a string of 16 ASCII characters.
#pragma once

#include <node_api.h>

#include <cstring>
#include <vector>

#include "base/internal_key.h"
#include "base/slice.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace shale {

// Memory that conversions of one argument use again and again.
struct Scratch {
  std::vector<char16_t> units;
  std::vector<char> bytes;

  // One huge argument must not pin its size for ever.
  void Trim() {
    if (units.capacity() > kKeep) std::vector<char16_t>().swap(units);
    if (bytes.capacity() > kKeep) std::vector<char>().swap(bytes);
  }
  static constexpr size_t kKeep = size_t{1} << 20;
};

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

// The bytes of a Uint8Array; false for anything else. Valid until control returns to JavaScript.
inline bool BorrowBytes(napi_env env, napi_value value, Slice* bytes) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    return false;
  }
  *bytes = length == 0 ? Slice() : Slice(static_cast<const char*>(data), length);
  return true;
}

// Whether the memory under a Uint8Array was taken away (its length is 0 then).
inline bool IsDetached(napi_env env, napi_value value) {
  napi_value buffer = nullptr;
  bool detached = false;
  return napi_get_typedarray_info(env, value, nullptr, nullptr, nullptr, &buffer, nullptr) !=
             napi_ok ||
         napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached;
}

// The UTF-8 bytes of a string, in scratch; false if `value` is not a string, has a lone surrogate
// or more than `max_units` units.
inline bool ConvertText(napi_env env, napi_value value, size_t max_units, Scratch* scratch,
                        Slice* text) {
  size_t length = 0;
  if (napi_get_value_string_utf16(env, value, nullptr, 0, &length) != napi_ok ||
      length > max_units) {
    return false;
  }
  scratch->units.resize(length + 1);
  size_t n = 0;
  napi_get_value_string_utf16(env, value, scratch->units.data(), length + 1, &n);
  scratch->bytes.resize(n + 8);
  size_t size = n;
  if (!PackAscii(scratch->units.data(), n, scratch->bytes.data())) {
    scratch->bytes.resize(3 * n);
    size = EncodeUtf8(scratch->units.data(), n, scratch->bytes.data());
    if (size == SIZE_MAX) return false;
  }
  *text = Slice(scratch->bytes.data(), size);
  return true;
}

// One key. Read() is false unless the key is legal (1 to kKeyBytesMax bytes).
class KeyArgument {
 public:
  bool Read(napi_env env, napi_value value, Scratch* scratch) {
    Slice bytes;
    if (!BorrowBytes(env, value, &bytes)) return ReadText(env, value, scratch);
    const size_t n = bytes.size();
    if (n - 1 >= kKeyBytesMax) return false;
    char* copy = inline_;
    if (n > sizeof(inline_)) {
      scratch->bytes.resize(n);
      copy = scratch->bytes.data();
    }
    std::memcpy(copy, bytes.data(), n);
    slice_ = Slice(copy, n);
    return true;
  }
  Slice slice() const { return slice_; }

 private:
  bool ReadText(napi_env env, napi_value value, Scratch* scratch) {
    char16_t units[kInlineUnits];
    size_t n = 0;
    if (napi_get_value_string_utf16(env, value, units, kInlineUnits, &n) != napi_ok || n == 0) {
      return false;
    }
    // All but the last word full: it may have been cut off.
    if (n < kInlineUnits - 1 && PackAscii(units, n, inline_)) {
      slice_ = Slice(inline_, n);
      return true;
    }
    return ConvertText(env, value, kKeyBytesMax, scratch, &slice_) && slice_.size() <= kKeyBytesMax;
  }

  static constexpr size_t kInlineUnits = 128;
  Slice slice_;
  char inline_[2 * kInlineUnits];
};

// One value, borrowed or in scratch. False if it is neither bytes nor a well-formed string, or
// longer than kValueBytesMax.
inline bool ReadValue(napi_env env, napi_value value, Scratch* scratch, Slice* bytes) {
  if (BorrowBytes(env, value, bytes)) {
    if (bytes->size() > kValueBytesMax) return false;
    return !bytes->empty() || !IsDetached(env, value);
  }
  return ConvertText(env, value, kValueBytesMax, scratch, bytes) && bytes->size() <= kValueBytesMax;
}

}  // namespace shale
