#include "vfs/file_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"
#include "vfs/fault_vfs.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

class FileCacheTest : public testing::Test {
 protected:
  FileCacheTest() : vfs_(&memory_) {}

  void SetUp() override {
    ASSERT_TRUE(memory_.MakeDir("/d").ok());
    for (uint64_t n = 1; n <= kFiles; ++n) {
      std::unique_ptr<File> file;
      ASSERT_TRUE(memory_.Open(Path(n), OpenMode::kCreateNew, &file).ok());
      ASSERT_TRUE(file->Write(0, std::to_string(n)).ok());
    }
  }

  static std::string Path(uint64_t number) { return FileName("/d", FileKind::kTable, number); }
  static std::string Read(File* file) {
    char buffer[32];
    size_t got = 0;
    EXPECT_TRUE(file->Read(0, sizeof buffer, buffer, &got).ok());
    return std::string(buffer, got);
  }
  std::shared_ptr<File> Get(FileCache* cache, uint64_t number) {
    std::shared_ptr<File> file;
    EXPECT_TRUE(cache->Get(number, Path(number), &file).ok());
    return file;
  }
  uint64_t opens() const { return vfs_.Count(FaultOp::kOpen); }

  static constexpr uint64_t kFiles = 100;
  MemVfs memory_;
  FaultVfs vfs_;
};

TEST_F(FileCacheTest, OpensOnce) {
  FileCache cache(&vfs_, 10);
  const auto first = Get(&cache, 7);
  EXPECT_EQ(Get(&cache, 7), first);
  EXPECT_EQ(Read(first.get()), "7");
  EXPECT_EQ(opens(), 1u);
  EXPECT_EQ(cache.open_count(), 1u);
}

// I1, for limits with one and with several shards.
TEST_F(FileCacheTest, TheNumberOfOpenFilesIsBounded) {
  TestRandom random;
  for (const size_t max_open : {1, 2, 7, 40, 64}) {
    FileCache cache(&vfs_, max_open);
    for (int i = 0; i < 500; ++i) {
      const uint64_t number = 1 + random.Below(kFiles);
      ASSERT_EQ(Read(Get(&cache, number).get()), std::to_string(number));
      ASSERT_LE(cache.open_count(), max_open);
    }
    EXPECT_GT(cache.open_count(), max_open / 2);
  }
}

TEST_F(FileCacheTest, UsedFilesStay) {
  FileCache cache(&vfs_, 4);
  for (uint64_t n = 1; n <= 60; ++n) {
    Get(&cache, 1);
    Get(&cache, 2);
    Get(&cache, 10 + n % 40);
  }
  EXPECT_EQ(opens(), 62u);
}

TEST_F(FileCacheTest, RemovedFilesLiveAsLongAsTheyAreUsed) {
  FileCache cache(&vfs_, 4);
  const auto kept = Get(&cache, 3);
  cache.Remove(3, Path(3));
  cache.Remove(3, Path(3));
  cache.Remove(60, Path(60));
  EXPECT_EQ(cache.open_count(), 0u);
  EXPECT_EQ(Read(kept.get()), "3");
  FileInfo info;
  EXPECT_TRUE(IsErrno(vfs_.Stat(Path(3), &info), ENOENT));
  EXPECT_TRUE(IsErrno(vfs_.Stat(Path(60), &info), ENOENT));
  Get(&cache, 4);
  Get(&cache, 5);
  Get(&cache, 6);
  cache.Remove(4, Path(4));
  EXPECT_EQ(Read(Get(&cache, 6).get()), "6");
  EXPECT_EQ(Read(Get(&cache, 5).get()), "5");
  EXPECT_EQ(opens(), 4u);
}

// With a remover the caller only says what shall go.
TEST_F(FileCacheTest, FilesAreRemovedByTheRemover) {
  std::vector<std::function<void()>> work;
  const auto remover = std::make_shared<FileRemover>(
      &vfs_, [&](std::function<void()> given) { work.push_back(std::move(given)); });
  FileCache cache(&vfs_, 4, remover);
  const auto exists = [this](uint64_t n) {
    FileInfo info;
    return vfs_.Stat(Path(n), &info).ok();
  };
  Get(&cache, 1);
  for (uint64_t n = 1; n <= 3; ++n) cache.Remove(n, Path(n));
  EXPECT_EQ(cache.open_count(), 0u);
  EXPECT_TRUE(exists(1) && exists(2) && exists(3));
  for (uint64_t n = 1; n <= 2; ++n) {
    ASSERT_EQ(work.size(), n);  // one at a time
    const std::function<void()> next = work.back();
    next();
    EXPECT_FALSE(exists(n));
  }
  cache.Remove(4, Path(4));
  remover->Stop();
  EXPECT_FALSE(exists(3) || exists(4));
  cache.Remove(5, Path(5));
  EXPECT_TRUE(exists(5));
}

TEST_F(FileCacheTest, ErrorsAreNotCached) {
  FileCache cache(&vfs_, 4);
  std::shared_ptr<File> file;
  const Status s = cache.Get(1000, Path(1000), &file);
  EXPECT_TRUE(IsErrno(s, ENOENT));
  EXPECT_EQ(file, nullptr);
  vfs_.SetPlan({{FaultOp::kOpen, PathClass::kTable, 0, FaultKind::kEio, false}});
  EXPECT_FALSE(cache.Get(1, Path(1), &file).ok());
  EXPECT_TRUE(cache.Get(1, Path(1), &file).ok());
}

TEST_F(FileCacheTest, IdleFilesMakeRoomForTheProcess) {
  FileCache cache(&vfs_, 64);
  const auto used = Get(&cache, 1);
  for (uint64_t n = 2; n <= 30; ++n) Get(&cache, n);
  vfs_.SetPlan({{FaultOp::kOpen, PathClass::kTable, 0, FaultKind::kEmfile, false}});
  EXPECT_EQ(Read(Get(&cache, 50).get()), "50");
  EXPECT_EQ(cache.open_count(), 2u);
  EXPECT_EQ(Get(&cache, 1), used);
  vfs_.SetPlan({{FaultOp::kOpen, PathClass::kTable, 0, FaultKind::kEmfile, true}});
  std::shared_ptr<File> file;
  EXPECT_TRUE(cache.Get(60, Path(60), &file).Is(Code::kTooManyOpenFiles));
}

TEST_F(FileCacheTest, ThreadsGetTheRightFiles) {
  FileCache cache(&vfs_, 32);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      TestRandom random(t);
      for (int i = 0; i < 1000; ++i) {
        const uint64_t number = 1 + random.Below(kFiles);
        std::shared_ptr<File> file;
        const bool ok = cache.Get(number, Path(number), &file).ok();
        wrong += ok && Read(file.get()) == std::to_string(number) ? 0 : 1;
        if (random.OneIn(20)) cache.Evict(number);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(cache.open_count(), 32u);
}

}  // namespace
}  // namespace shale
