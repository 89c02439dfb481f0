// Filter block: a blocked Bloom filter: every key sets and tests bits of one cache line only.
//
// A filter may say yes wrongly, never no. The share of wrong answers for b bits a key and p probes
// is the mean, over Poisson-distributed numbers of keys in a line, of (share of set bits)^p: about
// 0.95 % at ten bits.
// Threads: the builder one; a parsed filter any.
// Cost: MayContain reads one cache line and takes no branch that depends on its content.
// Bytes: docs/format.md, "Filter".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/status.h"
#include "table/block.h"

namespace shale {

inline constexpr uint32_t kFilterProbesMax = 24;
inline constexpr size_t kFilterFooterBytes = 16;

class FilterBlockBuilder {
 public:
  // Fractions of a bit count. Requires bits_per_key > 0.
  explicit FilterBlockBuilder(double bits_per_key) : bits_per_key_(bits_per_key) {}

  // Each user key once.
  void Add(uint64_t key_hash) { hashes_.push_back(key_hash); }
  size_t key_count() const { return hashes_.size(); }
  // Bytes of the block if finished now.
  size_t EstimatedSize() const;
  // The bytes of the block; valid until Reset(). Requires key_count() > 0.
  Slice Finish();
  void Reset();

 private:
  const double bits_per_key_;
  std::vector<uint64_t> hashes_;
  std::string block_;
};

// The object fills one cache line; the lines of the filter follow.
class alignas(kCacheLineBytes) FilterBlock final : public Block {
 public:
  static constexpr BlockType kType = BlockType::kFilter;

  // kCorruption says what is wrong; the caller adds path and offset.
  static Status Parse(Slice raw, Ref<FilterBlock>* block);

  bool MayContain(uint64_t key_hash) const {
    const uint64_t line = ((key_hash >> 32) * line_count_) >> 32;
    const char* p = reinterpret_cast<const char*>(this + 1) + line * kCacheLineBytes;
    auto x = static_cast<uint32_t>(key_hash);
    uint32_t all = 1;
    for (uint32_t i = probes_; i != 0; i--) {
      const uint32_t bit = x >> 23;
      all &= static_cast<uint32_t>(static_cast<uint8_t>(p[bit / 8])) >> (bit % 8);
      x *= 0x9e3779b9u;
    }
    return (all & 1) != 0;
  }
  // Starts loading the line of a key.
  void Prefetch(uint64_t key_hash) const {
    const uint64_t line = ((key_hash >> 32) * line_count_) >> 32;
    __builtin_prefetch(reinterpret_cast<const char*>(this + 1) + line * kCacheLineBytes);
  }

  uint32_t key_count() const { return key_count_; }

 private:
  FilterBlock(size_t charge, uint32_t line_count, uint32_t key_count, uint32_t probes)
      : Block(kType, charge, charge),
        probes_(probes),
        line_count_(line_count),
        key_count_(key_count) {}
  ~FilterBlock() override = default;

  uint32_t probes_;
  uint32_t line_count_;
  uint32_t key_count_;
};

}  // namespace shale
