// Who may wait for whom: calls against a device that holds still until the test lets it go on.
//
// Nothing here depends on how long something takes: the time limits only end a test that failed.
#include "db/waiting.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "db/database_support.h"
#include "vfs/fault_plan.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

// A machine on which chosen operations hold still.
class StillVfs : public MemVfs {
 public:
  using Operation = MemVfs::Operation;
  using Chosen = std::function<bool(const Operation&)>;

  StillVfs() : MemVfs(TestSeed()) {
    SetHook([this](const Operation& operation) { Pass(operation); });
  }

  // From now on the first chosen operation, and those that follow, wait for GoOn.
  void HoldStill(Chosen chosen) {
    const std::lock_guard<std::mutex> lock(mutex_);
    chosen_ = std::move(chosen);
  }
  void GoOn() {
    HoldStill(nullptr);
    changed_.notify_all();
  }
  // An operation waits.
  bool AwaitStill() {
    return Await([this] { return waiting_ > 0; });
  }
  // Such an operation began after the call.
  bool AwaitOperation(const Chosen& wanted) {
    std::unique_lock<std::mutex> lock(mutex_);
    wanted_ = wanted;
    found_ = false;
    return changed_.wait_for(lock, kPatience, [this] { return found_; });
  }

 private:
  bool Await(const std::function<bool()>& condition) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, kPatience, condition);
  }
  void Pass(const Operation& operation) {
    std::unique_lock<std::mutex> lock(mutex_);
    found_ = found_ || (wanted_ != nullptr && wanted_(operation));
    changed_.notify_all();
    if (chosen_ == nullptr || !chosen_(operation)) return;
    waiting_++;
    changed_.notify_all();
    changed_.wait(lock, [this] { return chosen_ == nullptr; });
    waiting_--;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Chosen chosen_;
  Chosen wanted_;
  bool found_ = false;
  int waiting_ = 0;
};

StillVfs::Chosen On(PathClass path_class, MemVfs::Mutation kind) {
  return [path_class, kind](const MemVfs::Operation& operation) {
    return operation.kind == kind && ClassifyPath(operation.path) == path_class;
  };
}

// Bytes that no codec makes shorter.
std::string Noise(size_t size) {
  std::minstd_rand random(1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() >> 8);
  return bytes;
}

class WaitingTest : public testing::Test {
 protected:
  WaitingTest() {
    DB_EXPECT_OK(Database::Open(&vfs_, MakeThreadedExecutor(1), "/db", SmallOptions(), &database_));
    keyspace_ = MustOpenKeyspace(database_.get(), "a");
  }
  ~WaitingTest() override {
    vfs_.GoOn();
    if (helper_.joinable()) helper_.join();
    DB_EXPECT_OK(database_->Close());
    EXPECT_EQ(owed_.load(), 0);
  }

  // Runs `work` on another thread, to be joined at the end.
  void Beside(std::function<void()> work) { helper_ = std::thread(std::move(work)); }
  // Whether `calls` come back while the device holds still.
  bool ComeBack(const std::function<void()>& calls) {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::thread caller([&] {
      calls();
      const std::lock_guard<std::mutex> lock(mutex);
      done = true;
      changed.notify_all();
    });
    bool came = false;
    {
      std::unique_lock<std::mutex> lock(mutex);
      came = changed.wait_for(lock, kPatience, [&] { return done; });
    }
    vfs_.GoOn();
    caller.join();
    return came;
  }
  Completion Owed() {
    owed_++;
    return [this](Status status) {
      EXPECT_TRUE(status.ok() || status.Is(Code::kDbClosed)) << status.ToString();
      owed_--;
    };
  }
  // What an async call may answer; the completion is owed only if it would block.
  void Note(const Status& status) {
    if (status.Is(Code::kWouldBlock)) return;
    DB_EXPECT_OK(status);
    owed_--;
  }
  Status Put(Slice key, Durability durability = Durability::kOs) {
    return database_->WriteOne(keyspace_.get(), Kind::kValue, key, "v", durability);
  }

  StillVfs vfs_;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
  std::thread helper_;
  std::atomic<int> owed_{0};
};

TEST_F(WaitingTest, NoAsyncCallWaitsForAWriter) {
  vfs_.HoldStill(On(PathClass::kJournal, MemVfs::Mutation::kWrite));
  Beside([this] { DB_EXPECT_OK(Put("slow")); });
  ASSERT_TRUE(vfs_.AwaitStill());
  EXPECT_TRUE(ComeBack([this] {
    Note(
        database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "k", "v", Durability::kOs, Owed()));
    WriteBatch batch;
    batch.Add(Kind::kValue, keyspace_->id(), "b", "v");
    Note(database_->WriteAsync(batch.bytes(), Durability::kSync, Owed()));
    Note(database_->PersistAsync(Durability::kSync, Owed()));
    Note(database_->FlushKeyspaceAsync(keyspace_.get(), Owed()));
    database_->RunAsync(
        keyspace_.get(), [](const Tree& tree) { return tree.MajorPlan(1 << 20); }, WhenBusy::kWait,
        std::make_shared<JobControl>(), Owed());
    database_->snapshots().Close(database_->snapshots().Open());
    static_cast<void>(database_->figures());
  }));
}

