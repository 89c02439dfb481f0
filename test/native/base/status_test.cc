#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace shale {
namespace {

TEST(Status, OkCarriesNothing) {
  const Status s;
  EXPECT_TRUE(s.ok());
  EXPECT_EQ(s.details(), nullptr);
  EXPECT_EQ(s.message(), "");
  EXPECT_TRUE(s.WithPath("/a", 1).ok());
  EXPECT_TRUE(s.WithKeyspace("k").ok());
}

TEST(Status, CodesWithoutDetailsDoNotAllocate) {
  const Status s = Code::kNotFound;
  EXPECT_TRUE(s.Is(Code::kNotFound));
  EXPECT_FALSE(s.ok());
  EXPECT_EQ(s.details(), nullptr);
  EXPECT_EQ(s.ToString(), "NOT_FOUND");
}

TEST(Status, ErrnoBecomesTheCodeThatCallersActOn) {
  const struct {
    int error_number;
    Code code;
  } cases[] = {{ENOSPC, Code::kDiskFull},         {EDQUOT, Code::kDiskFull},
               {EFBIG, Code::kDiskFull},          {EMFILE, Code::kTooManyOpenFiles},
               {ENFILE, Code::kTooManyOpenFiles}, {ENOMEM, Code::kOutOfMemory},
               {EROFS, Code::kReadOnly},          {EIO, Code::kIoError},
               {ENOENT, Code::kIoError},          {EACCES, Code::kIoError}};
  for (const auto& c : cases) {
    const Status s = Status::FromErrno(c.error_number, "open", "/d/lock");
    EXPECT_EQ(s.code(), c.code) << c.error_number;
    EXPECT_EQ(s.details()->error_number, c.error_number);
    EXPECT_EQ(s.details()->syscall, "open");
    EXPECT_EQ(s.details()->path, "/d/lock");
  }
}

TEST(Status, AddedDetailsKeepWhatIsThere) {
  const Status bad = Status::Corruption("bad block", "/d/000001.table", 4096);
  const Status again = bad.WithPath("/other", 1).WithKeyspace("users");
  EXPECT_EQ(again.details()->path, "/d/000001.table");
  EXPECT_EQ(again.details()->offset, 4096u);
  EXPECT_EQ(again.details()->keyspace, "users");
  EXPECT_EQ(bad.details()->keyspace, "");
  const Status bare = Status(Code::kCorruption).WithPath("/d/x", 7);
  EXPECT_EQ(bare.details()->path, "/d/x");
  EXPECT_EQ(bare.details()->offset, 7u);
  EXPECT_EQ(again.ToString(),
            "CORRUPTION: bad block, path /d/000001.table, offset 4096, keyspace users");
}

TEST(Status, EveryCodeHasItsOwnName) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(Code::kNotSupported); ++i) {
    names.insert(CodeName(static_cast<Code>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(Code::kNotSupported) + 1);
  EXPECT_STREQ(CodeName(Code::kOk), "OK");
  EXPECT_STREQ(CodeName(Code::kDbLocked), "DB_LOCKED");
  EXPECT_STREQ(CodeName(Code::kIngestionOutOfOrder), "INGESTION_OUT_OF_ORDER");
  EXPECT_STREQ(CodeName(Code::kDiskFull), "DISK_FULL");
  EXPECT_STREQ(CodeName(Code::kNotSupported), "NOT_SUPPORTED");
  EXPECT_STREQ(CodeName(static_cast<Code>(200)), "UNKNOWN");
}

Status FailsOnSecond(int* calls) {
  SHALE_RETURN_IF_ERROR(Status::Ok());
  ++*calls;
  SHALE_RETURN_IF_ERROR(Status(Code::kAborted));
  ++*calls;
  return {};
}

TEST(Status, ReturnIfErrorReturnsTheFirst) {
  int calls = 0;
  EXPECT_TRUE(FailsOnSecond(&calls).Is(Code::kAborted));
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace shale
