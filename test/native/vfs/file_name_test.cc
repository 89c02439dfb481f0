#include "vfs/file_name.h"

#include <gtest/gtest.h>

#include <string>

namespace shale {
namespace {

TEST(FileName, Spelling) {
  EXPECT_EQ(FileName("/d", FileKind::kManifest, 1), "/d/000001.manifest");
  EXPECT_EQ(FileName("/d", FileKind::kJournal, 42), "/d/000042.journal");
  EXPECT_EQ(FileName("/d", FileKind::kTable, 999999), "/d/999999.table");
  EXPECT_EQ(FileName("/d", FileKind::kBlob, 1000000), "/d/1000000.blob");
  EXPECT_EQ(FileName("/d", FileKind::kLock), "/d/lock");
}

TEST(FileName, RoundTrips) {
  for (const FileKind kind :
       {FileKind::kManifest, FileKind::kJournal, FileKind::kTable, FileKind::kBlob}) {
    for (const uint64_t number :
         {uint64_t{1}, uint64_t{999999}, uint64_t{1000000}, kFileNumberMax}) {
      const std::string name = FileName("", kind, number).substr(1);
      const ParsedName parsed = ParseFileName(name);
      EXPECT_EQ(parsed.kind, kind) << name;
      EXPECT_EQ(parsed.number, number) << name;
    }
  }
  for (const char* name : {"lock", "lock.0123456789abcdef", "lock.0123456789abcdef.claim",
                           "lock.0123456789abcdef.new"}) {
    EXPECT_EQ(ParseFileName(name).kind, FileKind::kLock) << name;
  }
}

TEST(FileName, EverythingElseIsForeign) {
  for (const char* name : {"",
                           ".",
                           "..",
                           "lock2",
                           "lock.",
                           "lock.txt",
                           "lock.0123456789abcde",
                           "lock.0123456789abcdeF",
                           "lock.0123456789abcdef0",
                           "lock.0123456789abcdef.old",
                           "lock-0123456789abcdef",
                           "LOCK",
                           "000001",
                           "000001.",
                           ".table",
                           "1.table",
                           "000000.table",
                           "9007199254740992.table",
                           "18446744073709551615.table",
                           "00001.table",
                           "0000001.table",
                           "01000000.table",
                           "000001.tables",
                           "000001.tabl",
                           "000001.TABLE",
                           "000001.table.bak",
                           "000001.lock",
                           "-00001.table",
                           "+00001.table",
                           "00000a.table",
                           " 000001.table",
                           "000001 .table",
                           "0x0001.table",
                           "18446744073709551616.table",
                           "99999999999999999999999.table",
                           "000001..table",
                           "d/000001.table"}) {
    EXPECT_EQ(ParseFileName(name).kind, FileKind::kForeign) << name;
  }
}

}  // namespace
}  // namespace shale
