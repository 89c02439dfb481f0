#include "db/standalone_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "db/database_support.h"
#include "support/temp_dir.h"

namespace shale {
namespace {

class StandaloneTreeTest : public testing::Test {
 protected:
  StandaloneTreeTest() : vfs_(TestSeed()) {}

  Status Open(bool background = false) {
    StandaloneOptions options;
    options.tree = SmallTreeOptions();
    options.background = background;
    std::unique_ptr<Executor> executor = MakeManualExecutor(&vfs_, TestSeed());
    executor_ = executor.get();
    return StandaloneTree::Open(
        &vfs_, std::move(executor), "/tree", options,
        [](bool, TreeOptions*) { return Status::Ok(); }, &tree_);
  }
  Status Add(Slice key, Slice value, Seqno seqno, Kind kind = Kind::kValue) {
    return tree_->Add(kind, key, value, seqno, &item_size_, &memtable_size_);
  }
  std::string Get(Slice key, Seqno seqno) {
    const Ref<SuperVersion> pin = tree_->tree()->Pin();
    TreeHit hit;
    const Status status = tree_->tree()->Get(pin.get(), key, seqno, ReadMode::kMayBlock, &hit);
    return status.ok() ? hit.value.ToString() : CodeName(status.code());
  }

  MemVfs vfs_;
  Ref<StandaloneTree> tree_;
  Executor* executor_ = nullptr;
  uint64_t item_size_ = 0;
  uint64_t memtable_size_ = 0;
};

TEST_F(StandaloneTreeTest, WhatIsFlushedIsFoundAgainAndTheRestIsNot) {
  DB_ASSERT_OK(Open());
  DB_ASSERT_OK(Add("a", "1", 5));
  EXPECT_GT(item_size_, 0u);
  EXPECT_GE(memtable_size_, item_size_);
  DB_ASSERT_OK(Add("a", "2", 9));
  EXPECT_EQ(Get("a", 6), "1");
  EXPECT_EQ(Get("a", 10), "2");
  EXPECT_EQ(Get("a", 5), "NOT_FOUND");
  EXPECT_EQ(tree_->highest_persisted_seqno(), 0u);
  DB_ASSERT_OK(tree_->Flush());
  EXPECT_EQ(tree_->highest_persisted_seqno(), 9u);
  DB_ASSERT_OK(Add("b", "3", 10));
  DB_ASSERT_OK(tree_->Close());
  EXPECT_TRUE(Add("c", "4", 11).Is(Code::kDbClosed));
  DB_ASSERT_OK(Open());
  EXPECT_EQ(Get("a", 6), "1");
  EXPECT_EQ(Get("a", 10), "2");
  EXPECT_EQ(Get("b", 20), "NOT_FOUND");
  EXPECT_EQ(tree_->highest_persisted_seqno(), 9u);
  DB_ASSERT_OK(tree_->Close());
}

TEST_F(StandaloneTreeTest, BadArgumentsChangeNothing) {
  DB_ASSERT_OK(Open());
  DB_ASSERT_OK(Add("a", "1", 5));
  EXPECT_TRUE(tree_->RotateMemtable());
  EXPECT_FALSE(tree_->RotateMemtable());
  EXPECT_TRUE(Add("a", "x", 4).Is(Code::kInvalidArgument));
  DB_EXPECT_OK(Add("b", "1", 5));
  EXPECT_TRUE(Add("a", "x", kSeqnoMax).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Add("a", "x", kSeqnoMax + 1).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Add("", "x", 6).Is(Code::kInvalidKey));
  EXPECT_TRUE(Add(std::string(65536, 'k'), "x", 6).Is(Code::kKeyTooLarge));
  EXPECT_TRUE(Add("a", "x", 6, Kind::kTombstone).Is(Code::kInvalidValue));
  EXPECT_TRUE(Add("a", "x", 6, Kind::kRangeTombstone).Is(Code::kInvalidArgument));
  EXPECT_EQ(Get("a", kReadAll), "1");
  DB_ASSERT_OK(tree_->SetGcSeqno(3));
  EXPECT_TRUE(tree_->SetGcSeqno(2).Is(Code::kInvalidArgument));
  DB_ASSERT_OK(tree_->Close());
}

TEST_F(StandaloneTreeTest, VersionsAreKeptFromTheGcSeqnoOn) {
  DB_ASSERT_OK(Open());
  for (Seqno seqno = 1; seqno <= 20; ++seqno) DB_ASSERT_OK(Add("k", std::to_string(seqno), seqno));
  DB_ASSERT_OK(tree_->Flush());
  DB_ASSERT_OK(tree_->MajorCompaction(1 << 20, nullptr));
  for (Seqno seqno = 2; seqno <= 21; ++seqno) EXPECT_EQ(Get("k", seqno), std::to_string(seqno - 1));
  DB_ASSERT_OK(tree_->SetGcSeqno(15));
  EXPECT_EQ(tree_->gc_seqno(), 15u);
  DB_ASSERT_OK(tree_->MajorCompaction(1 << 20, nullptr));
  for (Seqno seqno = 15; seqno <= 21; ++seqno) {
    EXPECT_EQ(Get("k", seqno), std::to_string(seqno - 1));
  }
  EXPECT_EQ(Get("k", 5), "NOT_FOUND");
  DB_ASSERT_OK(tree_->Close());
  // What was dropped for it is gone, so it must not come back lower.
  DB_ASSERT_OK(Open());
  EXPECT_EQ(tree_->gc_seqno(), 15u);
  DB_ASSERT_OK(tree_->Close());
}

TEST_F(StandaloneTreeTest, InTheBackgroundItKeepsItselfSmall) {
  DB_ASSERT_OK(Open(true));
  for (Seqno seqno = 1; seqno <= 3000; ++seqno) {
    DB_ASSERT_OK(Add("key" + std::to_string(seqno * 7919 % 1000), std::string(40, 'v'), seqno));
  }
  bool drained = false;
  tree_->DrainCompaction([&](Status status) {
    DB_EXPECT_OK(status);
    drained = true;
  });
  DB_ASSERT_OK(tree_->Flush());
  std::string told;
  tree_->FlushAsync([&](Status status) { told = status.ToString(); });
  RunAll(executor_);
  EXPECT_EQ(told, "OK");
  EXPECT_TRUE(drained);
  DB_ASSERT_OK(tree_->MajorCompaction(1 << 20, nullptr));
  EXPECT_EQ(tree_->tree()->level0_runs(), 0u);
  DB_ASSERT_OK(tree_->Close());
}

TEST_F(StandaloneTreeTest, ADatabaseIsNoBareTree) {
  Ref<Database> database;
  DB_ASSERT_OK(OpenSmall(&vfs_, 1, SmallOptions(), &database, "/tree"));
  DB_ASSERT_OK(database->Close());
  EXPECT_TRUE(Open().Is(Code::kNotADatabase));
  DB_ASSERT_OK(vfs_.MakeDir("/other"));
  StandaloneOptions options;
  DB_ASSERT_OK(StandaloneTree::Open(
      &vfs_, MakeManualExecutor(&vfs_, 1), "/other/t", options,
      [](bool, TreeOptions*) { return Status::Ok(); }, &tree_));
  EXPECT_TRUE(OpenSmall(&vfs_, 1, SmallOptions(), &database, "/other/t").Is(Code::kDbLocked));
  DB_ASSERT_OK(tree_->Close());
  EXPECT_TRUE(OpenSmall(&vfs_, 1, SmallOptions(), &database, "/other/t").Is(Code::kNotADatabase));
}

}  // namespace
}  // namespace shale
