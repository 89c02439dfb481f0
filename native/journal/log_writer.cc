#include "journal/log_writer.h"

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include "base/seeded_bug.h"

namespace shale {

namespace {

// Steps in which space is reserved: as much as the file has, within these bounds, so that a small
// database stays small.
constexpr uint64_t kReserveStepMin = uint64_t{1} << 20;
constexpr uint64_t kReserveStepMax = uint64_t{8} << 20;
constexpr size_t kZeroChunkBytes = 64 * 1024;

Status SyncFailed(const Status& cause) {
  ErrorDetails details;
  if (cause.details() != nullptr) details = *cause.details();
  details.indeterminate = true;
  return Status(Code::kSyncFailed, std::move(details));
}

}  // namespace

// `sync` is held during a sync; `poison` only for a moment, so that an append never waits for a
// sync to learn that the writer is poisoned.
struct LogWriter::SyncState {
  std::mutex sync;
  std::mutex poison;
  Status error;  // under `poison`
};

LogWriter::LogWriter(std::unique_ptr<File> file, uint64_t file_number, uint64_t size)
    : file_(std::move(file)),
      file_number_(file_number),
      size_(size),
      reserved_(size),
      sync_state_(std::make_unique<SyncState>()) {}

LogWriter::~LogWriter() = default;

Status LogWriter::Create(Vfs* vfs, const std::string& path, const char* magic, uint64_t file_number,
                         uint64_t preallocate_bytes, std::unique_ptr<LogWriter>* writer) {
  std::unique_ptr<File> file;
  SHALE_RETURN_IF_ERROR(vfs->Open(path, OpenMode::kCreateNew, &file));
  std::unique_ptr<LogWriter> w(new LogWriter(std::move(file), file_number, 0));
  w->step_max_ = std::min(preallocate_bytes, kReserveStepMax);
  w->Reserve(kLogHeaderBytes);
  char header[kLogHeaderBytes];
  EncodeFileHeader(magic, file_number, header);
  if (Status s = w->file_->Write(0, Slice(header, sizeof header)); !s.ok()) {
    w.reset();
    // The first error is what matters; a file that stays behind is removed at the next open.
    static_cast<void>(vfs->Remove(path));
    return s;
  }
  w->size_.store(kLogHeaderBytes, std::memory_order_release);
  *writer = std::move(w);
  return Status::Ok();
}

Status LogWriter::Reopen(Vfs* vfs, const std::string& path, uint64_t file_number,
                         uint64_t end_offset, std::unique_ptr<LogWriter>* writer) {
  std::unique_ptr<File> file;
  SHALE_RETURN_IF_ERROR(vfs->Open(path, OpenMode::kReadWrite, &file));
  uint64_t size = 0;
  SHALE_RETURN_IF_ERROR(file->Size(&size));
  if (size < end_offset || end_offset < kLogHeaderBytes) {
    return Status::Corruption("the file is shorter than its records", path, size);
  }
  if (size > end_offset) SHALE_RETURN_IF_ERROR(file->Truncate(end_offset));
  if (Status s = file->Sync(); !s.ok()) return SyncFailed(s);
  std::unique_ptr<LogWriter> w(new LogWriter(std::move(file), file_number, end_offset));
  w->synced_to_.store(end_offset, std::memory_order_release);
  *writer = std::move(w);
  return Status::Ok();
}

void LogWriter::Reserve(uint64_t end) {
  if (step_max_ == 0 || end <= reserved_) return;
  const uint64_t step =
      std::bit_floor(std::clamp(end, std::min(kReserveStepMin, step_max_), step_max_));
  const uint64_t target = (end / step + 1) * step;
  // Without the space an append may still succeed; the next try is a step away either way.
  static_cast<void>(file_->Preallocate(target));
  reserved_ = target;
}

Status LogWriter::Append(RecordType type, uint32_t count, Seqno seqno, Slice payload,
                         uint64_t* end) {
  if (payload.size() > kLogPayloadBytesMax) {
    return Status(Code::kBatchTooLarge, "a record is limited to 2^30 + 2^24 bytes");
  }
  const uint64_t offset = size_.load(std::memory_order_relaxed);
  LogRecordHeader h;
  h.type = type;
  h.count = count;
  h.seqno = seqno;
  h.synced_to = synced_to_.load(std::memory_order_acquire);
  char header[kLogRecordHeaderBytes];
  EncodeLogRecordHeader(h, file_number_, offset, payload, header);
  SHALE_RETURN_IF_ERROR(Write(Slice(header, sizeof header), payload, h.synced_to));
  *end = offset + sizeof header + payload.size();
  return Status::Ok();
}

Status LogWriter::AppendEncoded(Slice records, uint64_t stated_synced_to) {
  return Write(records, Slice(), stated_synced_to);
}

Status LogWriter::Write(Slice a, Slice b, uint64_t stated_synced_to) {
  if (poisoned()) return Poisoned();
  if (cut()) SHALE_RETURN_IF_ERROR(SyncCuts());
  const uint64_t offset = size_.load(std::memory_order_relaxed);
  const uint64_t length = a.size() + b.size();
  Reserve(offset + length);
  if (Status s = file_->Write2(offset, a, b); !s.ok()) {
    if (!CutBack(length).ok()) return Poison(std::move(s));
    return s;
  }
  witnessed_ = std::max(witnessed_, stated_synced_to);
  size_.store(offset + length, std::memory_order_release);
  return Status::Ok();
}

Status LogWriter::CutBack(uint64_t length) {
  if (BugIsOn(SeededBug::kNoCutBackAfterShortWrite)) return Status::Ok();
  const uint64_t offset = size_.load(std::memory_order_relaxed);
  cuts_.fetch_add(1, std::memory_order_release);
  if (file_->Truncate(offset).ok()) {
    reserved_ = offset;
    return Status::Ok();
  }
  const std::string zeros(static_cast<size_t>(std::min<uint64_t>(length, kZeroChunkBytes)), '\0');
  for (uint64_t done = 0; done < length; done += zeros.size()) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(length - done, zeros.size()));
    SHALE_RETURN_IF_ERROR(file_->Write(offset + done, Slice(zeros.data(), n)));
  }
  return Status::Ok();
}

