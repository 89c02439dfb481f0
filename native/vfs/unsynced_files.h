// UnsyncedFiles: files that are complete and wait for their sync, open meanwhile: the error of a
// page that could not be written reaches whoever had the file open then, and nobody later.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

#include "vfs/vfs.h"

namespace shale {

class UnsyncedFiles {
 public:
  // Beyond so many the oldest is synced at once: descriptors are few, and by then the system is
  // busy writing it anyway.
  static constexpr size_t kMax = 64;

  Status Add(std::unique_ptr<File> file) {
    files_.push_back(std::move(file));
    return files_.size() > kMax ? SyncOldest() : Status::Ok();
  }
  Status SyncAll() {
    while (!files_.empty()) SHALE_RETURN_IF_ERROR(SyncOldest());
    return Status::Ok();
  }
  void Close() { files_.clear(); }

 private:
  Status SyncOldest() {
    const std::unique_ptr<File> file = std::move(files_.front());
    files_.pop_front();
    return file->Sync();
  }

  std::deque<std::unique_ptr<File>> files_;
};

}  // namespace shale
