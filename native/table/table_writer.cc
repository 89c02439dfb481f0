#include "table/table_writer.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "table/data_block.h"
#include "table/filter_block.h"
#include "table/index_block.h"
#include "table/range_block.h"
#include "table/table_format.h"

namespace shale {
namespace {

// Index and filter partitions: as large as data blocks, within these bounds.
constexpr size_t kPartitionBytesMin = 256;
constexpr size_t kPartitionBytesMax = 64 * 1024;
// A whole index or filter becomes a partitioned one before it reaches the limits of the format.
constexpr size_t kWholeBytesMax = 16 << 20;
// What footer and properties take, about.
constexpr size_t kTailBytes = kTableFooterBytes + 160;

}  // namespace

class TableWriter::Impl {
 public:
  Impl(Vfs* vfs, uint64_t file_number, const TableWriteOptions& options, std::unique_ptr<File> file)
      : vfs_(vfs),
        file_(std::move(file)),
        file_number_(file_number),
        options_(options),
        data_(options.restart_interval, options.hash_index_ratio),
        filter_(std::max(options.filter_bits_per_key, 0.001)) {}
  ~Impl() { Abandon(); }

  Status Add(const Entry& entry);
  Status AddRange(const RangeTombstone& range);
  uint64_t EstimatedSize() const;
  uint64_t item_count() const { return properties_.item_count; }
  Status Finish(TableMeta* meta, std::unique_ptr<File>* unsynced);
  void Abandon();

 private:
  // A finished block that waits for the key behind it, or for the end, to get its separator.
  struct Pending {
    bool exists = false;
    BlockHandle handle;
  };
  // Index and filter partitions are kept and written together behind the data, where one read gets
  // many of them.
  struct Partition {
    std::string separator;
    Seqno seqno;
    std::string raw;
  };
  struct Range {
    std::string start;
    std::string end;
    Seqno seqno;
  };

  bool has_filter() const { return options_.filter_bits_per_key > 0; }
  // Partitions grow with their number, so that the top block stays small whatever the table's size.
  size_t BytesMax(bool partitioned, const std::vector<Partition>& partitions) const {
    if (!partitioned && partitions.empty()) return kWholeBytesMax;
    return std::clamp<size_t>(options_.block_size, kPartitionBytesMin, kPartitionBytesMax) +
           partitions.size() / 2;
  }

  Status CheckEntry(const Entry& entry) const;
  Status AddChecked(const Entry& entry);
  void Count(const Entry& entry, bool new_key);
  Status WriteBlock(Slice raw, Codec codec, BlockHandle* handle);
  Status Append(Slice a, Slice b);
  Status FlushChunk();
  Status FlushDataBlock();
  void AddToIndex(const Slice* next_key);
  void CutIndexPartition(std::string separator, Seqno seqno);
  void CutFilterPartition(std::string separator);
  Status WritePartitions(const std::vector<Partition>& partitions, Codec codec, BlockHandle* top);
  Status WriteFilter(TableFooter* footer);
  Status WriteIndex(TableFooter* footer);
  Status WriteRanges();
  Status WriteBlobReferences();
  Status FinishFile();
  void Describe(TableMeta* meta) const;

  Vfs* const vfs_;
  std::unique_ptr<File> file_;  // null once the writer is done with it
  const uint64_t file_number_;
  const TableWriteOptions options_;
  Status status_;  // the first error

  uint64_t offset_ = 0;   // of the next block
  uint64_t written_ = 0;  // bytes handed to the file; the rest is in chunk_
  std::string chunk_;
  std::string compressed_;

