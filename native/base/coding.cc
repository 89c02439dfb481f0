#include "base/coding.h"

namespace shale {

void PutVarint(std::string* out, uint64_t v) {
  char buffer[kVarintBytesMax];
  const char* end = EncodeVarint(buffer, v);
  out->append(buffer, static_cast<size_t>(end - buffer));
}

void PutBytes(std::string* out, Slice bytes) {
  PutVarint(out, bytes.size());
  out->append(bytes.data(), bytes.size());
}

size_t VarintLength(uint64_t v) {
  // One byte for each started group of seven bits; zero has one.
  return (static_cast<size_t>(std::bit_width(v | 1)) + 6) / 7;
}

char* EncodeVarint(char* dst, uint64_t v) {
  while (v >= 0x80) {
    *dst++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *dst++ = static_cast<char>(v);
  return dst;
}

const char* DecodeVarint(const char* p, const char* limit, uint64_t* v) {
  uint64_t result = 0;
  for (unsigned shift = 0; shift <= 63 && p < limit; shift += 7) {
    const uint64_t byte = static_cast<uint8_t>(*p++);
    // The tenth byte has room for one bit only.
    if (shift == 63 && byte > 1) return nullptr;
    result |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      *v = result;
      return p;
    }
  }
  return nullptr;
}

uint64_t Reader::Varint() {
  uint64_t v = 0;
  const char* next = DecodeVarint(p_, limit_, &v);
  if (next == nullptr) {
    Fail();
    return 0;
  }
  p_ = next;
  return v;
}

Slice Reader::Bytes() { return Raw(Varint()); }

Slice Reader::Raw(uint64_t n) {
  if (n > remaining()) {
    Fail();
    return {};
  }
  const Slice bytes(p_, static_cast<size_t>(n));
  p_ += n;
  return bytes;
}

}  // namespace shale
