#include "blob/blob_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "blob/blob_scanner.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

// A value in the cache, with what a pointer has to agree with: reading it again must notice what
// reading its frame would.
class BlobValue : public CacheValue {
 public:
  // `memory` holds the key at `key_at`, and the value behind it.
  BlobValue(std::unique_ptr<char[]> memory, size_t key_at, const BlobFrame& frame)
      : memory_(std::move(memory)),
        key_(memory_.get() + key_at, frame.key.size()),
        stored_length_(static_cast<uint32_t>(frame.stored.size())),
        raw_length_(frame.raw_length) {}

  Slice value() const { return {key_.end(), raw_length_}; }
  // Bytes of memory, for the cache's budget.
  size_t charge() const { return sizeof *this + key_.size() + raw_length_; }
  bool Is(Slice key, const BlobPointer& pointer) const {
    return key_ == key && stored_length_ == pointer.stored_length &&
           raw_length_ == pointer.raw_length;
  }

 private:
  const std::unique_ptr<char[]> memory_;
  const Slice key_;
  const uint32_t stored_length_;
  const uint32_t raw_length_;
};

Status WrongPointer() {
  return Status::Corruption("a blob pointer does not fit the frame that it points to");
}

}  // namespace

BlobFile::BlobFile(const BlobContext& context, const BlobFileMeta& meta,
                   std::shared_ptr<BlobCounters> counters)
    : cache_(context.cache),
      files_(context.files),
      path_(FileName(context.directory, FileKind::kBlob, meta.number)),
      meta_(meta),
      counters_(std::move(counters)) {}

BlobFile::~BlobFile() {
  if (obsolete_.load(std::memory_order_acquire)) files_->Remove(meta_.number, path_);
}

Status BlobFile::Located(const Status& status, uint64_t offset) const {
  return status.WithPath(path_, offset);
}

Status BlobFile::OpenFile(std::shared_ptr<File>* file) const {
  return files_->Get(meta_.number, path_, file);
}

// ---- opening ----

Status BlobFile::Open(const BlobContext& context, const BlobFileMeta& meta,
                      std::shared_ptr<BlobCounters> counters, Ref<BlobFile>* file) {
  Ref<BlobFile> opened = Ref<BlobFile>::Adopt(new BlobFile(context, meta, std::move(counters)));
  const Status s = opened->CheckEnds();
  if (IsErrno(s, ENOENT)) {
    return Status::Corruption("the manifest names a blob file that is missing", opened->path_);
  }
  SHALE_RETURN_IF_ERROR(s);
  *file = std::move(opened);
  return Status::Ok();
}

Status BlobFile::CheckEnds() const {
  std::shared_ptr<File> file;
  uint64_t size = 0;
  SHALE_RETURN_IF_ERROR(OpenFile(&file));
  SHALE_RETURN_IF_ERROR(file->Size(&size));
  if (size != meta_.size || size < kBlobFileOverhead) {
    return Located(Status::Corruption("the blob file has another size than the manifest says"),
                   std::min(size, meta_.size));
  }
  char bytes[kBlobFooterBytes];
  size_t got = 0;
  SHALE_RETURN_IF_ERROR(file->Read(0, kFileHeaderBytes, bytes, &got));
  Status s = DecodeFileHeader(Slice(bytes, got), kBlobMagic, meta_.number);
  // The manifest names it: it is no stranger.
  if (s.Is(Code::kNotADatabase)) s = Status::Corruption("the blob file does not begin as one");
  if (!s.ok()) return Located(s, 0);
  BlobFooter footer;
  SHALE_RETURN_IF_ERROR(file->Read(footer_offset(), sizeof bytes, bytes, &got));
  s = DecodeBlobFooter(Slice(bytes, got), meta_.number, footer_offset(), &footer);
  if (s.ok() && (footer.item_count != meta_.item_count || footer.frame_bytes != meta_.frame_bytes ||
                 footer.raw_bytes != meta_.raw_bytes)) {
    s = Status::Corruption("the blob file has other totals than the manifest says");
  }
  return s.ok() ? s : Located(s, footer_offset());
}

// ---- reading ----

Status BlobFile::CheckPlace(const BlobPointer& pointer, size_t key_size) const {
  const uint64_t end = footer_offset();
  if (pointer.offset >= kFileHeaderBytes && pointer.offset <= end &&
      pointer.FrameBytes(key_size) <= end - pointer.offset) {
    return Status::Ok();
  }
  return Located(Status::Corruption("a blob pointer points outside its file"), pointer.offset);
}

Status BlobFile::CheckFrame(const BlobFrame& frame, Slice key, const BlobPointer& pointer) const {
  if (frame.key == key && frame.stored.size() == pointer.stored_length &&
      frame.raw_length == pointer.raw_length) {
    return Status::Ok();
  }
  return Located(WrongPointer(), pointer.offset);
}

