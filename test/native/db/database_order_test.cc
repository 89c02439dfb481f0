// Async commits that wait in the queue keep their place before what is called after them.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "db/database_support.h"
#include "vfs/fault_vfs.h"

namespace shale {
namespace {

class DatabaseOrderTest : public testing::Test {
 protected:
  DatabaseOrderTest() : vfs_(TestSeed()), fault_(&vfs_) {
    auto executor = MakeManualExecutor(&fault_, TestSeed());
    executor_ = executor.get();
    DB_EXPECT_OK(Database::Open(&fault_, std::move(executor), "/db", SmallOptions(), &database_));
    keyspace_ = MustOpenKeyspace(database_.get(), "a");
  }

  // A value that the journal compresses is written by an engine thread.
  void WriteLater() {
    const Seqno before = database_->next_seqno();
    const Status status = database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "k", value_,
                                                   Durability::kOs, [this](const Status& s) {
                                                     DB_EXPECT_OK(s);
                                                     told_ = true;
                                                   });
    ASSERT_EQ(status.code(), Code::kWouldBlock);
    ASSERT_EQ(database_->next_seqno(), before);
  }

  // `work` runs within the next creation: its record is durable, the manifest does not have it.
  void DuringCreation(std::function<void()> work) {
    // The sync that the creation does takes this commit along, and tells so.
    const Status status = database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "async", "v",
                                                   Durability::kSync, [=](const Status& s) {
                                                     DB_EXPECT_OK(s);
                                                     work();
                                                   });
    ASSERT_EQ(status.code(), Code::kWouldBlock);
  }

  // So much that what was in journals before is in sealed ones, all of it in tables.
  void WriteMuch() {
    for (int i = 0; i < 100; ++i) {
      DB_ASSERT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, "k" + std::to_string(i),
                                       std::string(500, 'v'), Durability::kSync));
      RunAll(executor_);
    }
    DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
    RunAll(executor_);
  }

  uint32_t JournalCount() const { return database_->figures().journal_count; }

  const std::string value_ = std::string(5000, 'v');
  MemVfs vfs_;
  FaultVfs fault_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
  bool told_ = false;
};

TEST_F(DatabaseOrderTest, ACreationComesBehindWaitingCommits) {
  WriteLater();
  const Seqno before = database_->next_seqno();
  MustOpenKeyspace(database_.get(), "b");
  EXPECT_TRUE(told_);
  std::string value;
  DB_ASSERT_OK(ReadOne(*keyspace_, "k", before + 1, &value));
  EXPECT_EQ(value, value_);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseOrderTest, PersistTakesWaitingCommitsAlong) {
  WriteLater();
  DB_ASSERT_OK(database_->Persist(Durability::kSync));
  EXPECT_TRUE(told_);
  const std::unique_ptr<MemVfs> image = vfs_.CrashClone(CrashPolicy::None(), TestSeed());
  Ref<Database> after;
  DB_ASSERT_OK(OpenSmall(image.get(), TestSeed(), SmallOptions(), &after));
  std::string value;
  DB_ASSERT_OK(ReadOne(*after->FindKeyspace("a"), "k", after->visible(), &value));
  EXPECT_EQ(value, value_);
  DB_ASSERT_OK(after->Close());
  DB_ASSERT_OK(database_->Close());
}

// The record of a creation is in the journal, then a flush commits the manifest, then another
// commit is acknowledged, then the process dies before the creation is in the manifest.
TEST_F(DatabaseOrderTest, ACreationThatAKillOvertakesIsNoHole) {
  DB_ASSERT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, "k", "v", Durability::kSync));
  std::unique_ptr<MemVfs> image;
  bool inside = false;
  bool written = false;
  vfs_.SetHook([&](const MemVfs::Operation& operation) {
    if (inside || image) return;
    inside = true;
    const auto of = [&](const char* kind) {
      return operation.path.find(kind) != std::string::npos;
    };
    if (!written && operation.kind == MemVfs::Mutation::kSync && of("journal")) {
      DB_EXPECT_OK(database_->FlushKeyspace(keyspace_.get()));
      DB_EXPECT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, "l", "v", Durability::kOs));
      written = true;
    } else if (written && of("manifest")) {
      image = vfs_.CrashClone(CrashPolicy::Kill(), TestSeed());
    }
    inside = false;
  });
  MustOpenKeyspace(database_.get(), "b");
  vfs_.SetHook(nullptr);
  ASSERT_TRUE(image != nullptr);
  Ref<Database> after;
  DB_ASSERT_OK(OpenSmall(image.get(), TestSeed(), SmallOptions(), &after));
  std::string value;
  DB_EXPECT_OK(ReadOne(*after->FindKeyspace("a"), "l", after->visible(), &value));
  EXPECT_TRUE(after->FindKeyspace("b")) << "a commit before the last one is missing";
  DB_ASSERT_OK(after->Close());
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseOrderTest, ACreationKeepsItsJournalUntilTheManifestHasIt) {
  WriteMuch();
  const uint32_t idle = JournalCount();
  uint32_t during = 0;
  std::vector<std::unique_ptr<MemVfs>> images;
  DuringCreation([&] {
    WriteMuch();
    DB_ASSERT_OK(
        database_->WriteOne(keyspace_.get(), Kind::kValue, "last", "v", Durability::kSync));
    during = JournalCount();
    for (const CrashPolicy& policy : {CrashPolicy::None(), CrashPolicy::Kill()}) {
      images.push_back(vfs_.CrashClone(policy, TestSeed()));
    }
  });
  MustOpenKeyspace(database_.get(), "b");
  ASSERT_EQ(images.size(), 2u);
  for (const auto& image : images) {
    Ref<Database> after;
    DB_ASSERT_OK(OpenSmall(image.get(), TestSeed(), SmallOptions(), &after));
    Contents contents;
    DB_ASSERT_OK(ReadAll(after.get(), &contents));
    EXPECT_EQ(contents["a"].count("last"), 1u);
    EXPECT_TRUE(after->FindKeyspace("b")) << "a commit before the last one is missing";
    DB_ASSERT_OK(after->Close());
  }
  EXPECT_GT(during, idle);
  // No longer than that, although nothing was ever written to the keyspace.
  WriteMuch();
  EXPECT_LE(JournalCount(), idle);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseOrderTest, ACreationThatFailsKeepsItsJournalUntilItIsTakenBack) {
  WriteMuch();
  const uint32_t idle = JournalCount();
  DuringCreation([&] {
    WriteMuch();
    EXPECT_GT(JournalCount(), idle);
    fault_.SetPlan({{FaultOp::kWrite, PathClass::kManifest, 0, FaultKind::kEnospc, false}});
  });
  Ref<Keyspace> refused;
  EXPECT_TRUE(database_->OpenKeyspace("b", SmallTree, &refused).Is(Code::kDiskFull));
  WriteMuch();
  EXPECT_LE(JournalCount(), idle);
  MustOpenKeyspace(database_.get(), "b");
  const auto image = vfs_.CrashClone(CrashPolicy::None(), TestSeed());
  Ref<Database> after;
  DB_ASSERT_OK(OpenSmall(image.get(), TestSeed(), SmallOptions(), &after));
  EXPECT_EQ(after->KeyspaceNames(), (std::vector<std::string>{"a", "b"}));
  DB_ASSERT_OK(after->Close());
  DB_ASSERT_OK(database_->Close());
}

}  // namespace
}  // namespace shale