  DataBlockBuilder data_;
  IndexBlockBuilder index_;
  FilterBlockBuilder filter_;
  std::vector<Partition> index_partitions_;
  std::vector<Partition> filter_partitions_;
  uint64_t partition_bytes_ = 0;
  Pending pending_;
  std::string last_key_;
  Seqno last_seqno_ = 0;
  TableProperties properties_;
  std::vector<Range> ranges_;
  BlobReferenceCounter blobs_;
};

// ---- entries ----

Status TableWriter::Impl::CheckEntry(const Entry& entry) const {
  const char* wrong = nullptr;
  if (entry.key.empty() || entry.key.size() > kKeyBytesMax) wrong = "the length of the key";
  if (entry.value.size() > kValueBytesMax) wrong = "the length of the value";
  if (entry.seqno() > kSeqnoMax) wrong = "the seqno";
  switch (entry.kind()) {
    case Kind::kValue:
      break;
    case Kind::kTombstone:
    case Kind::kWeakTombstone:
      if (!entry.value.empty()) wrong = "the value of a tombstone";
      break;
    case Kind::kBlobPointer:
      if (!BlobPointer::IsSound(entry.value)) wrong = "what is no blob pointer";
      break;
    default:
      wrong = "the kind of the entry";
  }
  if (wrong != nullptr) {
    return Status(Code::kInvalidArgument, std::string("a table cannot hold ") + wrong);
  }
  if (properties_.item_count != 0) {
    const int c = Slice(last_key_).Compare(entry.key);
    if (c > 0 || (c == 0 && last_seqno_ <= entry.seqno())) {
      return Status(Code::kInvalidArgument, "entries of a table must ascend");
    }
  }
  return Status::Ok();
}

Status TableWriter::Impl::Add(const Entry& entry) {
  if (!status_.ok()) return status_;
  status_ = CheckEntry(entry);
  if (status_.ok()) status_ = AddChecked(entry);
  return status_;
}

Status TableWriter::Impl::AddRange(const RangeTombstone& range) {
  if (!status_.ok()) return status_;
  const bool sound = !range.start.empty() && range.start.size() <= kKeyBytesMax &&
                     range.end.size() <= kKeyBytesMax && range.EndsBehind(range.start) &&
                     range.seqno <= kSeqnoMax;
  if (!sound) {
    status_ = Status(Code::kInvalidArgument, "a table cannot hold the range tombstone");
    return status_;
  }
  ranges_.push_back({range.start.ToString(), range.end.ToString(), range.seqno});
  return Status::Ok();
}

Status TableWriter::Impl::AddChecked(const Entry& entry) {
  const bool new_key = properties_.item_count == 0 || Slice(last_key_) != entry.key;
  // An entry too large for a block is alone in its block.
  const size_t bytes = entry.key.size() + entry.value.size() + DataBlockBuilder::kEntryOverheadMax;
  if (!data_.empty() && data_.SizeWith(bytes) > kBlockStoredBytesMax) {
    SHALE_RETURN_IF_ERROR(FlushDataBlock());
  }
  if (pending_.exists) AddToIndex(&entry.key);
  if (new_key && filter_.key_count() != 0 &&
      filter_.EstimatedSize() >= BytesMax(options_.partition_filter, filter_partitions_)) {
    CutFilterPartition(ShortSeparator(last_key_, entry.key));
  }
  const bool to_filter = new_key && has_filter();
  const uint64_t hash = to_filter || options_.hash_index_ratio > 0 ? Hash64(entry.key) : 0;
  if (to_filter) filter_.Add(hash);
  Count(entry, new_key);
  data_.Add(entry, new_key, hash);
  last_seqno_ = entry.seqno();
  if (new_key) last_key_.assign(entry.key.data(), entry.key.size());
  if (data_.entry_bytes() >= options_.block_size) return FlushDataBlock();
  return Status::Ok();
}

void TableWriter::Impl::Count(const Entry& entry, bool new_key) {
  TableProperties& p = properties_;
  if (p.item_count == 0) {
    p.first_key = entry.key.ToString();
    p.lowest_seqno = entry.seqno();
    p.highest_seqno = entry.seqno();
  }
  p.item_count++;
  if (new_key) p.key_count++;
  if (entry.kind() == Kind::kTombstone) p.tombstone_count++;
  if (entry.kind() == Kind::kWeakTombstone) p.weak_tombstone_count++;
  p.lowest_seqno = std::min(p.lowest_seqno, entry.seqno());
  p.highest_seqno = std::max(p.highest_seqno, entry.seqno());
  if (entry.kind() == Kind::kBlobPointer) {
    blobs_.Add(BlobPointer::Decode(entry.value.data()), entry.key.size());
  }
}

// ---- blocks ----

Status TableWriter::Impl::Append(Slice a, Slice b) {
  if (a.size() >= options_.write_chunk) {
    SHALE_RETURN_IF_ERROR(FlushChunk());
    SHALE_RETURN_IF_ERROR(file_->Write2(written_, a, b));
    written_ += a.size() + b.size();
    return Status::Ok();
  }
  chunk_.append(a.data(), a.size());
  chunk_.append(b.data(), b.size());
  return chunk_.size() >= options_.write_chunk ? FlushChunk() : Status::Ok();
}

Status TableWriter::Impl::FlushChunk() {
  if (chunk_.empty()) return Status::Ok();
  SHALE_RETURN_IF_ERROR(file_->Write(written_, chunk_));
  written_ += chunk_.size();
  chunk_.clear();
  return Status::Ok();
}

Status TableWriter::Impl::WriteBlock(Slice raw, Codec codec, BlockHandle* handle) {
  const SealedBlock block = SealBlock(raw, codec, file_number_, offset_, &compressed_);
  *handle = {offset_, static_cast<uint32_t>(block.stored.size())};
  offset_ = handle->end();
  return Append(block.stored, Slice(block.trailer.data(), block.trailer.size()));
}

Status TableWriter::Impl::FlushDataBlock() {
  const Slice raw = data_.Finish();
  SHALE_RETURN_IF_ERROR(WriteBlock(raw, options_.codec, &pending_.handle));
  pending_.exists = true;
  properties_.block_count++;
  properties_.raw_bytes += raw.size();
  data_.Reset();
  return Status::Ok();
}

// ---- index and filter ----

// Gives the pending block its separator: `next_key` is the first key behind it, null at the end.
void TableWriter::Impl::AddToIndex(const Slice* next_key) {
  pending_.exists = false;
  Seqno seqno = 0;
  std::string separator = last_key_;
  if (next_key != nullptr && *next_key == Slice(last_key_)) {
    seqno = last_seqno_;
  } else if (next_key != nullptr) {
    separator = ShortSeparator(last_key_, *next_key);
  }
  index_.Add(separator, seqno, pending_.handle);
  if (index_.EstimatedSize() >= BytesMax(options_.partition_index, index_partitions_)) {
    CutIndexPartition(std::move(separator), seqno);
  }
}

void TableWriter::Impl::CutIndexPartition(std::string separator, Seqno seqno) {
  index_partitions_.push_back({std::move(separator), seqno, index_.Finish().ToString()});
  partition_bytes_ += index_partitions_.back().raw.size();
  index_.Reset();
}

void TableWriter::Impl::CutFilterPartition(std::string separator) {
  filter_partitions_.push_back({std::move(separator), 0, filter_.Finish().ToString()});
  partition_bytes_ += filter_partitions_.back().raw.size();
  filter_.Reset();
}

Status TableWriter::Impl::WritePartitions(const std::vector<Partition>& partitions, Codec codec,
                                          BlockHandle* top) {
  IndexBlockBuilder builder;
  for (const Partition& partition : partitions) {
    BlockHandle handle;
    SHALE_RETURN_IF_ERROR(WriteBlock(partition.raw, codec, &handle));
    builder.Add(partition.separator, partition.seqno, handle);
  }
  return WriteBlock(builder.Finish(), options_.index_codec, top);
}

Status TableWriter::Impl::WriteFilter(TableFooter* footer) {
  if (!has_filter() || properties_.item_count == 0) return Status::Ok();
  if (!options_.partition_filter && filter_partitions_.empty()) {
    properties_.filter_kind = FilterKind::kWhole;
    return WriteBlock(filter_.Finish(), Codec::kNone, &footer->filter);
  }
  properties_.filter_kind = FilterKind::kPartitioned;
  if (filter_.key_count() != 0) CutFilterPartition(last_key_);
  return WritePartitions(filter_partitions_, Codec::kNone, &footer->filter);
}

Status TableWriter::Impl::WriteIndex(TableFooter* footer) {
  const bool whole = !options_.partition_index || properties_.item_count == 0;
  if (whole && index_partitions_.empty()) {
    properties_.index_kind = IndexKind::kWhole;
    return WriteBlock(index_.Finish(), options_.index_codec, &footer->index);
  }
  properties_.index_kind = IndexKind::kPartitioned;
  if (!index_.empty()) CutIndexPartition(last_key_, 0);
  return WritePartitions(index_partitions_, options_.index_codec, &footer->index);
}

// They count in the bounds of the table, which are those of its entries so far.
Status TableWriter::Impl::WriteRanges() {
  if (ranges_.empty()) return Status::Ok();
  std::vector<RangeTombstone> sorted;
  sorted.reserve(ranges_.size());
  for (const Range& r : ranges_) sorted.push_back({r.start, r.end, r.seqno});
  std::sort(sorted.begin(), sorted.end(), ComesBefore);
  TableProperties& p = properties_;
  bool first = p.item_count == 0;
  if (first || sorted.front().start < Slice(p.first_key)) {
    p.first_key = sorted.front().start.ToString();
  }
  for (const RangeTombstone& r : sorted) {
    const KeyBound bound = r.unbounded() ? KeyBound::kUnbounded : KeyBound::kExclusive;
    if (first || CompareUpperBounds(p.last_key, p.last_key_bound, r.end, bound) < 0) {
      p.last_key = r.end.ToString();
      p.last_key_bound = bound;
    }
    p.lowest_seqno = first ? r.seqno : std::min(p.lowest_seqno, r.seqno);
    p.highest_seqno = std::max(p.highest_seqno, r.seqno);
    first = false;
  }
  p.range_tombstone_count = sorted.size();
  const std::string raw = EncodeRangeBlock(sorted);
  if (raw.size() > kBlockStoredBytesMax) {
    return Status(Code::kNotSupported, "too many range tombstones for one table");
  }
  return WriteBlock(raw, options_.index_codec, &p.range_tombstones);
}

Status TableWriter::Impl::WriteBlobReferences() {
  const BlobReferences references = blobs_.Sum();
  if (references.empty()) return Status::Ok();
  return WriteBlock(EncodeBlobReferences(references), options_.index_codec,
                    &properties_.blob_references);
}

// ---- the end ----

uint64_t TableWriter::Impl::EstimatedSize() const {
  if (properties_.item_count == 0) return 0;
  return offset_ + data_.entry_bytes() + index_.EstimatedSize() + partition_bytes_ +
         (has_filter() ? filter_.EstimatedSize() : 0) + kTailBytes;
}

Status TableWriter::Impl::Finish(TableMeta* meta, std::unique_ptr<File>* unsynced) {
  if (status_.ok() && file_ == nullptr) {
    status_ = Status(Code::kInvalidArgument, "the table is finished");
  } else if (status_.ok() && properties_.item_count == 0 && ranges_.empty()) {
    status_ = Status(Code::kInvalidArgument, "a table holds at least one entry");
  }
  if (status_.ok()) status_ = FinishFile();
  if (status_.ok() && unsynced == nullptr) status_ = file_->Sync();
  if (!status_.ok()) {
    Abandon();
    return status_;
  }
  Describe(meta);
  if (unsynced != nullptr) *unsynced = std::move(file_);
  file_.reset();
  return Status::Ok();
}

Status TableWriter::Impl::FinishFile() {
  if (!data_.empty()) SHALE_RETURN_IF_ERROR(FlushDataBlock());
  if (pending_.exists) AddToIndex(nullptr);
  properties_.last_key = last_key_;
  TableFooter footer;
  SHALE_RETURN_IF_ERROR(WriteRanges());
  SHALE_RETURN_IF_ERROR(WriteBlobReferences());
  SHALE_RETURN_IF_ERROR(WriteFilter(&footer));
  SHALE_RETURN_IF_ERROR(WriteIndex(&footer));
  properties_.codec = options_.codec;
  properties_.created_at_ms = vfs_->WallMillis();
  SHALE_RETURN_IF_ERROR(
      WriteBlock(EncodeTableProperties(properties_), Codec::kNone, &footer.properties));
  SHALE_RETURN_IF_ERROR(Append(EncodeTableFooter(footer, file_number_, offset_), Slice()));
  offset_ += kTableFooterBytes;
  return FlushChunk();
}

void TableWriter::Impl::Describe(TableMeta* meta) const {
  *meta = TableMeta();
  meta->number = file_number_;
  meta->size = offset_;
  meta->item_count = properties_.item_count;
  meta->tombstone_count = properties_.tombstone_count;
  meta->weak_tombstone_count = properties_.weak_tombstone_count;
  meta->range_tombstone_count = properties_.range_tombstone_count;
  meta->block_count = properties_.block_count;
  meta->first_key = properties_.first_key;
  meta->last_key = properties_.last_key;
  meta->last_key_bound = properties_.last_key_bound;
  meta->lowest_seqno = properties_.lowest_seqno;
  meta->highest_seqno = properties_.highest_seqno;
  meta->created_at_ms = properties_.created_at_ms;
  meta->codec = properties_.codec;
  meta->blobs = blobs_.Sum();
}

void TableWriter::Impl::Abandon() {
  if (file_ == nullptr) return;
  const std::string path = file_->path();
  file_.reset();
  // What cannot be removed now is an orphan that the next open removes.
  static_cast<void>(vfs_->Remove(path));
  if (status_.ok()) status_ = Status(Code::kAborted, "the table was abandoned");
}

// ---- the public class ----

TableWriter::TableWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TableWriter::~TableWriter() = default;

Status TableWriter::Create(Vfs* vfs, const std::string& path, uint64_t file_number,
                           const TableWriteOptions& options, std::unique_ptr<TableWriter>* writer) {
  std::unique_ptr<File> file;
  SHALE_RETURN_IF_ERROR(vfs->Open(path, OpenMode::kCreateNew, &file));
  auto impl = std::make_unique<Impl>(vfs, file_number, options, std::move(file));
  *writer = std::unique_ptr<TableWriter>(new TableWriter(std::move(impl)));
  return Status::Ok();
}

Status TableWriter::Add(const Entry& entry) { return impl_->Add(entry); }
Status TableWriter::AddRange(const RangeTombstone& range) { return impl_->AddRange(range); }
uint64_t TableWriter::EstimatedSize() const { return impl_->EstimatedSize(); }
uint64_t TableWriter::item_count() const { return impl_->item_count(); }
Status TableWriter::Finish(TableMeta* meta, std::unique_ptr<File>* unsynced) {
  return impl_->Finish(meta, unsynced);
}
void TableWriter::Abandon() { impl_->Abandon(); }

}  // namespace shale
