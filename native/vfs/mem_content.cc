#include "vfs/mem_content.h"

#include <algorithm>
#include <cstring>

namespace shale {

namespace {

// `*object` belongs to its holder alone afterwards: made or copied if need be.
template <typename T>
T* Own(Ref<T>* object) {
  if (!*object) {
    *object = MakeRef<T>();
  } else if ((*object)->ref_count() != 1) {
    Ref<T> copy = MakeRef<T>();
    copy->CopyFrom(**object);
    *object = std::move(copy);
  }
  return object->get();
}

}  // namespace

const MemContent::Page* MemContent::FindPage(uint64_t index) const {
  const size_t chunk = static_cast<size_t>(index / kChunkPages);
  if (!root_ || chunk >= root_->chunks.size() || !root_->chunks[chunk]) return nullptr;
  return root_->chunks[chunk]->pages[index % kChunkPages].get();
}

MemContent::Chunk* MemContent::OwnChunk(size_t index) {
  Root* root = Own(&root_);
  if (index >= root->chunks.size()) root->chunks.resize(index + 1);
  return Own(&root->chunks[index]);
}

MemContent::Page* MemContent::OwnPage(uint64_t index, bool overwrite) {
  Ref<Page>& page = OwnChunk(static_cast<size_t>(index / kChunkPages))->pages[index % kChunkPages];
  if (!overwrite) return Own(&page);
  if (!page || page->ref_count() != 1) page = MakeRef<Page>();
  return page.get();
}

size_t MemContent::Read(uint64_t offset, size_t n, char* dst) const {
  if (offset >= size_) return 0;
  n = static_cast<size_t>(std::min<uint64_t>(n, size_ - offset));
  for (size_t done = 0; done < n;) {
    const size_t start = static_cast<size_t>((offset + done) % kPageBytes);
    const size_t part = std::min(n - done, kPageBytes - start);
    const Page* page = FindPage((offset + done) / kPageBytes);
    if (page != nullptr) {
      std::memcpy(dst + done, page->bytes + start, part);
    } else {
      std::memset(dst + done, 0, part);
    }
    done += part;
  }
  return n;
}

void MemContent::Write(uint64_t offset, Slice data) {
  for (size_t done = 0; done < data.size();) {
    const size_t start = static_cast<size_t>((offset + done) % kPageBytes);
    const size_t part = std::min(data.size() - done, kPageBytes - start);
    Page* page = OwnPage((offset + done) / kPageBytes, part == kPageBytes);
    std::memcpy(page->bytes + start, data.data() + done, part);
    done += part;
  }
  if (!data.empty()) size_ = std::max(size_, offset + data.size());
}

void MemContent::Resize(uint64_t size) {
  const uint64_t old_size = size_;
  size_ = size;
  if (size >= old_size || !root_) return;
  // What is cut off must read as zeros if the file grows again.
  const uint64_t pages = (size + kPageBytes - 1) / kPageBytes;
  const uint64_t chunks = (pages + kChunkPages - 1) / kChunkPages;
  if (root_->chunks.size() > chunks) Own(&root_)->chunks.resize(static_cast<size_t>(chunks));
  const size_t in_chunk = static_cast<size_t>(pages % kChunkPages);
  if (in_chunk != 0 && chunks <= root_->chunks.size() && root_->chunks[chunks - 1]) {
    Chunk* chunk = OwnChunk(static_cast<size_t>(chunks - 1));
    for (size_t i = in_chunk; i < kChunkPages; ++i) chunk->pages[i].reset();
  }
  const size_t in_page = static_cast<size_t>(size % kPageBytes);
  if (in_page != 0 && FindPage(pages - 1) != nullptr) {
    std::memset(OwnPage(pages - 1, false)->bytes + in_page, 0, kPageBytes - in_page);
  }
}

}  // namespace shale
