#include "base/page_pool.h"

#include <exception>
#include <new>
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
  if (!kSanitized && OfferPages(page, kHugePageBytes) && Keep(page)) return;
  FreePages(page, kHugePageBytes);
}

bool PagePool::Keep(void* page) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count_ == kKeptMax) return false;
  pages_[count_++] = page;
  return true;
}

void PagePool::MakeReady() {
  try {
    std::thread([this] {
      while (AddTouched()) {
      }
    }).detach();
  } catch (const std::exception&) {  // no thread to be had: whoever takes a page clears it
    const std::lock_guard<std::mutex> lock(mutex_);
    making_ready_ = false;
  }
}

// Whether another one is wanted; if not, the thread that makes ready has ended.
bool PagePool::AddTouched() {
  void* page = nullptr;
  try {
    page = AllocatePages(kHugePageBytes);
    auto* const bytes = static_cast<volatile char*>(page);
    for (size_t i = 0; i < kHugePageBytes; i += kPageBytes) bytes[i] = 0;
  } catch (const std::bad_alloc&) {  // so will whoever takes one be told
  }
  const bool kept = page != nullptr && Keep(page);
  if (page != nullptr && !kept) FreePages(page, kHugePageBytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  making_ready_ = kept && count_ < kReadyMin;
  if (!making_ready_) made_ready_.notify_all();
  return making_ready_;
}

size_t PagePool::kept() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return count_;
}

void PagePool::Settle() {
  std::unique_lock<std::mutex> lock(mutex_);
  made_ready_.wait(lock, [this] { return !making_ready_; });
}

}  // namespace shale
