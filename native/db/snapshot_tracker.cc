#include "db/snapshot_tracker.h"

#include "base/seeded_bug.h"

namespace shale {

Seqno SnapshotTracker::Open() {
  std::lock_guard<std::mutex> lock(mutex_);
  const Seqno seqno = visible_->load(std::memory_order_seq_cst);
  open_[seqno]++;
  return seqno;
}

void SnapshotTracker::OpenAt(Seqno seqno) {
  std::lock_guard<std::mutex> lock(mutex_);
  open_[seqno]++;
}

void SnapshotTracker::Close(Seqno seqno) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = open_.find(seqno);
    if (it == open_.end() || --it->second != 0) return;
    open_.erase(it);
  }
  if (on_release_) on_release_(seqno);
}

RetentionView SnapshotTracker::View() const {
  RetentionView view;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!BugIsOn(SeededBug::kCompactionIgnoresSnapshots)) {
    view.snapshots.reserve(open_.size());
    for (const auto& [seqno, count] : open_) view.snapshots.push_back(seqno);
  }
  view.visible = visible_->load(std::memory_order_seq_cst);
  return view;
}

size_t SnapshotTracker::open_count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  size_t total = 0;
  for (const auto& [seqno, count] : open_) total += count;
  return total;
}

std::optional<Seqno> SnapshotTracker::oldest() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (open_.empty()) return std::nullopt;
  return open_.begin()->first;
}

}  // namespace shale
