// OpenCore: what one open() of a database or tree holds in an environment, and the handles to it.
//
// Threads: the environment's own; Closing from any.
// Lifetime: from open to close. Closing drops every reference into the core at once, so that what
// the core holds in memory and open files goes although JavaScript still has its objects; calls
// through them answer DB_CLOSED. What runs at that moment keeps a count of its own until it ends:
// fills on reader threads, and the scans of visitors.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/epoch.h"
#include "binding/handle.h"
#include "db/database.h"
#include "db/registry.h"
#include "db/standalone_tree.h"

namespace shale {

struct OpenCore;

// A handle that holds something of the core, and lets go of it when that is closed.
class Dependent : public Handle {
 public:
  ~Dependent() override;
  virtual void Drop() = 0;
  const std::shared_ptr<OpenCore>& open() const { return open_; }

 protected:
  Dependent(HandleType type, std::shared_ptr<OpenCore> open);

 private:
  const std::shared_ptr<OpenCore> open_;
  size_t place_;  // in open_->dependents
};

// A keyspace, or a bare tree: what can be read.
class ReadTarget : public Dependent {
 public:
  static constexpr HandleType kType = HandleType::kReads;
  // `keyspace` is null for a bare tree. Closed from the beginning if the core is.
  ReadTarget(std::shared_ptr<OpenCore> open, Ref<Keyspace> keyspace);

  // Of the keyspace, also when it is closed.
  uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  // Null once the core is closing.
  Tree* tree() const { return tree_; }
  // Null for a bare tree.
  Database* database() const { return database_; }
  Keyspace* keyspace() const { return keyspace_.get(); }

  // The super version to read from, only inside an EpochGuard, and in *read_seqno the exclusive
  // read seqno that JavaScript's number means; its largest integer, MAX_SEQNO, means everything.
  SuperVersion* Current(double given, Seqno* read_seqno) const {
    return tree_->CurrentAt([this, given] { return ReadSeqno(given); }, read_seqno);
  }
  // The same, pinned.
  Ref<SuperVersion> Pin(double given, Seqno* read_seqno) const {
    const EpochGuard guard;
    return Ref<SuperVersion>::Share(Current(given, read_seqno));
  }
  Seqno ReadSeqno(double given) const {
    if (!(given >= 0)) return database_ != nullptr ? database_->visible() : kReadAll;
    return given >= static_cast<double>(kSeqnoMax) ? kReadAll : static_cast<Seqno>(given);
  }
  // kOk while the newest state may be read (`given` negative), or any other.
  Code Readable(double given) const {
    if (tree_ == nullptr) return Code::kDbClosed;
    if (given >= 0 || keyspace_.get() == nullptr || !keyspace_->deleted()) return Code::kOk;
    return Code::kKeyspaceDeleted;
  }
  // Null for a bare tree. The set is the one of this environment's thread.
  const std::shared_ptr<Latencies>& latencies() const { return latencies_; }
  Latency::Own* gets() const { return gets_; }
  // A count on the core, for what outlives the call.
  Ref<RefCounted> ShareCore() const;
  void Drop() override;

 private:
  Tree* tree_ = nullptr;
  Database* database_ = nullptr;
  Ref<Keyspace> keyspace_;
  std::shared_ptr<Latencies> latencies_;
  Latency::Own* gets_ = nullptr;
  uint32_t id_ = 0;
  std::string name_;
};

// Somebody in this environment who hears of what happens in a database.
class EventsHandle : public Handle {
 public:
  static constexpr HandleType kType = HandleType::kEvents;
  EventsHandle(std::shared_ptr<EventHub> hub, std::shared_ptr<EventQueue> queue)
      : Handle(kType), hub_(std::move(hub)), queue_(std::move(queue)) {}
  ~EventsHandle() override { hub_->Remove(queue_.get()); }
  EventQueue& queue() const { return *queue_; }

 private:
  const std::shared_ptr<EventHub> hub_;
  const std::shared_ptr<EventQueue> queue_;
};

// The end of a core's life in this environment, run once, on whatever thread comes first.
class Closing {
 public:
  using Listeners = std::vector<std::shared_ptr<EventQueue>>;
  void Take(std::unique_ptr<DatabaseHandle> handle, Ref<StandaloneTree> tree, Listeners listeners) {
    handle_ = std::move(handle);
    tree_ = std::move(tree);
    listeners_ = std::move(listeners);
  }
  Status RunOrWait();

 private:
  std::unique_ptr<DatabaseHandle> handle_;
  Ref<StandaloneTree> tree_;
  Listeners listeners_;  // of this handle; told when it is closed
  std::mutex mutex_;
  std::condition_variable ended_;
  bool begun_ = false;  // mutex_
  bool done_ = false;   // mutex_
  Status outcome_;      // mutex_
};

struct OpenCore {
  ~OpenCore();                             // closes what nobody closed: its environment is gone
  std::unique_ptr<DatabaseHandle> handle;  // databases
  Ref<StandaloneTree> tree;                // bare trees
  std::vector<Dependent*> dependents;
  std::multiset<Seqno> snapshots;  // open ones, taken through this open()
  std::vector<std::weak_ptr<JobControl>> jobs;
  std::vector<std::weak_ptr<EventQueue>> listeners;
  std::vector<std::shared_ptr<CompactionFilter>> filters;  // given through this open()
  // Given through this open(), the newest one of each keyspace; that of a bare tree under 0.
  std::map<uint32_t, std::shared_ptr<UserStrategy>> strategies;
  std::shared_ptr<Closing> closing;  // set once closing

  // Null for a bare tree, and once closing.
  Database* database() const { return handle != nullptr ? handle->database() : nullptr; }
  bool closed() const { return closing != nullptr; }
  // Runs `work` on a reader thread of the core; false once closing.
  bool SubmitRead(std::function<void()> work) const;
  std::shared_ptr<JobControl> NewJob();
  // Hears of the database from here on; `wake` as EventQueue has it.
  std::unique_ptr<EventsHandle> Listen(std::function<void()> wake);
  void Stop(JobControl* job) const;
  // All filters of what was found at open are there: the core that this open() made may compact.
  void ReleaseCompactions() const;
  // `keyspace` has that strategy from this open(); null: of a bare tree.
  void NoteStrategy(const Keyspace* keyspace, std::shared_ptr<UserStrategy> strategy);
  void DropStrategies();
  // False if it began before. What follows is closing->RunOrWait().
  bool BeginClose();
  Status Close();
};

class CoreHandle : public Handle {
 public:
  static constexpr HandleType kType = HandleType::kDatabase;
  explicit CoreHandle(std::shared_ptr<OpenCore> o) : Handle(kType), open(std::move(o)) {}
  const std::shared_ptr<OpenCore> open;
};

// A running compaction that JavaScript may watch and stop.
class JobHandle : public Handle {
 public:
  static constexpr HandleType kType = HandleType::kJob;
  JobHandle(std::shared_ptr<OpenCore> o, std::shared_ptr<JobControl> c)
      : Handle(kType), open(std::move(o)), control(std::move(c)) {}
  const std::shared_ptr<OpenCore> open;
  const std::shared_ptr<JobControl> control;
};

}  // namespace shale
