// MissedReads: point reads that memory could not answer, gathered until the end of the tick.
//
// One hop to a reader thread costs some microseconds, so that the misses of one tick share a few.
// Each read keeps the state that it was asked of, and its read seqno: what is written, flushed or
// closed until it runs changes nothing.
//
// Threads: Add and Submit on the environment's; the reads themselves on the core's reader threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "binding/completion.h"
#include "binding/open_core.h"

namespace shale {

struct MissedRead {
  Ref<SuperVersion> super_version;
  Seqno read_seqno = 0;
  std::string key;
  bool size_only = false;
  std::shared_ptr<Latencies> latencies;  // null: it is not counted by itself
  uint64_t begun = 0;
  std::shared_ptr<Reply> reply;
};

class MissedReads {
 public:
  // `open` is where it runs; `core` is what its pins live in.
  void Add(const std::shared_ptr<OpenCore>& open, Ref<RefCounted> core, MissedRead read);
  // Hands everything to reader threads. Reads of a core that closed meanwhile answer DB_CLOSED.
  void Submit();

 private:
  struct Group {
    std::shared_ptr<OpenCore> open;
    Ref<RefCounted> core;
    std::vector<MissedRead> reads;
  };
  std::vector<Group> groups_;  // one per core; seldom more than one
};

}  // namespace shale
