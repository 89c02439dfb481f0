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
  bool reopen = true;    // closes and opens again now and then
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
  void Close();
  // Runs what is due in the background, until nothing is.
  void RunIdle();

  const History& history() const { return history_; }
  const std::string& problem() const { return problem_; }
  // The last commit may have happened or not.
  bool indeterminate() const { return indeterminate_; }
  Database* database() const { return database_.get(); }
  static DatabaseOptions MakeOptions(const WorkloadOptions& options);

 private:
  bool Open();
  void Step();
  void WriteSingle(bool async);
  void WriteSeveral(bool async);
  void Settle(Status status, size_t number, Durability durability);
  void NoteAcked(size_t number, Durability durability);
  void OpenKeyspace();
  void Persist();
  void Flush();
  void Compact();
  void Reopen();
  void RunBackground();
  Ref<Keyspace> AnyKeyspace();
  void Fill(WriteBatch* batch, Contents* next);
  bool Failed() const;

  Vfs* const vfs_;
  MemVfs* const clock_;
  const WorkloadOptions options_;
  TestRandom random_;
  Ref<Database> database_;
  Executor* executor_ = nullptr;
  History history_;
  std::string problem_;
  bool indeterminate_ = false;
  bool gone_ = false;  // no database any more
  uint64_t next_value_ = 0;
  std::map<std::string, size_t>
      last_commit_;  // by keyspace: number of the last one that wrote there
};

struct ImageCheck {
  bool rule_r = true;            // cut the power again right after the open
  uint64_t liveness_writes = 0;  // writes and a flush that have to work afterwards
  bool damage_allowed = false;   // the disk lied: kCorruption is an answer
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
