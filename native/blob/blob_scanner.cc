#include "blob/blob_scanner.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace shale {

bool BlobScanner::Next(BlobFrame* frame) {
  if (!status_.ok() || next_ == file_->footer_offset()) return false;
  offset_ = next_;
  status_ = ReadNext(frame);
  if (!status_.ok()) return false;
  next_ += frame->bytes();
  return true;
}

Status BlobScanner::ReadNext(BlobFrame* frame) {
  const uint64_t left = file_->footer_offset() - offset_;
  const auto damaged = [&](const char* what) {
    return file_->Located(Status::Corruption(what), offset_);
  };
  if (left < kBlobFrameHeaderBytes) return damaged("the last blob frame is cut off");
  const char* bytes = nullptr;
  SHALE_RETURN_IF_ERROR(Read(offset_, kBlobFrameHeaderBytes, &bytes));
  // The lengths decide how much is read before the checksum can be looked at.
  BlobFrameHeader header;
  if (!DecodeBlobFrameHeader(bytes, &header) || header.frame_bytes() > left) {
    return damaged("a field of a blob frame is wrong");
  }
  SHALE_RETURN_IF_ERROR(Read(offset_, header.frame_bytes(), &bytes));
  const Slice whole(bytes, static_cast<size_t>(header.frame_bytes()));
  const Status s = DecodeBlobFrame(whole, file_->meta().number, offset_, frame);
  return s.ok() ? s : file_->Located(s, offset_);
}

Status BlobScanner::Get(Slice key, const BlobPointer& pointer, BlobFrame* frame) {
  SHALE_RETURN_IF_ERROR(file_->CheckPlace(pointer, key.size()));
  const auto size = static_cast<size_t>(pointer.FrameBytes(key.size()));
  const char* bytes = nullptr;
  SHALE_RETURN_IF_ERROR(Read(pointer.offset, size, &bytes));
  const Status s = DecodeBlobFrame(Slice(bytes, size), file_->meta().number, pointer.offset, frame);
  if (!s.ok()) return file_->Located(s, pointer.offset);
  return file_->CheckFrame(*frame, key, pointer);
}

Status BlobScanner::Read(uint64_t offset, uint64_t size, const char** bytes) {
  const uint64_t end = offset + size;
  if (offset < begin_ || end > end_) {
    const uint64_t limit = file_->footer_offset();
    const auto wanted = static_cast<size_t>(
        std::min<uint64_t>(std::max<uint64_t>(size, kChunkBytes), limit - offset));
    std::shared_ptr<File> file;
    SHALE_RETURN_IF_ERROR(file_->OpenFile(&file));
    // What the last chunk has of it is kept. A large frame does not make all later chunks large.
    const bool keeps = offset >= begin_ && offset < end_;
    const auto kept = keeps ? static_cast<size_t>(end_ - offset) : size_t{0};
    const size_t room = std::max(wanted, kChunkBytes);
    std::unique_ptr<char[]> fresh;
    if (room != room_) fresh = std::make_unique_for_overwrite<char[]>(room);
    char* target = fresh != nullptr ? fresh.get() : buffer_.get();
    if (keeps) std::memmove(target, buffer_.get() + (offset - begin_), kept);
    if (fresh != nullptr) buffer_ = std::move(fresh);
    room_ = room;
    begin_ = offset;
    end_ = offset + kept;
    size_t got = 0;
    SHALE_RETURN_IF_ERROR(file->Read(end_, wanted - kept, target + kept, &got));
    end_ += got;
    if (end_ < end) return file_->Located(Status::Corruption("the blob file is cut off"), offset);
  }
  *bytes = buffer_.get() + (offset - begin_);
  return Status::Ok();
}

}  // namespace shale
