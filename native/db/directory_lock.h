// DirectoryLock: keeps every other opener of a directory out, of either engine. docs/format.md,
// "Lock".
//
// An owner file created exclusively names the holder (pid, process start time, boot id, token); the
// operating system's lock is held on it as well. An owner file is stale only if its process is
// gone; takeover is atomic, so that of two takers one wins.
#pragma once

#include <memory>
#include <string>

#include "vfs/vfs.h"

namespace shale {

class DirectoryLock {
 public:
  // kDbLocked names the holder's pid and the directory (details: holder_pid, same_process).
  static Status Acquire(Vfs* vfs, const std::string& directory,
                        std::unique_ptr<DirectoryLock>* lock);
  ~DirectoryLock();  // removes the owner file and unlocks; does nothing in a forked child

 private:
  class Impl;
  explicit DirectoryLock(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
