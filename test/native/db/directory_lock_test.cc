#include "db/directory_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "support/seed.h"
#include "support/temp_dir.h"
#include "vfs/mem_vfs.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace shale {
namespace {

// What is allocated meanwhile may stay.
class LeakOnPurpose {
 public:
#ifdef __SANITIZE_ADDRESS__
  LeakOnPurpose() { __lsan_disable(); }
  ~LeakOnPurpose() { __lsan_enable(); }
#else
  ~LeakOnPurpose() {}
#endif
};

// An owner file as another opener would have written it.
std::string Record(uint64_t token, int64_t pid, uint64_t start_time, const std::string& boot_id,
                   uint16_t major = 1) {
  std::string record(96, '\0');
  record.replace(0, 8, "SHALELCK");
  StoreLe<uint16_t>(record.data() + 8, major);
  StoreLe<uint64_t>(record.data() + 16, token);
  StoreLe<int64_t>(record.data() + 24, pid);
  StoreLe<uint64_t>(record.data() + 32, start_time);
  record[40] = 2;
  record[41] = static_cast<char>(boot_id.size());
  record.replace(44, boot_id.size(), boot_id);
  StoreLe<uint32_t>(record.data() + 92, Crc32cKeyed(token, 0, Slice(record.data(), 92)));
  return record;
}

class DirectoryLockTest : public testing::Test {
 protected:
  DirectoryLockTest() : vfs_(TestSeed()) { EXPECT_TRUE(vfs_.MakeDir("/d").ok()); }

  void Write(const std::string& name, const std::string& bytes) {
    std::unique_ptr<File> file;
    ASSERT_TRUE(vfs_.Open("/d/" + name, OpenMode::kCreateNew, &file).ok());
    ASSERT_TRUE(file->Write(0, bytes).ok());
  }
  Status Acquire() { return DirectoryLock::Acquire(&vfs_, "/d", &lock_); }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    EXPECT_TRUE(vfs_.List("/d", &names).ok());
    std::sort(names.begin(), names.end());
    return names;
  }

  MemVfs vfs_;
  std::unique_ptr<DirectoryLock> lock_;
};

TEST_F(DirectoryLockTest, IsHeldOnceAndGoesWithItsOwner) {
  ASSERT_TRUE(Acquire().ok());
  EXPECT_EQ(Names(), std::vector<std::string>{"lock"});
  std::unique_ptr<DirectoryLock> second;
  const Status status = DirectoryLock::Acquire(&vfs_, "/d", &second);
  ASSERT_TRUE(status.Is(Code::kDbLocked));
  EXPECT_EQ(status.details()->holder_pid, vfs_.ProcessId());
  EXPECT_TRUE(status.details()->same_process);
  EXPECT_EQ(status.details()->path, "/d");
  EXPECT_EQ(Names(), std::vector<std::string>{"lock"});
  lock_.reset();
  EXPECT_TRUE(Names().empty());
  EXPECT_TRUE(Acquire().ok());
}

TEST_F(DirectoryLockTest, WhatACrashLeftIsTakenOver) {
  ASSERT_TRUE(Acquire().ok());
  const auto clone = vfs_.CrashClone(CrashPolicy::All(), 1);
  std::unique_ptr<DirectoryLock> taken;
  ASSERT_TRUE(DirectoryLock::Acquire(clone.get(), "/d", &taken).ok());
  std::unique_ptr<DirectoryLock> second;
  EXPECT_TRUE(DirectoryLock::Acquire(clone.get(), "/d", &second).Is(Code::kDbLocked));
  taken.reset();
  std::vector<std::string> names;
  ASSERT_TRUE(clone->List("/d", &names).ok());
  EXPECT_TRUE(names.empty());
}

