#include "blob/blob_output.h"

#include <utility>

#include "vfs/file_name.h"

namespace shale {

BlobOutput::~BlobOutput() {
  if (kept_) return;
  writer_.reset();
  unsynced_.Close();
  const BlobContext& context = options_.blobs;
  for (Written& written : files_) {
    if (written.file) {
      written.file->MarkObsolete();
      continue;
    }
    // What cannot be removed now is an orphan, which the next open removes.
    static_cast<void>(
        context.vfs->Remove(FileName(context.directory, FileKind::kBlob, written.meta.number)));
  }
}

Status BlobOutput::Add(Slice key, Seqno seqno, Slice value, BlobPointer* pointer) {
  SHALE_RETURN_IF_ERROR(Prepare());
  return writer_->Add(key, seqno, value, pointer);
}

Status BlobOutput::AddFrame(const BlobFrame& frame, BlobPointer* pointer) {
  SHALE_RETURN_IF_ERROR(Prepare());
  return writer_->AddFrame(frame, pointer);
}

Status BlobOutput::Prepare() {
  const bool full =
      writer_ != nullptr && writer_->item_count() != 0 && writer_->size() >= options_.file_size;
  if (full) SHALE_RETURN_IF_ERROR(EndFile());
  if (writer_ != nullptr) return Status::Ok();
  const BlobContext& context = options_.blobs;
  const uint64_t number = options_.new_file_number();
  return BlobWriter::Create(context.vfs, FileName(context.directory, FileKind::kBlob, number),
                            number, options_.write, &writer_);
}

Status BlobOutput::EndFile() {
  Written written;
  std::unique_ptr<File> file;
  const Status s = writer_->Finish(&written.meta, options_.sync_at_end ? &file : nullptr);
  writer_.reset();
  if (!s.ok()) return s;
  files_.push_back(std::move(written));
  return file != nullptr ? unsynced_.Add(std::move(file)) : s;
}

Status BlobOutput::Finish() {
  if (writer_ != nullptr) SHALE_RETURN_IF_ERROR(EndFile());
  SHALE_RETURN_IF_ERROR(unsynced_.SyncAll());
  for (Written& written : files_) {
    SHALE_RETURN_IF_ERROR(
        BlobFile::Open(options_.blobs, written.meta, options_.counters, &written.file));
  }
  return Status::Ok();
}

}  // namespace shale
