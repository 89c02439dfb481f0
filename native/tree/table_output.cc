#include "tree/table_output.h"

#include <utility>

#include "base/seeded_bug.h"
#include "vfs/file_name.h"
#include "vfs/sync_dir.h"

namespace shale {
namespace {

constexpr uint64_t kThrottleStep = uint64_t{256} << 10;

}  // namespace

TableOutput::TableOutput(TableOutputOptions options) : options_(std::move(options)) {}

TableOutput::~TableOutput() {
  if (kept_) return;
  writer_.reset();
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
  while (next_below_ < options_.below.size() &&
         Slice(options_.below[next_below_]->last_key) < key) {
    if (writer_ != nullptr) below_bytes_ += options_.below[next_below_]->size;
    next_below_++;
  }
  return below_bytes_ > options_.below_bytes_max;
}

bool TableOutput::MustEndBefore(Slice key) {
  bool end = full_ && key != Slice(full_key_);
  while (next_fence_ < options_.fences.size() && !(key < options_.fences[next_fence_])) {
    next_fence_++;
    end = true;
  }
  return OverlapsTooMuch(key) || end;
}

Status TableOutput::Add(const Entry& entry) {
  if (MustEndBefore(entry.key) && writer_ != nullptr) SHALE_RETURN_IF_ERROR(EndTable());
  if (writer_ == nullptr) SHALE_RETURN_IF_ERROR(StartTable());
  SHALE_RETURN_IF_ERROR(writer_->Add(entry));
  item_count_++;
  if (!full_ && writer_->EstimatedSize() >= options_.target_size) {
    full_ = true;
    full_key_ = entry.key.ToString();
  }
  unpaid_bytes_ += entry.key.size() + entry.value.size();
  if (unpaid_bytes_ >= kThrottleStep && options_.throttle) {
    options_.throttle(std::exchange(unpaid_bytes_, 0));
  }
  return Status::Ok();
}

Status TableOutput::StartTable() {
  const TableContext& context = options_.tables;
  number_ = options_.manifest->NewFileNumber();
  full_ = false;
  below_bytes_ = 0;
  return TableWriter::Create(context.vfs, FileName(context.directory, FileKind::kTable, number_),
                             number_, options_.write, &writer_);
}

Status TableOutput::EndTable() {
  Table table;
  const Status s = writer_->Finish(&table.meta);
  writer_.reset();
  if (s.ok()) tables_.push_back(std::move(table));
  return s;
}

Status TableOutput::Finish() {
  if (writer_ != nullptr) SHALE_RETURN_IF_ERROR(EndTable());
  if (tables_.empty()) return Status::Ok();
  const TableContext& context = options_.tables;
  if (!BugIsOn(SeededBug::kSkipDirSyncAfterTable)) {
    SHALE_RETURN_IF_ERROR(SyncDirectory(context.vfs, context.directory));
  }
  for (Table& table : tables_) {
    SHALE_RETURN_IF_ERROR(
        TableReader::Open(context, table.meta, options_.open, options_.counters, &table.reader));
  }
  return Status::Ok();
}

uint64_t TableOutput::bytes() const {
  uint64_t sum = 0;
  for (const Table& table : tables_) sum += table.meta.size;
  return sum;
}

}  // namespace shale
