// Arena: see arena.h.
#include "memtable/arena.h"

#include <algorithm>
#include <new>

#include "base/page_pool.h"
#include "base/pages.h"

namespace shale {

namespace {

constexpr size_t kBlockBytes = kHugePageBytes;
constexpr size_t kOwnBlockUnit = 4096;
// From here on a request gets a block of its own: starting a shared block for it would waste the
// rest of the present one.
constexpr size_t kOwnBlockMin = kBlockBytes / 4;
// Smaller blocks come from the heap: a mapping each would be dear where keyspaces are many.
constexpr size_t kMappedMin = size_t{128} << 10;

char* NewBlock(size_t size) {
  if (size == kBlockBytes) return static_cast<char*>(PagePool::Shared().Take());
  if (size >= kMappedMin) return static_cast<char*>(AllocatePages(size));
  return static_cast<char*>(::operator new (size, std::align_val_t{kArenaBlockAlignment}));
}

void DeleteBlock(char* data, size_t size) {
  if (size == kBlockBytes) {
    PagePool::Shared().Give(data);
  } else if (size >= kMappedMin) {
    FreePages(data, size);
  } else {
    ::operator delete (data, std::align_val_t{kArenaBlockAlignment});
  }
}

}  // namespace

Arena::~Arena() {
  for (const Block& block : blocks_) {
    Unpoison(block.data, block.size);
    DeleteBlock(block.data, block.size);
  }
}

char* Arena::AddBlock(size_t size) {
  blocks_.reserve(blocks_.size() + 1);  // so that nothing can fail once the block is there
  char* const data = NewBlock(size);
  blocks_.push_back({data, size});
  reserved_.store(reserved() + size, std::memory_order_relaxed);
  return data;
}

char* Arena::AllocateSlow(size_t size) {
  if (size >= kOwnBlockMin) {
    if (size > SIZE_MAX - kOwnBlockUnit) throw std::bad_alloc();
    char* const p = AddBlock((size + kOwnBlockUnit - 1) & ~(kOwnBlockUnit - 1));
    used_.store(used() + size, std::memory_order_relaxed);
    return p;
  }
  size_t block_size = next_block_size_;
  while (block_size < size) block_size *= 2;
  char* const block = AddBlock(block_size);
  next_block_size_ = std::min(block_size * 2, kBlockBytes);
  next_ = block;
  limit_ = block + block_size;
  Poison(next_, block_size);
  return Allocate(size);
}

}  // namespace shale