TEST_F(DirectoryLockTest, ALivingOwnerKeepsIt) {
  // 0: the system, or the owner's, did not tell.
  for (const auto& [runs, stated] : {std::pair<uint64_t, uint64_t>{500, 500}, {0, 500}, {500, 0}}) {
    vfs_.SetProcess(77, runs);
    Write("lock", Record(9, 77, stated, vfs_.BootId()));
    const Status status = Acquire();
    ASSERT_TRUE(status.Is(Code::kDbLocked));
    EXPECT_EQ(status.details()->holder_pid, 77);
    EXPECT_FALSE(status.details()->same_process);
    ASSERT_TRUE(vfs_.Remove("/d/lock").ok());
  }
}

TEST_F(DirectoryLockTest, AGoneOwnerDoesNot) {
  const struct {
    const char* name;
    std::string record;
  } cases[] = {
      {"no such process", Record(9, 77, 500, vfs_.BootId())},
      {"the pid was used again",
       Record(9, vfs_.ProcessId(), *vfs_.ProcessStartTime(vfs_.ProcessId()) + 1, vfs_.BootId())},
      {"another boot", Record(9, vfs_.ProcessId(), *vfs_.ProcessStartTime(vfs_.ProcessId()), "x")},
      {"cut off", Record(9, 77, 500, vfs_.BootId()).substr(0, 50)},
      {"nothing", ""},
      {"damaged", std::string(96, 'x')},
  };
  for (const auto& each : cases) {
    Write("lock", each.record);
    EXPECT_TRUE(Acquire().ok()) << each.name;
    EXPECT_EQ(Names(), std::vector<std::string>{"lock"}) << each.name;
    lock_.reset();
    EXPECT_TRUE(Names().empty()) << each.name;
  }
}

TEST_F(DirectoryLockTest, AnUnknownFormatIsRespected) {
  Write("lock", Record(9, 77, 500, vfs_.BootId(), 2));
  EXPECT_TRUE(Acquire().Is(Code::kDbLocked));
}

TEST_F(DirectoryLockTest, TheSystemsLockProtectsWhoCannotBeSeen) {
  Write("lock", Record(9, 77, 500, vfs_.BootId()));
  std::unique_ptr<File> file;
  std::unique_ptr<FileLock> held;
  ASSERT_TRUE(vfs_.Open("/d/lock", OpenMode::kReadWrite, &file).ok());
  ASSERT_TRUE(vfs_.Lock(file.get(), &held).ok());
  EXPECT_TRUE(Acquire().Is(Code::kDbLocked));
  held.reset();
  EXPECT_TRUE(Acquire().ok());
}

TEST_F(DirectoryLockTest, TakersThatDiedOnTheirWayAreNoObstacle) {
  const std::string boot = vfs_.BootId();
  Write("lock", Record(0x11, 77, 500, boot));
  Write("lock.0000000000000011.claim", Record(0x22, 78, 500, boot));
  Write("lock.0000000000000022.claim", Record(0x33, 79, 500, boot));
  Write("lock.0000000000000033", Record(0x33, 79, 500, boot));
  ASSERT_TRUE(Acquire().ok());
  EXPECT_EQ(Names(), std::vector<std::string>{"lock"});
}

TEST_F(DirectoryLockTest, AClaimThatNamesNobodyIsNoObstacle) {
  Write("lock", std::string(96, 'x'));
  Write("lock.0000000000000000.claim", "");
  ASSERT_TRUE(Acquire().ok());
  EXPECT_EQ(Names(), std::vector<std::string>{"lock"});
}

TEST_F(DirectoryLockTest, ALivingTakerKeepsItsClaim) {
  vfs_.SetProcess(80, 600);
  Write("lock", Record(0x11, 77, 500, vfs_.BootId()));
  Write("lock.0000000000000011.claim", Record(0x22, 80, 600, vfs_.BootId()));
  const Status status = Acquire();
  ASSERT_TRUE(status.Is(Code::kDbLocked));
  EXPECT_EQ(status.details()->holder_pid, 80);
}

TEST_F(DirectoryLockTest, ALockOfAnotherIsNotRemoved) {
  ASSERT_TRUE(Acquire().ok());
  ASSERT_TRUE(vfs_.Remove("/d/lock").ok());
  Write("lock", Record(9, 77, 500, vfs_.BootId()));
  lock_.reset();
  EXPECT_EQ(Names(), std::vector<std::string>{"lock"});
}

