// A seeded workload over a database, what it promised at any moment, and the oracles that hold a
// directory against those promises.
//
// The workload knows the contents after each commit. Whatever a crash or a fault leaves must open
// to the contents after some commit n, with n at least what was acknowledged with a durability that
// survives the event; what was recovered must survive the next power cut; and the database must go
// on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "db/database_support.h"

namespace shale {

struct History {
  // Contents after n commits; the last ones may be under way.
  std::vector<Contents> states = {Contents()};
  size_t acked_os = 0;    // commits that survive the death of the process
  size_t acked_sync = 0;  // commits that survive a power cut

  size_t issued() const { return states.size() - 1; }
};

struct WorkloadOptions {
  uint64_t seed = 1;
  uint64_t steps = 200;
  bool reopen = true;  // closes and opens again now and then
  bool ingests = true;
  bool buffered = true;  // commits of all durabilities
  uint64_t memtable = 2048;
  uint64_t max_journal_size = 32 * 1024;
};

class Workload {
 public:
  // `vfs` is what the database sees, `clock` what it runs on (the same, or what a fault wrapper
  // wraps).
  Workload(Vfs* vfs, MemVfs* clock, const WorkloadOptions& options);
  ~Workload();

  // Runs all steps, or until the database cannot be opened or failed. Problems that no fault
  // explains are told in problem().
  void Run();
  // Contents as they are visible now, if the database is open and can be read.
  std::string CheckLive();
  Status Close();
  // Runs what is due in the background, until nothing is.
  void RunIdle();

  const History& history() const { return history_; }
  const std::string& problem() const { return problem_; }
  Database* database() const { return database_.get(); }
  static DatabaseOptions MakeOptions(const WorkloadOptions& options);

 private:
  // What a commit changes. No key: creates the keyspace. No value: removes the key, or all from it
  // to the end of the range (empty: unbounded).
  struct Change {
    std::string keyspace;
    std::string key;
    std::optional<std::string> value;
    std::optional<std::string> range_end = std::nullopt;
  };
  using Changes = std::vector<Change>;
  static void Apply(const Change& change, Contents* contents);
  // A commit's name; its number is smaller once an earlier one was refused.
  using Ticket = uint64_t;

  bool Open();
  void Step();
  void WriteSingle(bool async);
  void WriteSeveral(bool async);
  Ticket Issue(Changes changes);
  void Settle(const Status& status, Ticket ticket, Durability durability);
  void Withdraw(Ticket ticket);
  size_t NumberOf(Ticket ticket) const;
  void NoteAcked(size_t number, Durability durability);
  void FindPlace(bool sync_failed);
  void GiveUp(const std::string& what, const Status& status);
  bool IsFaulty() const { return vfs_ != clock_; }
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  Durability AnyDurability();
  void OpenKeyspace();
  void Ingest();
  void EndIngestion();
  void Persist();
  void Flush();
  void Compact();
  void Reopen();
  void RunBackground();
  Ref<Keyspace> AnyKeyspace();
  Changes Fill(WriteBatch* batch);
  Change FillRange(const Keyspace& keyspace, WriteBatch* batch);
  bool Failed() const;

  Vfs* const vfs_;
  MemVfs* const clock_;
  const WorkloadOptions options_;
  std::mt19937_64 random_;  // of the options' seed alone, which a failure names
  Ref<Database> database_;
  Executor* executor_ = nullptr;
  History history_;
  std::string problem_;
  bool gone_ = false;  // no database any more, or one whose contents are not known
  uint64_t next_value_ = 0;
  Ticket next_ticket_ = 1;
  struct Commit {
    Ticket ticket = 0;
    Changes changes;
  };
  std::vector<Commit> commits_;                // commit n leads to state n + 1 of the history
  std::map<std::string, Ticket> last_commit_;  // by keyspace: the last acknowledged one there
  struct OpenIngestion {
    Ref<Ingestion> ingestion;
    Changes changes;
  };
  std::optional<OpenIngestion> open_ingestion_;
};

struct ImageCheck {
  bool rule_r = true;            // cut the power again right after the open
  uint64_t liveness_writes = 0;  // writes and a flush that have to work afterwards
  bool damage_allowed = false;   // the disk lied: kCorruption is an answer
  bool torn_allowed = true;      // else a tail that has to be cut off is a problem
  RecoveryMode mode = RecoveryMode::kTail;
};

// Opens `image` and checks it. An empty string, or what is wrong. *opened_to: the n that was found.
std::string CheckImage(MemVfs* image, const History& history, size_t at_least, uint64_t seed,
                       const ImageCheck& check, const WorkloadOptions& options,
                       size_t* opened_to = nullptr);

// A policy drawn from a seed, for the changes that are pending now.
CrashPolicy DrawPolicy(const MemVfs& vfs, uint64_t draw);
// How many of the acknowledged commits survive the policy.
size_t Survivors(const History& history, const CrashPolicy& policy);

struct CrashRun {
  uint64_t images = 0;
  std::string problem;  // with seed, operation and policy
};
// Runs a workload; at every operation of the machine it takes `images_per_operation` images and
// checks them. Ends at the first problem.
CrashRun RunCrashImages(const WorkloadOptions& options, uint64_t images_per_operation,
                        uint64_t every, const ImageCheck& check);

}  // namespace shale
