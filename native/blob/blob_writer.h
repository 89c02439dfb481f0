// BlobWriter: values in internal order of their entries in, one durable blob file out, and for each
// value a pointer.
//
// Threads: one. Memory: what is gathered for a write call, and one compressed value.
// Errors: the first is sticky; Abandon (or an error in Finish, or the destructor before it) removes
// the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "blob/blob_format.h"
#include "vfs/vfs.h"

namespace shale {

struct BlobWriteOptions {
  Codec codec = Codec::kLz4;
  uint64_t write_chunk = 256 * 1024;  // bytes gathered before a write call
};

// What a finished blob file is; goes to the manifest.
struct BlobFileMeta {
  uint64_t number = 0;  // file number
  uint64_t size = 0;    // bytes of the file
  uint64_t item_count = 0;
  uint64_t frame_bytes = 0;
  uint64_t raw_bytes = 0;
};

class BlobWriter {
 public:
  static Status Create(Vfs* vfs, const std::string& path, uint64_t file_number,
                       const BlobWriteOptions& options, std::unique_ptr<BlobWriter>* writer);
  ~BlobWriter() { Abandon(); }
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;

  // Compressed where that is worth it. Strictly ascending internal order.
  Status Add(Slice key, Seqno seqno, Slice value, BlobPointer* pointer);
  // The frame of another file, as it is stored there. Its seqno is to be the entry's: an ingested
  // one has had none when the other file was written.
  Status AddFrame(const BlobFrame& frame, BlobPointer* pointer);
  // Bytes the file would have if finished now.
  uint64_t size() const { return offset_ + kBlobFooterBytes; }
  uint64_t item_count() const { return footer_.item_count; }
  // Writes the footer and syncs the file (not the directory). With `unsynced` the open file is
  // handed over instead: syncing it is the caller's.
  Status Finish(BlobFileMeta* meta, std::unique_ptr<File>* unsynced = nullptr);
  void Abandon();

 private:
  BlobWriter(Vfs* vfs, uint64_t file_number, const BlobWriteOptions& options,
             std::unique_ptr<File> file);

  Status Check(const BlobFrame& frame) const;
  Status Append(const BlobFrame& frame);
  Status FlushChunk();
  Status WriteFooter();

  Vfs* const vfs_;
  const uint64_t file_number_;
  const BlobWriteOptions options_;
  std::unique_ptr<File> file_;  // null once the writer is done with it
  Status status_;               // the first error
  uint64_t offset_ = 0;         // of the next frame
  uint64_t written_ = 0;        // bytes handed to the file; the rest is in chunk_
  std::string chunk_;
  std::string compressed_;
  std::string last_key_;
  Seqno last_seqno_ = 0;
  BlobFooter footer_;
};

}  // namespace shale
