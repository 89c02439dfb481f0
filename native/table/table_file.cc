#include "table/table_file.h"

#include <algorithm>
#include <utility>

#include "table/table_reader.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

// The first read of a scan that may go on.
constexpr size_t kFirstChunkBytes = 16 * 1024;
// Buffers up to this size stay with their thread.
constexpr size_t kKeptBufferBytes = 256 * 1024;

struct LoadBuffers {
  BlockBuffer stored;
  BlockBuffer raw;
};

LoadBuffers& ThreadBuffers() {
  thread_local LoadBuffers buffers;
  return buffers;
}

}  // namespace

Status ReadAhead::Get(File* file, uint64_t offset, size_t size, uint64_t limit, size_t chunk_max,
                      bool at_once, Slice* bytes) {
  const uint64_t end = offset + size;
  if (end_ == 0 || offset < begin_ || end > end_) {
    // Does this continue the read before, from above or from below? Blocks that were found in the
    // cache may lie between.
    const bool down = end_ != 0 && offset < begin_ && end <= end_ && begin_ <= end + chunk_;
    const bool up = end_ != 0 && offset >= begin_ && offset <= end_ + chunk_;
    if (at_once) {
      chunk_ = chunk_max;
    } else {
      chunk_ = std::min(down || up ? chunk_ * 2 : kFirstChunkBytes, chunk_max);
    }
    const size_t chunk = std::max(chunk_, size);
    const uint64_t begin = down ? end - std::min<uint64_t>(end, chunk) : offset;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(limit - begin, chunk));
    begin_ = 0;
    end_ = 0;
    size_t got = 0;
    SHALE_RETURN_IF_ERROR(file->Read(begin, wanted, buffer_.Reserve(wanted), &got));
    if (begin + got < end) {
      return Status::Corruption("the table is cut off", file->path(), offset);
    }
    begin_ = begin;
    end_ = begin + got;
    if (at_once && !down && end_ < limit) file->ReadAhead(end_, chunk_max);
  }
  *bytes = Slice(buffer_.data() + (offset - begin_), size);
  return Status::Ok();
}

TableFile::TableFile(const TableContext& context, uint64_t number, uint64_t size,
                     std::shared_ptr<TableCounters> counters)
    : cache_(context.cache.get()),
      files_(context.files.get()),
      path_(FileName(context.directory, FileKind::kTable, number)),
      number_(number),
      size_(size),
      counters_(std::move(counters)) {}

Status TableFile::CheckSize() const {
  std::shared_ptr<File> file;
  uint64_t size = 0;
  SHALE_RETURN_IF_ERROR(files_->Get(number_, path_, &file));
  SHALE_RETURN_IF_ERROR(file->Size(&size));
  if (size != size_ || size <= kTableFooterBytes) {
    return Status::Corruption("the table has another size than the manifest says", path_,
                              std::min(size, size_));
  }
  return Status::Ok();
}

Status TableFile::Read(uint64_t offset, size_t size, char* dst) const {
  std::shared_ptr<File> file;
  size_t got = 0;
  SHALE_RETURN_IF_ERROR(files_->Get(number_, path_, &file));
  SHALE_RETURN_IF_ERROR(file->Read(offset, size, dst, &got));
  if (got != size) return Status::Corruption("the table is cut off", path_, offset);
  return Status::Ok();
}

