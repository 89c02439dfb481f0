#include "journal/manager.h"

#include <algorithm>
#include <cstring>

#include "base/seeded_bug.h"

namespace shale {
namespace {

constexpr size_t kStagedBytesKept = size_t{1} << 20;  // a larger buffer is given back after use

}  // namespace

void JournalManager::AddSealed(SealedJournal journal) {
  std::lock_guard<std::mutex> lock(mutex_);
  sealed_.push_back(std::move(journal));
  CountFiles();
}

void JournalManager::CountFiles() {
  uint64_t bytes = 0;
  for (const SealedJournal& sealed : sealed_) bytes += sealed.bytes;
  sealed_bytes_.store(bytes, std::memory_order_relaxed);
  count_.store(static_cast<uint32_t>(sealed_.size() + (active_ != nullptr ? 1 : 0)),
               std::memory_order_relaxed);
}

void JournalManager::Start(std::unique_ptr<LogWriter> active) {
  std::lock_guard<std::mutex> lock(mutex_);
  active_ = std::move(active);
  active_bytes_.store(active_->size(), std::memory_order_relaxed);
  CountFiles();
}

void JournalManager::Reserve(size_t bytes) {
  if (staged_capacity_ - staged_size_ >= bytes) return;
  const size_t capacity = std::max(staged_capacity_ * 2, staged_size_ + bytes);
  std::unique_ptr<char[]> grown(new char[capacity]);
  if (staged_size_ != 0) std::memcpy(grown.get(), staged_.get(), staged_size_);
  staged_ = std::move(grown);
  staged_capacity_ = capacity;
}

char* JournalManager::BeginRecord(size_t payload_bytes) {
  Reserve(kLogRecordHeaderBytes + payload_bytes);
  record_begin_ = staged_size_;
  staged_size_ += kLogRecordHeaderBytes + payload_bytes;
  return staged_.get() + record_begin_ + kLogRecordHeaderBytes;
}

void JournalManager::EndRecord(uint32_t count, Seqno seqno) {
  char* record = staged_.get() + record_begin_;
  const Slice payload(record + kLogRecordHeaderBytes,
                      staged_size_ - record_begin_ - kLogRecordHeaderBytes);
  LogRecordHeader header;
  header.payload_length = static_cast<uint32_t>(payload.size());
  header.type = RecordType::kData;
  header.count = count;
  header.synced_to = active_->synced_to();
  header.seqno = seqno;
  EncodeLogRecordHeader(header, active_->file_number(), active_->size() + record_begin_, payload,
                        record);
  stated_synced_to_ = header.synced_to;
  staged_seqno_ = seqno;
}

void JournalManager::CutBack(const Mark& mark) {
  staged_size_ = mark.size;
  staged_seqno_ = mark.seqno;
  stated_synced_to_ = mark.stated_synced_to;
}

Status JournalManager::HandOver() {
  if (staged_size_ == 0) return Status::Ok();
  const Status status =
      NoteAppend(active_->AppendEncoded(Slice(staged_.get(), staged_size_), stated_synced_to_));
  if (!status.ok() && !BugIsOn(SeededBug::kIgnoreAppendError)) return status;
  bytes_written_.fetch_add(staged_size_, std::memory_order_relaxed);
  appends_.fetch_add(1, std::memory_order_relaxed);
  staged_size_ = 0;
  if (staged_capacity_ > kStagedBytesKept) {
    staged_.reset();
    staged_capacity_ = 0;
  }
  handed_over_.store(staged_seqno_, std::memory_order_release);
  return Status::Ok();
}

Status JournalManager::NoteAppend(Status status) {
  NoteActive();
  return status;
}

void JournalManager::NoteActive() {
  cut_.store(active_->cut(), std::memory_order_relaxed);
  active_bytes_.store(active_->size(), std::memory_order_relaxed);
}

Status JournalManager::AppendDirect(uint32_t count, Seqno seqno, Slice payload) {
  SHALE_RETURN_IF_ERROR(HandOver());
  uint64_t end = 0;
  SHALE_RETURN_IF_ERROR(
      NoteAppend(active_->Append(RecordType::kData, count, seqno, payload, &end)));
  bytes_written_.fetch_add(kLogRecordHeaderBytes + payload.size(), std::memory_order_relaxed);
  appends_.fetch_add(1, std::memory_order_relaxed);
  staged_seqno_ = seqno;
  handed_over_.store(seqno, std::memory_order_release);
  return Status::Ok();
}

Status JournalManager::Witness() {
  SHALE_RETURN_IF_ERROR(HandOver());
  const uint64_t before = active_->size();
  SHALE_RETURN_IF_ERROR(NoteAppend(active_->Witness()));
  bytes_written_.fetch_add(active_->size() - before, std::memory_order_relaxed);
  return Status::Ok();
}

void JournalManager::Rotate(Watermarks watermarks) {
  std::lock_guard<std::mutex> lock(mutex_);
  SealedJournal sealed;
  sealed.number = active_->file_number();
  sealed.bytes = active_->size();
  sealed.last_seqno = staged_seqno_;
  sealed.watermarks = std::move(watermarks);
  sealed.writer = std::move(active_);
  sealed_.push_back(std::move(sealed));
  active_ = std::move(next_);
  has_next_.store(false, std::memory_order_release);
  CountFiles();
  NoteActive();
}

void JournalManager::SetNext(std::unique_ptr<LogWriter> next) {
  std::lock_guard<std::mutex> lock(mutex_);
  next_ = std::move(next);
  has_next_.store(true, std::memory_order_release);
}

std::shared_ptr<LogWriter> JournalManager::active() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return active_;
}

