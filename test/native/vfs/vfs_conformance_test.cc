// What every Vfs promises, run on the real one, on the one in memory, and through the failing one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"
#include "support/temp_dir.h"
#include "vfs/fault_vfs.h"
#include "vfs/mem_vfs.h"
#include "vfs/vfs.h"

namespace shale {
namespace {

class VfsTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string form = GetParam();
    if (form == "Real") {
      temp_ = std::make_unique<TempDir>();
      vfs_ = Vfs::Real();
      root_ = temp_->path();
      return;
    }
    memory_ = std::make_unique<MemVfs>(TestSeed());
    vfs_ = memory_.get();
    root_ = "/data";
    if (form == "Fault") {
      fault_ = std::make_unique<FaultVfs>(memory_.get(), TestSeed());
      vfs_ = fault_.get();
    }
    ASSERT_TRUE(vfs_->MakeDir(root_).ok());
  }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }

  std::unique_ptr<File> Open(const std::string& name, OpenMode mode) {
    std::unique_ptr<File> file;
    const Status s = vfs_->Open(Path(name), mode, &file);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return file;
  }
  std::unique_ptr<File> Create(const std::string& name, Slice content = "") {
    std::unique_ptr<File> file = Open(name, OpenMode::kCreateNew);
    EXPECT_TRUE(file->Write(0, content).ok());
    return file;
  }
  static std::string ReadAll(File* file) {
    uint64_t size = 0;
    EXPECT_TRUE(file->Size(&size).ok());
    std::string bytes(size + 1, '?');
    size_t got = 0;
    EXPECT_TRUE(file->Read(0, bytes.size(), bytes.data(), &got).ok());
    EXPECT_EQ(got, size);
    bytes.resize(got);
    return bytes;
  }
  std::string Content(const std::string& name) {
    return ReadAll(Open(name, OpenMode::kRead).get());
  }
  Status OpenStatus(const std::string& name, OpenMode mode) {
    std::unique_ptr<File> file;
    return vfs_->Open(Path(name), mode, &file);
  }
  std::vector<std::string> Names(const std::string& path) {
    std::vector<std::string> names = {"left over"};
    EXPECT_TRUE(vfs_->List(path, &names).ok());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::unique_ptr<TempDir> temp_;
  std::unique_ptr<MemVfs> memory_;
  std::unique_ptr<FaultVfs> fault_;
  Vfs* vfs_ = nullptr;
  std::string root_;
};

using Strings = std::vector<std::string>;

TEST_P(VfsTest, WritesAreReadBack) {
  const auto file = Create("a", "hello");
  EXPECT_EQ(file->path(), Path("a"));
  ASSERT_TRUE(file->Write(5, " world").ok());
  EXPECT_EQ(ReadAll(file.get()), "hello world");
  ASSERT_TRUE(file->Write(0, "J").ok());
  EXPECT_EQ(Content("a"), "Jello world");
  ASSERT_TRUE(file->Write(3, "").ok());
  EXPECT_EQ(Content("a"), "Jello world");
}

TEST_P(VfsTest, ReadsEndAtTheEnd) {
  const auto file = Create("a", "0123456789");
  char buffer[16];
  size_t got = 99;
  ASSERT_TRUE(file->Read(8, sizeof buffer, buffer, &got).ok());
  EXPECT_EQ(got, 2u);
  EXPECT_EQ(std::string(buffer, got), "89");
  ASSERT_TRUE(file->Read(10, 1, buffer, &got).ok());
  EXPECT_EQ(got, 0u);
  ASSERT_TRUE(file->Read(1000000, 1, buffer, &got).ok());
  EXPECT_EQ(got, 0u);
  ASSERT_TRUE(file->Read(3, 0, buffer, &got).ok());
  EXPECT_EQ(got, 0u);
}

