// Recovery: from what a directory holds to trees that hold every commit that survived.
//
// Replay reads the journals in order into the memtables and decides where the commits end (a torn
// tail) or that something durable is damaged. Where the memtables outgrow the write buffer it
// flushes some, but only what the journals show to be durable: commits that a power cut may still
// lose must not be named by the manifest. Finish makes what was replayed durable: the part of the
// journals that was not known to be is written again into a new journal, synced, and named by one
// manifest commit, which also states where the old journals end. docs/format.md, section 5.4.
//
// Threads: one, before the database is open.
// Invariants:
//   I1  no journal is changed or removed before the manifest commit of Finish, so that a crash at
//       any point leaves what the next recovery needs; tables that replay flushed only spare it
//       work.
//   I2  memtables are sealed between commits: what the manifest says to be flushed is whole.
// Memory: half of the write buffer, and what was replayed since the last sync that the journals
// state; that part is written again and therefore kept a second time. A read-only open may not
// write and holds all that is not in tables.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "db/database.h"
#include "journal/log_reader.h"
#include "journal/manager.h"

namespace shale {

class Recovery {
 public:
  // By tree id.
  using Trees = std::map<uint32_t, Ref<Tree>>;

  // `write_buffer`: bytes of memtables that replay should stay within; 0: it may not flush.
  Recovery(const TreeContext& context, RecoveryMode mode, uint64_t write_buffer, Trees* trees);

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
  // A replayed record that is not known to be durable.
  struct TailRecord {
    size_t journal = 0;  // index
    uint64_t offset = 0;
    uint32_t count = 0;
    Seqno seqno = 0;
    std::string payload;

    uint64_t end() const { return offset + kLogRecordHeaderBytes + payload.size(); }
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
  Status ApplyEntry(Journal* journal, Seqno seqno, const BatchEntry& entry, bool cancelled);
  Status PassOverId(uint32_t id);
  Status CreateTree(Seqno seqno, const BatchEntry& entry);
  void SealFullMemtables();
  Status Relieve();
  Status FlushLargest();
  // Everything up to it is known to be durable.
  Seqno durable() const { return tail_.empty() ? last_ : tail_.front().seqno - 1; }
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
  uint64_t write_buffer_;
  Trees* const trees_;
  const ManifestState state_;
  std::vector<Journal> journals_;
  std::vector<std::string> names_;  // of the directory
  std::vector<TreeState> created_;  // by records of the journals
  std::set<uint32_t> deleted_;
  std::unordered_set<std::string> names_in_use_;  // of trees
  std::vector<Ref<Tree>> gone_;  // the deleted trees; their files stay until the manifest knows
  std::deque<TailRecord> tail_;
  std::vector<Tree*> touched_;  // by the commit at hand
  uint64_t memory_ = 0;         // bytes of memtables
  Seqno sealed_at_ = 0;         // last commit when all memtables were sealed to be
                                // flushed; 0: they are not
  std::string scratch_;
  Seqno last_ = 0;  // of the last commit replayed
  Seqno next_seqno_ = 1;
  bool applied_ = false;              // the commit at hand changed something
  bool lost_ = false;                 // nothing more is replayed
  bool salvaged_ = false;             // something was passed over
  std::optional<size_t> empty_open_;  // a journal without data and without final length
  RecoveryReport report_;
};

}  // namespace shale
