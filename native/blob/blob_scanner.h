// BlobScanner: the frames of a blob file as they are stored: all of them in their order, or those
// that ascending pointers ask for, which is how a compaction relocates them.
//
// Threads: one. Memory: one chunk, or one frame if that is larger; past the cache.
// Lifetime: keeps the file. A frame lives until the next call.
#pragma once

#include <cstdint>
#include <memory>

#include "base/ref.h"
#include "blob/blob_file.h"

namespace shale {

class BlobScanner {
 public:
  static constexpr size_t kChunkBytes = size_t{256} << 10;

  explicit BlobScanner(const BlobFile* file) : file_(Ref<const BlobFile>::Share(file)) {}

  // The next frame. False at the end of the frames and on an error: see status().
  bool Next(BlobFrame* frame);
  // Where the frame of the last Next() begins.
  uint64_t offset() const { return offset_; }
  const Status& status() const { return status_; }

  // The frame of the entry with this key and pointer. What lies between two frames that are far
  // apart is not read.
  Status Get(Slice key, const BlobPointer& pointer, BlobFrame* frame);

 private:
  // The bytes [offset, offset + size), which lie before the footer.
  Status Read(uint64_t offset, uint64_t size, const char** bytes);
  Status ReadNext(BlobFrame* frame);

  const Ref<const BlobFile> file_;
  std::unique_ptr<char[]> buffer_;
  size_t room_ = 0;
  uint64_t begin_ = 0;  // the bytes [begin_, end_) of the file are in the buffer
  uint64_t end_ = 0;
  uint64_t offset_ = 0;
  uint64_t next_ = kFileHeaderBytes;
  Status status_;
};

}  // namespace shale