Status BlobFile::Get(Slice key, const BlobPointer& pointer, const ReadContext& context,
                     BlobHit* hit, bool keep) const {
  const CacheKey place{meta_.number, pointer.offset};
  const bool memory_only = context.mode == ReadMode::kMemoryOnly;
  if (context.fill_cache || memory_only) {
    const EpochGuard guard;
    // All that the cache holds for a blob file's number are values.
    if (auto* value = static_cast<BlobValue*>(cache_->Lookup(place, !memory_only));
        value != nullptr) {
      if (!value->Is(key, pointer)) return Located(WrongPointer(), pointer.offset);
      counters_->CountCached();
      hit->value = value->value();
      if (keep || !memory_only) hit->pin = Ref<CacheValue>::Share(value);
      return Status::Ok();
    }
    if (memory_only) return Code::kWouldBlock;
  }
  Ref<CacheValue> value;
  SHALE_RETURN_IF_ERROR(Load(key, pointer, context.read_ahead_bytes, &value, &hit->value));
  counters_->CountIo();
  if (context.fill_cache) {
    // If another reader was faster, its value lives in the cache; this one with its reader.
    const size_t charge = static_cast<BlobValue*>(value.get())->charge();
    cache_->Insert(place, value, charge);
  }
  hit->pin = std::move(value);
  return Status::Ok();
}

Status BlobFile::Load(Slice key, const BlobPointer& pointer, size_t read_ahead,
                      Ref<CacheValue>* value, Slice* bytes) const {
  SHALE_RETURN_IF_ERROR(CheckPlace(pointer, key.size()));
  std::shared_ptr<File> file;
  SHALE_RETURN_IF_ERROR(OpenFile(&file));
  const auto size = static_cast<size_t>(pointer.FrameBytes(key.size()));
  auto memory = std::make_unique_for_overwrite<char[]>(size);
  size_t got = 0;
  if (read_ahead != 0) {
    // The frame that reaches into a window of that size asks for the rest of it and the next one.
    const uint64_t end = pointer.offset + size;
    const uint64_t window = end / read_ahead;
    if (pointer.offset / read_ahead != window) {
      file->ReadAhead(end, (window + 2) * read_ahead - end);
    }
  }
  SHALE_RETURN_IF_ERROR(file->Read(pointer.offset, size, memory.get(), &got));
  if (got != size) {
    return Located(Status::Corruption("the blob file is cut off"), pointer.offset);
  }
  BlobFrame frame;
  const Status s = DecodeBlobFrame(Slice(memory.get(), size), meta_.number, pointer.offset, &frame);
  if (!s.ok()) return Located(s, pointer.offset);
  SHALE_RETURN_IF_ERROR(CheckFrame(frame, key, pointer));
  Ref<BlobValue> made;
  if (frame.codec == Codec::kNone) {
    made = MakeRef<BlobValue>(std::move(memory), kBlobFrameHeaderBytes, frame);
  } else {
    auto raw = std::make_unique_for_overwrite<char[]>(frame.key.size() + frame.raw_length);
    std::memcpy(raw.get(), frame.key.data(), frame.key.size());
    const Status decoded = DecodeBlobValue(frame, raw.get() + frame.key.size());
    if (!decoded.ok()) return Located(decoded, pointer.offset);
    made = MakeRef<BlobValue>(std::move(raw), size_t{0}, frame);
  }
  *bytes = made->value();
  *value = std::move(made);
  return Status::Ok();
}

// ---- verification ----

Status BlobFile::Verify() const {
  SHALE_RETURN_IF_ERROR(CheckEnds());
  BlobScanner scanner(this);
  BlobFileMeta seen;
  BlobFrame frame;
  std::unique_ptr<char[]> raw;
  size_t room = 0;
  std::string last_key;
  Seqno last_seqno = 0;
  while (scanner.Next(&frame)) {
    const uint64_t offset = scanner.offset();
    if (seen.item_count != 0 &&
        CompareInternal(last_key, MakeTag(last_seqno, Kind::kValue), frame.key,
                        MakeTag(frame.seqno, Kind::kValue)) >= 0) {
      return Located(Status::Corruption("the frames of a blob file do not ascend"), offset);
    }
    if (frame.codec != Codec::kNone && room < frame.raw_length) {
      raw = std::make_unique_for_overwrite<char[]>(frame.raw_length);
      room = frame.raw_length;
    }
    if (frame.codec != Codec::kNone) {
      const Status s = DecodeBlobValue(frame, raw.get());
      if (!s.ok()) return Located(s, offset);
    }
    last_key.assign(frame.key.data(), frame.key.size());
    last_seqno = frame.seqno;
    seen.item_count++;
    seen.raw_bytes += frame.raw_length;
  }
  SHALE_RETURN_IF_ERROR(scanner.status());
  if (seen.item_count == meta_.item_count && seen.raw_bytes == meta_.raw_bytes) {
    return Status::Ok();
  }
  return Located(Status::Corruption("the blob footer does not match the frames"), footer_offset());
}

}  // namespace shale
