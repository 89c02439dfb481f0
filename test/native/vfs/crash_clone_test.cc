// What MemVfs says a crash leaves, policy by policy.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "support/mem_vfs_fixture.h"

namespace shale {
namespace {

class CrashCloneTest : public MemVfsTest {};

TEST_F(CrashCloneTest, NoneKeepsWhatWasSyncedOnly) {
  const auto a = CreateDurable("/d/a", "durable");
  ASSERT_TRUE(a->Write(0, "changed!!").ok());
  const auto b = Create("/d/b");
  ASSERT_TRUE(b->Write(0, "b").ok());
  ASSERT_TRUE(b->Sync().ok());
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), "durable");
  // A synced file without a durable name is lost.
  EXPECT_EQ(NamesAfter(CrashPolicy::None()), Strings{"a"});
  // The live machine is untouched.
  EXPECT_EQ(Content(&vfs_, "/d/a"), "changed!!");
  EXPECT_EQ(Names(&vfs_), (Strings{"a", "b"}));
}

TEST_F(CrashCloneTest, ADurableNameWithoutSyncedDataIsAnEmptyFile) {
  const auto a = Create("/d/a");
  ASSERT_TRUE(a->Write(0, "data").ok());
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), "");
  EXPECT_EQ(After(CrashPolicy::All(), "/d/a"), "data");
}

TEST_F(CrashCloneTest, AllKeepsEverything) {
  const auto a = CreateDurable("/d/a", "durable");
  ASSERT_TRUE(a->Write(7, " and more").ok());
  ASSERT_TRUE(vfs_.Rename("/d/a", "/d/b").ok());
  Create("/d/c");
  const auto clone = Crash(CrashPolicy::All());
  EXPECT_EQ(Content(clone.get(), "/d/b"), "durable and more");
  EXPECT_EQ(Names(clone.get()), (Strings{"b", "c"}));
  EXPECT_TRUE(clone->Pending().empty());
}

TEST_F(CrashCloneTest, DirectoryChangesBecomeDurableTogetherWithTheirDirectory) {
  CreateDurable("/d/a", "A");
  CreateDurable("/d/b", "B");
  ASSERT_TRUE(vfs_.Rename("/d/a", "/d/c").ok());
  ASSERT_TRUE(vfs_.Remove("/d/b").ok());
  ASSERT_TRUE(vfs_.Link("/d/c", "/d/e").ok());
  ASSERT_TRUE(vfs_.MakeDir("/d/f").ok());
  EXPECT_EQ(NamesAfter(CrashPolicy::None()), (Strings{"a", "b"}));
  ASSERT_TRUE(vfs_.SyncDir("/").ok());
  EXPECT_EQ(NamesAfter(CrashPolicy::None()), (Strings{"a", "b"}));
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  const auto clone = Crash(CrashPolicy::None());
  EXPECT_EQ(Names(clone.get()), (Strings{"c", "e", "f"}));
  EXPECT_EQ(Content(clone.get(), "/d/e"), "A");
  FileInfo c;
  FileInfo e;
  ASSERT_TRUE(clone->Stat("/d/c", &c).ok());
  ASSERT_TRUE(clone->Stat("/d/e", &e).ok());
  EXPECT_EQ(c.inode, e.inode);
}

TEST_F(CrashCloneTest, ARemovedFileComesBack) {
  CreateDurable("/d/a", "A");
  ASSERT_TRUE(vfs_.Remove("/d/a").ok());
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), "A");
  EXPECT_EQ(After(CrashPolicy::All(), "/d/a"), "(none)");
}

TEST_F(CrashCloneTest, ARenameOverAFileLeavesOneOfTheTwo) {
  CreateDurable("/d/a", "A");
  CreateDurable("/d/b", "B");
  ASSERT_TRUE(vfs_.Rename("/d/a", "/d/b").ok());
  const auto before = Crash(CrashPolicy::None());
  EXPECT_EQ(Content(before.get(), "/d/a"), "A");
  EXPECT_EQ(Content(before.get(), "/d/b"), "B");
  const auto after = Crash(CrashPolicy::All());
  EXPECT_EQ(Names(after.get()), Strings{"b"});
  EXPECT_EQ(Content(after.get(), "/d/b"), "A");
}

