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

}  // namespace
}  // namespace shale