TEST_P(VfsTest, TwoPiecesAreOneWrite) {
  const auto file = Create("a");
  ASSERT_TRUE(file->Write2(0, "head", "body").ok());
  ASSERT_TRUE(file->Write2(8, "", "x").ok());
  ASSERT_TRUE(file->Write2(9, "y", "").ok());
  ASSERT_TRUE(file->Write2(10, "", "").ok());
  EXPECT_EQ(ReadAll(file.get()), "headbodyxy");
  const std::string big(300000, 'b');
  ASSERT_TRUE(file->Write2(2, big, big).ok());
  EXPECT_EQ(ReadAll(file.get()), "he" + big + big);
}

TEST_P(VfsTest, GapsAndGrowthReadAsZeros) {
  const auto file = Create("a");
  ASSERT_TRUE(file->Write(10000, "x").ok());
  EXPECT_EQ(ReadAll(file.get()), std::string(10000, '\0') + "x");
  ASSERT_TRUE(file->Truncate(3).ok());
  ASSERT_TRUE(file->Truncate(6000).ok());
  EXPECT_EQ(ReadAll(file.get()), std::string(6000, '\0'));
  ASSERT_TRUE(file->Write(0, "abcdef").ok());
  ASSERT_TRUE(file->Truncate(2).ok());
  ASSERT_TRUE(file->Write(4, "z").ok());
  EXPECT_EQ(ReadAll(file.get()), std::string("ab\0\0z", 5));
}

TEST_P(VfsTest, PreallocationGrowsButNeverShrinks) {
  const auto file = Create("a", "data");
  ASSERT_TRUE(file->Preallocate(100000).ok());
  EXPECT_EQ(ReadAll(file.get()), "data" + std::string(99996, '\0'));
  ASSERT_TRUE(file->Preallocate(10).ok());
  uint64_t size = 0;
  ASSERT_TRUE(file->Size(&size).ok());
  EXPECT_EQ(size, 100000u);
  ASSERT_TRUE(file->Write(4, "more").ok());
  ASSERT_TRUE(file->Truncate(8).ok());
  EXPECT_EQ(ReadAll(file.get()), "datamore");
}

TEST_P(VfsTest, OpenModes) {
  EXPECT_TRUE(IsErrno(OpenStatus("a", OpenMode::kRead), ENOENT));
  EXPECT_TRUE(IsErrno(OpenStatus("a", OpenMode::kReadWrite), ENOENT));
  Create("a", "first");
  const Status exists = OpenStatus("a", OpenMode::kCreateNew);
  EXPECT_TRUE(IsErrno(exists, EEXIST));
  EXPECT_EQ(exists.details()->path, Path("a"));
  EXPECT_EQ(exists.details()->syscall, "open");
  EXPECT_EQ(Content("a"), "first");
  ASSERT_TRUE(Open("a", OpenMode::kReadWrite)->Write(0, "F").ok());
  EXPECT_EQ(Content("a"), "First");
  const auto reader = Open("a", OpenMode::kRead);
  EXPECT_TRUE(IsErrno(reader->Write(0, "x"), EBADF));
  EXPECT_TRUE(IsErrno(reader->Write2(0, "x", "y"), EBADF));
  EXPECT_EQ(Content("a"), "First");
}

TEST_P(VfsTest, OnlyRegularFilesOpen) {
  ASSERT_TRUE(vfs_->MakeDir(Path("dir")).ok());
  EXPECT_TRUE(OpenStatus("dir", OpenMode::kRead).Is(Code::kNotADatabase));
  EXPECT_TRUE(OpenStatus("dir", OpenMode::kReadWrite).Is(Code::kNotADatabase));
  EXPECT_TRUE(IsErrno(OpenStatus("dir", OpenMode::kCreateNew), EEXIST));
  Create("a");
  EXPECT_TRUE(IsErrno(OpenStatus("a/b", OpenMode::kCreateNew), ENOTDIR));
  EXPECT_TRUE(IsErrno(OpenStatus("none/b", OpenMode::kCreateNew), ENOENT));
}

