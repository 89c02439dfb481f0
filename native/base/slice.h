// Slice: a borrowed run of bytes; owns nothing.
//
// Lifetime: valid as long as what it points into; say who keeps that alive wherever one is stored.
// Order: unsigned bytes, shorter first on an equal prefix. This is the key order of shale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace shale {

class Slice {
 public:
  constexpr Slice() = default;
  constexpr Slice(const char* data, size_t size) : data_(data), size_(size) {}
  Slice(const uint8_t* data, size_t size)
      : data_(reinterpret_cast<const char*>(data)), size_(size) {}
  Slice(const std::string& s) : data_(s.data()), size_(s.size()) {}          // NOLINT
  constexpr Slice(std::string_view s) : data_(s.data()), size_(s.size()) {}  // NOLINT
  Slice(const char* z) : data_(z), size_(std::strlen(z)) {}                  // NOLINT

  constexpr const char* data() const { return data_; }
  constexpr size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(data_); }
  uint8_t operator[](size_t i) const { return static_cast<uint8_t>(data_[i]); }
  const char* begin() const { return data_; }
  const char* end() const { return data_ + size_; }

  Slice Prefix(size_t n) const { return {data_, n < size_ ? n : size_}; }
  Slice Skip(size_t n) const { return n < size_ ? Slice(data_ + n, size_ - n) : Slice(end(), 0); }
  bool StartsWith(Slice p) const {
    return size_ >= p.size_ && (p.size_ == 0 || std::memcmp(data_, p.data_, p.size_) == 0);
  }
  std::string ToString() const { return std::string(data_, size_); }
  std::string_view view() const { return {data_, size_}; }

  // Negative, zero or positive, as memcmp.
  int Compare(Slice other) const {
    const size_t n = size_ < other.size_ ? size_ : other.size_;
    if (n != 0) {
      const int c = std::memcmp(data_, other.data_, n);
      if (c != 0) return c;
    }
    return size_ < other.size_ ? -1 : (size_ > other.size_ ? 1 : 0);
  }

 private:
  const char* data_ = "";
  size_t size_ = 0;
};

inline bool operator==(Slice a, Slice b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
inline bool operator!=(Slice a, Slice b) { return !(a == b); }
inline bool operator<(Slice a, Slice b) { return a.Compare(b) < 0; }

}  // namespace shale
