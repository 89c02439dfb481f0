#include "vfs/fault_vfs.h"

#include <gtest/gtest.h>

#include <bit>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/seed.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

constexpr const char* kTable = "/d/000001.table";
constexpr const char* kJournal = "/d/000002.journal";

class FaultVfsTest : public testing::Test {
 protected:
  FaultVfsTest() : memory_(TestSeed()), vfs_(&memory_, TestSeed()) {}

  void SetUp() override {
    ASSERT_TRUE(memory_.MakeDir("/d").ok());
    ASSERT_TRUE(memory_.SyncDir("/").ok());
    table_ = Create(kTable);
    journal_ = Create(kJournal);
    ASSERT_TRUE(table_->Write(0, original_).ok());
    ASSERT_TRUE(table_->Sync().ok());
    ASSERT_TRUE(memory_.SyncDir("/d").ok());
  }

  std::unique_ptr<File> Create(const std::string& path) {
    std::unique_ptr<File> file;
    EXPECT_TRUE(vfs_.Open(path, OpenMode::kCreateNew, &file).ok());
    return file;
  }
  void Plan(FaultOp op, FaultKind kind, uint64_t nth = 0, bool sticky = false,
            PathClass path_class = PathClass::kAny) {
    vfs_.SetPlan({{op, path_class, nth, kind, sticky}});
  }
  // What the table holds, past all faults.
  std::string Stored() {
    std::unique_ptr<File> file;
    EXPECT_TRUE(memory_.Open(kTable, OpenMode::kRead, &file).ok());
    return Read(file.get());
  }
  static std::string Read(File* file) {
    std::string bytes(100000, '?');
    size_t got = 0;
    EXPECT_TRUE(file->Read(0, bytes.size(), bytes.data(), &got).ok());
    bytes.resize(got);
    return bytes;
  }
  static int DifferingBits(const std::string& a, const std::string& b) {
    EXPECT_EQ(a.size(), b.size());
    int bits = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      bits += std::popcount(static_cast<unsigned>(static_cast<uint8_t>(a[i] ^ b[i])));
    }
    return bits;
  }

  MemVfs memory_;
  FaultVfs vfs_;
  const std::string original_ = std::string(6000, 'o');
  std::unique_ptr<File> table_;
  std::unique_ptr<File> journal_;
};

TEST_F(FaultVfsTest, TheNthMatchingCallFailsOnce) {
  Plan(FaultOp::kWrite, FaultKind::kEio, 2);
  EXPECT_TRUE(table_->Write(0, "a").ok());
  EXPECT_TRUE(journal_->Write(0, "b").ok());
  const Status s = table_->Write2(0, "c", "d");
  EXPECT_TRUE(s.Is(Code::kIoError));
  EXPECT_TRUE(IsErrno(s, EIO));
  EXPECT_EQ(s.details()->path, kTable);
  EXPECT_EQ(Stored()[0], 'a');
  EXPECT_TRUE(table_->Write(0, "e").ok());
  EXPECT_EQ(vfs_.fired(), 1u);
}

TEST_F(FaultVfsTest, StickyFaultsStayUntilThePlanChanges) {
  Plan(FaultOp::kWrite, FaultKind::kEio, 1, true);
  EXPECT_TRUE(table_->Write(0, "a").ok());
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(table_->Write(0, "b").ok());
  EXPECT_EQ(vfs_.fired(), 3u);
  vfs_.SetPlan({});
  EXPECT_TRUE(table_->Write(0, "c").ok());
  EXPECT_EQ(vfs_.fired(), 0u);
}

TEST_F(FaultVfsTest, PathClassesAreToldApart) {
  Plan(FaultOp::kWrite, FaultKind::kEio, 0, true, PathClass::kJournal);
  EXPECT_TRUE(table_->Write(0, "a").ok());
  EXPECT_FALSE(journal_->Write(0, "a").ok());
  Plan(FaultOp::kSyncDir, FaultKind::kEio, 0, true, PathClass::kDirectory);
  EXPECT_TRUE(table_->Sync().ok());
  EXPECT_TRUE(IsErrno(vfs_.SyncDir("/d"), EIO));
  EXPECT_EQ(ClassifyPath("/d/000009.manifest"), PathClass::kManifest);
  EXPECT_EQ(ClassifyPath("/d/000009.blob"), PathClass::kBlob);
  EXPECT_EQ(ClassifyPath("/d/lock"), PathClass::kLock);
  EXPECT_EQ(ClassifyPath("/d/owner"), PathClass::kOther);
}

