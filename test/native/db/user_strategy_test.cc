// Strategies of the application in a database: when they are asked, what their answers and failures
// do, and who may end the wait for one.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "db/database_support.h"

namespace shale {
namespace {

class TestStrategy final : public UserStrategy {
 public:
  using Answer = std::function<Status(const SuperVersion& tree, const StrategyContext& context,
                                      const std::function<Status()>& may_wait,
                                      std::optional<CompactionPlan>* plan)>;
  TestStrategy(std::string name, Answer answer)
      : UserStrategy(std::move(name)), answer_(std::move(answer)) {}

  Status Choose(const Ref<SuperVersion>& tree, const StrategyContext& context,
                const std::function<Status()>& may_wait,
                std::optional<CompactionPlan>* plan) override {
    asked++;
    return answer_(*tree, context, may_wait, plan);
  }

  std::atomic<int> asked{0};

 private:
  const Answer answer_;
};

// Merges level 0 once it has two runs.
Status MergePairs(const SuperVersion& tree, const StrategyContext&, const std::function<Status()>&,
                  std::optional<CompactionPlan>* plan) {
  if (tree.version->level(0).size() < 2) return Status::Ok();
  plan->emplace();
  for (const int level : {0, 1}) {
    for (const Run& run : tree.version->level(level)) {
      for (const auto& table : run.tables) (*plan)->tables.push_back(table->meta().number);
    }
  }
  (*plan)->destination_level = 1;
  (*plan)->target_size = 1 << 20;
  return Status::Ok();
}

// Counts the failures that are told.
class Listening {
 public:
  explicit Listening(Database* database) : hub_(database->events()) { hub_->Add(queue_); }
  ~Listening() { hub_->Remove(queue_.get()); }
  size_t errors(Event::During during) {
    for (const SharedEvent& event : queue_->Take()) {
      if (event->type == Event::Type::kError && event->during == during) ++errors_;
    }
    return errors_;
  }

 private:
  const std::shared_ptr<EventHub> hub_;
  const std::shared_ptr<EventQueue> queue_ = std::make_shared<EventQueue>([] {});
  size_t errors_ = 0;
};

class UserStrategies : public testing::Test {
 protected:
  UserStrategies() : vfs_(TestSeed()) {}

  void Open() {
    auto executor = MakeManualExecutor(&vfs_, TestSeed());
    executor_ = executor.get();
    DB_ASSERT_OK(Database::Open(&vfs_, std::move(executor), "/db", SmallOptions(), &database_));
  }
  void OpenKeyspace(std::shared_ptr<UserStrategy> strategy = nullptr) {
    const auto user = [](bool exists, TreeOptions* tree) {
      if (exists) return Status::Ok();
      *tree = SmallTreeOptions();
      tree->strategy.kind = StrategyKind::kUser;
      tree->strategy.name = "mine";
      return Status::Ok();
    };
    DB_ASSERT_OK(database_->OpenKeyspace("a", user, &keyspace_, std::move(strategy)));
  }
  void FlushTables(int tables) {
    for (int i = 0; i < tables; i++) {
      DB_ASSERT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, "k", "v", Durability::kOs));
      DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
    }
  }
  void Pass(uint64_t ms) { RunFor(ms, executor_, &vfs_); }
  size_t Level0Runs() const { return keyspace_->tree()->level0_runs(); }

  MemVfs vfs_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
};

