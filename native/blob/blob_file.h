// BlobFile: one open, immutable blob file: the values that pointers into it stand for.
//
// Threads: any number of readers.
// Lifetime: shared by the versions that hold the file; when MarkObsolete() was called, the last
// reference removes it.
// Errors: kWouldBlock in ReadMode::kMemoryOnly when a value is not in memory; kCorruption with path
// and offset for damage, and for a pointer that does not fit its frame; what the vfs says
// otherwise. Nothing that failed is cached.
// Cost: a value in memory is one cache lookup and one comparison of keys; one that is not is one
// read, one checksum and one decompression.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/cache.h"
#include "base/iterator.h"
#include "base/metrics.h"
#include "base/ref.h"
#include "blob/blob_format.h"
#include "blob/blob_writer.h"
#include "vfs/file_cache.h"
#include "vfs/vfs.h"

namespace shale {

// What all blob files of a database share.
struct BlobContext {
  Vfs* vfs = nullptr;
  std::string directory;
  // Kept by the files: a reader may be the last to let go of one, after its database.
  std::shared_ptr<Cache> cache;
  std::shared_ptr<FileCache> files;
};

// What the blob files of one tree count while they are read.
class BlobCounters {
 public:
  void CountCached() { counts_.Add(0); }
  void CountIo() { counts_.Add(1); }
  uint64_t loads_cached() const { return counts_.Sum(0); }
  uint64_t loads_io() const { return counts_.Sum(1); }

 private:
  Counters<2> counts_;
};

// The value of a pointer. It is valid under the caller's EpochGuard in kMemoryOnly, as long as
// `pin` otherwise.
struct BlobHit {
  Slice value;
  Ref<CacheValue> pin;
};

class BlobFile : public RefCounted {
 public:
  // Reads and checks header and footer. `meta` is what the manifest says: it must agree.
  static Status Open(const BlobContext& context, const BlobFileMeta& meta,
                     std::shared_ptr<BlobCounters> counters, Ref<BlobFile>* file);

  // The value of the entry with this key and pointer. The pointer names this file. `keep`: the hit
  // has a pin in kMemoryOnly too.
  Status Get(Slice key, const BlobPointer& pointer, const ReadContext& context, BlobHit* hit,
             bool keep = false) const;
  // Reads every byte and checks every checksum, what every value decompresses to, the order of the
  // frames and the totals.
  Status Verify() const;

  const BlobFileMeta& meta() const { return meta_; }
  const std::string& path() const { return path_; }
  uint64_t footer_offset() const { return meta_.size - kBlobFooterBytes; }
  void MarkObsolete() { obsolete_.store(true, std::memory_order_release); }

  // For those that read frames:
  // kCorruption unless the pointer's frame, with a key of this size, may lie in the file.
  Status CheckPlace(const BlobPointer& pointer, size_t key_size) const;
  // kCorruption unless the frame is the one that the pointer and the key ask for.
  Status CheckFrame(const BlobFrame& frame, Slice key, const BlobPointer& pointer) const;
  Status OpenFile(std::shared_ptr<File>* file) const;
  // `status` with path and offset.
  Status Located(const Status& status, uint64_t offset) const;

 private:
  BlobFile(const BlobContext& context, const BlobFileMeta& meta,
           std::shared_ptr<BlobCounters> counters);
  ~BlobFile() override;

  Status CheckEnds() const;
  Status Load(Slice key, const BlobPointer& pointer, size_t read_ahead, Ref<CacheValue>* value,
              Slice* bytes) const;

  const std::shared_ptr<Cache> cache_;
  const std::shared_ptr<FileCache> files_;
  const std::string path_;
  const BlobFileMeta meta_;
  const std::shared_ptr<BlobCounters> counters_;
  std::atomic<bool> obsolete_{false};
};

}  // namespace shale
