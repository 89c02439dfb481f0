#include "table/table_parts.h"

#include <algorithm>

#include "table/block_shape.h"

namespace shale {

Status TableParts::Open(const TableOpenOptions& options) {
  SHALE_RETURN_IF_ERROR(file.CheckSize());
  SHALE_RETURN_IF_ERROR(OpenFooter());
  SHALE_RETURN_IF_ERROR(OpenProperties());
  SHALE_RETURN_IF_ERROR(OpenBlobReferences());
  SHALE_RETURN_IF_ERROR(OpenRanges());
  SHALE_RETURN_IF_ERROR(OpenIndex(options.pin_index));
  return filter.Open(footer.filter, properties.filter_kind, options.pin_filter);
}

Status TableParts::OpenFooter() {
  char bytes[kTableFooterBytes];
  const uint64_t offset = file.footer_offset();
  SHALE_RETURN_IF_ERROR(file.Read(offset, sizeof bytes, bytes));
  const Status status = DecodeTableFooter(Slice(bytes, sizeof bytes), meta.number, offset, &footer);
  return status.ok() ? status : file.Located(status, offset);
}

Status TableParts::OpenProperties() {
  BlockBuffer stored;
  BlockBuffer buffer;
  Slice raw;
  SHALE_RETURN_IF_ERROR(file.ReadBlock(footer.properties, BlockType::kIndex, kPastCache, nullptr,
                                       &stored, &buffer, &raw));
  Status status = DecodeTableProperties(raw, &properties);
  if (status.ok()) status = CompareWithMeta();
  if (status.ok() && footer.filter.is_null() != (properties.filter_kind == FilterKind::kNone)) {
    status = Status::Corruption("footer and properties disagree about the filter");
  }
  return status.ok() ? status : file.Located(status, footer.properties.offset);
}

// A table without entries has an index without entries, of which nothing is kept.
Status TableParts::OpenIndex(bool pin) {
  if (properties.item_count != 0) return index.Open(footer.index, properties.index_kind, pin);
  BlockBuffer stored;
  BlockBuffer buffer;
  Slice raw;
  SHALE_RETURN_IF_ERROR(
      file.ReadBlock(footer.index, BlockType::kIndex, kPastCache, nullptr, &stored, &buffer, &raw));
  BlockShape shape;
  Status status = DecodeBlockShape(raw, 1, &shape);
  if (status.ok() && (shape.entry_count != 0 || raw.size() != kBlockFooterBytes)) {
    status = Status::Corruption("a table without entries has an index with some");
  }
  if (status.ok() && properties.filter_kind != FilterKind::kNone) {
    status = Status::Corruption("a table without entries has a filter");
  }
  return status.ok() ? status : file.Located(status, footer.index.offset);
}

Status TableParts::OpenRanges() {
  if (properties.range_tombstone_count == 0) return Status::Ok();
  const BlockHandle handle = properties.range_tombstones;
  BlockBuffer stored;
  BlockBuffer buffer;
  Slice raw;
  SHALE_RETURN_IF_ERROR(
      file.ReadBlock(handle, BlockType::kIndex, kPastCache, nullptr, &stored, &buffer, &raw));
  Status status = RangeBlock::Parse(raw, meta.global_seqno, &ranges);
  if (status.ok()) status = CheckRanges();
  return status.ok() ? status : file.Located(status, handle.offset);
}

// What properties and manifest say of the table holds for its range tombstones: readers go by it.
Status TableParts::CheckRanges() const {
  const RangeIndex& index = ranges->index();
  const auto& items = index.items();
  const auto last = std::max_element(items.begin(), items.end(), [](const auto& a, const auto& b) {
    return CompareEnds(a.end, b.end) < 0;
  });
  const KeyBound bound = last->unbounded() ? KeyBound::kUnbounded : KeyBound::kExclusive;
  const int c = CompareUpperBounds(last->end, bound, meta.last_key, meta.last_key_bound);
  // An upper bound that is no entry's key is the end of one.
  const bool ends = meta.last_key_bound == KeyBound::kInclusive ? c < 0 : c == 0;
  if (items.size() != properties.range_tombstone_count || !ends ||
      items.front().start < Slice(meta.first_key) || index.lowest_seqno() < meta.lowest_seqno ||
      index.highest_seqno() > meta.highest_seqno) {
    return Status::Corruption("range tombstones do not match what the table says of them");
  }
  return Status::Ok();
}

Status TableParts::OpenBlobReferences() {
  const BlockHandle handle = properties.blob_references;
  const uint64_t place = handle.is_null() ? footer.properties.offset : handle.offset;
  BlobReferences references;
  if (!handle.is_null()) {
    BlockBuffer stored;
    BlockBuffer buffer;
    Slice raw;
    SHALE_RETURN_IF_ERROR(
        file.ReadBlock(handle, BlockType::kIndex, kPastCache, nullptr, &stored, &buffer, &raw));
    const Status status = DecodeBlobReferences(raw, &references);
    if (!status.ok()) return file.Located(status, place);
  }
  if (references == meta.blobs) return Status::Ok();
  return file.Located(
      Status::Corruption("the table has other blob references than the manifest says"), place);
}

Status TableParts::CompareWithMeta() const {
  const TableProperties& p = properties;
  const char* what = nullptr;
  if (p.item_count != meta.item_count) what = "item count";
  if (p.tombstone_count != meta.tombstone_count) what = "tombstone count";
  if (p.weak_tombstone_count != meta.weak_tombstone_count) what = "weak tombstone count";
  if (p.range_tombstone_count != meta.range_tombstone_count) what = "range tombstone count";
  if (p.block_count != meta.block_count) what = "block count";
  if (p.first_key != meta.first_key) what = "first key";
  if (p.last_key != meta.last_key || p.last_key_bound != meta.last_key_bound) what = "last key";
  if (p.lowest_seqno + meta.global_seqno != meta.lowest_seqno) what = "lowest seqno";
  if (p.highest_seqno + meta.global_seqno != meta.highest_seqno) what = "highest seqno";
  if (meta.highest_seqno > kSeqnoMax) what = "global seqno";
  if (what == nullptr) return Status::Ok();
  return Status::Corruption(std::string("the table has another ") + what +
                            " than the manifest says");
}

}  // namespace shale
