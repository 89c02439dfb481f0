// The oracle of crash images, told lies.
#include <gtest/gtest.h>

#include <string>

#include "db/database_support.h"
#include "support/crash_workload.h"

namespace shale {
namespace {

// A keyspace and three commits that are on the disk.
class OracleTest : public testing::Test {
 protected:
  OracleTest() : vfs_(TestSeed()) {
    Ref<Database> database;
    DB_EXPECT_OK(OpenSmall(&vfs_, TestSeed(), Workload::MakeOptions(options_), &database));
    const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
    contents_["a"];
    history_.states.push_back(contents_);
    for (const char* key : {"k1", "k2", "k3"}) {
      DB_EXPECT_OK(database->WriteOne(keyspace.get(), Kind::kValue, key, "v", Durability::kSync));
      Note(key);
    }
    image_ = vfs_.CrashClone(CrashPolicy::None(), TestSeed());
    DB_EXPECT_OK(database->Close());
  }

  void Note(const std::string& key) {
    contents_["a"][key] = "v";
    history_.states.push_back(contents_);
  }
  std::string Check(size_t at_least) {
    return CheckImage(image_.get(), history_, at_least, TestSeed(), ImageCheck(), options_);
  }

  const WorkloadOptions options_;
  MemVfs vfs_;
  Contents contents_;
  History history_;
  std::unique_ptr<MemVfs> image_;
};

TEST_F(OracleTest, TakesWhatIsThere) { EXPECT_EQ(Check(history_.issued()), ""); }

TEST_F(OracleTest, TakesLessThanWasIssuedWhereLessWasAcknowledged) {
  Note("k4");
  EXPECT_EQ(Check(history_.issued() - 1), "");
}

TEST_F(OracleTest, MissesTheLastAcknowledgedCommit) {
  Note("k4");
  EXPECT_NE(Check(history_.issued()), "");
}

TEST_F(OracleTest, SeesWhatWasNeverWritten) {
  history_.states.pop_back();
  EXPECT_NE(Check(0), "");
}

}  // namespace
}  // namespace shale
