#include "blob/blob_writer.h"

#include <utility>

namespace shale {

BlobWriter::BlobWriter(Vfs* vfs, uint64_t file_number, const BlobWriteOptions& options,
                       std::unique_ptr<File> file)
    : vfs_(vfs), file_number_(file_number), options_(options), file_(std::move(file)) {
  char header[kFileHeaderBytes];
  EncodeFileHeader(kBlobMagic, file_number_, header);
  chunk_.assign(header, sizeof header);
  offset_ = sizeof header;
}

Status BlobWriter::Create(Vfs* vfs, const std::string& path, uint64_t file_number,
                          const BlobWriteOptions& options, std::unique_ptr<BlobWriter>* writer) {
  std::unique_ptr<File> file;
  SHALE_RETURN_IF_ERROR(vfs->Open(path, OpenMode::kCreateNew, &file));
  *writer = std::unique_ptr<BlobWriter>(new BlobWriter(vfs, file_number, options, std::move(file)));
  return Status::Ok();
}

Status BlobWriter::Add(Slice key, Seqno seqno, Slice value, BlobPointer* pointer) {
  if (value.size() > kValueBytesMax) {
    if (status_.ok()) status_ = Status(Code::kInvalidArgument, "the value is too large for a blob");
    return status_;
  }
  BlobFrame frame{key, seqno, Codec::kNone, static_cast<uint32_t>(value.size()), value};
  if (value.size() <= kBlobCompressionMax && Compress(options_.codec, value, &compressed_)) {
    frame.codec = options_.codec;
    frame.stored = compressed_;
  }
  return AddFrame(frame, pointer);
}

Status BlobWriter::AddFrame(const BlobFrame& frame, BlobPointer* pointer) {
  if (status_.ok()) status_ = Check(frame);
  const uint64_t offset = offset_;
  if (status_.ok()) status_ = Append(frame);
  if (!status_.ok()) return status_;
  *pointer = {file_number_, offset, static_cast<uint32_t>(frame.stored.size()), frame.raw_length};
  last_key_.assign(frame.key.data(), frame.key.size());
  last_seqno_ = frame.seqno;
  footer_.item_count++;
  footer_.frame_bytes += frame.bytes();
  footer_.raw_bytes += frame.raw_length;
  return Status::Ok();
}

Status BlobWriter::Check(const BlobFrame& frame) const {
  const char* wrong = nullptr;
  if (file_ == nullptr) wrong = "a value when it is finished";
  if (frame.key.empty() || frame.key.size() > kKeyBytesMax) wrong = "the length of the key";
  if (frame.seqno > kSeqnoMax) wrong = "the seqno";
  if (!BlobLengthsAllowed(frame.stored.size(), frame.raw_length)) wrong = "the length of the value";
  if (footer_.item_count != 0 &&
      CompareInternal(last_key_, MakeTag(last_seqno_, Kind::kValue), frame.key,
                      MakeTag(frame.seqno, Kind::kValue)) >= 0) {
    wrong = "an entry that is not behind the one before";
  }
  if (wrong == nullptr) return Status::Ok();
  return Status(Code::kInvalidArgument, std::string("a blob file cannot take ") + wrong);
}

Status BlobWriter::Append(const BlobFrame& frame) {
  char header[kBlobFrameHeaderBytes];
  EncodeBlobFrameHeader(frame, file_number_, offset_, header);
  chunk_.append(header, sizeof header);
  chunk_.append(frame.key.data(), frame.key.size());
  offset_ += frame.bytes();
  if (frame.stored.size() >= options_.write_chunk) {
    // Not copied: what was gathered and the value go in one call.
    SHALE_RETURN_IF_ERROR(file_->Write2(written_, chunk_, frame.stored));
    written_ = offset_;
    chunk_.clear();
    return Status::Ok();
  }
  chunk_.append(frame.stored.data(), frame.stored.size());
  return chunk_.size() >= options_.write_chunk ? FlushChunk() : Status::Ok();
}

Status BlobWriter::FlushChunk() {
  SHALE_RETURN_IF_ERROR(file_->Write(written_, chunk_));
  written_ += chunk_.size();
  chunk_.clear();
  return Status::Ok();
}

Status BlobWriter::Finish(BlobFileMeta* meta, std::unique_ptr<File>* unsynced) {
  if (status_.ok() && file_ == nullptr) {
    status_ = Status(Code::kInvalidArgument, "the blob file is finished");
  } else if (status_.ok() && footer_.item_count == 0) {
    status_ = Status(Code::kInvalidArgument, "a blob file holds at least one value");
  }
  if (status_.ok()) status_ = WriteFooter();
  if (status_.ok() && unsynced == nullptr) status_ = file_->Sync();
  if (!status_.ok()) {
    Abandon();
    return status_;
  }
  if (unsynced != nullptr) *unsynced = std::move(file_);
  file_.reset();
  *meta = {file_number_, size(), footer_.item_count, footer_.frame_bytes, footer_.raw_bytes};
  return Status::Ok();
}

Status BlobWriter::WriteFooter() {
  char bytes[kBlobFooterBytes];
  footer_.created_at_ms = vfs_->WallMillis();
  EncodeBlobFooter(footer_, file_number_, offset_, bytes);
  chunk_.append(bytes, sizeof bytes);
  return FlushChunk();
}

void BlobWriter::Abandon() {
  if (file_ == nullptr) return;
  const std::string path = file_->path();
  file_.reset();
  // What cannot be removed now is an orphan that the next open removes.
  static_cast<void>(vfs_->Remove(path));
  if (status_.ok()) status_ = Status(Code::kAborted, "the blob file was abandoned");
}

}  // namespace shale
