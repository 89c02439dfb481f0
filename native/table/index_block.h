// Index block: separators and the handles of the blocks that they end.
//
// The same form serves as whole index, as index partition, and as top block over index or filter
// partitions. Parsed, it adds contiguous handles to the contiguous key heads of every sorted block,
// so that the usual search never touches the entries themselves.
// Threads: the builder one; a parsed block any.
// Bytes: docs/format.md, "Index".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/internal_key.h"
#include "base/ref.h"
#include "base/status.h"
#include "table/sorted_block.h"
#include "table/table_format.h"
#include "table/varint_inline.h"

namespace shale {

// One entry as it lies in a block.
struct IndexEntry {
  static constexpr size_t kBytesMin = 5;

  uint32_t shared = 0;
  uint32_t rest_size = 0;
  uint64_t seqno = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  const char* rest = nullptr;

  static const char* Decode(const char* p, IndexEntry* e) {
    p = ReadVarint(p, &e->shared);
    p = ReadVarint(p, &e->rest_size);
    p = ReadVarint(p, &e->seqno);
    p = ReadVarint(p, &e->offset);
    p = ReadVarint(p, &e->length);
    e->rest = p;
    return p + e->rest_size;
  }
  static const char* DecodeChecked(const char* p, const char* limit, IndexEntry* e);
};

class IndexBlockBuilder {
 public:
  // Requires: separators and offsets ascend strictly.
  void Add(Slice separator, Seqno seqno, BlockHandle handle);
  bool empty() const { return entry_count_ == 0; }
  // Upper bound of the bytes of the block if finished now.
  size_t EstimatedSize() const;
  // The bytes of the block; valid until Reset().
  Slice Finish();
  void Reset();

 private:
  std::string buffer_;
  std::string head_key_;
  std::vector<uint32_t> restarts_;
  uint32_t entry_count_ = 0;
};

class alignas(kCacheLineBytes) IndexBlock final : public SortedBlock<IndexEntry> {
 public:
  static constexpr BlockType kType = BlockType::kIndex;

  // Checks `raw` whole and makes a block of it. Every handle lies before `limit`, offsets ascend
  // strictly, and there is at least one entry. `target` is what the handles point to. kCorruption
  // says what is wrong; the caller adds path and offset.
  static Status Parse(Slice raw, BlockType target, uint64_t limit, Ref<IndexBlock>* block);

  // Requires i < entry_count().
  BlockHandle handle(uint32_t i) const { return {block_offsets()[i], block_lengths()[i]}; }
  Seqno seqno(uint32_t i) const {
    IndexEntry e;
    IndexEntry::Decode(Locate(i), &e);
    return e.seqno;
  }

 private:
  IndexBlock(size_t object_bytes, const Parsed& parsed, const Bytes& bytes)
      : SortedBlock(kType, object_bytes, parsed, bytes) {}
  ~IndexBlock() override = default;

  const uint64_t* block_offsets() const { return reinterpret_cast<const uint64_t*>(tail()); }
  const uint32_t* block_lengths() const {
    return reinterpret_cast<const uint32_t*>(block_offsets() + entry_count());
  }
};

}  // namespace shale
