// Database::Impl: the parts of an open database and how they are tied together.
//
// Files: database_life.cc (open, close), database_write.cc (commits), database_keyspaces.cc,
// database_ingestion.cc, database.cc (views and the public class).
// Threads: any; `gate_` counts calls that run, so that close can wait for them.
// Lock order: create_mutex_, write lock, then any one of the leaves (keyspaces_mutex_, the mutexes
// of queue, control, maintenance, tracker, journal). Of these only create_mutex_ is held while
// something is synced: async forms take the others on the event loop.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/cache.h"
#include "db/commit_queue.h"
#include "db/database.h"
#include "db/directory_lock.h"
#include "db/journal_keeper.h"
#include "db/maintenance.h"
#include "db/recovery.h"
#include "db/waiting.h"
#include "db/write_control.h"
#include "vfs/file_cache.h"

namespace shale {

class Database::Impl : public CommitSink {
 public:
  Impl(Vfs* vfs, std::unique_ptr<Executor> executor, std::string path,
       const DatabaseOptions& options, std::atomic<Seqno>* visible);
  ~Impl() override;

  Status Open();
  Status Close();
  Status HandOver();

  // --- CommitSink ---
  Status Append(Commit* const* commits, size_t n, Seqno first) override;
  void Insert(Commit* const* commits, size_t n) override;
  void AfterGroup() override;
  Seqno HandedOver() override { return journal_.handed_over(); }
  Status Sync() override;
  void OnFailure(const Status& failure) override;

  // --- writes ---
  Status WriteOne(Keyspace* keyspace, Kind kind, Slice key, Slice value, Durability durability);
  Status Write(Slice entries, Durability durability);
  Status WriteOneAsync(Keyspace* keyspace, Kind kind, Slice key, Slice value, Durability durability,
                       Completion completion);
  Status WriteAsync(Slice entries, Durability durability, Completion completion);
  Status Persist(Durability durability);
  Status PersistAsync(Durability durability, Completion completion);

  // --- keyspaces ---
  using Merge = std::function<Status(bool exists, TreeOptions* options)>;
  Status OpenKeyspace(const std::string& name, const Merge& merge, Ref<Keyspace>* keyspace,
                      std::shared_ptr<UserStrategy> strategy);
  void CheckStrategy(const Keyspace& keyspace);
  Ref<Keyspace> FindKeyspace(const std::string& name) const;
  Ref<Keyspace> FindKeyspaceById(uint32_t id) const;
  std::vector<Ref<Keyspace>> AllKeyspaces() const;

  // --- ingestion ---
  Status StartIngestion(Keyspace* keyspace, Ref<Ingestion>* ingestion);

  // --- maintenance ---
  bool RotateMemtable(Keyspace* keyspace);
  Status FlushKeyspaceAsync(Keyspace* keyspace, Completion completion);
  Status WaitFor(const std::function<Status(Completion)>& start);
  DatabaseStatus status() const;
  Status failure() const;
  DatabaseFigures figures() const;
  DatabaseMetrics metrics() const;
  Seqno next_seqno() const { return queue_->next_seqno(); }

  // Held while a public call runs; not open once closing. Work that outlives the call holds a copy,
  // so that close waits for it.
  class Call {
   public:
    explicit Call(Impl* impl) : impl_(impl) {
      open_ = (impl->gate_.fetch_add(1, std::memory_order_acq_rel) & kClosing) == 0;
      if (!open_) Leave();
    }
    ~Call() {
      if (open_) Leave();
    }
    Call(const Call& other) : impl_(other.impl_), open_(other.open_) {
      if (open_) impl_->gate_.fetch_add(1, std::memory_order_relaxed);
    }
    Call& operator=(const Call&) = delete;
    bool open() const { return open_; }

   private:
    void Leave() {
      if ((impl_->gate_.fetch_sub(1, std::memory_order_acq_rel) & ~kClosing) == 1) {
        impl_->LastCallLeft();
      }
    }
    Impl* const impl_;
    bool open_ = false;
  };

  Vfs* const vfs_;
  const std::unique_ptr<Executor> executor_;
  const std::string path_;
  const DatabaseOptions options_;
  SnapshotTracker snapshots_;
  std::unique_ptr<Maintenance> maintenance_;
  RecoveryReport recovery_;
  std::shared_ptr<Cache> cache_;
  const std::shared_ptr<Latencies> latencies_;
  const std::shared_ptr<HandleCounts> handles_ = std::make_shared<HandleCounts>();
  const std::shared_ptr<EventHub> events_ = std::make_shared<EventHub>();

 private:
  friend class Call;
  static constexpr uint64_t kClosing = uint64_t{1} << 63;

  // --- open ---
  Status PrepareDirectory();
  Status LoadManifest();
  Status OpenTrees(Recovery::Trees* trees);
  Status Recover();
  void StartParts();
  JournalKeeper::Parts KeeperParts();
  Maintenance::Parts MaintenanceParts();
  Status BeforeFlushCommit(Seqno highest);
  void AddKeyspace(Ref<Keyspace> keyspace);
  TreeContext Context();

