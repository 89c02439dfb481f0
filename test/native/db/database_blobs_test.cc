// Separated values through a database: garbage goes in the background, orphans at the next open.
#include <algorithm>
#include <random>

#include "db/database_support.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

class DatabaseBlobsTest : public testing::Test {
 protected:
  DatabaseBlobsTest() : vfs_(TestSeed()) {}

  void Open() {
    auto executor = MakeManualExecutor(&vfs_, TestSeed());
    executor_ = executor.get();
    DB_ASSERT_OK(Database::Open(&vfs_, std::move(executor), "/db", SmallOptions(), &database_));
  }
  void OpenKeyspace() {
    DB_ASSERT_OK(database_->OpenKeyspace(
        "a",
        [](bool exists, TreeOptions* options) {
          if (exists) return Status::Ok();
          *options = SmallTreeOptions();
          options->max_memtable_size = 1 << 20;
          options->kv_separation.emplace();
          options->kv_separation->file_size = 8192;
          return Status::Ok();
        },
        &keyspace_));
  }
  void Put(int i) {
    std::string value(1500, '\0');
    for (char& byte : value) byte = static_cast<char>(random_());
    const std::string key = "key" + std::to_string(100 + i);
    DB_ASSERT_OK(database_->WriteOne(keyspace_.get(), Kind::kValue, key, value, Durability::kOs));
    rows_[key] = value;
  }
  void Flush() { DB_ASSERT_OK(database_->FlushKeyspace(keyspace_.get())); }
  void Check() {
    Contents contents;
    DB_ASSERT_OK(ReadAll(database_.get(), &contents));
    const Contents expected = {{"a", rows_}};
    EXPECT_TRUE(contents == expected) << Difference(expected, contents);
  }
  size_t BlobFiles() {
    std::vector<std::string> names;
    DB_EXPECT_OK(vfs_.List("/db", &names));
    return static_cast<size_t>(std::count_if(names.begin(), names.end(), [](const auto& name) {
      return ParseFileName(name).kind == FileKind::kBlob;
    }));
  }

  MemVfs vfs_;
  Executor* executor_ = nullptr;
  Ref<Database> database_;
  Ref<Keyspace> keyspace_;
  Rows rows_;
  std::mt19937_64 random_{TestSeed()};
};

TEST_F(DatabaseBlobsTest, GarbageGoesInTheBackground) {
  Open();
  OpenKeyspace();
  for (int i = 0; i < 40; ++i) Put(i);
  Flush();
  for (int i = 0; i < 40; i += 2) Put(i);
  Flush();
  DB_ASSERT_OK(database_->MajorCompaction(keyspace_.get(), 1 << 20, nullptr));
  const uint64_t most = 20 * uint64_t{1500 + 6 + 24};
  Status drained = Code::kWouldBlock;
  database_->DrainCompaction([&](Status status) { drained = std::move(status); });
  for (int i = 0; i < 1000 && drained.Is(Code::kWouldBlock); ++i) {
    if (!executor_->RunOne()) break;
  }
  DB_EXPECT_OK(drained);
  const Tree* tree = keyspace_->tree();
  EXPECT_LT(tree->stale_blob_bytes(), most / 4);
  for (const BlobFileUse& use : tree->Pin()->version->blob_files()) {
    EXPECT_LT(use.StaleShare(), 0.25);
  }
  EXPECT_GE(database_->figures().disk_bytes, tree->blob_bytes() + tree->table_bytes());
  Check();
  DB_ASSERT_OK(database_->Close());
  keyspace_ = Ref<Keyspace>();
  Open();
  OpenKeyspace();
  Check();
  EXPECT_EQ(BlobFiles(), keyspace_->tree()->Pin()->version->blob_files().size());
  DB_ASSERT_OK(database_->Close());
}

// A job that was killed leaves files that the manifest does not name.
TEST_F(DatabaseBlobsTest, OrphansGoWithTheNextOpen) {
  Open();
  OpenKeyspace();
  for (int i = 0; i < 10; ++i) Put(i);
  Flush();
  const size_t before = BlobFiles();
  DB_ASSERT_OK(database_->Close());
  keyspace_ = Ref<Keyspace>();
  {
    std::unique_ptr<File> file;
    DB_ASSERT_OK(vfs_.Open(FileName("/db", FileKind::kBlob, 999), OpenMode::kCreateNew, &file));
    DB_ASSERT_OK(file->Write(0, "cut off"));
  }
  EXPECT_EQ(BlobFiles(), before + 1);
  Open();
  OpenKeyspace();
  EXPECT_EQ(BlobFiles(), before);
  Check();
  DB_ASSERT_OK(database_->Close());
}

}  // namespace
}  // namespace shale
