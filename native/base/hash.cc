// Source: the published description of XXH64 (xxHash specification, version 0.1.1).
#include "base/hash.h"

#include <bit>

#include "base/coding.h"

namespace shale {

namespace {

constexpr uint64_t kPrime1 = 0x9e3779b185ebca87u;
constexpr uint64_t kPrime2 = 0xc2b2ae3d27d4eb4fu;
constexpr uint64_t kPrime3 = 0x165667b19e3779f9u;
constexpr uint64_t kPrime4 = 0x85ebca77c2b2ae63u;
constexpr uint64_t kPrime5 = 0x27d4eb2f165667c5u;

uint64_t Round(uint64_t lane, uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

uint64_t Merge(uint64_t hash, uint64_t lane) { return (hash ^ Round(0, lane)) * kPrime1 + kPrime4; }

// Consumes whole stripes of 32 bytes.
uint64_t HashStripes(const char** p, const char* end) {
  uint64_t a = kPrime1 + kPrime2;
  uint64_t b = kPrime2;
  uint64_t c = 0;
  uint64_t d = 0 - kPrime1;
  for (; end - *p >= 32; *p += 32) {
    a = Round(a, LoadLe<uint64_t>(*p));
    b = Round(b, LoadLe<uint64_t>(*p + 8));
    c = Round(c, LoadLe<uint64_t>(*p + 16));
    d = Round(d, LoadLe<uint64_t>(*p + 24));
  }
  const uint64_t sum = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
  return Merge(Merge(Merge(Merge(sum, a), b), c), d);
}

}  // namespace

uint64_t Hash64(Slice bytes) {
  const char* p = bytes.data();
  const char* const end = bytes.end();
  uint64_t h = bytes.size() >= 32 ? HashStripes(&p, end) : kPrime5;
  h += bytes.size();
  for (; end - p >= 8; p += 8) {
    h = std::rotl(h ^ Round(0, LoadLe<uint64_t>(p)), 27) * kPrime1 + kPrime4;
  }
  if (end - p >= 4) {
    h = std::rotl(h ^ (LoadLe<uint32_t>(p) * kPrime1), 23) * kPrime2 + kPrime3;
    p += 4;
  }
  for (; p != end; ++p) {
    h = std::rotl(h ^ (static_cast<uint8_t>(*p) * kPrime5), 11) * kPrime1;
  }
  h = (h ^ (h >> 33)) * kPrime2;
  h = (h ^ (h >> 29)) * kPrime3;
  return h ^ (h >> 32);
}

}  // namespace shale