TEST_F(DirectoryLockTest, AForkedChildLeavesItAlone) {
  {
    const LeakOnPurpose what_is_left_alone;
    ASSERT_TRUE(Acquire().ok());
  }
  const int64_t parent = vfs_.ProcessId();
  vfs_.SetProcessId(parent + 1);
  lock_.reset();
  EXPECT_EQ(Names(), std::vector<std::string>{"lock"});
}

// One of several takers of a stale lock wins, on the real file system.
TEST(DirectoryLockPosixTest, OfSeveralTakersOneWins) {
  Vfs* vfs = Vfs::Real();
  for (uint64_t round = 0; round < Scaled(60); ++round) {
    const TempDir dir;
    if (round % 2 == 0) {
      std::unique_ptr<File> file;
      ASSERT_TRUE(vfs->Open(dir.path() + "/lock", OpenMode::kCreateNew, &file).ok());
      ASSERT_TRUE(file->Write(0, Record(round + 1, 1, 1, "another boot")).ok());
    }
    std::atomic<int> holders{0};
    std::atomic<int> winners{0};
    std::vector<std::unique_ptr<DirectoryLock>> locks(4);
    std::vector<std::thread> takers;
    for (size_t i = 0; i < locks.size(); ++i) {
      takers.emplace_back([&, i] {
        const Status status = DirectoryLock::Acquire(vfs, dir.path(), &locks[i]);
        if (status.ok()) {
          winners++;
          if (holders.fetch_add(1) != 0) ADD_FAILURE() << "two holders";
        } else if (!status.Is(Code::kDbLocked)) {
          ADD_FAILURE() << status.ToString();
        }
      });
    }
    for (std::thread& taker : takers) taker.join();
    EXPECT_LE(winners.load(), 1);
  }
}

TEST(DirectoryLockPosixTest, HoldsAgainstAnotherProcessAndSurvivesAFork) {
  const TempDir dir;
  std::unique_ptr<DirectoryLock> lock;
  ASSERT_TRUE(DirectoryLock::Acquire(Vfs::Real(), dir.path(), &lock).ok());
  const pid_t child = fork();
  if (child == 0) {
    std::unique_ptr<DirectoryLock> second;
    const Status status = DirectoryLock::Acquire(Vfs::Real(), dir.path(), &second);
    const bool refused = status.Is(Code::kDbLocked) &&
                         status.details()->holder_pid == static_cast<int64_t>(getppid()) &&
                         !status.details()->same_process;
    lock.reset();  // the child's copy
    _exit(refused ? 0 : 1);
  }
  int outcome = 0;
  ASSERT_EQ(waitpid(child, &outcome, 0), child);
  EXPECT_TRUE(WIFEXITED(outcome));
  EXPECT_EQ(WEXITSTATUS(outcome), 0);
  std::unique_ptr<DirectoryLock> second;
  EXPECT_TRUE(DirectoryLock::Acquire(Vfs::Real(), dir.path(), &second).Is(Code::kDbLocked));
  lock.reset();
  EXPECT_TRUE(DirectoryLock::Acquire(Vfs::Real(), dir.path(), &second).ok());
}

TEST(DirectoryLockPosixTest, AKilledHolderIsGone) {
  const TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    std::unique_ptr<DirectoryLock> lock;
    const bool held = DirectoryLock::Acquire(Vfs::Real(), dir.path(), &lock).ok();
    lock.release();  // NOLINT: dies with it
    _exit(held ? 0 : 1);
  }
  int outcome = 0;
  ASSERT_EQ(waitpid(child, &outcome, 0), child);
  ASSERT_EQ(WEXITSTATUS(outcome), 0);
  std::unique_ptr<DirectoryLock> lock;
  EXPECT_TRUE(DirectoryLock::Acquire(Vfs::Real(), dir.path(), &lock).ok());
}

}  // namespace
}  // namespace shale
