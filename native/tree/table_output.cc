#include "tree/table_output.h"

#include <utility>

#include "base/seeded_bug.h"
#include "table/range_block.h"
#include "vfs/file_name.h"
#include "vfs/sync_dir.h"

namespace shale {
namespace {

constexpr size_t kOpenRangesMin = 16;

}  // namespace

TableOutput::TableOutput(TableOutputOptions options)
    : options_(std::move(options)), unpaid_(options_.throttle) {}

TableOutput::~TableOutput() {
  if (kept_) return;
  writer_.reset();
  unsynced_.Close();
  for (Table& table : tables_) {
    if (table.reader) {
      table.reader->MarkObsolete();
      continue;
    }
    const TableContext& context = options_.tables;
    // What cannot be removed now is an orphan, which the next open removes.
    static_cast<void>(
        context.vfs->Remove(FileName(context.directory, FileKind::kTable, table.meta.number)));
  }
}

// True once for the first key behind a table of the level below with which the overlap is too
// large.
bool TableOutput::OverlapsTooMuch(Slice key) {
  while (next_below_ < options_.below.size() && options_.below[next_below_]->EndsBefore(key)) {
    if (begun()) below_bytes_ += options_.below[next_below_]->size;
    next_below_++;
  }
  return below_bytes_ > options_.below_bytes_max;
}

// All before `key` has been given: ends the table where it must not, or need not, go on to it.
Status TableOutput::Reach(Slice key) {
  while (next_fence_ < options_.fences.size() && !(key < options_.fences[next_fence_])) {
    const Slice fence = options_.fences[next_fence_++];
    if (begun()) SHALE_RETURN_IF_ERROR(EndTable(&fence));
  }
  const bool full = full_ && key != Slice(full_key_);
  if ((OverlapsTooMuch(key) || full) && begun()) return EndTable(&key);
  return Status::Ok();
}

// Range tombstones that start at or before `key`; all if it is null.
Status TableOutput::OpenRangesUpTo(const Slice* key) {
  for (; next_range_ < ranges_.size(); next_range_++) {
    const RangeTombstone& range = ranges_[next_range_];
    if (key != nullptr && *key < range.start) break;
    SHALE_RETURN_IF_ERROR(Reach(range.start));
    if (writer_ == nullptr) SHALE_RETURN_IF_ERROR(StartTable());
    // What has ended goes to the writer, so that only what may be cut is looked at again.
    if (open_.size() >= 2 * open_kept_ + kOpenRangesMin) {
      SHALE_RETURN_IF_ERROR(CloseRanges(range.start));
    }
    open_.push_back(range);
    own_range_bytes_ += RangeBytes(range);
    unpaid_.Add(RangeBytes(range));
    CheckSize(range.start);
  }
  return Status::Ok();
}

// Gives those that end at or before `key` to the writer.
Status TableOutput::CloseRanges(Slice key) {
  size_t kept = 0;
  for (const RangeTombstone& range : open_) {
    if (range.EndsBehind(key)) {
      open_[kept++] = range;
    } else {
      SHALE_RETURN_IF_ERROR(writer_->AddRange(range));
    }
  }
  open_.resize(kept);
  open_kept_ = kept;
  return Status::Ok();
}

void TableOutput::CheckSize(Slice key) {
  if (full_) return;
  if (writer_->EstimatedSize() + own_range_bytes_ < options_.target_size &&
      own_range_bytes_ < kRangeBytesMax) {
    return;
  }
  full_ = true;
  full_key_ = key.ToString();
}

Status TableOutput::Add(const Entry& entry) {
  if (!ranges_.empty()) SHALE_RETURN_IF_ERROR(OpenRangesUpTo(&entry.key));
  SHALE_RETURN_IF_ERROR(Reach(entry.key));
  if (writer_ == nullptr) SHALE_RETURN_IF_ERROR(StartTable());
  SHALE_RETURN_IF_ERROR(writer_->Add(entry));
  item_count_++;
  CheckSize(entry.key);
  unpaid_.Add(entry.key.size() + entry.value.size());
  return Status::Ok();
}

Status TableOutput::StartTable() {
  const TableContext& context = options_.tables;
  number_ = options_.manifest->NewFileNumber();
  return TableWriter::Create(context.vfs, FileName(context.directory, FileKind::kTable, number_),
                             number_, options_.write, &writer_);
}

// What is left of open range tombstones belongs to the table that begins at `next_key`; null: there
// is none.
Status TableOutput::EndTable(const Slice* next_key) {
  if (writer_ == nullptr) {
    // Nothing but what the last cut left, and this one is at the same key.
    if (next_key != nullptr && *next_key == open_.front().start) return Status::Ok();
    SHALE_RETURN_IF_ERROR(StartTable());
  }
  size_t kept = 0;
  for (const RangeTombstone& range : open_) {
    const bool cut = next_key != nullptr && range.EndsBehind(*next_key);
    SHALE_RETURN_IF_ERROR(
        writer_->AddRange({range.start, cut ? *next_key : range.end, range.seqno}));
    if (cut) open_[kept++] = range;
  }
  open_.resize(kept);
  open_kept_ = kept;
  if (kept != 0) cut_key_ = next_key->ToString();
  for (RangeTombstone& range : open_) range.start = cut_key_;
  full_ = false;
  below_bytes_ = 0;
  own_range_bytes_ = 0;
  Table table;
  std::unique_ptr<File> file;
  const Status s = writer_->Finish(&table.meta, options_.sync_at_end ? &file : nullptr);
  writer_.reset();
  if (!s.ok()) return s;
  tables_.push_back(std::move(table));
  return file != nullptr ? unsynced_.Add(std::move(file)) : s;
}

Status TableOutput::End() {
  SHALE_RETURN_IF_ERROR(OpenRangesUpTo(nullptr));
  // Fences behind the last start cut what still goes on.
  while (!open_.empty() && next_fence_ < options_.fences.size()) {
    const Slice fence = options_.fences[next_fence_++];
    SHALE_RETURN_IF_ERROR(EndTable(&fence));
  }
  if (begun()) SHALE_RETURN_IF_ERROR(EndTable(nullptr));
  unpaid_.Pay();
  SHALE_RETURN_IF_ERROR(unsynced_.SyncAll());
  if (tables_.empty() || BugIsOn(SeededBug::kSkipDirSyncAfterTable)) return Status::Ok();
  return SyncDirectory(options_.tables.vfs, options_.tables.directory);
}

Status TableOutput::Open(Seqno global_seqno) {
  for (Table& table : tables_) {
    table.meta.global_seqno = global_seqno;
    table.meta.lowest_seqno += global_seqno;
    table.meta.highest_seqno += global_seqno;
    SHALE_RETURN_IF_ERROR(TableReader::Open(options_.tables, table.meta, options_.open,
                                            options_.counters, &table.reader));
  }
  return Status::Ok();
}

uint64_t TableOutput::bytes() const {
  uint64_t sum = 0;
  for (const Table& table : tables_) sum += table.meta.size;
  return sum;
}

}  // namespace shale
