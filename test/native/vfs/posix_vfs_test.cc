// What only the real file system can show: links, special files, modes, other processes, full
// disks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "support/temp_dir.h"
#include "vfs/vfs.h"

namespace shale {
namespace {

class PosixVfsTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return temp_.path() + "/" + name; }
  Status Open(const std::string& name, OpenMode mode) {
    return vfs_->Open(Path(name), mode, &file_);
  }
  mode_t Mode(const std::string& name) const {
    struct stat st;
    EXPECT_EQ(lstat(Path(name).c_str(), &st), 0);
    return st.st_mode & 07777;
  }

  TempDir temp_;
  Vfs* const vfs_ = Vfs::Real();
  std::unique_ptr<File> file_;
};

TEST_F(PosixVfsTest, SymlinksAreNotFollowed) {
  ASSERT_TRUE(Open("real", OpenMode::kCreateNew).ok());
  ASSERT_TRUE(file_->Write(0, "x").ok());
  ASSERT_EQ(symlink(Path("real").c_str(), Path("link").c_str()), 0);
  ASSERT_EQ(symlink(Path("none").c_str(), Path("dangling").c_str()), 0);
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    EXPECT_TRUE(Open("link", mode).Is(Code::kNotADatabase));
    EXPECT_TRUE(Open("dangling", mode).Is(Code::kNotADatabase));
  }
  EXPECT_TRUE(IsErrno(Open("dangling", OpenMode::kCreateNew), EEXIST));
  FileInfo info;
  ASSERT_TRUE(vfs_->Stat(Path("link"), &info).ok());
  EXPECT_EQ(info.type, FileInfo::Type::kOther);
  ASSERT_TRUE(vfs_->StatTarget(Path("link"), &info).ok());
  EXPECT_EQ(info.type, FileInfo::Type::kRegular);
  EXPECT_EQ(info.size, 1u);
  ASSERT_TRUE(vfs_->Remove(Path("link")).ok());
  EXPECT_TRUE(vfs_->Stat(Path("real"), &info).ok());
}

TEST_F(PosixVfsTest, ADirectoryMayBeNamedThroughASymlink) {
  ASSERT_TRUE(vfs_->MakeDir(Path("d")).ok());
  ASSERT_TRUE(Open("d/f", OpenMode::kCreateNew).ok());
  ASSERT_EQ(symlink(Path("d").c_str(), Path("link").c_str()), 0);
  std::vector<std::string> names;
  ASSERT_TRUE(vfs_->List(Path("link"), &names).ok());
  EXPECT_EQ(names, std::vector<std::string>{"f"});
  EXPECT_TRUE(vfs_->SyncDir(Path("link")).ok());
  EXPECT_TRUE(Open("link/f", OpenMode::kRead).ok());
}

// False where devices may not be opened, or are no devices: in some containers.
bool NullIsADevice() {
  const int fd = open("/dev/null", O_RDWR);
  struct stat st;
  const bool device = fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
  if (fd >= 0) close(fd);
  return device;
}

// None of them may be waited on either.
TEST_F(PosixVfsTest, SpecialFilesAreRefused) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_GE(fd, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = Path("socket");
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    EXPECT_TRUE(Open("fifo", mode).Is(Code::kNotADatabase));
    EXPECT_TRUE(Open("socket", mode).Is(Code::kNotADatabase));
    if (!NullIsADevice()) continue;
    const Status device = vfs_->Open("/dev/null", mode, &file_);
    EXPECT_TRUE(device.Is(Code::kNotADatabase)) << device.ToString();
  }
  close(fd);
}

TEST_F(PosixVfsTest, ModesDoNotDependOnTheUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{022}, mode_t{0777}}) {
    const std::string suffix = std::to_string(mask);
    const mode_t before = umask(mask);
    const Status made = Open("f" + suffix, OpenMode::kCreateNew);
    const Status directory = vfs_->MakeDir(Path("d" + suffix));
    umask(before);
    ASSERT_TRUE(made.ok()) << made.ToString();
    ASSERT_TRUE(directory.ok());
    EXPECT_EQ(Mode("f" + suffix), 0600u);
    EXPECT_EQ(Mode("d" + suffix), 0700u);
  }
}

