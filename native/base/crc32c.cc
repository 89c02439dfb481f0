// Three forms with one result. In hardware the crc instruction takes three cycles but can be
// started every cycle, so long inputs run as three interleaved streams. Their sums are joined by
// carry-less multiplication: moving a sum over n zero bytes is a multiplication by x^(8n) modulo
// the polynomial.
#include "base/crc32c.h"

#include <array>
#include <atomic>

#include "base/coding.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

namespace shale {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78u;  // reflected: bit 31 is the coefficient of x^0

// Multiplication by x modulo the polynomial.
constexpr uint32_t TimesX(uint32_t v) { return (v >> 1) ^ ((v & 1) != 0 ? kPolynomial : 0); }

constexpr std::array<std::array<uint32_t, 256>, 8> MakeTables() {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = TimesX(crc);
    t[0][i] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t i = 0; i < 256; ++i) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
  }
  return t;
}
constexpr std::array<std::array<uint32_t, 256>, 8> kTables = MakeTables();

#if defined(__x86_64__) || defined(__aarch64__)
#define SHALE_CRC32C_HARDWARE 1

// x^(8 * bytes - 33): the product of two reflected 32-bit polynomials comes out one bit low, and
// the reduction by the crc instruction multiplies by x^32.
constexpr uint32_t ShiftFactor(size_t bytes) {
  uint32_t v = 0x80000000u;
  for (size_t i = 0; i < 8 * bytes - 33; ++i) v = TimesX(v);
  return v;
}
#endif

#if defined(__x86_64__)
#define SHALE_CRC32C_TARGET __attribute__((target("sse4.2,pclmul")))

bool HaveHardware() {
  return __builtin_cpu_supports("sse4.2") != 0 && __builtin_cpu_supports("pclmul") != 0;
}
SHALE_CRC32C_TARGET inline uint64_t StepByte(uint64_t crc, uint8_t v) {
  return _mm_crc32_u8(static_cast<uint32_t>(crc), v);
}
SHALE_CRC32C_TARGET inline uint64_t StepWord(uint64_t crc, uint64_t v) {
  return _mm_crc32_u64(crc, v);
}
SHALE_CRC32C_TARGET inline uint64_t Multiply(uint64_t a, uint32_t b) {
  const __m128i wide_a = _mm_cvtsi64_si128(static_cast<int64_t>(a));
  const __m128i wide_b = _mm_cvtsi64_si128(static_cast<int64_t>(b));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_clmulepi64_si128(wide_a, wide_b, 0)));
}
#elif defined(__aarch64__)
// The header of clang declares these only where the whole file may use them.
#if defined(__clang__)
#define SHALE_CRC32C_TARGET __attribute__((target("crc,aes")))
#define SHALE_CRC32C_BYTE __builtin_arm_crc32cb
#define SHALE_CRC32C_WORD __builtin_arm_crc32cd
#else
#define SHALE_CRC32C_TARGET __attribute__((target("+crc+crypto")))
#define SHALE_CRC32C_BYTE __crc32cb
#define SHALE_CRC32C_WORD __crc32cd
#endif

bool HaveHardware() {
#if defined(__linux__)
  const unsigned long caps = getauxval(AT_HWCAP);
  return (caps & HWCAP_CRC32) != 0 && (caps & HWCAP_PMULL) != 0;
#else
  return true;  // every 64-bit Apple processor has both
#endif
}
SHALE_CRC32C_TARGET inline uint64_t StepByte(uint64_t crc, uint8_t v) {
  return SHALE_CRC32C_BYTE(static_cast<uint32_t>(crc), v);
}
SHALE_CRC32C_TARGET inline uint64_t StepWord(uint64_t crc, uint64_t v) {
  return SHALE_CRC32C_WORD(static_cast<uint32_t>(crc), v);
}
SHALE_CRC32C_TARGET inline uint64_t Multiply(uint64_t a, uint32_t b) {
  return vgetq_lane_u64(vreinterpretq_u64_p128(vmull_p64(a, b)), 0);
}
#endif

