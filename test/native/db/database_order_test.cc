// Async commits that wait in the queue keep their place before what is called after them.
#include <gtest/gtest.h>

#include "db/database_support.h"

namespace shale {
namespace {

class DatabaseOrderTest : public testing::Test {
 protected:
  DatabaseOrderTest() : vfs_(TestSeed()) {
    DB_EXPECT_OK(OpenSmall(&vfs_, TestSeed(), SmallOptions(), &database_));
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

  const std::string value_ = std::string(5000, 'v');
  MemVfs vfs_;
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

}  // namespace
}  // namespace shale
