// Without memory for a step nothing is left half done: every allocation of a call fails once.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "base/page_pool.h"
#include "base/sanitized.h"
#include "vfs/file_cache.h"
#include "vfs/mem_vfs.h"

namespace {

thread_local int allocations_left = -1;  // of this thread, before one fails; negative: no limit

void* Allocate(size_t bytes) noexcept {
  if (allocations_left >= 0 && allocations_left-- == 0) return nullptr;
  return std::malloc(bytes != 0 ? bytes : 1);
}

}  // namespace

void* operator new(size_t bytes) {
  if (void* const p = Allocate(bytes)) return p;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace shale {
namespace {

// Calls until no allocation is left to fail; tells how many did.
template <typename Call>
int FailEveryAllocation(const Call& call) {
  for (int failed = 0;; ++failed) {
    allocations_left = failed;
    try {
      call();
      const bool reached = std::exchange(allocations_left, -1) < 0;
      if (!reached) return failed;
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
    }
  }
}

TEST(OutOfMemory, AFileCacheNeverNamesAnotherFile) {
  MemVfs vfs(1);
  for (const char* name : {"/1", "/2", "/3"}) {
    std::unique_ptr<File> file;
    ASSERT_TRUE(vfs.Open(name, OpenMode::kCreateNew, &file).ok());
    ASSERT_TRUE(file->Write(0, name).ok());
  }
  const auto read = [](File* file) {
    char buffer[8];
    size_t got = 0;
    EXPECT_TRUE(file->Read(0, sizeof buffer, buffer, &got).ok());
    return std::string(buffer, got);
  };
  FileCache cache(&vfs, 2);  // the third takes a place from another
  int failed = 0;
  for (uint64_t number = 1; number <= 3; ++number) {
    const std::string path = "/" + std::to_string(number);
    std::shared_ptr<File> file;
    failed += FailEveryAllocation([&] { ASSERT_TRUE(cache.Get(number, path, &file).ok()); });
    EXPECT_EQ(read(file.get()), path);
    EXPECT_EQ(cache.open_count(), number < 2 ? number : 2);
  }
  EXPECT_GT(failed, 0);
}

TEST(OutOfMemory, APagePoolMakesReadyAgain) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer wants the pages back at once";
  PagePool pool;
  allocations_left = 0;
  void* page = nullptr;
  ASSERT_NO_THROW(page = pool.Take());
  EXPECT_EQ(std::exchange(allocations_left, -1), -1) << "the thread was not to be had";
  pool.Settle();
  pool.Give(page);
  page = pool.Take();
  pool.Settle();
  EXPECT_GE(pool.kept(), 2u);
  pool.Give(page);
}

}  // namespace
}  // namespace shale
