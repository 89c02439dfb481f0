#include "base/page_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "base/pages.h"
#include "base/sanitized.h"

namespace shale {
namespace {

TEST(PagePool, KeepsWhatIsGivenBackUpToALimit) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer wants the pages back at once";
  PagePool pool;
  std::vector<void*> pages;
  for (size_t i = 0; i < PagePool::kKeptMax + 8; ++i) {
    pages.push_back(pool.Take());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pages.back()) % kHugePageBytes, 0u);
    std::memset(pages.back(), static_cast<int>(i), kHugePageBytes);
  }
  EXPECT_EQ(std::set<void*>(pages.begin(), pages.end()).size(), pages.size());
  for (size_t i = 0; i < pages.size(); ++i) {
    EXPECT_EQ(static_cast<uint8_t*>(pages[i])[kHugePageBytes - 1], static_cast<uint8_t>(i));
  }
  pool.Settle();
  for (void* page : pages) pool.Give(page);
  EXPECT_EQ(pool.kept(), PagePool::kKeptMax);
  EXPECT_NE(pool.Take(), nullptr);
  EXPECT_EQ(pool.kept(), PagePool::kKeptMax - 1);
}

TEST(PagePool, MakesTheNextPagesReady) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer wants the pages back at once";
  PagePool pool;
  void* const first = pool.Take();
  pool.Settle();
  EXPECT_GE(pool.kept(), 2u);
  pool.Give(first);
}

TEST(PagePool, ThreadsNeverShareAPage) {
  PagePool& pool = PagePool::Shared();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 200; ++i) {
        auto* const page = static_cast<uint32_t*>(pool.Take());
        const auto mark = static_cast<uint32_t>(t * 1000 + i);
        page[0] = page[kHugePageBytes / 8] = mark;
        std::this_thread::yield();
        EXPECT_EQ(page[0], mark);
        EXPECT_EQ(page[kHugePageBytes / 8], mark);
        pool.Give(page);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace shale
