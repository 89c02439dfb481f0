// Ingestion: rows that come in the order of their keys, all of which become visible at once, under
// one seqno. They never meet the journal or a memtable.
//
// Rows are copied into a queue, from which an engine thread builds tables (tree/ingestion.h), so
// that who brings them neither compresses nor writes. It waits only when the queue is full, which
// is for the page cache, never for a device.
//
// Threads: any; the lane kIngest builds. `mutex_` is not held across I/O.
// Errors: what fails in the engine ends it, and is told by the next call. Until it is finished
// nothing can be seen of it; what it has written goes when it is aborted, fails, or is let go of,
// and at the latest when its database or tree closes.
// Lifetime: its host's core outlives every call.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "db/executor.h"
#include "tree/ingestion.h"

namespace shale {

// One row: kind u8, reserved u8, key length u16, value length u32, key, value; little-endian.
inline constexpr size_t kRowHeaderBytes = 8;
// What waits to be built, beside the rows that come last.
inline constexpr size_t kIngestionQueueBytes = size_t{8} << 20;

class Ingestion;

// The ingestions of a database or tree that have not ended. It owns none of them.
class OpenIngestions {
 public:
  // They take nothing any more, and nobody waits for room.
  void Stop();
  // What they have written is removed. Nothing of theirs runs any more.
  void RollBack();

 private:
  friend class Ingestion;
  std::vector<Ref<Ingestion>> All() const;

  mutable std::mutex mutex_;  // a leaf
  std::condition_variable left_;
  std::set<Ingestion*> all_;  // mutex_
};

class Ingestion : public RefCounted {
 public:
  // What its keyspace or bare tree does for it.
  class Host {
   public:
    virtual ~Host() = default;
    // Keeps the core from closing for as long as it lives; null once that is closing.
    virtual std::shared_ptr<void> Enter() = 0;
    // Whether it may be written to.
    virtual Status Check() = 0;
    // Completes the run, which has rows, and makes it visible.
    virtual Status Ingest(IngestedRun* run) = 0;
  };

  Ingestion(std::unique_ptr<Host> host, std::unique_ptr<IngestedRun> run, Executor* executor,
            std::shared_ptr<OpenIngestions> open);

  // Copies `rows`. kInvalidArgument once it has ended.
  Status Write(Slice rows);
  // Ends it, whatever the outcome. *count: rows that it took; all of them are visible now.
  Status Finish(uint64_t* count);
  // Nothing was ingested. Does no I/O, and nothing if it has ended.
  void Abort();

  // The two halves of Finish: for a caller that must not wait. After the first one it has ended,
  // and its core does not close before the second one has run or will not come.
  class Finishing {
   public:
    ~Finishing();
    Status Run(uint64_t* count);

   private:
    friend class Ingestion;
    explicit Finishing(std::shared_ptr<void> entered) : entered_(std::move(entered)) {}
    const std::shared_ptr<void> entered_;
    Ref<Ingestion> ingestion_;  // until it runs
  };
  Status BeginFinish(std::shared_ptr<Finishing>* finishing);

 private:
  friend class OpenIngestions;
  enum class State : uint8_t { kOpen, kFinishing, kEnded };
  ~Ingestion() override;

  void Stop();
  void RollBack();
  Status RunFinish(uint64_t* count);
  void Build();
  Status AddRows(Slice rows);
  // mutex_ held.
  void EndWithoutRows();
  void DropQueue();
  void ScheduleBuild();

  const std::unique_ptr<Host> host_;
  Executor* const executor_;
  const std::shared_ptr<OpenIngestions> open_;

  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kOpen;
  bool stopped_ = false;  // its core is closing
  Status failure_;
  std::deque<std::string> queue_;  // the first one may be empty: it is being built
  size_t queued_bytes_ = 0;
  bool building_ = false;  // a thread builds, or will: it alone touches run_
  std::unique_ptr<IngestedRun> run_;
};

}  // namespace shale
