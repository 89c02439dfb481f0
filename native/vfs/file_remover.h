// FileRemover: deletes files on a thread that may wait for it.
//
// Removing a large file, or closing one that was removed, takes tens of milliseconds. The last
// reader of an obsolete table may be a thread that must not wait, so that it only leaves the file
// here.
//
// Threads: any; one mutex, never held across I/O.
// Lifetime: shared by those who may still have something to remove. After Stop nothing is removed
// any more: the directory may belong to another process, and its next open removes what nobody
// names.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "vfs/vfs.h"

namespace shale {

class FileRemover {
 public:
  // `run` hands work to another thread, or drops it; then Stop does it.
  FileRemover(Vfs* vfs, std::function<void(std::function<void()>)> run);

  // Closes `file` (may be null) and removes `path`, later and one after the other.
  void Remove(const std::string& path, std::shared_ptr<File> file) noexcept;
  // Removes what is left, here and now. Nothing that was handed to `run` runs any more.
  void Stop();

 private:
  struct Doomed {
    std::string path;
    std::shared_ptr<File> file;
  };

  void RemoveNext();
  void RemoveNow(Doomed doomed);

  Vfs* const vfs_;
  const std::function<void(std::function<void()>)> run_;
  std::mutex mutex_;
  std::deque<Doomed> doomed_;  // mutex_
  bool running_ = false;       // mutex_: RemoveNext was handed over
  bool stopped_ = false;       // mutex_
};

}  // namespace shale