TEST_F(UserStrategies, IsAskedUntilItWantsNothing) {
  Open();
  const auto strategy = std::make_shared<TestStrategy>("mine", MergePairs);
  OpenKeyspace(strategy);
  FlushTables(3);
  RunAll(executor_);
  EXPECT_LE(Level0Runs(), 1u);
  EXPECT_EQ(keyspace_->tree()->Pin()->version->level(1).size(), 1u);
  const int asked = strategy->asked;
  Pass(10'000);
  EXPECT_EQ(strategy->asked, asked);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(UserStrategies, IsLackedUntilItIsGivenAgainAndWhenItIsGone) {
  Open();
  OpenKeyspace(std::make_shared<TestStrategy>("mine", MergePairs));
  DB_ASSERT_OK(database_->Close());
  Open();
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  EXPECT_TRUE(database_->failure().Is(Code::kNotSupported));
  EXPECT_EQ(database_->failure().details()->keyspace, "a");
  OpenKeyspace(std::make_shared<TestStrategy>("another", MergePairs));
  FlushTables(4);
  Pass(1000);
  EXPECT_EQ(Level0Runs(), 4u);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);

  const auto first = std::make_shared<TestStrategy>("mine", MergePairs);
  const auto second = std::make_shared<TestStrategy>("mine", MergePairs);
  OpenKeyspace(first);
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  RunAll(executor_);
  EXPECT_EQ(Level0Runs(), 0u);
  EXPECT_GT(first->asked, 0);
  OpenKeyspace(second);
  RunAll(executor_);
  EXPECT_GT(second->asked, 0);
  // Those that were given before take the place of one that is gone.
  for (const auto& [gone, status] :
       {std::pair(second, DatabaseStatus::kOpen), std::pair(first, DatabaseStatus::kDegraded)}) {
    gone->Drop();
    database_->CheckStrategy(*keyspace_);
    EXPECT_EQ(database_->status(), status);
  }
  DB_ASSERT_OK(database_->Close());
}

TEST_F(UserStrategies, AFailureIsToldAndTriedAgainWithGrowingPauses) {
  Open();
  Listening listening(database_.get());
  Status failure = ApplicationFailure("not today");
  const auto strategy = std::make_shared<TestStrategy>(
      "mine", [&](const SuperVersion& tree, const StrategyContext& context,
                  const std::function<Status()>& may_wait, std::optional<CompactionPlan>* plan) {
        return failure.ok() ? MergePairs(tree, context, may_wait, plan) : failure;
      });
  OpenKeyspace(strategy);
  FlushTables(3);
  Pass(1000);
  const int soon = strategy->asked;
  EXPECT_GE(soon, 4);
  Pass(1000);
  EXPECT_LE(strategy->asked - soon, 2);
  EXPECT_EQ(listening.errors(Event::During::kStrategy), static_cast<size_t>(strategy->asked));
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  failure = Status::Ok();
  Pass(10'000);
  EXPECT_EQ(Level0Runs(), 0u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(UserStrategies, APlanWithTablesThatAreGoneIsAFailure) {
  Open();
  Listening listening(database_.get());
  OpenKeyspace(std::make_shared<TestStrategy>(
      "mine", [](const SuperVersion&, const StrategyContext&, const std::function<Status()>&,
                 std::optional<CompactionPlan>* plan) {
        plan->emplace().type = CompactionPlan::Type::kDrop;
        (*plan)->tables = {12345};
        return Status::Ok();
      }));
  FlushTables(1);
  RunAll(executor_);
  EXPECT_GE(listening.errors(Event::During::kStrategy), 1u);
  EXPECT_EQ(Level0Runs(), 1u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(UserStrategies, PauseAndCloseEndTheWaitForAnAnswer) {
  for (const bool closes : {false, true}) {
    DB_ASSERT_OK(Database::Open(&vfs_, MakeThreadedExecutor(2), closes ? "/closed" : "/paused",
                                SmallOptions(), &database_));
    std::atomic<bool> answers{false};
    const auto strategy = std::make_shared<TestStrategy>(
        "mine", [&](const SuperVersion& tree, const StrategyContext& context,
                    const std::function<Status()>& may_wait, std::optional<CompactionPlan>* plan) {
          while (!answers) {
            SHALE_RETURN_IF_ERROR(may_wait());
            std::this_thread::yield();
          }
          return MergePairs(tree, context, may_wait, plan);
        });
    OpenKeyspace(strategy);
    FlushTables(2);
    while (strategy->asked == 0) std::this_thread::yield();
    if (!closes) {
      std::atomic<bool> paused{false};
      database_->PauseCompaction([&](Status status) {
        DB_EXPECT_OK(status);
        paused = true;
      });
      while (!paused) std::this_thread::yield();
      answers = true;
      database_->ResumeCompaction();
      while (Level0Runs() != 0) std::this_thread::yield();
    }
    DB_ASSERT_OK(database_->Close());
    keyspace_.reset();
    database_.reset();
  }
}

}  // namespace
}  // namespace shale
