// Recovery: from what a directory holds to trees that hold every commit that survived.
//
// Replay reads the journals in order into the memtables and decides where the commits end (a torn
// tail) or that something durable is damaged. Finish makes what was replayed durable: the part of
// the journals that was not known to be is written again into a new journal, synced, and named by
// one manifest commit, which also states where the old journals end. docs/format.md, section 5.4.
//
// Threads: one, before the database is open.
// Invariants:
//   I1  nothing on disk is changed or removed before the manifest commit, so that a crash at any
//       point leaves what the next recovery needs.
// Memory: the memtables, and the part of the journals that is written again.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "db/database.h"
#include "journal/log_reader.h"
#include "journal/manager.h"

namespace shale {

class Recovery {
 public:
  // By tree id.
  using Trees = std::map<uint32_t, Ref<Tree>>;

  Recovery(const TreeContext& context, RecoveryMode mode, Trees* trees);

  // Fills the memtables. With kSalvage damage is passed over, otherwise it is kCorruption.
  Status Replay();
  // Makes durable what was replayed, starts `journal` in the new file and adds the old ones to it.
  Status Finish(JournalManager* journal, uint64_t preallocate_bytes);
  // Removes files that are ours and that nothing names. After Finish.
  void RemoveOrphans(const std::vector<uint64_t>& journals);

  Seqno next_seqno() const { return next_seqno_; }
  const RecoveryReport& report() const { return report_; }

 private:
  // One journal file on its way through recovery.
  struct Journal {
    uint64_t number = 0;
    bool named = false;
    std::optional<uint64_t> final_length;
    bool has_data = false;
    uint64_t durable_end = kLogHeaderBytes;  // where it will end in the manifest
    Seqno last_seqno = 0;
    Watermarks watermarks;
    std::unique_ptr<File> file;
    std::unique_ptr<LogReader> reader;  // null: a torn creation
  };
  // A replayed record that is not known to be durable; the payloads lie in tail_bytes_, in order.
  struct TailRecord {
    size_t journal = 0;  // index
    uint64_t offset = 0;
    uint32_t count = 0;
    Seqno seqno = 0;
    size_t size = 0;
  };

  Status FindJournals();
  Status CheckReach() const;
  Status OpenJournal(Journal* journal);
  Status ReplayJournal(size_t index);
  Status ReplayRecord(size_t index, const LogRecordHeader& header, Slice payload, uint64_t offset);
  Status EndJournal(size_t index);
  // Commits are missing from `offset` of journal `index` on: cut there, or refuse.
  Status Lose(size_t index, uint64_t offset);
  Status CheckBehindLoss(size_t lost, uint64_t offset);
  Status Apply(Journal* journal, const LogRecordHeader& header, Slice payload);
  Status ApplyEntry(Journal* journal, Seqno seqno, const BatchEntry& entry);
  Status CreateTree(Seqno seqno, const BatchEntry& entry);
  void KeepTail(size_t index, const LogRecordHeader& header, Slice payload, uint64_t offset);
  void DropDurable(size_t index, uint64_t durable_end);
  Status WriteTail(JournalManager* journal);
  ManifestEdit TreesEdit() const;
  Status FlushSalvaged();
  void Report(const std::string& path, uint64_t bytes, bool commits_known);
  std::string PathOf(const Journal& journal) const;
  Status Damage(const Journal& journal, const std::string& message, uint64_t offset) const;

  const TreeContext context_;
  const RecoveryMode mode_;
  Trees* const trees_;
  const ManifestState state_;
  std::vector<Journal> journals_;
  std::vector<std::string> names_;  // of the directory
  std::vector<TreeState> created_;  // by records of the journals
  std::vector<uint32_t> deleted_;
  std::vector<Ref<Tree>> gone_;  // the deleted trees; their files stay until the manifest knows
  std::vector<TailRecord> tail_;
  std::string tail_bytes_;
  std::string scratch_;
  uint32_t limited_tree_ = 0;  // the last tree written to, and
  uint64_t memtable_limit_ = 0;
  Seqno last_ = 0;  // of the last commit replayed
  Seqno next_seqno_ = 1;
  bool applied_ = false;              // the commit at hand changed something
  bool lost_ = false;                 // nothing more is replayed
  bool salvaged_ = false;             // something was passed over
  std::optional<size_t> empty_open_;  // a journal without data and without final length
  RecoveryReport report_;
};

}  // namespace shale