TEST_F(PosixVfsTest, DescriptorsAreNotInherited) {
  ASSERT_TRUE(Open("f", OpenMode::kCreateNew).ok());
  std::unique_ptr<FileLock> lock;
  ASSERT_TRUE(vfs_->Lock(file_.get(), &lock).ok());
  for (int fd = 3; fd < 200; ++fd) {
    char target[512];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t n = readlink(link.c_str(), target, sizeof target);
    if (n < 0 || std::string(target, static_cast<size_t>(n)) != Path("f")) continue;
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
}

// A child that took the lock keeps it until it is killed; its start time is known as long as it
// runs.
TEST_F(PosixVfsTest, TheLockGoesWithItsProcess) {
  ASSERT_TRUE(Open("lock", OpenMode::kCreateNew).ok());
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::unique_ptr<File> file;
    std::unique_ptr<FileLock> lock;
    const bool ok = vfs_->Open(Path("lock"), OpenMode::kReadWrite, &file).ok() &&
                    vfs_->Lock(file.get(), &lock).ok();
    const char answer = ok ? 'y' : 'n';
    if (write(ready[1], &answer, 1) == 1) pause();
    _exit(1);
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  std::unique_ptr<FileLock> lock;
  EXPECT_TRUE(vfs_->Lock(file_.get(), &lock).Is(Code::kDbLocked));
  EXPECT_TRUE(vfs_->ProcessStartTime(child).has_value());
  kill(child, SIGKILL);
  siginfo_t ended;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  // A zombie counts as gone, and so does its lock.
  EXPECT_EQ(vfs_->ProcessStartTime(child), std::nullopt);
  EXPECT_TRUE(vfs_->Lock(file_.get(), &lock).ok());
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(vfs_->ProcessStartTime(child), std::nullopt);
  close(ready[0]);
  close(ready[1]);
}

// Another engine compares what an owner file says with what it reads itself.
TEST_F(PosixVfsTest, TheStartTimeIsField22OfStat) {
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), std::istreambuf_iterator<char>());
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  EXPECT_EQ(vfs_->ProcessStartTime(getpid()), std::stoull(field));
}

// In a child, because limits are of the whole process.
TEST_F(PosixVfsTest, ALimitOfFileSizeIsAFullDisk) {
  ASSERT_TRUE(Open("f", OpenMode::kCreateNew).ok());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {8192, 8192};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    const bool fits = file_->Write(0, std::string(8192, 'x')).ok();
    const Status s = file_->Write2(8000, std::string(100, 'y'), std::string(200, 'z'));
    _exit(fits && s.Is(Code::kDiskFull) && IsErrno(s, EFBIG) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(PosixVfsTest, OutOfDescriptorsHasItsCode) {
  ASSERT_TRUE(Open("f", OpenMode::kCreateNew).ok());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit = {0, 0};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(2);
    std::unique_ptr<File> more;
    const Status s = vfs_->Open(Path("f"), OpenMode::kRead, &more);
    _exit(s.Is(Code::kTooManyOpenFiles) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

void IgnoreSignal(int) {}

// A storm of signals interrupts calls; none of it reaches the caller.
TEST_F(PosixVfsTest, InterruptionsAreHandled) {
  struct sigaction action = {};
  struct sigaction before;
  action.sa_handler = IgnoreSignal;  // without SA_RESTART
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  ASSERT_TRUE(Open("f", OpenMode::kCreateNew).ok());
  const pthread_t self = pthread_self();
  std::atomic<bool> stop{false};
  std::thread storm([&] {
    while (!stop) pthread_kill(self, SIGUSR1);
  });
  const std::string data(1 << 20, 'x');
  int failures = 0;
  for (int i = 0; i < 20; ++i) {
    failures += file_->Preallocate((uint64_t{1} << 20) * static_cast<uint64_t>(i + 1)).ok() ? 0 : 1;
    failures += file_->Write((uint64_t{1} << 20) * static_cast<uint64_t>(i), data).ok() ? 0 : 1;
    failures += file_->Sync().ok() ? 0 : 1;
  }
  const uint64_t start = vfs_->MonotonicNanos();
  vfs_->SleepNanos(3000000);
  EXPECT_GE(vfs_->MonotonicNanos() - start, 3000000u);
  stop = true;
  storm.join();
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_EQ(failures, 0);
}

TEST_F(PosixVfsTest, ReadAheadIsHarmless) {
  ASSERT_TRUE(Open("f", OpenMode::kCreateNew).ok());
  ASSERT_TRUE(file_->Write(0, std::string(100000, 'x')).ok());
  file_->ReadAhead(0, 100000);
  file_->ReadAhead(1 << 30, 1 << 20);
  char byte = 0;
  size_t got = 0;
  ASSERT_TRUE(file_->Read(99999, 1, &byte, &got).ok());
  EXPECT_EQ(byte, 'x');
}

}  // namespace
}  // namespace shale