TEST_F(WaitingTest, AWriterDoesNotWaitForAKeyspaceThatIsBeingCreated) {
  vfs_.HoldStill(On(PathClass::kManifest, MemVfs::Mutation::kSync));
  Ref<Keyspace> created;
  Beside([&] { created = MustOpenKeyspace(database_.get(), "b"); });
  ASSERT_TRUE(vfs_.AwaitStill());
  EXPECT_TRUE(ComeBack([this] {
    DB_EXPECT_OK(Put("k"));
    EXPECT_TRUE(database_->RotateMemtable(keyspace_.get()));
  }));
  helper_.join();
  ASSERT_TRUE(created);
  DB_EXPECT_OK(database_->WriteOne(created.get(), Kind::kValue, "k", "v", Durability::kSync));
}

TEST_F(WaitingTest, FlushPointsDoNotWaitForASync) {
  DB_ASSERT_OK(Put("k"));
  vfs_.HoldStill(On(PathClass::kJournal, MemVfs::Mutation::kSync));
  Note(database_->PersistAsync(Durability::kSync, Owed()));
  ASSERT_TRUE(vfs_.AwaitStill());
  DB_ASSERT_OK(Put("l", Durability::kBuffered));
  EXPECT_TRUE(vfs_.AwaitOperation(On(PathClass::kJournal, MemVfs::Mutation::kWrite)));
}

TEST_F(WaitingTest, ParkedWritesDoNotWaitForASync) {
  DB_ASSERT_OK(Put("k"));
  vfs_.HoldStill(On(PathClass::kJournal, MemVfs::Mutation::kSync));
  Note(database_->PersistAsync(Durability::kSync, Owed()));
  ASSERT_TRUE(vfs_.AwaitStill());
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  // Too large for the calling thread.
  const Status status =
      database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "large", std::string(300 * 1024, 'v'),
                               Durability::kOs, [&](Status told) {
                                 DB_EXPECT_OK(told);
                                 const std::lock_guard<std::mutex> lock(mutex);
                                 done = true;
                                 changed.notify_all();
                               });
  ASSERT_TRUE(status.Is(Code::kWouldBlock));
  std::unique_lock<std::mutex> lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, kPatience, [&] { return done; }));
  vfs_.GoOn();
  changed.wait(lock, [&] { return done; });
}

TEST_F(WaitingTest, TheLastReaderDoesNotRemoveFilesItself) {
  DB_ASSERT_OK(Put("k"));
  DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
  Ref<SuperVersion> pin = keyspace_->tree()->Pin();
  ASSERT_EQ(pin->version->table_count(), 1u);
  std::string path;
  for (int level = 0; level < kLevelCount; ++level) {
    for (const auto& run : pin->version->level(level)) {
      path = FileName("/db", FileKind::kTable, run.tables[0]->meta().number);
    }
  }
  DB_ASSERT_OK(Put("l"));
  DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get()));
  DB_ASSERT_OK(database_->MajorCompaction(keyspace_.get(), 1 << 20, nullptr));
  while (!EpochCollect()) std::this_thread::yield();
  FileInfo info;
  DB_EXPECT_OK(vfs_.Stat(path, &info));
  vfs_.HoldStill(On(PathClass::kTable, MemVfs::Mutation::kRemove));
  EXPECT_TRUE(ComeBack([&] { pin.reset(); }));
  DB_ASSERT_OK(database_->Close());
  EXPECT_FALSE(vfs_.Stat(path, &info).ok());
}

// After the cut of a failed append the journal is synced before the next record: not by the caller
// of an async form.
TEST_F(WaitingTest, NoAsyncCallSyncsAfterAFailedAppend) {
  const std::string large = Noise(size_t{2} << 20);  // more than the journal has reserved
  DB_ASSERT_OK(Put("a", Durability::kBuffered));     // there is a flush point soon
  DB_ASSERT_OK(Put("b"));
  vfs_.SetCapacity(0);
  const Status refused =
      database_->WriteOne(keyspace_.get(), Kind::kValue, "large", large, Durability::kOs);
  EXPECT_TRUE(refused.Is(Code::kDiskFull)) << refused.ToString();
  vfs_.SetCapacity(UINT64_MAX);
  // The flush point finds nothing to write, which succeeds.
  for (int i = 0; i < 50 && database_->status() != DatabaseStatus::kOpen; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  vfs_.HoldStill(On(PathClass::kJournal, MemVfs::Mutation::kSync));
  EXPECT_TRUE(ComeBack([this] {
    Note(
        database_->WriteOneAsync(keyspace_.get(), Kind::kValue, "k", "v", Durability::kOs, Owed()));
  }));
}

}  // namespace
}  // namespace shale
