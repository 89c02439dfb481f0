// Varints of blocks that were checked when they were loaded: no bounds, no failure.
#pragma once

#include <cstdint>

#include "base/coding.h"

namespace shale {

// Requires a whole varint of at most ten bytes at `p`. Returns the byte after it.
inline const char* ReadVarint(const char* p, uint64_t* v) {
  uint64_t byte = static_cast<uint8_t>(*p++);
  uint64_t value = byte & 0x7f;
  for (unsigned shift = 7; byte >= 0x80; shift += 7) {
    byte = static_cast<uint8_t>(*p++);
    value |= (byte & 0x7f) << shift;
  }
  *v = value;
  return p;
}
inline const char* ReadVarint(const char* p, uint32_t* v) {
  const auto byte = static_cast<uint8_t>(*p);
  if (byte < 0x80) [[likely]] {
    *v = byte;
    return p + 1;
  }
  uint64_t wide = 0;
  p = ReadVarint(p, &wide);
  *v = static_cast<uint32_t>(wide);
  return p;
}

// The same for input that is not trusted; null if it is damaged or above `max`.
inline const char* ReadVarintChecked(const char* p, const char* limit, uint64_t max, uint64_t* v) {
  if (p < limit && static_cast<uint8_t>(*p) < 0x80) [[likely]] {
    *v = static_cast<uint8_t>(*p);
    return *v <= max ? p + 1 : nullptr;
  }
  p = DecodeVarint(p, limit, v);
  return p != nullptr && *v <= max ? p : nullptr;
}

}  // namespace shale
