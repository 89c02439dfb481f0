// Backpressure in a database: who is slowed down, who is not, and in which order writes go on.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "db/database_support.h"
#include "db/write_control.h"

namespace shale {
namespace {

class PressureTest : public testing::Test {
 protected:
  PressureTest() : vfs_(TestSeed()) {
    auto executor = MakeManualExecutor(&vfs_, TestSeed());
    executor_ = executor.get();
    DatabaseOptions options = SmallOptions();
    options.max_stall_ms = 200;
    DB_EXPECT_OK(Database::Open(&vfs_, std::move(executor), "/db", options, &database_));
  }
  ~PressureTest() override {
    if (database_) DB_EXPECT_OK(database_->Close());
  }

  Ref<Keyspace> OpenWith(const std::string& name,
                         const std::function<void(StrategyOptions*)>& change) {
    const auto merge = [&](bool, TreeOptions* options) {
      *options = SmallTreeOptions();
      change(&options->strategy);
      return Status::Ok();
    };
    Ref<Keyspace> keyspace;
    DB_EXPECT_OK(database_->OpenKeyspace(name, merge, &keyspace));
    return keyspace;
  }
  Status Put(Keyspace* keyspace, const std::string& key, const std::string& value) {
    return database_->WriteOne(keyspace, Kind::kValue, key, value, Durability::kOs);
  }
  // Each flush makes one run, and no two of them may lie in one. The outcome of the first write
  // that was refused.
  Status WriteRuns(Keyspace* keyspace, size_t runs) {
    for (size_t i = 0; i < runs; ++i) {
      SHALE_RETURN_IF_ERROR(Put(keyspace, "k", std::to_string(i)));
      SHALE_RETURN_IF_ERROR(database_->FlushKeyspace(keyspace));
    }
    RunAll(executor_);
    return Status::Ok();
  }

  MemVfs vfs_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
};

TEST_F(PressureTest, RunsThatTheStrategyLetsStandSlowNobody) {
  const Ref<Keyspace> patient =
      OpenWith("patient", [](StrategyOptions* strategy) { strategy->l0_threshold = 20; });
  DB_ASSERT_OK(WriteRuns(patient.get(), 19));
  // The first run may have gone to the last level, where nothing was.
  EXPECT_GE(patient->tree()->level0_runs(), 18u);
  static_assert(kLevel0RunsMax < 18);
  EXPECT_EQ(database_->figures().stalls, 0u);
  DB_ASSERT_OK(WriteRuns(patient.get(), 5));
  EXPECT_LT(patient->tree()->level0_runs(), 20u) << "the strategy had its turn";
}

TEST_F(PressureTest, AStrategyThatIsNotKnownHereStopsNobody) {
  const Ref<Keyspace> keyspace = OpenWith("fifo", [](StrategyOptions* strategy) {
    strategy->kind = StrategyKind::kFifo;
    strategy->name = "fifo";
  });
  DB_ASSERT_OK(WriteRuns(keyspace.get(), 30));
  EXPECT_EQ(keyspace->tree()->level0_runs(), 30u);
  EXPECT_EQ(database_->figures().stalls, 0u);
}

// Each run a tier below the one before it, however many there are.
TEST_F(PressureTest, RunsThatTheStrategyWasAskedAboutSlowNobody) {
  const Ref<Keyspace> keyspace = OpenWith("tiers", [](StrategyOptions* strategy) {
    strategy->kind = StrategyKind::kSizeTiered;
    strategy->name = "size-tiered";
    strategy->base_size = 1024;
    strategy->ratio = 1.1;
    strategy->min_runs = 2;
  });
  constexpr size_t kRuns = 24;
  size_t size = size_t{1} << 17;
  for (size_t i = 0; i < kRuns; ++i, size = size * 5 / 6) {
    DB_ASSERT_OK(Put(keyspace.get(), "k", std::string(size, 'v')));
    DB_ASSERT_OK(database_->FlushKeyspace(keyspace.get()));
    RunAll(executor_);
  }
  EXPECT_EQ(keyspace->tree()->level0_runs(), kRuns);
  DB_EXPECT_OK(Put(keyspace.get(), "k", "the last one"));
  EXPECT_EQ(database_->figures().stalls, 0u);
}

// None of the memtables reaches its own limit, and a stopped writer seals nothing: what was sealed
// before has to be enough.
TEST_F(PressureTest, ABatchOverManyKeyspacesStopsWritersForAWhileOnly) {
  DB_ASSERT_OK(database_->Close());
  DatabaseOptions options = SmallOptions();
  options.max_write_buffer_size = 1 << 20;
  auto executor = MakeManualExecutor(&vfs_, TestSeed());
  executor_ = executor.get();
  DB_ASSERT_OK(Database::Open(&vfs_, std::move(executor), "/db", options, &database_));
  const auto keep_limit = [](bool, TreeOptions*) { return Status::Ok(); };
  WriteBatch batch;
  std::vector<Ref<Keyspace>> keyspaces(6);
  for (size_t i = 0; i < keyspaces.size(); ++i) {
    const std::string name = "k" + std::to_string(i);
    DB_ASSERT_OK(database_->OpenKeyspace(name, keep_limit, &keyspaces[i]));
    batch.Add(Kind::kValue, keyspaces[i]->id(), "key", std::string(300 * 1024, 'v'));
  }
  DB_ASSERT_OK(database_->Write(batch.bytes(), Durability::kOs));
  RunAll(executor_);
  DB_EXPECT_OK(Put(keyspaces[0].get(), "x", "y"));
  EXPECT_LT(database_->figures().write_buffer_bytes, options.max_write_buffer_size * 6 / 10 + 1024);
}

}  // namespace
}  // namespace shale
