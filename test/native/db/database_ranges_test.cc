// Range deletes through a database: batches, journals, snapshots.
#include <functional>

#include "db/database_support.h"
#include "db/standalone_tree.h"

namespace shale {
namespace {

std::string Bounded(const std::string& end) { return std::string(1, '\0') + end; }
std::string Unbounded() { return std::string(1, '\1'); }

class DatabaseRangesTest : public testing::Test {
 protected:
  void SetUp() override {
    vfs_ = std::make_unique<MemVfs>(TestSeed());
    DB_ASSERT_OK(OpenSmall(vfs_.get(), 1, SmallOptions(), &database_));
    DB_ASSERT_OK(database_->OpenKeyspace("a", SmallTree, &a_));
    DB_ASSERT_OK(database_->OpenKeyspace("b", SmallTree, &b_));
  }

  void Put(Keyspace* keyspace, const std::string& key, const std::string& value) {
    DB_ASSERT_OK(database_->WriteOne(keyspace, Kind::kValue, key, value, Durability::kOs));
  }
  Status Write(const WriteBatch& batch) { return database_->Write(batch.bytes(), Durability::kOs); }
  Rows RowsOf(const std::string& name) {
    Contents contents;
    DB_EXPECT_OK(ReadAll(database_.get(), &contents));
    return contents[name];
  }
  // As the death of the process leaves it.
  void Crash() {
    a_.reset();
    b_.reset();
    auto after = vfs_->CrashClone(CrashPolicy::All(), 1);
    DB_ASSERT_OK(database_->Close());
    database_.reset();
    vfs_ = std::move(after);
    DB_ASSERT_OK(OpenSmall(vfs_.get(), 2, SmallOptions(), &database_));
    a_ = database_->FindKeyspace("a");
    b_ = database_->FindKeyspace("b");
  }
  // Holds in memory, after a replay, in a table, and in the last level.
  void ExpectAtEachStage(const Rows& expected) {
    EXPECT_EQ(RowsOf("a"), expected);
    Crash();
    EXPECT_EQ(RowsOf("a"), expected) << "replayed";
    database_->RotateMemtable(a_.get());
    DB_ASSERT_OK(database_->FlushKeyspace(a_.get()));
    EXPECT_EQ(RowsOf("a"), expected) << "flushed";
    DB_ASSERT_OK(database_->MajorCompaction(a_.get(), 1 << 20, nullptr));
    EXPECT_EQ(RowsOf("a"), expected) << "compacted";
    Crash();
    EXPECT_EQ(RowsOf("a"), expected) << "opened again";
  }
  // Until the background has nothing to do.
  Status Drain() {
    Status told(Code::kStalled);
    database_->DrainCompaction([&](const Status& status) { told = status; });
    for (int i = 0; i < 1000 && told.Is(Code::kStalled); i++) {
      static_cast<void>(database_->FlushKeyspace(a_.get()));
    }
    return told;
  }
  uint64_t Tables() { return a_->tree()->Pin()->version->table_count(); }

