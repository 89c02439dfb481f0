#include "tree/job_output.h"

#include <utility>

namespace shale {
namespace {

// Each has a buffer.
constexpr size_t kScannersMax = 64;

}  // namespace

JobOutput::JobOutput(JobOutputOptions options)
    : threshold_(options.threshold),
      unpaid_(options.tables.throttle),
      tables_(std::move(options.tables)) {
  if (options.blobs) blobs_.emplace(std::move(*options.blobs));
}

void JobOutput::SetRelocated(std::vector<Ref<BlobFile>> files) {
  for (Ref<BlobFile>& file : files) {
    const uint64_t number = file->meta().number;
    relocated_[number].file = std::move(file);
  }
}

Status JobOutput::Add(const Entry& entry) {
  if (!blobs_) return tables_.Add(entry);
  if (entry.kind() == Kind::kValue && entry.value.size() >= threshold_) return Separate(entry);
  if (entry.kind() == Kind::kBlobPointer && !relocated_.empty()) {
    const auto from = relocated_.find(BlobPointer::Decode(entry.value.data()).file_number);
    if (from != relocated_.end()) return Move(entry, &from->second);
  }
  return tables_.Add(entry);
}

Status JobOutput::Separate(const Entry& entry) {
  BlobPointer pointer;
  SHALE_RETURN_IF_ERROR(blobs_->Add(entry.key, entry.seqno(), entry.value, &pointer));
  return AddPointer(entry, pointer);
}

Status JobOutput::Move(const Entry& entry, Relocated* from) {
  if (from->scanner == nullptr) {
    if (scanners_ == kScannersMax) {
      for (auto& [number, other] : relocated_) other.scanner.reset();
      scanners_ = 0;
    }
    from->scanner = std::make_unique<BlobScanner>(from->file.get());
    scanners_++;
  }
  BlobFrame frame;
  SHALE_RETURN_IF_ERROR(
      from->scanner->Get(entry.key, BlobPointer::Decode(entry.value.data()), &frame));
  frame.seqno = entry.seqno();
  BlobPointer pointer;
  SHALE_RETURN_IF_ERROR(blobs_->AddFrame(frame, &pointer));
  return AddPointer(entry, pointer);
}

Status JobOutput::AddPointer(const Entry& entry, const BlobPointer& pointer) {
  unpaid_.Add(pointer.stored_length);
  const auto value = pointer.Encode();
  return tables_.Add(
      {entry.key, Slice(value.data(), value.size()), MakeTag(entry.seqno(), Kind::kBlobPointer)});
}

// The tables sync the directory: the blob files are there before.
Status JobOutput::End() {
  unpaid_.Pay();
  if (blobs_) SHALE_RETURN_IF_ERROR(blobs_->Finish());
  return tables_.End();
}

void JobOutput::Keep() {
  tables_.Keep();
  if (blobs_) blobs_->Keep();
}

void JobOutput::Discard() {
  tables_.Discard();
  if (blobs_) blobs_->Discard();
}

const std::vector<BlobOutput::Written>& JobOutput::blob_files() const {
  static const std::vector<BlobOutput::Written> kNone;
  return blobs_ ? blobs_->files() : kNone;
}

uint64_t JobOutput::bytes() const {
  uint64_t sum = tables_.bytes();
  for (const BlobOutput::Written& written : blob_files()) sum += written.meta.size;
  return sum;
}

}  // namespace shale
