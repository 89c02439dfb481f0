// IngestedRun: rows in the order of their keys on their way to the tables of one run. A memtable
// never sees them.
//
// They are stored with seqno 0. The tables get the seqno that all of the rows have when the run is
// put on top of the tree: Tree::Ingest.
// Threads: one at a time.
// Errors: the first is sticky. The files go with the run, unless it was ingested.
#pragma once

#include "tree/job_output.h"

namespace shale {

class IngestedRun {
 public:
  explicit IngestedRun(JobOutputOptions options) : output_(std::move(options)) {}

  // Keys strictly ascending; `kind` is that of a value or of a tombstone of one key.
  Status Add(Kind kind, Slice key, Slice value) {
    user_bytes_ += key.size() + value.size();
    return output_.Add({key, value, MakeTag(0, kind)});
  }
  // Ends the files and makes them durable, their directory entries too. Nothing may be added then.
  Status Complete() { return output_.End(); }
  uint64_t item_count() const { return output_.item_count(); }

 private:
  friend class Tree;
  JobOutput output_;
  uint64_t user_bytes_ = 0;  // of keys and values
};

}  // namespace shale
