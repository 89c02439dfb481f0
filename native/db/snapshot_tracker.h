// SnapshotTracker: the read seqnos that open snapshots hold, and what retention has to respect.
//
// Threads: any; one mutex, held for a map operation.
// Invariant: View() sees every snapshot whose Open returned before it, and `visible` is read under
// the same lock after them, so that no snapshot can slip in below what a job believes to be free.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "tree/tree.h"

namespace shale {

class SnapshotTracker {
 public:
  explicit SnapshotTracker(const std::atomic<Seqno>* visible) : visible_(visible) {}
  Seqno Open();              // registers and returns the visible seqno
  void OpenAt(Seqno seqno);  // one more holder of an open seqno (iterators on a snapshot)
  void Close(Seqno seqno);
  // Called, without a lock, when the last holder of a seqno has let go. Set it before the first.
  void OnRelease(std::function<void(Seqno)> call) { on_release_ = std::move(call); }
  RetentionView View() const;
  size_t open_count() const;
  std::optional<Seqno> oldest() const;

 private:
  const std::atomic<Seqno>* visible_;
  std::function<void(Seqno)> on_release_;
  mutable std::mutex mutex_;
  std::map<Seqno, uint32_t> open_;
};

}  // namespace shale
