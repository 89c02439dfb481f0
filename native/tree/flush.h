// FlushJob: the sealed memtables of a tree on their way to tables of one new run; see flush.cc.
//
// Threads: one, which holds the tree's flush_mutex_.
#pragma once

#include <vector>

#include "tree/tree.h"

namespace shale {

class Tree::FlushJob {
 public:
  // What `base` has sealed; it may be nothing. `control` may be null.
  FlushJob(Tree* tree, Ref<SuperVersion> base, JobControl* control);

  // All of it, with the commit.
  Status Execute(const std::function<Status(Seqno highest)>& before_commit, JobStats* stats);
  // Everything is written and durable afterwards, and open.
  Status Write();
  // Adds the tables to a change as the newest run; install_mutex_ held.
  void AddTo(ManifestEdit::TreeChange* change) const;
  void CountIn(JobStats* stats) const;

  JobOutput& output() { return output_; }
  const std::vector<Ref<Memtable>>& memtables() const { return base_->sealed; }

 private:
  JobOutputOptions OutputOptions() const;
  Seqno Highest() const;
  std::vector<RangeTombstone> Ranges() const;
  Status Progress(uint64_t items) const;
  Status Commit();

  Tree* const tree_;
  const Ref<SuperVersion> base_;
  JobControl* const control_;
  JobOutput output_;
  uint64_t items_read_ = 0;
};

}  // namespace shale
