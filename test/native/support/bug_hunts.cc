#include "support/bug_hunts.h"

#include "db/database_support.h"
#include "db/directory_lock.h"

namespace shale {
namespace {

std::string Key(int i) {
  std::string key = std::to_string(i);
  return std::string(4 - key.size(), '0') + key;
}

void WriteRows(Database* database, Keyspace* keyspace, int count, const std::string& value) {
  for (int i = 0; i < count; ++i) {
    DB_EXPECT_OK(database->WriteOne(keyspace, Kind::kValue, Key(i), value, Durability::kOs));
  }
}

// A snapshot between two rounds of writes, which are then flushed and compacted.
std::string FindChangedSnapshot(uint64_t seed) {
  constexpr int kRows = 100;
  MemVfs vfs(seed);
  Ref<Database> database;
  DB_EXPECT_OK(OpenSmall(&vfs, seed, SmallOptions(), &database));
  if (!database) return "does not open";
  const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  WriteRows(database.get(), keyspace.get(), kRows, "old");
  const Seqno snapshot = database->snapshots().Open();
  WriteRows(database.get(), keyspace.get(), kRows, "new");
  DB_EXPECT_OK(database->FlushKeyspace(keyspace.get()));
  DB_EXPECT_OK(database->MajorCompaction(keyspace.get(), 1 << 20, nullptr));
  std::string found;
  for (int i = 0; i < kRows && found.empty(); ++i) {
    std::string value;
    const Status status = ReadOne(*keyspace, Key(i), snapshot, &value);
    if (!status.ok() || value != "old") found = "the snapshot changed at " + Key(i);
  }
  database->snapshots().Close(snapshot);
  DB_EXPECT_OK(database->Close());
  return found;
}

// A scan of tables that a compaction replaces meanwhile, with one descriptor for all of them.
std::string FindBrokenScan(uint64_t seed) {
  constexpr int kRows = 600;
  MemVfs vfs(seed);
  Ref<Database> database;
  DatabaseOptions options = SmallOptions();
  options.max_open_files = 1;
  options.cache_size = 4096;
  std::unique_ptr<Executor> made = MakeManualExecutor(&vfs, seed);
  Executor* const executor = made.get();
  DB_EXPECT_OK(Database::Open(&vfs, std::move(made), "/db", options, &database));
  if (!database) return "does not open";
  const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  WriteRows(database.get(), keyspace.get(), kRows, std::string(50, 'v'));
  DB_EXPECT_OK(database->FlushKeyspace(keyspace.get()));
  std::string found;
  {
    Cursor cursor(keyspace->tree()->Pin(), database->visible(), Bounds(),
                  Cursor::Direction::kForward);
    int rows = cursor.Next(ReadMode::kMayBlock) == Code::kOk ? 1 : 0;
    DB_EXPECT_OK(database->WriteOne(keyspace.get(), Kind::kValue, "x", "y", Durability::kOs));
    DB_EXPECT_OK(database->FlushKeyspace(keyspace.get()));
    DB_EXPECT_OK(database->MajorCompaction(keyspace.get(), 1 << 20, nullptr));
    RunAll(executor);   // removals, too
    std::string value;  // from a new table, which takes the descriptor
    DB_EXPECT_OK(ReadOne(*keyspace, Key(kRows / 2), database->visible(), &value));
    Code code = Code::kOk;
    while ((code = cursor.Next(ReadMode::kMayBlock)) == Code::kOk) rows++;
    if (code != Code::kNotFound) {
      found = "the scan ended with " + cursor.status().ToString();
    } else if (rows != kRows) {
      found = "the scan saw " + std::to_string(rows) + " rows";
    }
  }
  DB_EXPECT_OK(database->Close());
  return found;
}

std::string Search(std::string (*find)(uint64_t seed), uint64_t tries) {
  for (uint64_t i = 0; i < tries; ++i) {
    const uint64_t seed = TestSeed() * 100 + i;
    const std::string found = find(seed);
    if (!found.empty()) return "seed " + std::to_string(seed) + ": " + found;
  }
  return "";
}

}  // namespace

std::string HuntWithSnapshots(uint64_t tries) { return Search(FindChangedSnapshot, tries); }
std::string HuntWithCursors(uint64_t tries) { return Search(FindBrokenScan, tries); }

std::string HuntWithPrefixes(uint64_t) {
  const std::string prefixes[] = {"a", "ab", std::string("a\xff", 2), std::string("\xff\xff", 2)};
  for (const std::string& prefix : prefixes) {
    const std::optional<std::string> end = PrefixEnd(prefix);
    if (!end.has_value()) continue;
    for (const char* rest : {"", "\xff", "\xff\xff\x01"}) {
      const std::string key = prefix + rest;
      if (!(Slice(key) < Slice(*end))) return "a prefix range leaves a key out";
    }
    if (Slice(*end).StartsWith(prefix)) return "a prefix range is too long";
  }
  return "";
}

std::string HuntWithLocks(uint64_t) {
  MemVfs vfs(TestSeed());
  DB_EXPECT_OK(vfs.MakeDir("/db"));
  std::unique_ptr<DirectoryLock> first;
  std::unique_ptr<DirectoryLock> second;
  DB_EXPECT_OK(DirectoryLock::Acquire(&vfs, "/db", &first));
  const Status status = DirectoryLock::Acquire(&vfs, "/db", &second);
  return status.Is(Code::kDbLocked) ? "" : "two holders of one directory";
}

}  // namespace shale