  // --- writes ---
  Status CheckOne(const Keyspace* keyspace, Kind kind, Slice key, Slice value) const;
  // Checks every entry and counts them; *compress if the journal would store one smaller.
  Status CheckEntries(Slice entries, Commit* commit, bool* compress) const;
  void SnapshotClosed(Seqno seqno);
  bool Compresses(Slice value) const {
    return value.size() >= kJournalCompressionMin && options_.journal_compression != Codec::kNone;
  }
  std::string JournalForm(const Commit& commit) const;
  // What a commit, or a group of them, wrote.
  struct WriteCounts {
    uint64_t inserts = 0;
    uint64_t removes = 0;
    uint64_t batches = 0;
    uint64_t bytes = 0;
  };
  void Stage(const Commit& commit, Seqno seqno);
  void InsertEntries(const Commit& commit, WriteCounts* counts);
  void CountWrites(const WriteCounts& counts);
  // Whether the call that begins is to be timed, now or when it has to wait.
  void BeginTiming(Commit* commit) const;
  Status Admit(Commit* commit, size_t bytes);
  void TellStatus();     // problems_mutex_ held
  Status Cause() const;  // likewise
  void TellError(Event::During during, const Status& status);
  void Touch(Keyspace* keyspace);
  bool RotateTree(Keyspace* keyspace);  // write lock
  void RelieveMemory(uint64_t total);   // write lock
  void Throttle(uint64_t bytes, const std::function<bool()>& stopped);
  Status RunAsync(const Call& call, Commit* commit, bool compress, Ref<Keyspace> keyspace);
  // What sealed journals are kept for, and until when: flushed trees, and recorded creations.
  Watermarks UnflushedSeqnos() const;
  std::optional<Seqno> FlushedSeqno(uint32_t tree) const;
  void SetProblem(const char* source, const Status& status);

  // --- keyspaces ---
  Status CreateKeyspace(const std::string& name, const TreeOptions& options,
                        std::shared_ptr<UserStrategy> strategy, Ref<Keyspace>* keyspace);
  Status CommitCreation(const TreeState& state);
  void TakeBack(uint32_t id, const Status& cause);
  Status AppendKeyspaceRecord(Kind kind, uint32_t id, Slice key, Slice value, Seqno* seqno);
  Status AppendLocked(const WriteBatch& batch, Seqno* seqno);
  void ChangeTables(uint32_t id, const std::function<void(Seqno)>& install);
  Status ChangeOptions(Keyspace* keyspace, const TreeOptions& options);

  // --- ingestion ---
  class IngestionHost;
  Status CheckIngestion(const Keyspace* keyspace) const;
  Status Ingest(Keyspace* keyspace, IngestedRun* run);
  Status AwaitRoom();
  Status CommitIngestion(Keyspace* keyspace, IngestedRun* run);
  Status HoldIngestion(Keyspace* keyspace, Seqno* seqno, Seqno* held);

  // --- close ---
  void LastCallLeft();
  Status CloseParts();
  Status FlushAll();
  Status SealForClose();

  std::atomic<Seqno>* const visible_;
  // Declared before what points into them.
  std::shared_ptr<FileRemover> remover_;
  std::shared_ptr<FileCache> files_;
  std::shared_ptr<Manifest> manifest_;
  std::unique_ptr<DirectoryLock> lock_;
  JournalManager journal_;
  std::unique_ptr<WriteControl> control_;
  std::unique_ptr<CommitQueue> queue_;
  std::unique_ptr<JournalKeeper> keeper_;
  const std::shared_ptr<OpenIngestions> ingestions_ = std::make_shared<OpenIngestions>();

  std::mutex create_mutex_;  // one keyspace is created or changed at a time
  // Of the record of a creation that only the journal has; 0: none. Set under the write lock.
  std::atomic<Seqno> creation_{0};
  mutable std::shared_mutex keyspaces_mutex_;
  std::map<std::string, Ref<Keyspace>> by_name_;
  std::unordered_map<uint32_t, Keyspace*> by_id_;  // changed under the write lock as well

  std::atomic<uint64_t> memory_{0};  // bytes of memtables
  // Some tree may hold super versions for snapshots, which their end lets go.
  std::atomic<bool> may_hold_{false};
  std::vector<Keyspace*> touched_;  // write lock: by the running group
  uint64_t relieved_at_ = 0;        // write lock: see RelieveMemory
  // Written under the write lock.
  std::atomic<uint64_t> inserts_{0};
  std::atomic<uint64_t> removes_{0};
  std::atomic<uint64_t> batches_{0};
  std::atomic<uint64_t> written_bytes_{0};
  std::atomic<bool> journal_problem_{false};
  std::mutex strategies_mutex_;         // before problems_mutex_
  std::map<uint32_t, Status> lacking_;  // strategies_mutex_: keyspaces without their strategy
  std::mutex throttle_mutex_;
  uint64_t throttled_until_ = 0;  // throttle_mutex_: when what was written is paid for

  std::atomic<uint64_t> gate_{0};
  std::mutex close_mutex_;
  std::condition_variable calls_left_;
  bool closed_ = false;                 // close_mutex_
  std::atomic<bool> is_closed_{false};  // the same, without the lock
  bool opened_ = false;
  Status close_status_;

  mutable std::mutex problems_mutex_;
  std::map<std::string, Status> problems_;  // by source; what degrades
  DatabaseStatus told_status_ = DatabaseStatus::kOpen;
};

}  // namespace shale
