// MemVfs as a machine: its hook, its space, its restart, and a model of what is durable.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/mem_vfs_fixture.h"

namespace shale {
namespace {

TEST_F(MemVfsTest, TheCloneIsAnotherMachineAfterARestart) {
  const auto lock_file = CreateDurable("/d/lock", "");
  std::unique_ptr<FileLock> lock;
  ASSERT_TRUE(vfs_.Lock(lock_file.get(), &lock).ok());
  const auto clone = Crash(CrashPolicy::All());
  std::unique_ptr<File> file;
  std::unique_ptr<FileLock> other;
  ASSERT_TRUE(clone->Open("/d/lock", OpenMode::kReadWrite, &file).ok());
  EXPECT_TRUE(clone->Lock(file.get(), &other).ok());
  EXPECT_NE(clone->BootId(), vfs_.BootId());
  EXPECT_EQ(clone->ProcessStartTime(vfs_.ProcessId()), std::nullopt);
  EXPECT_TRUE(clone->ProcessStartTime(clone->ProcessId()).has_value());
  EXPECT_GE(clone->WallMillis(), 1u);
  FileInfo mine;
  FileInfo theirs;
  ASSERT_TRUE(vfs_.Stat("/d/lock", &mine).ok());
  ASSERT_TRUE(clone->Stat("/d/lock", &theirs).ok());
  EXPECT_NE(mine.device, theirs.device);
  // Neither sees what the other writes.
  ASSERT_TRUE(file->Write(0, "clone").ok());
  ASSERT_TRUE(lock_file->Write(0, "original").ok());
  EXPECT_EQ(Content(clone.get(), "/d/lock"), "clone");
  EXPECT_EQ(Content(&vfs_, "/d/lock"), "original");
  // A crash of the clone goes back to what it started with.
  EXPECT_EQ(Content(clone->CrashClone(CrashPolicy::None(), 1).get(), "/d/lock"), "");
}

// The hook sees every operation before it happens, and may clone at each.
TEST_F(MemVfsTest, TheHookSeesEveryMutationBeforeItHappens) {
  std::vector<MemVfs::Mutation> kinds;
  std::vector<std::string> contents;
  uint64_t next = vfs_.operation_count();
  vfs_.SetHook([&](const MemVfs::Operation& op) {
    EXPECT_EQ(op.index, next++);
    kinds.push_back(op.kind);
    contents.push_back(Content(vfs_.CrashClone(CrashPolicy::All(), op.index).get(), "/d/a"));
  });
  using M = MemVfs::Mutation;
  const auto a = Create("/d/a");
  ASSERT_TRUE(a->Write(0, "1").ok());
  ASSERT_TRUE(a->Write2(1, "2", "3").ok());
  ASSERT_TRUE(a->Truncate(2).ok());
  ASSERT_TRUE(a->Preallocate(3).ok());
  ASSERT_TRUE(a->Sync().ok());
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  ASSERT_TRUE(vfs_.Link("/d/a", "/d/b").ok());
  ASSERT_TRUE(vfs_.Rename("/d/b", "/d/c").ok());
  ASSERT_TRUE(vfs_.Remove("/d/a").ok());
  ASSERT_TRUE(vfs_.MakeDir("/d/e").ok());
  ASSERT_TRUE(vfs_.RemoveDir("/d/e").ok());
  vfs_.SetHook({});
  EXPECT_EQ(kinds, (std::vector<M>{M::kCreate, M::kWrite, M::kWrite, M::kTruncate, M::kPreallocate,
                                   M::kSync, M::kSyncDir, M::kLink, M::kRename, M::kRemove,
                                   M::kMakeDir, M::kRemoveDir}));
  EXPECT_EQ(contents,
            (Strings{"(none)", "", "1", "123", "12", std::string("12\0", 3), std::string("12\0", 3),
                     std::string("12\0", 3), std::string("12\0", 3), std::string("12\0", 3),
                     "(none)", "(none)"}));
  EXPECT_EQ(vfs_.operation_count(), next);
}

TEST_F(MemVfsTest, SpaceIsLimited) {
  const auto a = CreateDurable("/d/a", std::string(8192, 'a'));
  vfs_.SetCapacity(5 * 4096);
  uint64_t free = 0;
  ASSERT_TRUE(vfs_.FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 3u * 4096);
  const auto b = Create("/d/b");
  const Status full = b->Write(0, std::string(4 * 4096, 'b'));
  EXPECT_TRUE(full.Is(Code::kDiskFull));
  // What fitted was written.
  EXPECT_EQ(Content(&vfs_, "/d/b"), std::string(3 * 4096, 'b'));
  EXPECT_TRUE(a->Write(0, "in place").ok());
  EXPECT_TRUE(a->Write(8192, "x").Is(Code::kDiskFull));
  EXPECT_TRUE(b->Preallocate(20 * 4096).Is(Code::kDiskFull));
  ASSERT_TRUE(b->Truncate(100).ok());
  EXPECT_TRUE(a->Write(8192, "x").ok());
  // Space comes back when the last name and the last handle are gone.
  ASSERT_TRUE(vfs_.Remove("/d/a").ok());
  ASSERT_TRUE(vfs_.FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 4096u);
  const auto clone = Crash(CrashPolicy::All());
  ASSERT_TRUE(clone->FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 4u * 4096);
  ASSERT_TRUE(clone->Remove("/d/b").ok());
  ASSERT_TRUE(clone->FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 5u * 4096);
}

TEST_F(MemVfsTest, SpaceOfAClosedAndRemovedFileIsFree) {
  vfs_.SetCapacity(10 * 4096);
  auto a = Create("/d/a");
  ASSERT_TRUE(a->Write(0, std::string(10 * 4096, 'a')).ok());
  ASSERT_TRUE(vfs_.Link("/d/a", "/d/b").ok());
  uint64_t free = 99;
  ASSERT_TRUE(vfs_.Remove("/d/a").ok());
  a.reset();
  ASSERT_TRUE(vfs_.FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 0u);
  ASSERT_TRUE(vfs_.Remove("/d/b").ok());
  ASSERT_TRUE(vfs_.FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 10u * 4096);
  ASSERT_TRUE(Create("/d/old")->Write(0, std::string(4096, 'o')).ok());
  ASSERT_TRUE(Create("/d/new")->Write(0, std::string(4096, 'n')).ok());
  ASSERT_TRUE(vfs_.Rename("/d/new", "/d/old").ok());
  ASSERT_TRUE(vfs_.FreeBytes("/d", &free).ok());
  EXPECT_EQ(free, 9u * 4096);
}

// Without limit, a random run of operations and then: `none` equals a model of what was synced,
// `all` equals what can be read.
TEST_F(MemVfsTest, AgreesWithAModel) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(20); ++round) {
    MemVfs vfs(round);
    ASSERT_TRUE(vfs.MakeDir("/d").ok());
    ASSERT_TRUE(vfs.SyncDir("/").ok());
    std::map<std::string, std::shared_ptr<std::string>> live;  // name -> durable content
    std::map<std::string, std::shared_ptr<std::string>> durable;
    for (int i = 0; i < 200; ++i) {
      const std::string name = "/d/" + std::to_string(random.Below(6));
      const std::string other = "/d/" + std::to_string(random.Below(6));
      std::unique_ptr<File> file;
      switch (random.Below(7)) {
        case 0:
          if (vfs.Open(name, OpenMode::kCreateNew, &file).ok()) {
            live[name] = std::make_shared<std::string>();
          }
          break;
        case 1:
          if (vfs.Remove(name).ok()) live.erase(name);
          break;
        case 2:
          if (name != other && vfs.Rename(name, other).ok()) {
            live[other] = live[name];
            live.erase(name);
          }
          break;
        case 3:
          ASSERT_TRUE(vfs.SyncDir("/d").ok());
          durable = live;
          break;
        case 4:
          if (vfs.Open(name, OpenMode::kReadWrite, &file).ok()) {
            ASSERT_TRUE(file->Sync().ok());
            *live[name] = Content(&vfs, name);
          }
          break;
        default:
          if (vfs.Open(name, OpenMode::kReadWrite, &file).ok()) {
            ASSERT_TRUE(file->Write(random.Below(9000), std::to_string(random.Next())).ok());
          }
      }
    }
    const auto none = vfs.CrashClone(CrashPolicy::None(), 1);
    ASSERT_EQ(Names(none.get()).size(), durable.size());
    for (const auto& [name, content] : durable) ASSERT_EQ(Content(none.get(), name), *content);
    const auto all = vfs.CrashClone(CrashPolicy::All(), 1);
    ASSERT_EQ(Names(all.get()), Names(&vfs));
    for (const auto& [name, content] : live) {
      ASSERT_EQ(Content(all.get(), name), Content(&vfs, name));
    }
    // Dropping nothing that exists is the same as keeping everything.
    const auto same = vfs.CrashClone(CrashPolicy::DropOne(1 << 20), 1);
    ASSERT_EQ(Names(same.get()), Names(&vfs));
  }
}

TEST_F(MemVfsTest, ClonesWhileOthersWrite) {
  const auto a = CreateDurable("/d/a", "start");
  std::thread writer([&] {
    for (uint64_t i = 0; i < 300; ++i) {
      EXPECT_TRUE(a->Write(i * 100, std::string(100, 'w')).ok());
      ASSERT_TRUE(i % 10 != 0 || a->Sync().ok());
    }
  });
  for (uint64_t i = 0; i < 100; ++i) {
    const auto clone = Crash(CrashPolicy::Random(50), i);
    std::unique_ptr<File> file;
    ASSERT_TRUE(clone->Open("/d/a", OpenMode::kReadWrite, &file).ok());
    EXPECT_TRUE(file->Write(0, std::string(5000, 'c')).ok());
    EXPECT_EQ(Content(clone.get(), "/d/a").substr(0, 5000), std::string(5000, 'c'));
  }
  writer.join();
  EXPECT_EQ(Content(&vfs_, "/d/a"), std::string(30000, 'w'));
}

}  // namespace
}  // namespace shale