  std::unique_ptr<MemVfs> vfs_;
  Ref<Database> database_;
  Ref<Keyspace> a_;
  Ref<Keyspace> b_;
};

TEST_F(DatabaseRangesTest, CancelWhatIsBeforeThemInTheirBatch) {
  Put(a_.get(), "k1", "old");
  Put(a_.get(), "k5", "old");
  Put(a_.get(), "m", "old");
  Put(b_.get(), "k1", "other");
  WriteBatch batch;
  batch.Add(Kind::kValue, a_->id(), "k1", "cancelled");
  batch.Add(Kind::kValue, a_->id(), "k2", "cancelled");
  batch.Add(Kind::kValue, b_->id(), "k2", "not of this keyspace");
  batch.Add(Kind::kRangeTombstone, a_->id(), "k", Bounded("l"));
  batch.Add(Kind::kValue, a_->id(), "k2", "behind");
  batch.Add(Kind::kValue, a_->id(), "k3", "cancelled later");
  batch.Add(Kind::kRangeTombstone, a_->id(), "k3", Bounded("k4"));
  batch.Add(Kind::kTombstone, a_->id(), "m", "");
  DB_ASSERT_OK(Write(batch));
  EXPECT_EQ(RowsOf("b"), (Rows{{"k1", "other"}, {"k2", "not of this keyspace"}}));
  ExpectAtEachStage({{"k2", "behind"}});
  EXPECT_EQ(RowsOf("b").size(), 2u);
}

TEST_F(DatabaseRangesTest, LongBoundsAreNotCompressed) {
  Put(a_.get(), std::string(60000, 'k') + "x", "old");
  Put(a_.get(), "z", "kept");
  WriteBatch batch;
  batch.Add(Kind::kValue, a_->id(), "y", std::string(9000, 'y'));
  batch.Add(Kind::kRangeTombstone, a_->id(), std::string(60000, 'k'),
            Bounded(std::string(65535, 'k')));
  batch.Add(Kind::kRangeTombstone, a_->id(), std::string(60000, 'k') + "x",
            Bounded(std::string(60000, 'k') + "y"));
  DB_ASSERT_OK(Write(batch));
  ExpectAtEachStage({{"y", std::string(9000, 'y')}, {"z", "kept"}});
}

TEST_F(DatabaseRangesTest, WhatIsNoRangeIsRefused) {
  const std::string values[] = {"",
                                "\2",
                                Unbounded() + "x",
                                Bounded(""),
                                Bounded("k"),
                                Bounded("j"),
                                Bounded(std::string(65536, 'z'))};
  const Seqno before = database_->next_seqno();
  for (const std::string& value : values) {
    WriteBatch batch;
    batch.Add(Kind::kRangeTombstone, a_->id(), "k", value);
    EXPECT_EQ(Write(batch).code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(database_->next_seqno(), before);
}

TEST_F(DatabaseRangesTest, ASnapshotKeepsWhatIsClearedUntilItCloses) {
  for (int i = 0; i < 200; i++) Put(a_.get(), "k" + std::to_string(i), std::string(100, 'v'));
  database_->RotateMemtable(a_.get());
  DB_ASSERT_OK(database_->FlushKeyspace(a_.get()));
  const Seqno snapshot = database_->snapshots().Open();
  WriteBatch batch;
  batch.Add(Kind::kRangeTombstone, a_->id(), std::string(1, '\0'), Unbounded());
  DB_ASSERT_OK(Write(batch));
  database_->RotateMemtable(a_.get());
  DB_ASSERT_OK(database_->FlushKeyspace(a_.get()));
  EXPECT_TRUE(RowsOf("a").empty());
  const auto count = [&] {
    Cursor cursor(a_->tree()->Pin(), snapshot, {}, Cursor::Direction::kForward);
    size_t rows = 0;
    while (cursor.Next(ReadMode::kMayBlock) == Code::kOk) rows++;
    return rows;
  };
  EXPECT_EQ(count(), 200u);
  EXPECT_GT(Tables(), 1u);
  database_->snapshots().Close(snapshot);
  DB_ASSERT_OK(Drain());
  EXPECT_EQ(Tables(), 0u);
  Crash();
  EXPECT_TRUE(RowsOf("a").empty());
  EXPECT_EQ(Tables(), 0u);
}

TEST_F(DatabaseRangesTest, FillUpAMemtable) {
  const uint64_t before = a_->tree()->memtable_bytes();
  for (int i = 0; i < 2000 && Tables() == 0; i++) {
    WriteBatch batch;
    batch.Add(Kind::kRangeTombstone, a_->id(), std::string(1, '\0'), Bounded(std::to_string(i)));
    DB_ASSERT_OK(Write(batch));
    DB_ASSERT_OK(database_->FlushKeyspace(a_.get()));
    EXPECT_LT(a_->tree()->active_bytes(), before + 9000);
  }
  // Nothing lies under them: what was flushed goes.
  DB_ASSERT_OK(Drain());
  EXPECT_GT(a_->tree()->flushed_seqno(), 1u);
  EXPECT_EQ(Tables(), 0u);
}

}  // namespace
}  // namespace shale
