// Verification of a whole table: every byte once, past every cache, and everything that the parts
// of a table say about each other.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "table/data_block.h"
#include "table/table_parts.h"

namespace shale {
namespace {

class Verifier {
 public:
  Verifier(const TableContext& context, const TableMeta& meta)
      : parts_(context, meta, std::make_shared<TableCounters>()) {}

  Status Run();

 private:
  Status Damaged(const char* what, uint64_t offset) const {
    return parts_.file.Located(Status::Corruption(what), offset);
  }
  void Cover(BlockHandle handle) { blocks_.push_back(handle); }
  Status LoadIndex(BlockHandle handle, BlockType target, Ref<IndexBlock>* block);
  Status VerifyIndex();
  Status VerifyPartition(const IndexBlock& partition);
  Status VerifyDataBlock(BlockHandle handle);
  Status VerifyEntry(const Entry& entry, uint64_t block_offset);
  void CoverFilter();
  Status VerifyBlobReferences();
  void CountRanges();
  Status VerifyCounts() const;
  Status VerifyCoverage();

  TableParts parts_;
  ReadAhead ahead_;
  BlockBuffer stored_;
  BlockBuffer raw_;
  std::vector<BlockHandle> blocks_;  // all that were read
  TableProperties seen_;             // what the data blocks add up to
  BlobReferenceCounter blobs_;
  uint64_t data_end_ = 0;  // end of the data block before
  std::string last_key_;   // of the entry before
  Seqno last_seqno_ = 0;
  std::string separator_;  // of the data block before; empty before the first
  Seqno separator_seqno_ = 0;
};

Status Verifier::Run() {
  SHALE_RETURN_IF_ERROR(parts_.Open({/*pin_index=*/false, /*pin_filter=*/true}));
  Cover(parts_.footer.properties);
  CoverFilter();
  if (parts_.properties.item_count == 0) {
    Cover(parts_.footer.index);
  } else {
    SHALE_RETURN_IF_ERROR(VerifyIndex());
  }
  CountRanges();
  SHALE_RETURN_IF_ERROR(VerifyBlobReferences());
  SHALE_RETURN_IF_ERROR(VerifyCounts());
  return VerifyCoverage();
}

// The filter's blocks were read and checked when they were pinned.
void Verifier::CoverFilter() {
  if (parts_.filter.kind() == FilterKind::kNone) return;
  Cover(parts_.footer.filter);
  const IndexBlock* top = parts_.filter.top();
  for (uint32_t i = 0; top != nullptr && i < top->entry_count(); i++) Cover(top->handle(i));
}

Status Verifier::LoadIndex(BlockHandle handle, BlockType target, Ref<IndexBlock>* block) {
  Cover(handle);
  return parts_.file.Load(handle, target, kPastCache, nullptr, block);
}

Status Verifier::VerifyIndex() {
  Ref<IndexBlock> root;
  if (parts_.index.kind() == IndexKind::kWhole) {
    SHALE_RETURN_IF_ERROR(LoadIndex(parts_.footer.index, BlockType::kData, &root));
    SHALE_RETURN_IF_ERROR(VerifyPartition(*root));
  } else {
    SHALE_RETURN_IF_ERROR(LoadIndex(parts_.footer.index, BlockType::kIndex, &root));
  }
  std::string separator;
  for (uint32_t i = 0; parts_.index.kind() != IndexKind::kWhole && i < root->entry_count(); i++) {
    Ref<IndexBlock> partition;
    SHALE_RETURN_IF_ERROR(LoadIndex(root->handle(i), BlockType::kData, &partition));
    SHALE_RETURN_IF_ERROR(VerifyPartition(*partition));
    root->AssignKey(i, &separator);
    if (separator != separator_ || root->seqno(i) != separator_seqno_) {
      return Damaged("an index partition ends with another separator than its own",
                     root->handle(i).offset);
    }
  }
  if (last_key_ != separator_ || (separator_seqno_ != 0 && separator_seqno_ != last_seqno_)) {
    return Damaged("the last separator is not the last entry", parts_.footer.index.offset);
  }
  return Status::Ok();
}

Status Verifier::VerifyPartition(const IndexBlock& partition) {
  for (uint32_t i = 0; i < partition.entry_count(); i++) {
    SHALE_RETURN_IF_ERROR(VerifyDataBlock(partition.handle(i)));
    partition.AssignKey(i, &separator_);
    separator_seqno_ = partition.seqno(i);
    // The last entry of the block is not behind its separator.
    if (CompareInternal(last_key_, MakeTag(last_seqno_, Kind::kValue), separator_,
                        MakeTag(separator_seqno_, Kind::kValue)) > 0) {
      return Damaged("a separator is before the end of its block", partition.handle(i).offset);
    }
  }
  return Status::Ok();
}

Status Verifier::VerifyDataBlock(BlockHandle handle) {
  if (handle.offset < data_end_) return Damaged("data blocks do not ascend", handle.offset);
  data_end_ = handle.end();
  Cover(handle);
  Slice raw;
  SHALE_RETURN_IF_ERROR(
      parts_.file.ReadBlock(handle, BlockType::kData, kPastCache, &ahead_, &stored_, &raw_, &raw));
  seen_.block_count++;
  seen_.raw_bytes += raw.size();
  Ref<DataBlock> block;
  Status status = DataBlock::Parse(raw, &raw_, &block);
  if (status.ok()) status = block->VerifyBuckets();
  if (!status.ok()) return parts_.file.Located(status, handle.offset);
  DataBlockCursor cursor;
  cursor.Attach(block.get());
  for (cursor.MoveTo(0); cursor.valid(); cursor.Next()) {
    SHALE_RETURN_IF_ERROR(VerifyEntry(cursor.entry(), handle.offset));
  }
  return Status::Ok();
}

Status Verifier::VerifyEntry(const Entry& entry, uint64_t block_offset) {
  TableProperties& s = seen_;
  const bool first = s.item_count == 0;
  if (!first &&
      CompareInternal(last_key_, MakeTag(last_seqno_, Kind::kValue), entry.key, entry.tag) >= 0) {
    return Damaged("entries do not ascend from block to block", block_offset);
  }
  if (!separator_.empty() && CompareInternal(separator_, MakeTag(separator_seqno_, Kind::kValue),
                                             entry.key, entry.tag) >= 0) {
    return Damaged("a separator is behind the start of the next block", block_offset);
  }
  if (first) {
    s.first_key = entry.key.ToString();
    s.lowest_seqno = entry.seqno();
  }
  if (first || entry.key != Slice(last_key_)) {
    s.key_count++;
    bool may_contain = false;
    SHALE_RETURN_IF_ERROR(
        parts_.filter.MayContain(entry.key, Hash64(entry.key), kPastCache, &may_contain));
    if (!may_contain) return Damaged("the filter hides a key", parts_.footer.filter.offset);
  }
  s.item_count++;
  if (entry.kind() == Kind::kTombstone) s.tombstone_count++;
  if (entry.kind() == Kind::kWeakTombstone) s.weak_tombstone_count++;
  s.lowest_seqno = std::min(s.lowest_seqno, entry.seqno());
  s.highest_seqno = std::max(s.highest_seqno, entry.seqno());
  if (entry.kind() == Kind::kBlobPointer) {
    blobs_.Add(BlobPointer::Decode(entry.value.data()), entry.key.size());
  }
  last_key_.assign(entry.key.data(), entry.key.size());
  last_seqno_ = entry.seqno();
  return Status::Ok();
}

// The block was read and checked when the table was opened; here its items widen the bounds that
// the entries gave.
void Verifier::CountRanges() {
  TableProperties& s = seen_;
  s.last_key = last_key_;
  if (parts_.ranges == nullptr) return;
  Cover(parts_.properties.range_tombstones);
  const Seqno global = parts_.meta.global_seqno;
  const std::vector<RangeTombstone>& items = parts_.ranges->index().items();
  bool first = s.item_count == 0;
  if (first || items.front().start < Slice(s.first_key)) {
    s.first_key = items.front().start.ToString();
  }
  for (const RangeTombstone& r : items) {
    const KeyBound bound = r.unbounded() ? KeyBound::kUnbounded : KeyBound::kExclusive;
    if (first || CompareUpperBounds(s.last_key, s.last_key_bound, r.end, bound) < 0) {
      s.last_key = r.end.ToString();
      s.last_key_bound = bound;
    }
    s.lowest_seqno = first ? r.seqno - global : std::min(s.lowest_seqno, r.seqno - global);
    s.highest_seqno = std::max(s.highest_seqno, r.seqno - global);
    first = false;
  }
  s.range_tombstone_count = items.size();
}

// The block itself was read and compared with the manifest when the table was opened.
Status Verifier::VerifyBlobReferences() {
  const BlockHandle handle = parts_.properties.blob_references;
  if (!handle.is_null()) Cover(handle);
  if (blobs_.Sum() == parts_.meta.blobs) return Status::Ok();
  return Damaged("blob references do not match the entries",
                 handle.is_null() ? parts_.footer.properties.offset : handle.offset);
}

Status Verifier::VerifyCounts() const {
  const TableProperties& p = parts_.properties;
  const TableProperties& s = seen_;
  if (p.item_count != s.item_count || p.tombstone_count != s.tombstone_count ||
      p.weak_tombstone_count != s.weak_tombstone_count || p.key_count != s.key_count ||
      p.block_count != s.block_count || p.raw_bytes != s.raw_bytes || p.first_key != s.first_key ||
      p.last_key != s.last_key || p.last_key_bound != s.last_key_bound ||
      p.range_tombstone_count != s.range_tombstone_count || p.lowest_seqno != s.lowest_seqno ||
      p.highest_seqno != s.highest_seqno) {
    return Damaged("table properties do not match the entries", parts_.footer.properties.offset);
  }
  return Status::Ok();
}

// Blocks lie back to back from the start of the file to its footer.
Status Verifier::VerifyCoverage() {
  std::sort(blocks_.begin(), blocks_.end(),
            [](BlockHandle a, BlockHandle b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const BlockHandle block : blocks_) {
    if (block.offset != end) return Damaged("bytes of the table belong to no block or to two", end);
    end = block.end();
  }
  if (end == parts_.file.footer_offset()) return Status::Ok();
  return Damaged("bytes of the table belong to no block", end);
}

}  // namespace

Status VerifyTable(const TableContext& context, const TableMeta& meta) {
  return Verifier(context, meta).Run();
}

}  // namespace shale
