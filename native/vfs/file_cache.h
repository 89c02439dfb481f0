// FileCache: open descriptors of table and blob files, bounded in number.
//
// Threads: any. A hit locks one of several shards for a hash lookup; files are opened outside the
// lock.
// Invariants:
//   I1  at most `max_open` files are kept open by the cache itself.
// Lifetime: a file stays open while a caller holds it, also after it was evicted.
// Eviction: second chance (CLOCK) in each shard.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vfs/file_remover.h"
#include "vfs/vfs.h"

namespace shale {

class FileCache {
 public:
  // Requires max_open > 0. Without `remover` files are removed by whoever asks for it.
  FileCache(Vfs* vfs, size_t max_open, std::shared_ptr<FileRemover> remover = nullptr);
  ~FileCache();
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;

  // The file `number`, opened for reading at `path` if it is not open yet. When the process or the
  // system is out of descriptors, idle ones are closed and the open is tried once more.
  Status Get(uint64_t number, const std::string& path, std::shared_ptr<File>* file);
  // Closes the file unless somebody uses it.
  void Evict(uint64_t number);
  // Closes and deletes the file, which nobody uses any more.
  void Remove(uint64_t number, const std::string& path);
  size_t open_count() const;

 private:
  class Shard;
  Shard& ShardOf(uint64_t number) const;

  Vfs* const vfs_;
  const std::shared_ptr<FileRemover> remover_;
  std::vector<std::unique_ptr<Shard>> shards_;  // a power of two of them
};

}  // namespace shale
