// Background compaction: pause means pause, and flushes go on.
#include "db/maintenance.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "db/database_support.h"

namespace shale {
namespace {

// A machine that tells when a compaction looks at the clock, which it does before it chooses.
class ClockVfs : public MemVfs {
 public:
  ClockVfs() : MemVfs(TestSeed()) {}
  uint64_t WallMillis() override {
    if (on_wall) on_wall();
    return MemVfs::WallMillis();
  }
  std::function<void()> on_wall;
};

// A database whose background runs when the test says so, in the order of the seed.
class Machine {
 public:
  explicit Machine(uint64_t seed) {
    auto made = MakeManualExecutor(&vfs, seed);
    executor = made.get();
    DB_EXPECT_OK(Database::Open(&vfs, std::move(made), "/db", SmallOptions(), &database));
    keyspace = MustOpenKeyspace(database.get(), "a");
  }
  ~Machine() { DB_EXPECT_OK(database->Close()); }

  // So many runs in level 0, while compactions are paused.
  void FillLevel0(size_t runs) {
    database->PauseCompaction([](Status) {});
    for (size_t i = 0; i < runs; ++i) {
      DB_ASSERT_OK(database->WriteOne(keyspace.get(), Kind::kValue, "k" + std::to_string(i), "v",
                                      Durability::kOs));
      DB_ASSERT_OK(database->FlushKeyspace(keyspace.get()));
    }
    RunAll(executor);
    ASSERT_EQ(keyspace->tree()->level0_runs(), runs);
  }
  uint64_t completed() const { return database->figures().compactions_completed; }

  ClockVfs vfs;
  Executor* executor = nullptr;
  Ref<Database> database;
  Ref<Keyspace> keyspace;
};

TEST(MaintenanceTest, PauseWaitsForAJobThatIsJustStarting) {
  Machine m(TestSeed());
  m.FillLevel0(5);
  bool asked = false;
  bool told = false;
  uint64_t completed_when_told = 0;
  m.vfs.on_wall = [&] {
    if (std::exchange(asked, true)) return;
    m.database->PauseCompaction([&](Status status) {
      DB_EXPECT_OK(status);
      told = true;
      completed_when_told = m.completed();
    });
  };
  m.database->ResumeCompaction();
  RunAll(m.executor);
  m.vfs.on_wall = nullptr;
  EXPECT_TRUE(asked);
  EXPECT_TRUE(told);
  EXPECT_EQ(m.completed(), completed_when_told);
  EXPECT_EQ(m.database->compactor_state(), Database::CompactorState::kPaused);
}

// A flush that waits until a compaction makes room in level 0 must not wait for a paused one.
TEST(MaintenanceTest, FlushesGoOnWhileCompactionsArePaused) {
  for (uint64_t seed = 0; seed < 16; ++seed) {
    Machine m(TestSeed() + seed);
    m.FillLevel0(kLevel0RunsMax);
    m.database->ResumeCompaction();
    DB_ASSERT_OK(m.database->WriteOne(m.keyspace.get(), Kind::kValue, "k", "v", Durability::kOs));
    ASSERT_TRUE(m.database->RotateMemtable(m.keyspace.get()));
    ASSERT_TRUE(m.executor->RunOne());  // the flush or the compaction, as the seed has it
    m.database->PauseCompaction([](Status) {});
    RunAll(m.executor);
    EXPECT_EQ(m.keyspace->tree()->sealed_count(), 0u) << "seed " << TestSeed() + seed;
  }
}

}  // namespace
}  // namespace shale