TEST_F(FaultVfsTest, SeveralFaultsCountEachForItself) {
  vfs_.SetPlan({{FaultOp::kWrite, PathClass::kAny, 0, FaultKind::kEio, false},
                {FaultOp::kWrite, PathClass::kTable, 1, FaultKind::kEnospc, false}});
  EXPECT_TRUE(IsErrno(journal_->Write(0, "a"), EIO));
  EXPECT_TRUE(table_->Write(0, "a").ok());
  EXPECT_TRUE(IsErrno(table_->Write(0, "a"), ENOSPC));
  EXPECT_EQ(vfs_.fired(), 2u);
}

TEST_F(FaultVfsTest, CallsAreCounted) {
  const uint64_t writes = vfs_.Count(FaultOp::kWrite);
  EXPECT_TRUE(table_->Write(0, "a").ok());
  EXPECT_TRUE(table_->Write2(0, "a", "b").ok());
  EXPECT_TRUE(journal_->Write(0, "a").ok());
  EXPECT_TRUE(vfs_.SyncDir("/d").ok());
  EXPECT_EQ(vfs_.Count(FaultOp::kWrite), writes + 3);
  EXPECT_EQ(vfs_.Count(FaultOp::kWrite, PathClass::kJournal), 1u);
  EXPECT_EQ(vfs_.Count(FaultOp::kSyncDir, PathClass::kDirectory), 1u);
  EXPECT_EQ(vfs_.Count(FaultOp::kCreate), 2u);
  EXPECT_EQ(vfs_.Count(FaultOp::kRename), 0u);
}

Status Call(FaultOp op, Vfs* vfs, File* file) {
  std::unique_ptr<File> opened;
  std::unique_ptr<FileLock> lock;
  FileInfo info;
  std::vector<std::string> names;
  std::string bytes(10, '\0');
  size_t got = 0;
  uint64_t number = 0;
  switch (op) {
    case FaultOp::kOpen:
      return vfs->Open(kTable, OpenMode::kRead, &opened);
    case FaultOp::kCreate:
      return vfs->Open("/d/000009.table", OpenMode::kCreateNew, &opened);
    case FaultOp::kRead:
      return file->Read(0, bytes.size(), bytes.data(), &got);
    case FaultOp::kWrite:
      return file->Write(0, "x");
    case FaultOp::kTruncate:
      return file->Truncate(5);
    case FaultOp::kPreallocate:
      return file->Preallocate(5);
    case FaultOp::kSync:
      return file->Sync();
    case FaultOp::kSize:
      return file->Size(&number);
    case FaultOp::kSyncDir:
      return vfs->SyncDir("/d");
    case FaultOp::kStat:
      return vfs->Stat(kTable, &info);
    case FaultOp::kMakeDir:
      return vfs->MakeDir("/d/new");
    case FaultOp::kRemoveDir:
      return vfs->RemoveDir("/d/new");
    case FaultOp::kRemove:
      return vfs->Remove("/d/000009.table");
    case FaultOp::kRename:
      return vfs->Rename(kTable, kTable);
    case FaultOp::kLink:
      return vfs->Link(kTable, "/d/000010.table");
    case FaultOp::kList:
      return vfs->List("/d", &names);
    case FaultOp::kFreeBytes:
      return vfs->FreeBytes("/d", &number);
    case FaultOp::kLock:
      return vfs->Lock(file, &lock);
  }
  return Code::kNotSupported;
}

