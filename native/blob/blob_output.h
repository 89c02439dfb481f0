// BlobOutput: what a flush or a compaction separates: one blob file after the other, each of about
// the wanted size.
//
// Threads: one. Nothing is written before the first value.
// Lifetime: the files go with it, unless Keep() was called.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blob/blob_file.h"
#include "blob/blob_writer.h"
#include "vfs/unsynced_files.h"

namespace shale {

struct BlobOutputOptions {
  BlobContext blobs;
  std::shared_ptr<BlobCounters> counters;
  std::function<uint64_t()> new_file_number;
  BlobWriteOptions write;
  uint64_t file_size = uint64_t{64} << 20;  // bytes after which a file is closed
  bool sync_at_end = false;                 // else each file when it is full
};

class BlobOutput {
 public:
  explicit BlobOutput(BlobOutputOptions options) : options_(std::move(options)) {}
  ~BlobOutput();
  BlobOutput(const BlobOutput&) = delete;
  BlobOutput& operator=(const BlobOutput&) = delete;

  // In strictly ascending internal order, whichever of the two.
  Status Add(Slice key, Seqno seqno, Slice value, BlobPointer* pointer);
  Status AddFrame(const BlobFrame& frame, BlobPointer* pointer);
  // Ends the last file; all are synced and open afterwards. The directory is the caller's to sync.
  Status Finish();
  // The files stay: the manifest names them, or it is unknown whether it does. Discard takes it
  // back.
  void Keep() { kept_ = true; }
  void Discard() { kept_ = false; }

  struct Written {
    BlobFileMeta meta;
    Ref<BlobFile> file;  // after Finish()
  };
  const std::vector<Written>& files() const { return files_; }

 private:
  // A writer that takes one more value.
  Status Prepare();
  Status EndFile();

  const BlobOutputOptions options_;
  std::unique_ptr<BlobWriter> writer_;
  std::vector<Written> files_;
  UnsyncedFiles unsynced_;
  bool kept_ = false;
};

}  // namespace shale