Status TableFile::ReadBlock(BlockHandle handle, BlockType type, const ReadContext& context,
                            ReadAhead* ahead, BlockBuffer* stored, BlockBuffer* raw_buffer,
                            Slice* raw) const {
  if (!HandleFits(handle, type, footer_offset())) {
    return Status::Corruption("a block lies outside the table", path_, handle.offset);
  }
  const size_t size = handle.length + kBlockTrailerBytes;
  Slice bytes;
  const bool bypass = !context.fill_cache;
  if (ahead != nullptr && (bypass || context.read_ahead_bytes != 0)) {
    std::shared_ptr<File> file;
    SHALE_RETURN_IF_ERROR(files_->Get(number_, path_, &file));
    const size_t chunk = std::max(context.read_ahead_bytes, bypass ? kBypassChunkBytes : size_t{0});
    SHALE_RETURN_IF_ERROR(
        ahead->Get(file.get(), handle.offset, size, footer_offset(), chunk, bypass, &bytes));
  } else {
    char* dst = stored->Reserve(size);
    SHALE_RETURN_IF_ERROR(Read(handle.offset, size, dst));
    bytes = Slice(dst, size);
  }
  const Status status = UnsealBlock(bytes, handle, type, number_, raw_buffer, raw);
  return status.ok() ? status : Located(status, handle.offset);
}

template <typename T>
Status TableFile::Load(BlockHandle handle, BlockType target, const ReadContext& context,
                       ReadAhead* ahead, Ref<T>* block, BlockSlot slot) const {
  if (context.fill_cache || context.mode == ReadMode::kMemoryOnly) {
    const EpochGuard guard;
    T* cached = nullptr;
    if constexpr (std::is_same_v<T, DataBlock>) cached = BorrowSlot(slot);
    if (cached == nullptr) cached = Borrow<T>(handle, context.mode);
    if (cached != nullptr) {
      counters_->Count(TableCount::kLoadsCached, context);
      *block = Ref<T>::Share(cached);
      return Status::Ok();
    }
    if (context.mode == ReadMode::kMemoryOnly) return Code::kWouldBlock;
  }
  LoadBuffers& buffers = ThreadBuffers();
  Slice raw;
  SHALE_RETURN_IF_ERROR(
      ReadBlock(handle, T::kType, context, ahead, &buffers.stored, &buffers.raw, &raw));
  if (context.fill_cache) counters_->Count(TableCount::kLoadsIo, context);
  BlockBuffer* buffer = buffers.raw.Holds(raw) ? &buffers.raw : &buffers.stored;
  const Status status = Parse(raw, target, buffer, block);
  buffers.stored.Trim(kKeptBufferBytes);
  buffers.raw.Trim(kKeptBufferBytes);
  if (!status.ok()) return Located(status, handle.offset);
  if (context.fill_cache) {
    if constexpr (std::is_same_v<T, DataBlock>) (*block)->BindSlot(slot);
    // If another reader was faster, its block serves as well and this one goes.
    Ref<CacheValue> linked = cache_->Insert({number_, handle.offset},
                                            Ref<CacheValue>(Ref<T>(*block)), (*block)->charge());
    if (T* other = BlockCast<T>(linked.get()); other != nullptr) *block = Ref<T>::Share(other);
  }
  return Status::Ok();
}

template Status TableFile::Load(BlockHandle, BlockType, const ReadContext&, ReadAhead*,
                                Ref<DataBlock>*, BlockSlot) const;
template Status TableFile::Load(BlockHandle, BlockType, const ReadContext&, ReadAhead*,
                                Ref<IndexBlock>*, BlockSlot) const;
template Status TableFile::Load(BlockHandle, BlockType, const ReadContext&, ReadAhead*,
                                Ref<FilterBlock>*, BlockSlot) const;

Status TableFile::Parse(Slice raw, BlockType /*target*/, BlockBuffer* buffer,
                        Ref<DataBlock>* block) const {
  return DataBlock::Parse(raw, buffer, block);
}
Status TableFile::Parse(Slice raw, BlockType target, BlockBuffer* /*buffer*/,
                        Ref<IndexBlock>* block) const {
  return IndexBlock::Parse(raw, target, footer_offset(), block);
}
Status TableFile::Parse(Slice raw, BlockType /*target*/, BlockBuffer* /*buffer*/,
                        Ref<FilterBlock>* block) const {
  return FilterBlock::Parse(raw, block);
}

void TableFile::Remove() const { files_->Remove(number_, path_); }

}  // namespace shale