TEST_P(VfsTest, StatTellsTypeSizeAndIdentity) {
  const auto a = Create("a", "12345");
  Create("b");
  FileInfo file;
  FileInfo other;
  FileInfo directory;
  ASSERT_TRUE(vfs_->Stat(Path("a"), &file).ok());
  ASSERT_TRUE(vfs_->Stat(Path("b"), &other).ok());
  ASSERT_TRUE(vfs_->Stat(root_, &directory).ok());
  EXPECT_EQ(file.type, FileInfo::Type::kRegular);
  EXPECT_EQ(directory.type, FileInfo::Type::kDirectory);
  EXPECT_EQ(file.size, 5u);
  EXPECT_EQ(file.device, other.device);
  EXPECT_NE(file.inode, other.inode);
  FileInfo target;
  ASSERT_TRUE(vfs_->StatTarget(Path("a"), &target).ok());
  EXPECT_EQ(target.inode, file.inode);
  EXPECT_TRUE(IsErrno(vfs_->Stat(Path("none"), &file), ENOENT));
  EXPECT_TRUE(IsErrno(vfs_->StatTarget(Path("none"), &file), ENOENT));
}

TEST_P(VfsTest, Directories) {
  EXPECT_EQ(Names(root_), Strings());
  ASSERT_TRUE(vfs_->MakeDir(Path("d")).ok());
  EXPECT_TRUE(IsErrno(vfs_->MakeDir(Path("d")), EEXIST));
  EXPECT_TRUE(IsErrno(vfs_->MakeDir(Path("x/y")), ENOENT));
  Create("d/f");
  Create("g");
  EXPECT_EQ(Names(root_), (Strings{"d", "g"}));
  EXPECT_EQ(Names(Path("d")), Strings{"f"});
  EXPECT_TRUE(IsErrno(vfs_->RemoveDir(Path("d")), ENOTEMPTY));
  EXPECT_TRUE(IsErrno(vfs_->RemoveDir(Path("g")), ENOTDIR));
  EXPECT_TRUE(IsErrno(vfs_->Remove(Path("d")), EISDIR));
  ASSERT_TRUE(vfs_->Remove(Path("d/f")).ok());
  EXPECT_TRUE(IsErrno(vfs_->Remove(Path("d/f")), ENOENT));
  ASSERT_TRUE(vfs_->RemoveDir(Path("d")).ok());
  EXPECT_TRUE(IsErrno(vfs_->RemoveDir(Path("d")), ENOENT));
  Strings names;
  EXPECT_TRUE(IsErrno(vfs_->List(Path("d"), &names), ENOENT));
  EXPECT_TRUE(IsErrno(vfs_->List(Path("g"), &names), ENOTDIR));
  EXPECT_EQ(Names(root_), Strings{"g"});
}

TEST_P(VfsTest, SyncsSucceed) {
  const auto file = Create("a", "x");
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(vfs_->SyncDir(root_).ok());
  EXPECT_TRUE(IsErrno(vfs_->SyncDir(Path("none")), ENOENT));
  EXPECT_TRUE(IsErrno(vfs_->SyncDir(Path("a")), ENOTDIR));
}

TEST_P(VfsTest, RenameReplaces) {
  Create("a", "A");
  Create("b", "B");
  const auto old_b = Open("b", OpenMode::kRead);
  ASSERT_TRUE(vfs_->Rename(Path("a"), Path("b")).ok());
  EXPECT_EQ(Names(root_), Strings{"b"});
  EXPECT_EQ(Content("b"), "A");
  EXPECT_EQ(ReadAll(old_b.get()), "B");
  EXPECT_TRUE(IsErrno(vfs_->Rename(Path("a"), Path("c")), ENOENT));
  ASSERT_TRUE(vfs_->MakeDir(Path("d")).ok());
  EXPECT_TRUE(IsErrno(vfs_->Rename(Path("b"), Path("d")), EISDIR));
  EXPECT_TRUE(IsErrno(vfs_->Rename(Path("d"), Path("b")), ENOTDIR));
  EXPECT_TRUE(IsErrno(vfs_->Rename(Path("d"), Path("d/e")), EINVAL));
  ASSERT_TRUE(vfs_->Rename(Path("b"), Path("d/b")).ok());
  EXPECT_EQ(Names(root_), Strings{"d"});
  EXPECT_EQ(Content("d/b"), "A");
  ASSERT_TRUE(vfs_->Rename(Path("d/b"), Path("d/b")).ok());
  ASSERT_TRUE(vfs_->MakeDir(Path("e")).ok());
  EXPECT_TRUE(IsErrno(vfs_->Rename(Path("e"), Path("d")), ENOTEMPTY));
  ASSERT_TRUE(vfs_->Rename(Path("d"), Path("e")).ok());
  EXPECT_EQ(Content("e/b"), "A");
}

