// RangeBlock: see range_block.h.
#include "table/range_block.h"

#include <utility>

#include "base/coding.h"

namespace shale {
namespace {

constexpr uint8_t kUnboundedEnd = 1;  // docs/format.md, enum range-flag
constexpr size_t kItemBytesMin = 5;   // a start of one byte, flags, no end, a seqno

Status Damaged(const char* what) { return Status::Corruption(what); }

// One item; false if it is not what an item may be.
bool Decode(Reader* reader, Seqno global_seqno, RangeTombstone* item) {
  item->start = reader->Bytes();
  const uint8_t flags = reader->U8();
  item->end = reader->Bytes();
  const Seqno stored = reader->Varint();
  if (!reader->ok() || stored > kSeqnoMax || stored + global_seqno > kSeqnoMax) return false;
  item->seqno = stored + global_seqno;
  if (item->start.empty() || item->start.size() > kKeyBytesMax) return false;
  if (item->end.size() > kKeyBytesMax || flags > kUnboundedEnd) return false;
  return flags == kUnboundedEnd ? item->unbounded() : item->start < item->end;
}

}  // namespace

std::string EncodeRangeBlock(const std::vector<RangeTombstone>& ranges) {
  std::string raw;
  PutU32(&raw, static_cast<uint32_t>(ranges.size()));
  for (const RangeTombstone& r : ranges) {
    PutBytes(&raw, r.start);
    PutU8(&raw, r.unbounded() ? kUnboundedEnd : 0);
    PutBytes(&raw, r.end);
    PutVarint(&raw, r.seqno);
  }
  return raw;
}

Status RangeBlock::Parse(Slice raw, Seqno global_seqno, std::unique_ptr<RangeBlock>* block) {
  auto made = std::make_unique<RangeBlock>();
  made->raw_ = raw.ToString();
  Reader reader(made->raw_);
  const uint32_t count = reader.U32();
  if (!reader.ok() || count == 0 || count > reader.remaining() / kItemBytesMin) {
    return Damaged("the range tombstone block has an impossible count");
  }
  std::vector<RangeTombstone> items(count);
  for (size_t i = 0; i < count; i++) {
    if (!Decode(&reader, global_seqno, &items[i])) {
      return Damaged("a range tombstone breaks a rule of its form");
    }
    if (i > 0 && ComesBefore(items[i], items[i - 1])) {
      return Damaged("range tombstones do not ascend");
    }
  }
  if (!reader.AtEnd()) return Damaged("the range tombstone block goes on behind its items");
  made->index_ = MakeRef<RangeIndex>(std::move(items));
  *block = std::move(made);
  return Status::Ok();
}

}  // namespace shale
