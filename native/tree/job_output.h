// JobOutput: what a flush or a compaction writes, tables and the blob files that they point into,
// as one thing that is kept or thrown away.
//
// Large values go to blob files and leave a pointer; pointers are passed on, and those into files
// that are given up get a new one: their frames move as they are stored.
// Threads: one.
// Errors: unless Keep() was called, the destructor removes every file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "blob/blob_output.h"
#include "blob/blob_scanner.h"
#include "tree/table_output.h"

namespace shale {

struct JobOutputOptions {
  TableOutputOptions tables;
  std::optional<BlobOutputOptions> blobs;  // set: values are separated
  uint64_t threshold = 0;                  // ... of this size and more
};

class JobOutput final : public Retention::Sink {
 public:
  explicit JobOutput(JobOutputOptions options);

  // Before the first entry; see TableOutput.
  void SetRanges(std::vector<RangeTombstone> ranges) { tables_.SetRanges(std::move(ranges)); }
  // The values of these files are moved. Before the first entry; requires `blobs`.
  void SetRelocated(std::vector<Ref<BlobFile>> files);
  Status Add(const Entry& entry) override;
  // Everything is durable afterwards, directory entries too.
  Status End();
  // What was written may be read; see TableOutput.
  Status Open(Seqno global_seqno = 0) { return tables_.Open(global_seqno); }
  Status Finish() {
    SHALE_RETURN_IF_ERROR(End());
    return Open();
  }
  void DropUnfinished() { tables_.DropUnfinished(); }
  void Keep();
  void Discard();

  const std::vector<TableOutput::Table>& tables() const { return tables_.tables(); }
  const std::vector<BlobOutput::Written>& blob_files() const;
  uint64_t bytes() const;
  uint64_t item_count() const { return tables_.item_count(); }

 private:
  // A file whose values are moved, and where it is read.
  struct Relocated {
    Ref<BlobFile> file;
    std::unique_ptr<BlobScanner> scanner;
  };

  Status Separate(const Entry& entry);
  Status Move(const Entry& entry, Relocated* from);
  Status AddPointer(const Entry& entry, const BlobPointer& pointer);

  const uint64_t threshold_;
  UnpaidBytes unpaid_;  // of values; tables pay for themselves
  TableOutput tables_;
  std::optional<BlobOutput> blobs_;
  std::unordered_map<uint64_t, Relocated> relocated_;  // by file number
  size_t scanners_ = 0;
};

}  // namespace shale