TEST_P(VfsTest, LinksShareOneFile) {
  const auto file = Create("a", "one");
  ASSERT_TRUE(vfs_->Link(Path("a"), Path("b")).ok());
  EXPECT_TRUE(IsErrno(vfs_->Link(Path("a"), Path("b")), EEXIST));
  EXPECT_TRUE(IsErrno(vfs_->Link(Path("none"), Path("c")), ENOENT));
  ASSERT_TRUE(file->Write(0, "two").ok());
  EXPECT_EQ(Content("b"), "two");
  FileInfo a;
  FileInfo b;
  ASSERT_TRUE(vfs_->Stat(Path("a"), &a).ok());
  ASSERT_TRUE(vfs_->Stat(Path("b"), &b).ok());
  EXPECT_EQ(a.inode, b.inode);
  ASSERT_TRUE(vfs_->Remove(Path("a")).ok());
  EXPECT_EQ(Content("b"), "two");
}

TEST_P(VfsTest, RemovedFilesLiveAsLongAsTheyAreOpen) {
  const auto file = Create("a", "still");
  ASSERT_TRUE(vfs_->Remove(Path("a")).ok());
  EXPECT_EQ(ReadAll(file.get()), "still");
  ASSERT_TRUE(file->Write(5, " here").ok());
  EXPECT_EQ(ReadAll(file.get()), "still here");
  EXPECT_TRUE(IsErrno(OpenStatus("a", OpenMode::kRead), ENOENT));
  Create("a", "new");
  EXPECT_EQ(Content("a"), "new");
}

TEST_P(VfsTest, TheLockBelongsToTheOpenFile) {
  const auto first = Create("lock");
  const auto second = Open("lock", OpenMode::kReadWrite);
  std::unique_ptr<FileLock> lock;
  std::unique_ptr<FileLock> other;
  ASSERT_TRUE(vfs_->Lock(first.get(), &lock).ok());
  const Status locked = vfs_->Lock(second.get(), &other);
  EXPECT_TRUE(locked.Is(Code::kDbLocked));
  EXPECT_EQ(locked.details()->path, Path("lock"));
  EXPECT_EQ(other, nullptr);
  lock.reset();
  ASSERT_TRUE(vfs_->Lock(second.get(), &other).ok());
  EXPECT_TRUE(vfs_->Lock(first.get(), &lock).Is(Code::kDbLocked));
}

TEST_P(VfsTest, TheLockOutlivesItsFile) {
  std::unique_ptr<FileLock> lock;
  {
    const auto file = Create("lock");
    ASSERT_TRUE(vfs_->Lock(file.get(), &lock).ok());
  }
  const auto again = Open("lock", OpenMode::kReadWrite);
  std::unique_ptr<FileLock> other;
  EXPECT_TRUE(vfs_->Lock(again.get(), &other).Is(Code::kDbLocked));
  // Opening and closing the file elsewhere does not drop the lock, as it would with older kinds.
  Open("lock", OpenMode::kRead);
  EXPECT_TRUE(vfs_->Lock(again.get(), &other).Is(Code::kDbLocked));
  lock.reset();
  EXPECT_TRUE(vfs_->Lock(again.get(), &other).ok());
}

TEST_P(VfsTest, LocksOfAReadOnlyFileAreRefused) {
  Create("lock");
  const auto file = Open("lock", OpenMode::kRead);
  std::unique_ptr<FileLock> lock;
  EXPECT_TRUE(IsErrno(vfs_->Lock(file.get(), &lock), EBADF));
}

