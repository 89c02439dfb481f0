#include "vfs/file_remover.h"

#include <new>
#include <utility>

namespace shale {

FileRemover::FileRemover(Vfs* vfs, std::function<void(std::function<void()>)> run)
    : vfs_(vfs), run_(std::move(run)) {}

void FileRemover::Remove(const std::string& path, std::shared_ptr<File> file) noexcept {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopped_) return;
    doomed_.push_back({path, std::move(file)});
    if (running_) return;
    run_([this] { RemoveNext(); });
    running_ = true;
  } catch (const std::bad_alloc&) {
    // It goes with the next one, at Stop, or at the next open.
  }
}

// One at a time, so that other work of the thread comes in between.
void FileRemover::RemoveNext() {
  Doomed doomed;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (doomed_.empty()) {
      running_ = false;
      return;
    }
    doomed = std::move(doomed_.front());
    doomed_.pop_front();
  }
  RemoveNow(std::move(doomed));
  const std::lock_guard<std::mutex> lock(mutex_);
  running_ = !doomed_.empty();
  if (running_) run_([this] { RemoveNext(); });
}

void FileRemover::RemoveNow(Doomed doomed) {
  doomed.file.reset();
  // A file that cannot be removed now is an orphan: the next open removes it.
  static_cast<void>(vfs_->Remove(doomed.path));
}

void FileRemover::Stop() {
  std::deque<Doomed> left;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    left.swap(doomed_);
  }
  for (Doomed& doomed : left) RemoveNow(std::move(doomed));
}

}  // namespace shale