#if defined(SHALE_CRC32C_HARDWARE)
// Three streams of kStride bytes each, one after the other, as often as they fit.
template <size_t kStride>
SHALE_CRC32C_TARGET inline uint64_t ThreeStreams(uint64_t crc, const char** p, size_t* n) {
  constexpr uint32_t kFar = ShiftFactor(2 * kStride);
  constexpr uint32_t kNear = ShiftFactor(kStride);
  const char* q = *p;
  for (; *n >= 3 * kStride; *n -= 3 * kStride, q += 3 * kStride) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kStride; i += 8) {
      crc = StepWord(crc, LoadLe<uint64_t>(q + i));
      second = StepWord(second, LoadLe<uint64_t>(q + kStride + i));
      third = StepWord(third, LoadLe<uint64_t>(q + 2 * kStride + i));
    }
    crc = StepWord(0, Multiply(crc, kFar) ^ Multiply(second, kNear)) ^ third;
  }
  *p = q;
  return crc;
}

SHALE_CRC32C_TARGET uint32_t ExtendHardware(uint32_t start, const void* data, size_t n) {
  const char* p = static_cast<const char*>(data);
  uint64_t crc = ~start;
  if (n >= 192) {
    crc = ThreeStreams<4096>(crc, &p, &n);
    crc = ThreeStreams<1024>(crc, &p, &n);
    crc = ThreeStreams<256>(crc, &p, &n);
    crc = ThreeStreams<64>(crc, &p, &n);
  }
  for (; n >= 8; n -= 8, p += 8) crc = StepWord(crc, LoadLe<uint64_t>(p));
  for (; n > 0; --n, ++p) crc = StepByte(crc, static_cast<uint8_t>(*p));
  return ~static_cast<uint32_t>(crc);
}
#endif

using ExtendFunction = uint32_t (*)(uint32_t, const void*, size_t);
uint32_t ExtendFirst(uint32_t crc, const void* data, size_t size);

// Constant-initialised, so that static constructors elsewhere may compute checksums.
std::atomic<ExtendFunction> extend{&ExtendFirst};

// Stands in for the chosen form until the first call has chosen it.
uint32_t ExtendFirst(uint32_t crc, const void* data, size_t size) {
  ExtendFunction chosen = &Crc32cExtendPortable;
#if defined(SHALE_CRC32C_HARDWARE)
  if (HaveHardware()) chosen = &ExtendHardware;
#endif
  extend.store(chosen, std::memory_order_relaxed);
  return chosen(crc, data, size);
}

}  // namespace

uint32_t Crc32cExtend(uint32_t crc, const void* data, size_t size) {
  return extend.load(std::memory_order_relaxed)(crc, data, size);
}

uint32_t Crc32cKey(uint64_t file_number, uint64_t offset) {
  char key[16];
  StoreLe(key, file_number);
  StoreLe(key + 8, offset);
  return Crc32cExtend(0, key, sizeof key);
}

uint32_t Crc32cExtendPortable(uint32_t crc, const void* data, size_t size) {
  const char* p = static_cast<const char*>(data);
  uint32_t c = ~crc;
  for (; size >= 8; size -= 8, p += 8) {
    const uint32_t low = LoadLe<uint32_t>(p) ^ c;
    const uint32_t high = LoadLe<uint32_t>(p + 4);
    c = kTables[7][low & 0xff] ^ kTables[6][(low >> 8) & 0xff] ^ kTables[5][(low >> 16) & 0xff] ^
        kTables[4][low >> 24] ^ kTables[3][high & 0xff] ^ kTables[2][(high >> 8) & 0xff] ^
        kTables[1][(high >> 16) & 0xff] ^ kTables[0][high >> 24];
  }
  for (; size > 0; --size, ++p) c = kTables[0][(c ^ static_cast<uint8_t>(*p)) & 0xff] ^ (c >> 8);
  return ~c;
}

}  // namespace shale
