#include "table/block_shape.h"

namespace shale {

Status DecodeBlockShape(Slice raw, size_t entry_bytes_min, BlockShape* shape) {
  if (raw.size() < kBlockFooterBytes) return Status::Corruption("block without a footer");
  size_t left = raw.size() - kBlockFooterBytes;
  Reader footer(raw.Skip(left));
  shape->entry_count = footer.U32();
  shape->restart_count = footer.U32();
  shape->bucket_count = footer.U16();
  shape->restart_interval = footer.U8();
  const uint8_t flags = footer.U8();
  if (shape->restart_interval == 0 || (flags & ~kBlockFlagWideRestarts) != 0) {
    return Status::Corruption("block footer has an impossible value");
  }
  shape->wide_restarts = (flags & kBlockFlagWideRestarts) != 0;
  const uint64_t interval = shape->restart_interval;
  if (shape->restart_count != (shape->entry_count + interval - 1) / interval) {
    return Status::Corruption("restarts of the block do not match its entries");
  }
  if (shape->bucket_count != 0 && shape->restart_count > kBucketConflict) {
    return Status::Corruption("block has a hash index and too many restarts for one");
  }
  const uint64_t width = shape->wide_restarts ? sizeof(uint32_t) : sizeof(uint16_t);
  const uint64_t arrays = shape->restart_count * width + shape->bucket_count;
  if (arrays > left) return Status::Corruption("block is shorter than its arrays");
  left -= static_cast<size_t>(arrays);
  if (shape->entry_count > left / entry_bytes_min) {
    return Status::Corruption("block is shorter than its entries");
  }
  const auto restart_bytes = static_cast<size_t>(shape->restart_count * width);
  shape->entries = raw.Prefix(left);
  shape->restarts = Slice(raw.data() + left, restart_bytes);
  shape->buckets = Slice(shape->restarts.end(), shape->bucket_count);
  for (size_t i = 0; i < shape->buckets.size(); i++) {
    const uint32_t bucket = shape->buckets[i];
    if (bucket >= shape->restart_count && bucket < kBucketConflict) {
      return Status::Corruption("a hash bucket of the block names no restart");
    }
  }
  return Status::Ok();
}

void AppendBlockShape(const std::vector<uint32_t>& restarts, Slice buckets, uint32_t entry_count,
                      uint32_t restart_interval, std::string* block) {
  const bool wide = !restarts.empty() && restarts.back() > 0xffff;
  for (const uint32_t restart : restarts) {
    if (wide) {
      PutU32(block, restart);
    } else {
      PutU16(block, static_cast<uint16_t>(restart));
    }
  }
  block->append(buckets.data(), buckets.size());
  PutU32(block, entry_count);
  PutU32(block, static_cast<uint32_t>(restarts.size()));
  PutU16(block, static_cast<uint16_t>(buckets.size()));
  PutU8(block, static_cast<uint8_t>(restart_interval));
  PutU8(block, wide ? kBlockFlagWideRestarts : 0);
}

int ComparePieces(Slice a1, Slice a2, Slice b1, Slice b2) {
  if (a1.size() > b1.size()) return -ComparePieces(b1, b2, a1, a2);
  if (const int c = a1.Compare(b1.Prefix(a1.size())); c != 0) return c;
  const Slice gap = b1.Skip(a1.size());
  if (const int c = a2.Prefix(gap.size()).Compare(gap); c != 0) return c;
  return a2.Skip(gap.size()).Compare(b2);
}

}  // namespace shale
