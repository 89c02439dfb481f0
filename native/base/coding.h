// Coding: little-endian integers and LEB128 varints, bounds-checked on the way in.
//
// Writers append to a std::string or write to memory the caller has sized. `Reader` never reads
// past its input: the first failure is sticky, later reads return zeros, and ok() tells at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/slice.h"

namespace shale {

static_assert(std::endian::native == std::endian::little,
              "shale writes little-endian words in place");

template <typename T>
inline T LoadLe(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <typename T>
inline void StoreLe(void* p, T v) {
  std::memcpy(p, &v, sizeof v);
}

inline void PutU8(std::string* out, uint8_t v) { out->push_back(static_cast<char>(v)); }
inline void PutU16(std::string* out, uint16_t v) { out->append(reinterpret_cast<char*>(&v), 2); }
inline void PutU32(std::string* out, uint32_t v) { out->append(reinterpret_cast<char*>(&v), 4); }
inline void PutU64(std::string* out, uint64_t v) { out->append(reinterpret_cast<char*>(&v), 8); }
void PutVarint(std::string* out, uint64_t v);
void PutBytes(std::string* out, Slice bytes);  // varint length, then the bytes

inline constexpr size_t kVarintBytesMax = 10;
size_t VarintLength(uint64_t v);
char* EncodeVarint(char* dst, uint64_t v);  // requires kVarintBytesMax bytes; returns the end
// Returns the byte after the varint, or nullptr if it is cut off, longer than 10 bytes or above
// 2^64-1.
const char* DecodeVarint(const char* p, const char* limit, uint64_t* v);
inline const char* DecodeVarint32(const char* p, const char* limit, uint32_t* v) {
  if (p < limit && static_cast<uint8_t>(*p) < 0x80) {
    *v = static_cast<uint8_t>(*p);
    return p + 1;
  }
  uint64_t wide = 0;
  p = DecodeVarint(p, limit, &wide);
  if (p == nullptr || wide > 0xffffffffu) return nullptr;
  *v = static_cast<uint32_t>(wide);
  return p;
}

class Reader {
 public:
  explicit Reader(Slice input) : p_(input.data()), limit_(input.end()) {}

  uint8_t U8() { return Fixed<uint8_t>(); }
  uint16_t U16() { return Fixed<uint16_t>(); }
  uint32_t U32() { return Fixed<uint32_t>(); }
  uint64_t U64() { return Fixed<uint64_t>(); }
  uint64_t Varint();
  Slice Bytes();          // varint length, then the bytes; points into the input
  Slice Raw(uint64_t n);  // n bytes; points into the input

  bool ok() const { return ok_; }
  bool AtEnd() const { return p_ == limit_; }
  size_t remaining() const { return static_cast<size_t>(limit_ - p_); }

 private:
  template <typename T>
  T Fixed() {
    if (remaining() < sizeof(T)) {
      Fail();
      return 0;
    }
    T v = LoadLe<T>(p_);
    p_ += sizeof(T);
    return v;
  }
  void Fail() {
    ok_ = false;
    p_ = limit_;
  }

  const char* p_;
  const char* limit_;
  bool ok_ = true;
};

}  // namespace shale