// Every operation, with every kind of fault that can happen to it: it fires, and the call fails
// unless the kind is a silent one. Kinds that do not apply never fire.
TEST_F(FaultVfsTest, EveryOperationTakesEveryKindThatApplies) {
  uint64_t applied = 0;
  for (size_t o = 0; o < kFaultOps; ++o) {
    const auto op = static_cast<FaultOp>(o);
    for (size_t k = 0; k < kFaultKinds; ++k) {
      const auto kind = static_cast<FaultKind>(k);
      MemVfs memory;
      FaultVfs vfs(&memory);
      ASSERT_TRUE(vfs.MakeDir("/d").ok());
      std::unique_ptr<File> file;
      ASSERT_TRUE(vfs.Open(kTable, OpenMode::kCreateNew, &file).ok());
      ASSERT_TRUE(op != FaultOp::kRemove || Call(FaultOp::kCreate, &vfs, nullptr).ok());
      ASSERT_TRUE(op != FaultOp::kRemoveDir || vfs.MakeDir("/d/new").ok());
      vfs.SetPlan({{op, PathClass::kAny, 0, kind, false}});
      const Status s = Call(op, &vfs, file.get());
      const std::string what = std::string(FaultOpName(op)) + " " + FaultKindName(kind);
      if (!FaultApplies(kind, op)) {
        EXPECT_EQ(vfs.fired(), 0u) << what;
        EXPECT_TRUE(s.ok()) << what << s.ToString();
        continue;
      }
      ++applied;
      EXPECT_EQ(vfs.fired(), 1u) << what;
      const bool silent = kind == FaultKind::kLostWrite || kind == FaultKind::kMisdirectedWrite ||
                          kind == FaultKind::kBitFlipWrite || kind == FaultKind::kShortRead ||
                          kind == FaultKind::kBitFlipRead || kind == FaultKind::kMisdirectedRead ||
                          kind == FaultKind::kSyncLate;
      EXPECT_EQ(s.ok(), silent) << what << ": " << s.ToString();
    }
  }
  EXPECT_GT(applied, 60u);
}

TEST_F(FaultVfsTest, SpaceErrorsLeaveAPartOfTheWrite) {
  const struct {
    FaultKind kind;
    int error_number;
  } cases[] = {
      {FaultKind::kEnospc, ENOSPC}, {FaultKind::kEdquot, EDQUOT}, {FaultKind::kEfbig, EFBIG}};
  for (const auto& c : cases) {
    Plan(FaultOp::kWrite, c.kind);
    const Status s = table_->Write(0, std::string(6000, 'n'));
    EXPECT_TRUE(s.Is(Code::kDiskFull));
    EXPECT_TRUE(IsErrno(s, c.error_number));
    const std::string stored = Stored();
    const size_t done = stored.find('o') == std::string::npos ? 6000 : stored.find('o');
    EXPECT_EQ(stored, std::string(done, 'n') + std::string(6000 - done, 'o'));
    ASSERT_TRUE(table_->Write(0, original_).ok());
  }
}

TEST_F(FaultVfsTest, AShortWriteLeavesHalf) {
  Plan(FaultOp::kWrite, FaultKind::kShortWrite);
  EXPECT_TRUE(IsErrno(table_->Write2(0, "1234", "5678"), EIO));
  EXPECT_EQ(Stored().substr(0, 10), "1234oooooo");
}

TEST_F(FaultVfsTest, SilentWriteFaults) {
  Plan(FaultOp::kWrite, FaultKind::kLostWrite);
  ASSERT_TRUE(table_->Write(0, "new").ok());
  EXPECT_EQ(Stored(), original_);
  Plan(FaultOp::kWrite, FaultKind::kMisdirectedWrite);
  ASSERT_TRUE(table_->Write(10, "new").ok());
  std::string expected = original_;
  expected.replace(10 + 4096, 3, "new");
  EXPECT_EQ(Stored(), expected);
  ASSERT_TRUE(table_->Write(0, original_).ok());
  Plan(FaultOp::kWrite, FaultKind::kBitFlipWrite);
  ASSERT_TRUE(table_->Write(0, original_).ok());
  EXPECT_EQ(DifferingBits(Stored(), original_), 1);
}

TEST_F(FaultVfsTest, ReadFaultsPass) {
  Plan(FaultOp::kRead, FaultKind::kBitFlipRead);
  EXPECT_EQ(DifferingBits(Read(table_.get()), original_), 1);
  EXPECT_EQ(Read(table_.get()), original_);
  Plan(FaultOp::kRead, FaultKind::kShortRead);
  std::string bytes(100, '?');
  size_t got = 0;
  ASSERT_TRUE(table_->Read(0, 100, bytes.data(), &got).ok());
  EXPECT_EQ(got, 50u);
  ASSERT_TRUE(table_->Write(4096, "elsewhere").ok());
  Plan(FaultOp::kRead, FaultKind::kMisdirectedRead);
  ASSERT_TRUE(table_->Read(0, 9, bytes.data(), &got).ok());
  EXPECT_EQ(bytes.substr(0, 9), "elsewhere");
  Plan(FaultOp::kRead, FaultKind::kEio);
  EXPECT_TRUE(IsErrno(table_->Read(0, 9, bytes.data(), &got), EIO));
  EXPECT_EQ(got, 0u);
}

