// PagePool: huge pages that may be written to at once.
//
// The first touch of a huge page clears it: as long as a hundred writes into a memtable take, and
// fifty times that where a virtual machine has to find the memory first. So pages that are given
// back stay here for the next who asks, and with each one taken another is made ready beside, on a
// thread that lives for just that.
// What is kept is the system's to take when it runs short (MADV_FREE).
// Threads: any.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace shale {

class PagePool {
 public:
  static constexpr size_t kKeptMax = 32;  // 64 MiB, a memtable of the default size

  // The pool of the process.
  static PagePool& Shared();

  // kHugePageBytes, aligned to them, not cleared. Errors: std::bad_alloc.
  void* Take();
  void Give(void* page);
  size_t kept() const;
  // Waits until no page is being made ready.
  void Settle();

 private:
  static constexpr size_t kReadyMin = 2;

  bool Keep(void* page);
  void MakeReady();
  bool AddTouched();

  mutable std::mutex mutex_;  // a leaf
  std::array<void*, kKeptMax> pages_{};
  size_t count_ = 0;
  bool making_ready_ = false;
  std::condition_variable made_ready_;
};

}  // namespace shale
