#include "table/table_parts.h"

namespace shale {

Status TableParts::Open(const TableOpenOptions& options) {
  SHALE_RETURN_IF_ERROR(file.CheckSize());
  SHALE_RETURN_IF_ERROR(OpenFooter());
  SHALE_RETURN_IF_ERROR(OpenProperties());
  SHALE_RETURN_IF_ERROR(index.Open(footer.index, properties.index_kind, options.pin_index));
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
  if (status.ok() && properties.range_tombstone_count != 0) {
    status = Status(Code::kNotSupported, "this version does not read range tombstones");
  }
  return status.ok() ? status : file.Located(status, footer.properties.offset);
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
  if (p.last_key != meta.last_key) what = "last key";
  if (p.lowest_seqno + meta.global_seqno != meta.lowest_seqno) what = "lowest seqno";
  if (p.highest_seqno + meta.global_seqno != meta.highest_seqno) what = "highest seqno";
  if (meta.highest_seqno > kSeqnoMax) what = "global seqno";
  if (what == nullptr) return Status::Ok();
  return Status::Corruption(std::string("the table has another ") + what +
                            " than the manifest says");
}

}  // namespace shale
