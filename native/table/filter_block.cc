#include "table/filter_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/coding.h"

namespace shale {
namespace {

constexpr uint8_t kAlgorithmBlockedBloom = 1;
constexpr uint32_t kGoldenRatio = 0x9e3779b9;

uint32_t LineCount(size_t keys, double bits_per_key) {
  const double lines = std::ceil(static_cast<double>(keys) * bits_per_key / 512);
  return static_cast<uint32_t>(std::max(1.0, lines));
}

uint32_t ProbeCount(double bits_per_key) {
  const double probes = std::floor(bits_per_key * 0.69 + 0.5);
  return static_cast<uint32_t>(std::clamp(probes, 1.0, double{kFilterProbesMax}));
}

}  // namespace

size_t FilterBlockBuilder::EstimatedSize() const {
  return size_t{LineCount(hashes_.size(), bits_per_key_)} * kCacheLineBytes + kFilterFooterBytes;
}

Slice FilterBlockBuilder::Finish() {
  const uint32_t lines = LineCount(hashes_.size(), bits_per_key_);
  const uint32_t probes = ProbeCount(bits_per_key_);
  block_.assign(size_t{lines} * kCacheLineBytes, '\0');
  for (const uint64_t hash : hashes_) {
    char* line = block_.data() + (((hash >> 32) * lines) >> 32) * kCacheLineBytes;
    auto x = static_cast<uint32_t>(hash);
    for (uint32_t i = 0; i < probes; i++) {
      const uint32_t bit = x >> 23;
      line[bit / 8] = static_cast<char>(line[bit / 8] | (1 << (bit % 8)));
      x *= kGoldenRatio;
    }
  }
  PutU32(&block_, lines);
  PutU32(&block_, static_cast<uint32_t>(hashes_.size()));
  PutU8(&block_, kAlgorithmBlockedBloom);
  PutU8(&block_, static_cast<uint8_t>(probes));
  PutU16(&block_, 0);
  PutU32(&block_, static_cast<uint32_t>(std::min(std::round(bits_per_key_ * 1000), 4294967295.0)));
  return block_;
}

void FilterBlockBuilder::Reset() {
  hashes_.clear();
  block_.clear();
}

Status FilterBlock::Parse(Slice raw, Ref<FilterBlock>* block) {
  if (raw.size() < kFilterFooterBytes) return Status::Corruption("filter without a footer");
  const size_t line_bytes = raw.size() - kFilterFooterBytes;
  Reader footer(raw.Skip(line_bytes));
  const uint32_t line_count = footer.U32();
  const uint32_t key_count = footer.U32();
  const uint8_t algorithm = footer.U8();
  const uint8_t probes = footer.U8();
  const uint16_t reserved = footer.U16();
  if (algorithm != kAlgorithmBlockedBloom || reserved != 0 || probes < 1 ||
      probes > kFilterProbesMax || line_count == 0 ||
      uint64_t{line_count} * kCacheLineBytes != line_bytes) {
    return Status::Corruption("filter footer has an impossible value");
  }
  static_assert(sizeof(FilterBlock) == kCacheLineBytes);
  const size_t object_bytes = sizeof(FilterBlock) + line_bytes;
  BlockPiece object(object_bytes);
  std::memcpy(object.data() + sizeof(FilterBlock), raw.data(), line_bytes);
  *block = Ref<FilterBlock>::Adopt(::new (object.Release())
                                       FilterBlock(object_bytes, line_count, key_count, probes));
  return Status::Ok();
}

}  // namespace shale