Status JournalManager::Sync() {
  std::vector<std::shared_ptr<LogWriter>> writers;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const SealedJournal& sealed : sealed_) {
      if (sealed.writer != nullptr && sealed.writer->synced_to() < sealed.bytes) {
        writers.push_back(sealed.writer);
      }
    }
    writers.push_back(active_);
  }
  for (const auto& writer : writers) {
    const uint64_t begin = clock_ != nullptr ? clock_->MonotonicNanos() : 0;
    bool reached_device = false;
    SHALE_RETURN_IF_ERROR(writer->Sync(&reached_device));
    if (reached_device && on_sync_) on_sync_(clock_->MonotonicNanos() - begin);
  }
  return Status::Ok();
}

std::vector<std::pair<uint64_t, uint64_t>> JournalManager::Unrecorded() const {
  std::vector<std::pair<uint64_t, uint64_t>> result;
  std::lock_guard<std::mutex> lock(mutex_);
  for (const SealedJournal& sealed : sealed_) {
    if (sealed.recorded) continue;
    if (sealed.writer->synced_to() < sealed.bytes) break;
    result.emplace_back(sealed.number, sealed.bytes);
  }
  return result;
}

std::vector<std::pair<uint64_t, uint64_t>> JournalManager::FinalLengths() const {
  std::vector<std::pair<uint64_t, uint64_t>> result;
  std::lock_guard<std::mutex> lock(mutex_);
  for (const SealedJournal& sealed : sealed_) {
    if (!sealed.recorded) result.emplace_back(sealed.number, sealed.bytes);
  }
  result.emplace_back(active_->file_number(), active_->synced_to());
  if (next_ != nullptr) result.emplace_back(next_->file_number(), next_->synced_to());
  return result;
}

void JournalManager::MarkRecorded(uint64_t number) {
  std::shared_ptr<LogWriter> closed;  // outside the lock, which writers take
  std::lock_guard<std::mutex> lock(mutex_);
  for (SealedJournal& sealed : sealed_) {
    if (sealed.number != number) continue;
    sealed.recorded = true;
    closed = std::move(sealed.writer);
  }
}

std::vector<uint64_t> JournalManager::Evictable(const FlushedSeqno& flushed_seqno,
                                                Seqno* last_seqno) const {
  std::vector<uint64_t> result;
  *last_seqno = 0;
  std::lock_guard<std::mutex> lock(mutex_);
  for (const SealedJournal& sealed : sealed_) {
    if (sealed.writer != nullptr && sealed.writer->synced_to() < sealed.bytes) break;
    const bool done =
        std::all_of(sealed.watermarks.begin(), sealed.watermarks.end(), [&](const auto& mark) {
          const std::optional<Seqno> flushed = flushed_seqno(mark.first);
          return !flushed.has_value() || *flushed > mark.second;
        });
    if (!done) break;
    result.push_back(sealed.number);
    *last_seqno = std::max(*last_seqno, sealed.last_seqno);
  }
  return result;
}

void JournalManager::Drop(const std::vector<uint64_t>& numbers) {
  std::vector<SealedJournal> dropped;  // closed outside the lock, which writers take
  dropped.reserve(numbers.size());
  std::lock_guard<std::mutex> lock(mutex_);
  for (const uint64_t number : numbers) {
    if (sealed_.empty() || sealed_.front().number != number) continue;
    dropped.push_back(std::move(sealed_.front()));
    sealed_.pop_front();
  }
  CountFiles();
}

std::vector<uint32_t> JournalManager::Pinning(const FlushedSeqno& flushed_seqno) const {
  std::vector<uint32_t> trees;
  std::lock_guard<std::mutex> lock(mutex_);
  if (sealed_.empty()) return trees;
  for (const auto& [tree, seqno] : sealed_.front().watermarks) {
    const std::optional<Seqno> flushed = flushed_seqno(tree);
    if (flushed.has_value() && *flushed <= seqno) trees.push_back(tree);
  }
  return trees;
}

std::vector<uint64_t> JournalManager::numbers() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<uint64_t> result;
  for (const SealedJournal& sealed : sealed_) result.push_back(sealed.number);
  if (active_ != nullptr) result.push_back(active_->file_number());
  if (next_ != nullptr) result.push_back(next_->file_number());
  return result;
}

}  // namespace shale