Status LogWriter::Sync(bool* reached_device) {
  const uint64_t wanted = size_.load(std::memory_order_acquire);
  const uint64_t wanted_cuts = cuts_.load(std::memory_order_acquire);
  SyncState& state = *sync_state_;
  std::lock_guard<std::mutex> lock(state.sync);
  if (poisoned()) return Poisoned();
  if (synced_to_.load(std::memory_order_relaxed) >= wanted &&
      synced_cuts_.load(std::memory_order_relaxed) >= wanted_cuts) {
    return Status::Ok();
  }
  const uint64_t target = size_.load(std::memory_order_acquire);
  const uint64_t cuts = cuts_.load(std::memory_order_acquire);
  Status s = file_->Sync();
  if (!s.ok() && BugIsOn(SeededBug::kRetrySync)) s = file_->Sync();
  if (!s.ok()) return Poison(SyncFailed(s));
  if (reached_device != nullptr) *reached_device = true;
  synced_cuts_.store(cuts, std::memory_order_release);
  synced_to_.store(target, std::memory_order_release);
  return Status::Ok();
}

// Does not count for synced_to: an older journal may not be synced yet, and that this one is must
// not be stated before.
Status LogWriter::SyncCuts() {
  std::lock_guard<std::mutex> lock(sync_state_->sync);
  if (poisoned()) return Poisoned();
  const uint64_t cuts = cuts_.load(std::memory_order_acquire);
  if (Status s = file_->Sync(); !s.ok()) return Poison(SyncFailed(s));
  synced_cuts_.store(cuts, std::memory_order_release);
  return Status::Ok();
}

Status LogWriter::Witness() {
  if (poisoned()) return Poisoned();
  if (synced_to() <= witnessed_) return Status::Ok();
  uint64_t end = 0;
  return Append(RecordType::kSyncedTo, 0, 0, Slice(), &end);
}

Status LogWriter::Poison(Status error) {
  std::lock_guard<std::mutex> lock(sync_state_->poison);
  if (sync_state_->error.ok()) sync_state_->error = std::move(error);
  poisoned_.store(true, std::memory_order_release);
  return sync_state_->error;
}

Status LogWriter::Poisoned() const {
  std::lock_guard<std::mutex> lock(sync_state_->poison);
  return sync_state_->error;
}

}  // namespace shale