TEST_F(CrashCloneTest, ARenameBetweenDirectoriesNeedsBothSyncs) {
  CreateDurable("/d/a", "A");
  ASSERT_TRUE(vfs_.MakeDir("/e").ok());
  ASSERT_TRUE(vfs_.SyncDir("/").ok());
  ASSERT_TRUE(vfs_.Rename("/d/a", "/e/a").ok());
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  const auto lost = Crash(CrashPolicy::None());
  EXPECT_EQ(Content(lost.get(), "/d/a"), "(none)");
  EXPECT_EQ(Content(lost.get(), "/e/a"), "(none)");
  ASSERT_TRUE(vfs_.SyncDir("/e").ok());
  EXPECT_EQ(After(CrashPolicy::None(), "/e/a"), "A");
}

TEST_F(CrashCloneTest, PrefixCountsPerFile) {
  const auto a = CreateDurable("/d/a", "");
  const auto b = CreateDurable("/d/b", "");
  for (const char* piece : {"1", "2", "3"}) {
    uint64_t size = 0;
    ASSERT_TRUE(a->Size(&size).ok());
    ASSERT_TRUE(a->Write(size, piece).ok());
    ASSERT_TRUE(b->Write(size, piece).ok());
  }
  EXPECT_EQ(After(CrashPolicy::Prefix(0), "/d/a"), "");
  EXPECT_EQ(After(CrashPolicy::Prefix(2), "/d/a"), "12");
  EXPECT_EQ(After(CrashPolicy::Prefix(2), "/d/b"), "12");
  EXPECT_EQ(After(CrashPolicy::Prefix(9), "/d/b"), "123");
}

TEST_F(CrashCloneTest, PendingIsInTheOrderOfTheChanges) {
  const auto a = CreateDurable("/d/a", "");
  const auto b = CreateDurable("/d/b", "");
  ASSERT_TRUE(b->Write(100, "bb").ok());
  ASSERT_TRUE(vfs_.Rename("/d/b", "/d/c").ok());
  ASSERT_TRUE(a->Write2(0, "a", "aa").ok());
  ASSERT_TRUE(a->Truncate(2).ok());
  const std::vector<PendingChange> pending = vfs_.Pending();
  ASSERT_EQ(pending.size(), 4u);
  EXPECT_EQ(pending[0].kind, PendingChange::Kind::kWrite);
  EXPECT_EQ(pending[0].offset, 100u);
  EXPECT_EQ(pending[0].length, 2u);
  EXPECT_EQ(pending[1].kind, PendingChange::Kind::kDirectory);
  EXPECT_EQ(pending[2].length, 3u);
  EXPECT_EQ(pending[3].kind, PendingChange::Kind::kResize);
  EXPECT_EQ(pending[3].length, 2u);
  ASSERT_TRUE(a->Sync().ok());
  EXPECT_EQ(vfs_.Pending().size(), 2u);
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  EXPECT_EQ(vfs_.Pending().size(), 1u);
}

TEST_F(CrashCloneTest, DropOneLosesExactlyOneChange) {
  const auto a = CreateDurable("/d/a", "....");
  const auto b = CreateDurable("/d/b", "....");
  ASSERT_TRUE(a->Write(0, "1").ok());
  ASSERT_TRUE(b->Write(1, "2").ok());
  ASSERT_TRUE(vfs_.Rename("/d/b", "/d/c").ok());
  ASSERT_TRUE(a->Write(2, "3").ok());
  const struct {
    std::string a, b, c;
  } expected[] = {{"..3.", "(none)", ".2.."},
                  {"1.3.", "(none)", "...."},
                  {"1.3.", ".2..", "(none)"},
                  {"1...", "(none)", ".2.."},
                  {"1.3.", "(none)", ".2.."}};
  for (uint64_t i = 0; i < 5; ++i) {
    const auto clone = Crash(CrashPolicy::DropOne(i));
    EXPECT_EQ(Content(clone.get(), "/d/a"), expected[i].a) << i;
    EXPECT_EQ(Content(clone.get(), "/d/b"), expected[i].b) << i;
    EXPECT_EQ(Content(clone.get(), "/d/c"), expected[i].c) << i;
  }
}

