// Hash64: the one 64-bit hash, for filters, the hash index of blocks and the shards of the cache.
//
// On disk (filters, hash indexes): the function is part of the format. It is XXH64 with seed 0.
#pragma once

#include <cstdint>

#include "base/slice.h"

namespace shale {

uint64_t Hash64(Slice bytes);

// Spreads an integer over 64 bits (for cache shards and buckets; not on disk).
constexpr uint64_t MixBits(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  return x ^ (x >> 32);
}

}  // namespace shale
