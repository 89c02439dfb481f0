#include "db/journal_keeper.h"

#include <algorithm>
#include <limits>

#include "base/seeded_bug.h"
#include "vfs/file_name.h"
#include "vfs/sync_dir.h"

namespace shale {
namespace {

constexpr uint64_t kRotateBytesMax = uint64_t{64} << 20;
constexpr uint64_t kRotateBytesMin = 4096;
constexpr uint64_t kJournalsPerLimit = 8;  // a journal is this share of the limit on sealed ones
constexpr uint64_t kSyncBytes = uint64_t{4} << 20;
constexpr uint64_t kFlushPointMs = 10;
constexpr uint64_t kWitnessMs = 8;  // stated within 10 ms of the sync
constexpr uint64_t kRetryMs = 500;

}  // namespace

JournalKeeper::JournalKeeper(Parts parts)
    : parts_(std::move(parts)),
      rotate_bytes_(std::clamp(parts_.max_journal_size / kJournalsPerLimit, kRotateBytesMin,
                               kRotateBytesMax)),
      sync_bytes_(parts_.sync_interval_ms == 0 ? std::numeric_limits<uint64_t>::max() : kSyncBytes),
      interval_armed_(parts_.sync_interval_ms == 0) {}

// ---- write lock ----

void JournalKeeper::CheckSize() {
  const uint64_t bytes = parts_.journal->active_bytes();
  if (sync_bytes_ <= bytes && next_sync_ <= bytes) {
    if (next_sync_ != 0 && !sync_requested_.exchange(true)) {
      parts_.executor->Submit(Lane::kSync, [this] { BackgroundSync(); });
    }
    next_sync_ = bytes + sync_bytes_;
  }
  if (bytes >= rotate_bytes_ && parts_.journal->has_next()) return Rotate();
  if (bytes >= rotate_bytes_ / 2 && !parts_.journal->has_next() && !preparing_.exchange(true)) {
    parts_.executor->Submit(Lane::kSync, [this] { PrepareNext(); });
  }
  // Steps that are short against the distances above.
  next_check_ = bytes + std::min(rotate_bytes_ / 8, kSyncBytes / 2);
}

void JournalKeeper::Rotate() {
  if (stopped()) return;
  if (Status status = parts_.journal->HandOver(); !status.ok()) return parts_.on_state(status);
  parts_.journal->Rotate(parts_.watermarks());
  next_check_ = 0;
  next_sync_ = 0;
  parts_.executor->Submit(Lane::kSync, [this] { AfterRotation(); });
}

void JournalKeeper::ArmInterval() {
  if (interval_armed_.exchange(true)) return;
  parts_.executor->SubmitAfter(Lane::kSync, parts_.sync_interval_ms, [this] {
    interval_armed_.store(false);
    BackgroundSync();
  });
}

void JournalKeeper::ArmFlushPoint() {
  flush_point_armed_ = true;
  parts_.executor->SubmitAfter(Lane::kJournal, kFlushPointMs, [this] { FlushPoint(); });
}

// ---- journal and sync lane ----

Status JournalKeeper::EnsureHandedOver() {
  const CommitQueue::WriteLock lock(parts_.queue);
  Status status = parts_.journal->HandOver();
  parts_.on_state(status);
  return status;
}

Status JournalKeeper::EnsureDurable(Seqno seqno) {
  if (BugIsOn(SeededBug::kFlushWithoutJournalSync)) return Status::Ok();
  // What recovery replayed lies in older journals.
  if (parts_.queue->synced() >= seqno && !parts_.queue->failed()) return Status::Ok();
  if (parts_.journal->handed_over() < seqno) SHALE_RETURN_IF_ERROR(EnsureHandedOver());
  // No sync would ever reach a commit that no journal has.
  if (parts_.journal->handed_over() < seqno) {
    return Status::Corruption("a memtable holds a commit that is in no journal");
  }
  return parts_.queue->SyncTo(seqno);
}

void JournalKeeper::BackgroundSync() {
  sync_requested_.store(false);
  if (stopped() || parts_.queue->failed()) return;
  // What stays behind is tried again, whether anybody writes or not.
  if (!EnsureHandedOver().ok()) ArmInterval();
  // A failed sync fails the whole queue, which tells everybody.
  static_cast<void>(parts_.queue->SyncTo(parts_.journal->handed_over()));
}

void JournalKeeper::FlushPoint() {
  if (stopped()) return;
  const CommitQueue::WriteLock lock(parts_.queue);
  flush_point_armed_ = false;
  if (parts_.queue->failed()) return;
  const Status status = parts_.journal->HandOver();
  parts_.on_state(status);
  if (!status.ok()) ArmFlushPoint();
}

void JournalKeeper::AfterSync() { ArmWitness(kWitnessMs); }

void JournalKeeper::ArmWitness(uint64_t delay_ms) {
  if (stopped() || witness_armed_.exchange(true)) return;
  parts_.executor->SubmitAfter(Lane::kJournal, delay_ms, [this] { Witness(); });
}

void JournalKeeper::Witness() {
  witness_armed_.store(false);
  if (stopped() || parts_.queue->failed()) return;
  const CommitQueue::WriteLock lock(parts_.queue);
  const Status status = parts_.journal->Witness();
  parts_.on_state(status);
  if (!status.ok()) ArmWitness(kRetryMs);
}

void JournalKeeper::PrepareNext() {
  if (stopped()) return;
  const Status status = CreateNext();
  if (status.ok()) {
    preparing_.store(false);
    return;
  }
  if (status.Is(Code::kSyncFailed)) return parts_.queue->Fail(status);
  // Meanwhile the active journal just grows.
  parts_.on_state(status);
  parts_.executor->SubmitAfter(Lane::kSync, kRetryMs, [this] { PrepareNext(); });
}

Status JournalKeeper::CreateNext() {
  const uint64_t number = parts_.manifest->NewFileNumber();
  const std::string path = FileName(parts_.directory, FileKind::kJournal, number);
  std::unique_ptr<LogWriter> writer;
  SHALE_RETURN_IF_ERROR(
      LogWriter::Create(parts_.vfs, path, kJournalMagic, number, rotate_bytes_, &writer));
  Status status = writer->Sync();
  if (status.ok()) status = SyncDirectory(parts_.vfs, parts_.directory);
  if (status.ok()) {
    ManifestEdit edit;
    edit.journals.push_back({number, std::nullopt});
    status = parts_.manifest->Commit(edit);
  }
  if (!status.ok()) {
    writer.reset();
    // After a failed sync the manifest may name it; what nobody names goes at the next open.
    if (!status.Is(Code::kSyncFailed)) static_cast<void>(parts_.vfs->Remove(path));
    return status;
  }
  parts_.journal->SetNext(std::move(writer));
  return Status::Ok();
}

void JournalKeeper::AfterRotation() {
  if (stopped() || parts_.queue->failed()) return;
  if (!parts_.queue->SyncTo(parts_.journal->handed_over()).ok()) return;
  // Its last record may be a witness, which no commit waits for.
  if (Status synced = parts_.journal->Sync(); !synced.ok()) return parts_.queue->Fail(synced);
  Status status = RecordSealed();
  if (status.ok()) status = Evict();
  if (!status.ok()) {
    if (status.Is(Code::kSyncFailed)) return parts_.queue->Fail(status);
    parts_.on_state(status);
    parts_.executor->SubmitAfter(Lane::kSync, kRetryMs, [this] { AfterRotation(); });
    return;
  }
  FlushStragglers();
}

Status JournalKeeper::RecordSealed() {
  // Not beside Evict: what it removes from the manifest must not be written there again.
  std::lock_guard<std::mutex> lock(evict_mutex_);
  ManifestEdit edit;
  for (const auto& [number, length] : parts_.journal->Unrecorded()) {
    edit.journals.push_back({number, length});
  }
  if (edit.journals.empty()) return Status::Ok();
  SHALE_RETURN_IF_ERROR(parts_.manifest->Commit(edit));
  for (const JournalState& sealed : edit.journals) parts_.journal->MarkRecorded(sealed.number);
  return Status::Ok();
}

Status JournalKeeper::Evict() {
  std::lock_guard<std::mutex> lock(evict_mutex_);
  ManifestEdit edit;
  Seqno last_seqno = 0;
  edit.removed_journals = parts_.journal->Evictable(parts_.flushed_seqno, &last_seqno);
  if (edit.removed_journals.empty()) return Status::Ok();
  if (last_seqno > parts_.manifest->state().last_seqno) edit.last_seqno = last_seqno;
  const auto remove_files = [&] {
    for (const uint64_t number : edit.removed_journals) {
      // A file that stays is removed by the next open.
      static_cast<void>(parts_.vfs->Remove(FileName(parts_.directory, FileKind::kJournal, number)));
    }
  };
  if (BugIsOn(SeededBug::kEvictJournalBeforeCommit)) remove_files();
  SHALE_RETURN_IF_ERROR(parts_.manifest->Commit(edit));
  parts_.journal->Drop(edit.removed_journals);
  remove_files();
  return Status::Ok();
}

void JournalKeeper::FlushStragglers() {
  if (parts_.journal->sealed_bytes() <= parts_.max_journal_size) return;
  for (const uint32_t tree : parts_.journal->Pinning(parts_.flushed_seqno)) {
    parts_.flush_tree(tree);
  }
}

}  // namespace shale