TEST_F(CrashCloneTest, CutsAreAtMultiplesOfTheUnitInTheFile) {
  const auto a = CreateDurable("/d/a", "");
  ASSERT_TRUE(a->Write(1000, std::string(1100, 'x')).ok());
  ASSERT_TRUE(a->Write(0, std::string(512, 'x')).ok());
  ASSERT_TRUE(a->Truncate(1).ok());
  const std::vector<PendingChange> pending = vfs_.Pending();
  EXPECT_EQ(pending[0].Cuts(512), (std::vector<uint64_t>{0, 24, 536, 1048}));
  EXPECT_EQ(pending[0].Cuts(4096), (std::vector<uint64_t>{0}));
  EXPECT_EQ(pending[1].Cuts(512), (std::vector<uint64_t>{0}));
  EXPECT_TRUE(pending[2].Cuts(512).empty());
}

TEST_F(CrashCloneTest, TornWritesAreFilledAsAsked) {
  const auto a = CreateDurable("/d/a", std::string(1000, 'o'));
  ASSERT_TRUE(a->Write(1000, std::string(24, '1')).ok());
  ASSERT_TRUE(a->Write(512, std::string(1024, 'n')).ok());
  ASSERT_TRUE(a->Write(2000, "later").ok());
  const std::string head = std::string(512, 'o') + std::string(512, 'n');
  using Fill = CrashPolicy::Fill;
  EXPECT_EQ(After(CrashPolicy::Torn(1, 512, Fill::kZero), "/d/a"), head + std::string(512, '\0'));
  // Old bytes stay, and the file does not grow.
  EXPECT_EQ(After(CrashPolicy::Torn(1, 512, Fill::kOld), "/d/a"), head);
  EXPECT_EQ(After(CrashPolicy::Torn(1, 0, Fill::kOld), "/d/a"),
            std::string(1000, 'o') + std::string(24, '1'));
  const std::string garbage = After(CrashPolicy::Torn(1, 512, Fill::kGarbage), "/d/a");
  ASSERT_EQ(garbage.size(), 1536u);
  EXPECT_EQ(garbage.substr(0, 1024), head);
  EXPECT_NE(garbage.substr(1024), std::string(512, 'n'));
  EXPECT_NE(garbage.substr(1024), std::string(512, '\0'));
  EXPECT_NE(garbage, After(CrashPolicy::Torn(1, 512, Fill::kGarbage), "/d/a", 2));
  EXPECT_EQ(garbage, After(CrashPolicy::Torn(1, 512, Fill::kGarbage), "/d/a", 1));
}

// What cannot be torn is lost as a whole.
TEST_F(CrashCloneTest, ATornChangeThatIsNoWriteIsLost) {
  const auto a = CreateDurable("/d/a", "data");
  ASSERT_TRUE(a->Write(0, "D").ok());
  ASSERT_TRUE(a->Truncate(1).ok());
  ASSERT_TRUE(vfs_.Rename("/d/a", "/d/b").ok());
  EXPECT_EQ(After(CrashPolicy::Torn(1, 0, CrashPolicy::Fill::kZero), "/d/a"), "Data");
  EXPECT_EQ(After(CrashPolicy::Torn(2, 0, CrashPolicy::Fill::kZero), "/d/a"), "D");
}

TEST_F(CrashCloneTest, SizeFirstKeepsTheLengthWithoutTheData) {
  const auto a = CreateDurable("/d/a", "old");
  ASSERT_TRUE(a->Write(2, "new and longer").ok());
  Create("/d/b");
  const auto clone = Crash(CrashPolicy::SizeFirst());
  EXPECT_EQ(Content(clone.get(), "/d/a"), "old" + std::string(13, '\0'));
  EXPECT_EQ(Names(clone.get()), (Strings{"a", "b"}));
}