TEST_F(FaultVfsTest, FailedSyncsAreNotMadeGoodByLaterOnes) {
  const auto durable = [&] {
    const auto clone = memory_.CrashClone(CrashPolicy::None(), 1);
    std::unique_ptr<File> file;
    EXPECT_TRUE(clone->Open(kTable, OpenMode::kRead, &file).ok());
    return Read(file.get()).substr(0, 3);
  };
  ASSERT_TRUE(table_->Write(0, "1").ok());
  Plan(FaultOp::kSync, FaultKind::kSyncKept);
  EXPECT_TRUE(IsErrno(table_->Sync(), EIO));
  EXPECT_EQ(Stored()[0], '1');
  ASSERT_TRUE(table_->Sync().ok());
  EXPECT_EQ(durable(), "ooo");
  ASSERT_TRUE(table_->Write(1, "2").ok());
  Plan(FaultOp::kSync, FaultKind::kSyncDropped);
  EXPECT_TRUE(IsErrno(table_->Sync(), EIO));
  EXPECT_EQ(Stored()[1], 'o');
  ASSERT_TRUE(table_->Write(2, "3").ok());
  ASSERT_TRUE(table_->Sync().ok());
  EXPECT_EQ(durable(), "oo3");
}

TEST_F(FaultVfsTest, ALateSyncErrorMeetsTheNextSync) {
  ASSERT_TRUE(table_->Write(0, "1").ok());
  Plan(FaultOp::kSync, FaultKind::kSyncLate);
  EXPECT_TRUE(table_->Sync().ok());
  EXPECT_TRUE(journal_->Sync().ok());
  EXPECT_TRUE(IsErrno(table_->Sync(), EIO));
  EXPECT_TRUE(table_->Sync().ok());
  EXPECT_EQ(vfs_.fired(), 1u);
}

TEST_F(FaultVfsTest, OpenErrorsHaveTheirCodes) {
  std::unique_ptr<File> file;
  const auto open = [&](FaultKind kind, OpenMode mode) {
    Plan(mode == OpenMode::kCreateNew ? FaultOp::kCreate : FaultOp::kOpen, kind);
    return vfs_.Open(mode == OpenMode::kCreateNew ? "/d/000009.table" : kTable, mode, &file);
  };
  EXPECT_TRUE(open(FaultKind::kEmfile, OpenMode::kRead).Is(Code::kTooManyOpenFiles));
  EXPECT_TRUE(IsErrno(open(FaultKind::kEacces, OpenMode::kRead), EACCES));
  EXPECT_TRUE(IsErrno(open(FaultKind::kEnoent, OpenMode::kRead), ENOENT));
  EXPECT_TRUE(open(FaultKind::kErofs, OpenMode::kCreateNew).Is(Code::kReadOnly));
  EXPECT_EQ(file, nullptr);
  EXPECT_FALSE(memory_.Open("/d/000009.table", OpenMode::kRead, &file).ok());
}

TEST_F(FaultVfsTest, WorksOverTheRealOneToo) {
  FaultVfs vfs(Vfs::Real());
  FileInfo info;
  EXPECT_TRUE(vfs.Stat("/", &info).ok());
  vfs.SetPlan({{FaultOp::kStat, PathClass::kAny, 0, FaultKind::kEio, false}});
  EXPECT_TRUE(IsErrno(vfs.Stat("/", &info), EIO));
}

TEST_F(FaultVfsTest, ThreadsShareTheCount) {
  Plan(FaultOp::kWrite, FaultKind::kEio, 150);
  std::vector<std::thread> threads;
  std::vector<int> failed(3);
  for (size_t t = 0; t < failed.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) failed[t] += journal_->Write(t * 10, "x").ok() ? 0 : 1;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(failed[0] + failed[1] + failed[2], 1);
}

TEST(FaultPlan, IsPrintedAsJson) {
  EXPECT_EQ(ToString(FaultPlan()), "[]");
  const FaultPlan plan = {{FaultOp::kSync, PathClass::kJournal, 3, FaultKind::kSyncKept, true},
                          {FaultOp::kOpen, PathClass::kAny, 0, FaultKind::kEmfile, false}};
  EXPECT_EQ(ToString(plan),
            "[{\"op\": \"sync\", \"pathClass\": \"journal\", \"nth\": 3, \"kind\": \"syncKept\", "
            "\"sticky\": true}, {\"op\": \"open\", \"pathClass\": \"any\", \"nth\": 0, "
            "\"kind\": \"EMFILE\", \"sticky\": false}]");
}

}  // namespace
}  // namespace shale
