#include "base/page_pool.h"

#include <sys/mman.h>

#include <chrono>
#include <new>
#include <system_error>
#include <thread>

#include "base/pages.h"
#include "base/sanitized.h"

namespace shale {

// Never destroyed: threads of the engine may outlive static objects.
PagePool& PagePool::Shared() {
  static auto* const pool = new PagePool;
  return *pool;
}

void* PagePool::Take() {
  if (kSanitized) return AllocatePages(kHugePageBytes);
  void* page = nullptr;
  bool make_ready = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (count_ > 0) page = pages_[--count_];
    make_ready = count_ < kReadyMin && !making_ready_;
    if (make_ready) making_ready_ = true;
  }
  if (make_ready) MakeReady();
  return page != nullptr ? page : AllocatePages(kHugePageBytes);
}

void PagePool::Give(void* page) {
#ifdef MADV_FREE
  if (!kSanitized && madvise(page, kHugePageBytes, MADV_FREE) == 0 && Keep(page)) return;
#endif
  FreePages(page, kHugePageBytes);
}

bool PagePool::Keep(void* page) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count_ == kKeptMax) return false;
  pages_[count_++] = page;
  return true;
}

void PagePool::MakeReady() {
  const auto work = [this] {
    for (;;) {
      void* page = nullptr;
      try {
        page = AllocatePages(kHugePageBytes);
      } catch (const std::bad_alloc&) {
      }
      if (page != nullptr) {
        auto* const bytes = static_cast<volatile char*>(page);
        for (size_t i = 0; i < kHugePageBytes; i += kPageBytes) bytes[i] = 0;
      }
      const bool kept = page != nullptr && Keep(page);
      if (page != nullptr && !kept) FreePages(page, kHugePageBytes);
      const std::lock_guard<std::mutex> lock(mutex_);
      if (kept && count_ < kReadyMin) continue;
      making_ready_ = false;
      return;
    }
  };
  try {
    std::thread(work).detach();
  } catch (const std::system_error&) {  // no thread to be had: whoever takes a page clears it
    const std::lock_guard<std::mutex> lock(mutex_);
    making_ready_ = false;
  }
}

size_t PagePool::kept() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return count_;
}

void PagePool::Settle() {
  for (;;) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!making_ready_) return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace shale
