// Range block: the range tombstones of a table.
//
// Threads: values. Bytes: docs/format.md, "Range tombstones".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/range_tombstone.h"
#include "base/status.h"

namespace shale {

// Bytes of range tombstones after which writers end a table: an open table holds all of its own in
// memory.
inline constexpr size_t kRangeBytesMax = size_t{8} << 20;

// What one takes in a block, at most.
inline size_t RangeBytes(const RangeTombstone& r) { return r.start.size() + r.end.size() + 17; }

// Requires the order of ComesBefore.
std::string EncodeRangeBlock(const std::vector<RangeTombstone>& ranges);

// A range block in memory.
class RangeBlock {
 public:
  // Checks `raw` whole and keeps a copy of its bytes; `global_seqno` is added to every seqno.
  // kCorruption says what is wrong; the caller adds path and offset.
  static Status Parse(Slice raw, Seqno global_seqno, std::unique_ptr<RangeBlock>* block);

  const RangeIndex& index() const { return *index_; }
  size_t bytes() const { return raw_.size() + index_->bytes(); }

 private:
  std::string raw_;
  Ref<RangeIndex> index_;
};

}  // namespace shale