TEST_P(VfsTest, ProcessesAreKnownByStartTime) {
  const int64_t self = vfs_->ProcessId();
  EXPECT_GT(self, 0);
  const std::optional<uint64_t> start = vfs_->ProcessStartTime(self);
  EXPECT_TRUE(start.has_value());
  EXPECT_EQ(vfs_->ProcessStartTime(self), start);
  EXPECT_EQ(vfs_->ProcessStartTime(999999999), std::nullopt);
  EXPECT_EQ(vfs_->ProcessStartTime(-1), std::nullopt);
  EXPECT_FALSE(vfs_->BootId().empty());
  EXPECT_EQ(vfs_->BootId(), vfs_->BootId());
}

TEST_P(VfsTest, ClocksGoForward) {
  const uint64_t before = vfs_->MonotonicNanos();
  const uint64_t wall = vfs_->WallMillis();
  vfs_->SleepNanos(2000000);
  EXPECT_GE(vfs_->MonotonicNanos(), before + 2000000);
  EXPECT_GT(wall, 1600000000000u);
  EXPECT_LT(wall, 5000000000000u);
}

TEST_P(VfsTest, RandomNumbersDiffer) {
  std::vector<uint64_t> numbers(64);
  for (uint64_t& n : numbers) n = vfs_->Random();
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

TEST_P(VfsTest, FreeBytesOfADirectory) {
  uint64_t bytes = 0;
  ASSERT_TRUE(vfs_->FreeBytes(root_, &bytes).ok());
  EXPECT_GT(bytes, 0u);
  EXPECT_TRUE(IsErrno(vfs_->FreeBytes(Path("none"), &bytes), ENOENT));
}

// Random writes, truncations and reservations against a string.
TEST_P(VfsTest, AgreesWithAString) {
  TestRandom random;
  const auto file = Create("a");
  std::string model;
  for (uint64_t i = 0; i < Scaled(400); ++i) {
    const uint64_t at = random.Below(40000);
    const size_t size = random.Below(random.OneIn(4) ? 20000 : 300);
    const std::string data(size, static_cast<char>('a' + random.Below(26)));
    switch (random.Below(8)) {
      case 0:
        ASSERT_TRUE(file->Truncate(at).ok());
        model.resize(at, '\0');
        break;
      case 1:
        ASSERT_TRUE(file->Preallocate(at).ok());
        if (at > model.size()) model.resize(at, '\0');
        break;
      case 2:
        ASSERT_TRUE(file->Sync().ok());
        break;
      default: {
        const Slice whole = data;
        const size_t cut = size == 0 ? 0 : random.Below(size);
        ASSERT_TRUE(file->Write2(at, whole.Prefix(cut), whole.Skip(cut)).ok());
        if (size != 0 && at + size > model.size()) model.resize(at + size, '\0');
        model.replace(size == 0 ? 0 : at, size, data);
      }
    }
    ASSERT_TRUE(!random.OneIn(10) || ReadAll(file.get()) == model);
    std::string part(random.Below(5000), '?');
    size_t got = 0;
    ASSERT_TRUE(file->Read(at, part.size(), part.data(), &got).ok());
    const std::string expected = at < model.size() ? model.substr(at, part.size()) : "";
    ASSERT_EQ(part.substr(0, got), expected);
  }
  EXPECT_EQ(Content("a"), model);
}

TEST_P(VfsTest, OneWriterManyReaders) {
  const auto file = Create("a", std::string(4096, 'a'));
  std::vector<std::thread> readers;
  std::vector<int> wrong(3);
  for (int& w : wrong) {
    readers.emplace_back([&] {
      std::string bytes(4096, '?');
      for (int i = 0; i < 200; ++i) {
        size_t got = 0;
        const bool ok = file->Read(0, bytes.size(), bytes.data(), &got).ok() && got == 4096;
        w += ok && bytes == std::string(4096, 'a') ? 0 : 1;
      }
    });
  }
  for (uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE(file->Write(i * 4096, std::string(4096, 'b')).ok());
    ASSERT_TRUE(i % 20 != 0 || file->Sync().ok());
  }
  for (std::thread& t : readers) t.join();
  for (const int w : wrong) EXPECT_EQ(w, 0);
}

INSTANTIATE_TEST_SUITE_P(Forms, VfsTest, testing::Values("Real", "Memory", "Fault"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace shale
