// TableOutput: the tables that a flush or a compaction writes, as one thing that is kept or thrown
// away.
//
// Tables end between user keys: when they have reached their size, where a table of the destination
// that is no input lies between two keys, and before they would overlap too much of the level
// below. A range tombstone that goes on behind the end of a table is cut there.
// Threads: one.
// Errors: the first is sticky. Unless Keep() was called, the destructor removes every file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "table/table_reader.h"
#include "table/table_writer.h"
#include "tree/manifest.h"
#include "tree/retention.h"
#include "vfs/unsynced_files.h"

namespace shale {

// Told how many bytes a job has written; returns when it may go on.
using Throttle = std::function<void(uint64_t bytes)>;

// What a job has written without asking whether it may go on: it asks at every step, and at its
// end, so that small jobs are no way around a limit.
class UnpaidBytes {
 public:
  explicit UnpaidBytes(Throttle throttle) : throttle_(std::move(throttle)) {}

  void Add(uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ >= kStep) Pay();
  }
  void Pay() {
    const uint64_t bytes = std::exchange(bytes_, 0);
    if (bytes != 0 && throttle_) throttle_(bytes);
  }

 private:
  static constexpr uint64_t kStep = uint64_t{256} << 10;

  const Throttle throttle_;
  uint64_t bytes_ = 0;
};

struct TableOutputOptions {
  TableContext tables;
  Manifest* manifest = nullptr;  // numbers the files
  std::shared_ptr<TableCounters> counters;
  TableWriteOptions write;
  TableOpenOptions open;
  uint64_t target_size = uint64_t{64} << 20;
  std::vector<Slice> fences;  // ascending; keys that a table must not span
  // The level below the output, in key order; its tables outlive this.
  std::vector<const TableMeta*> below;
  uint64_t below_bytes_max = UINT64_MAX;  // that one table may overlap
  bool sync_at_end = false;               // else each table when it is full
  Throttle throttle;
};

class TableOutput final : public Retention::Sink {
 public:
  explicit TableOutput(TableOutputOptions options);
  ~TableOutput() override;

  // The range tombstones of the output, in the order of ComesBefore and before the first entry;
  // their keys outlive this.
  void SetRanges(std::vector<RangeTombstone> ranges) { ranges_ = std::move(ranges); }
  Status Add(const Entry& entry) override;
  // Ends the last table; all are durable afterwards, their directory entries too.
  Status End();
  // Opens them; `global_seqno` is what they get to add to their seqnos.
  Status Open(Seqno global_seqno = 0);
  // Gives up the table at hand, not those that are finished.
  void DropUnfinished() { writer_.reset(); }
  // The files stay: the manifest names them, or it is unknown whether it does. Discard takes it
  // back.
  void Keep() { kept_ = true; }
  void Discard() { kept_ = false; }

  struct Table {
    TableMeta meta;
    Ref<TableReader> reader;  // after Open()
  };
  const std::vector<Table>& tables() const { return tables_; }
  uint64_t bytes() const;
  uint64_t item_count() const { return item_count_; }

 private:
  bool OverlapsTooMuch(Slice key);
  // Whether the table at hand holds something.
  bool begun() const { return writer_ != nullptr || !open_.empty(); }
  Status Reach(Slice key);
  Status OpenRangesUpTo(const Slice* key);
  Status CloseRanges(Slice key);
  void CheckSize(Slice key);
  Status StartTable();
  Status EndTable(const Slice* next_key);

  const TableOutputOptions options_;
  std::unique_ptr<TableWriter> writer_;
  uint64_t number_ = 0;
  std::vector<Table> tables_;
  UnsyncedFiles unsynced_;
  std::vector<RangeTombstone> ranges_;
  size_t next_range_ = 0;
  // Those of the table at hand that may go on behind its end; the others are in the writer.
  std::vector<RangeTombstone> open_;
  std::string cut_key_;           // where those begin that the last table left
  size_t open_kept_ = 0;          // of them at the last look
  uint64_t own_range_bytes_ = 0;  // of range tombstones that begin in the table at hand
  bool full_ = false;             // the table ends before the next key
  std::string full_key_;          // ... which is not this one
  size_t next_fence_ = 0;
  size_t next_below_ = 0;
  uint64_t below_bytes_ = 0;  // of tables below that the table at hand has passed
  uint64_t item_count_ = 0;
  UnpaidBytes unpaid_;
  bool kept_ = false;
};

}  // namespace shale
