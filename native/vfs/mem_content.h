// MemContent: the bytes of a file in memory, cheap to copy.
//
// Copies share pages until one side writes (copy on write), so that a crash image of a large file
// costs about as much as one of a small file. Pages never written are holes and read as zeros.
// Threads: one at a time per object; copies are independent, also on different threads.
// Cost: copying is one count; the first write after it copies a root, a chunk and a page.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/ref.h"
#include "base/slice.h"

namespace shale {

class MemContent {
 public:
  uint64_t size() const { return size_; }
  // Returns the number of bytes read: less than n only at the end.
  size_t Read(uint64_t offset, size_t n, char* dst) const;
  // Grows as needed; a gap before `offset` reads as zeros.
  void Write(uint64_t offset, Slice data);
  void Resize(uint64_t size);

 private:
  static constexpr size_t kPageBytes = 4096;
  static constexpr size_t kChunkPages = 32;
  struct Page : RefCounted {
    void CopyFrom(const Page& o) { std::memcpy(bytes, o.bytes, kPageBytes); }
    char bytes[kPageBytes] = {};
  };
  struct Chunk : RefCounted {
    void CopyFrom(const Chunk& o) { pages = o.pages; }
    std::array<Ref<Page>, kChunkPages> pages;
  };
  struct Root : RefCounted {
    void CopyFrom(const Root& o) { chunks = o.chunks; }
    std::vector<Ref<Chunk>> chunks;
  };

  const Page* FindPage(uint64_t index) const;
  // Both belong to this object alone. With `overwrite` the bytes of the page are undefined.
  Chunk* OwnChunk(size_t index);
  Page* OwnPage(uint64_t index, bool overwrite);

  Ref<Root> root_;
  uint64_t size_ = 0;
};

}  // namespace shale