TEST_F(CrashCloneTest, MetaFirstAndDataFirstAreOpposites) {
  const auto a = CreateDurable("/d/a", "old");
  ASSERT_TRUE(a->Write(0, "new").ok());
  ASSERT_TRUE(vfs_.Rename("/d/a", "/d/b").ok());
  const auto meta = Crash(CrashPolicy::MetaFirst());
  EXPECT_EQ(Names(meta.get()), Strings{"b"});
  EXPECT_EQ(Content(meta.get(), "/d/b"), "old");
  const auto data = Crash(CrashPolicy::DataFirst());
  EXPECT_EQ(Names(data.get()), Strings{"a"});
  EXPECT_EQ(Content(data.get(), "/d/a"), "new");
}

// Pages of one write survive each for itself, names too; the seed repeats the choice.
TEST_F(CrashCloneTest, RandomChoosesPagesAndNames) {
  const auto a = CreateDurable("/d/a", "");
  ASSERT_TRUE(a->Write(0, std::string(16 * 4096, 'x')).ok());
  for (int i = 0; i < 8; ++i) Create("/d/n" + std::to_string(i));
  std::set<std::string> contents;
  std::set<size_t> counts;
  uint64_t pages = 0;
  constexpr uint64_t kRounds = 200;
  for (uint64_t seed = 0; seed < kRounds; ++seed) {
    const std::string bytes = After(CrashPolicy::Random(50), "/d/a", seed);
    EXPECT_EQ(bytes, After(CrashPolicy::Random(50), "/d/a", seed));
    EXPECT_EQ(bytes.size() % 4096, 0u);
    for (size_t page = 0; page < bytes.size() / 4096; ++page) {
      const std::string one = bytes.substr(page * 4096, 4096);
      const bool whole = one == std::string(4096, 'x');
      EXPECT_TRUE(whole || one == std::string(4096, '\0'));
      pages += whole ? 1 : 0;
    }
    contents.insert(bytes);
    counts.insert(NamesAfter(CrashPolicy::Random(50), seed).size());
  }
  EXPECT_GT(contents.size(), kRounds / 2);
  EXPECT_GT(counts.size(), 4u);
  EXPECT_NEAR(static_cast<double>(pages), kRounds * 8, kRounds * 2);
  EXPECT_EQ(After(CrashPolicy::Random(0), "/d/a"), "");
  EXPECT_EQ(After(CrashPolicy::Random(100), "/d/a"), std::string(16 * 4096, 'x'));
}

TEST_F(CrashCloneTest, AFailedSyncThatKeptThePagesNeverMakesThemDurable) {
  const auto a = CreateDurable("/d/a", "....");
  ASSERT_TRUE(a->Write(0, "12").ok());
  vfs_.FailSync(a.get(), true);
  EXPECT_EQ(Content(&vfs_, "/d/a"), "12..");
  EXPECT_TRUE(vfs_.Pending().empty());
  // Tried again, it is told done; only what was written since is durable.
  ASSERT_TRUE(a->Write(3, "4").ok());
  ASSERT_TRUE(a->Sync().ok());
  EXPECT_EQ(Content(&vfs_, "/d/a"), "12.4");
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), "...4");
  EXPECT_EQ(After(CrashPolicy::All(), "/d/a"), "...4");
  ASSERT_TRUE(a->Write(0, "1").ok());
  ASSERT_TRUE(a->Sync().ok());
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), "1..4");
}

TEST_F(CrashCloneTest, AFailedSyncThatDroppedThePagesShowsTheOldOnes) {
  const auto a = CreateDurable("/d/a", "....");
  ASSERT_TRUE(a->Write(2, "3456").ok());
  vfs_.FailSync(a.get(), false);
  EXPECT_EQ(Content(&vfs_, "/d/a"), std::string("....\0\0", 6));
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), "....");
  ASSERT_TRUE(a->Sync().ok());
  EXPECT_EQ(After(CrashPolicy::None(), "/d/a"), std::string("....\0\0", 6));
}

TEST(CrashPolicy, SaysWhatItIs) {
  EXPECT_EQ(CrashPolicy::None().ToString(), "none");
  EXPECT_EQ(CrashPolicy::Random(90).ToString(), "random 90 %");
  EXPECT_EQ(CrashPolicy::Torn(3, 512, CrashPolicy::Fill::kGarbage).ToString(),
            "torn 3 at 512, garbage");
  EXPECT_EQ(CrashPolicy::DataFirst().ToString(), "data first");
}

}  // namespace
}  // namespace shale
