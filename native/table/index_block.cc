#include "table/index_block.h"

#include <cstring>

namespace shale {
namespace {

constexpr uint32_t kIndexRestartInterval = 16;

}  // namespace

const char* IndexEntry::DecodeChecked(const char* p, const char* limit, IndexEntry* e) {
  uint64_t shared = 0;
  uint64_t rest_size = 0;
  p = ReadVarintChecked(p, limit, kKeyBytesMax, &shared);
  if (p == nullptr) return nullptr;
  p = ReadVarintChecked(p, limit, kKeyBytesMax, &rest_size);
  if (p == nullptr) return nullptr;
  p = ReadVarintChecked(p, limit, kSeqnoMax, &e->seqno);
  if (p == nullptr) return nullptr;
  p = ReadVarintChecked(p, limit, UINT64_MAX, &e->offset);
  if (p == nullptr) return nullptr;
  p = ReadVarintChecked(p, limit, kLargeBlockBytesMax, &e->length);
  if (p == nullptr || static_cast<uint64_t>(limit - p) < rest_size) return nullptr;
  e->shared = static_cast<uint32_t>(shared);
  e->rest_size = static_cast<uint32_t>(rest_size);
  e->rest = p;
  return p + rest_size;
}

// ---- builder ----

void IndexBlockBuilder::Add(Slice separator, Seqno seqno, BlockHandle handle) {
  size_t shared = 0;
  if (entry_count_ % kIndexRestartInterval == 0) {
    restarts_.push_back(static_cast<uint32_t>(buffer_.size()));
    head_key_.assign(separator.data(), separator.size());
  } else {
    shared = SharedPrefix(head_key_, separator);
  }
  PutVarint(&buffer_, shared);
  PutVarint(&buffer_, separator.size() - shared);
  PutVarint(&buffer_, seqno);
  PutVarint(&buffer_, handle.offset);
  PutVarint(&buffer_, handle.length);
  buffer_.append(separator.data() + shared, separator.size() - shared);
  entry_count_++;
}

size_t IndexBlockBuilder::EstimatedSize() const {
  return buffer_.size() + restarts_.size() * sizeof(uint32_t) + kBlockFooterBytes;
}

Slice IndexBlockBuilder::Finish() {
  AppendBlockShape(restarts_, Slice(), entry_count_, kIndexRestartInterval, &buffer_);
  return buffer_;
}

void IndexBlockBuilder::Reset() {
  buffer_.clear();
  restarts_.clear();
  entry_count_ = 0;
}

// ---- block ----

Status IndexBlock::Parse(Slice raw, BlockType target, uint64_t limit, Ref<IndexBlock>* block) {
  static_assert(sizeof(IndexBlock) == kCacheLineBytes);
  Parsed parsed;
  // No two blocks share a byte, and none is shorter than its trailer and one byte.
  const uint64_t count_max = limit / (kBlockTrailerBytes + 1);
  SHALE_RETURN_IF_ERROR(Check(raw, /*stride_shift_max=*/0, count_max, &parsed));
  const uint32_t count = parsed.shape.entry_count;
  if (parsed.shape.bucket_count != 0) {
    return Status::Corruption("index block with a hash index");
  }
  const size_t object_bytes =
      kCacheLineBytes + parsed.array_bytes() + count * (sizeof(uint64_t) + sizeof(uint32_t));
  BlockPiece object(object_bytes);
  char* const offsets = object.data() + kCacheLineBytes + parsed.array_bytes();
  const Bytes bytes = KeepBytes(raw, nullptr);
  auto made =
      Ref<IndexBlock>::Adopt(::new (object.Release()) IndexBlock(object_bytes, parsed, bytes));
  char* const lengths = offsets + count * sizeof(uint64_t);
  uint64_t end = 0;
  for (uint32_t i = 0; i < count; i++) {
    IndexEntry e;
    IndexEntry::Decode(bytes.data + parsed.offsets[i], &e);
    const BlockHandle handle{e.offset, static_cast<uint32_t>(e.length)};
    if (e.offset < end || !HandleFits(handle, target, limit)) {
      return Status::Corruption("a handle of the index block points to an impossible place");
    }
    end = handle.end();
    StoreLe(offsets + i * sizeof(uint64_t), handle.offset);
    StoreLe(lengths + i * sizeof(uint32_t), handle.length);
  }
  *block = std::move(made);
  return Status::Ok();
}

}  // namespace shale
