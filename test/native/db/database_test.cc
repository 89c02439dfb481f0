// The database over a machine in memory, step by step and against a model.
#include "db/database.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "db/database_support.h"
#include "journal/log_format.h"
#include "vfs/fault_vfs.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

class DatabaseTest : public testing::Test {
 protected:
  DatabaseTest() : vfs_(TestSeed()) {}

  Status Open(const DatabaseOptions& options = SmallOptions()) {
    return OpenSmall(&vfs_, TestSeed(), options, &database_);
  }
  void Put(Keyspace* keyspace, Slice key, Slice value, Durability durability = Durability::kOs) {
    DB_ASSERT_OK(database_->WriteOne(keyspace, Kind::kValue, key, value, durability));
  }
  std::string Get(Keyspace* keyspace, Slice key) {
    std::string value;
    const Status status = ReadOne(*keyspace, key, database_->visible(), &value);
    return status.ok() ? value : CodeName(status.code());
  }

  MemVfs vfs_;
  Ref<Database> database_;
};

TEST_F(DatabaseTest, WhatIsWrittenIsReadAndFoundAgain) {
  DB_ASSERT_OK(Open());
  Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  Put(a.get(), "k", "v");
  EXPECT_EQ(Get(a.get(), "k"), "v");
  DB_ASSERT_OK(database_->WriteOne(a.get(), Kind::kTombstone, "k", "", Durability::kOs));
  EXPECT_EQ(Get(a.get(), "k"), "NOT_FOUND");
  Put(a.get(), "k", "w");
  DB_ASSERT_OK(database_->Close());
  EXPECT_EQ(database_->status(), DatabaseStatus::kClosed);
  DB_ASSERT_OK(Open());
  a = database_->FindKeyspace("a");
  ASSERT_TRUE(a);
  EXPECT_EQ(Get(a.get(), "k"), "w");
  EXPECT_EQ(database_->recovery().commits_replayed, 0u);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, AfterAKillTheJournalIsReplayed) {
  DB_ASSERT_OK(Open());
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  for (int i = 0; i < 10; ++i) Put(a.get(), "k" + std::to_string(i), "v");
  const auto clone = vfs_.CrashClone(CrashPolicy::All(), 1);
  Ref<Database> other;
  DB_ASSERT_OK(OpenSmall(clone.get(), 1, SmallOptions(), &other));
  EXPECT_EQ(other->recovery().commits_replayed, 10u);
  EXPECT_EQ(other->recovery().bytes_dropped, 0u);
  EXPECT_EQ(other->next_seqno(), database_->next_seqno());
  Contents contents;
  DB_ASSERT_OK(ReadAll(other.get(), &contents));
  EXPECT_EQ(contents["a"].size(), 10u);
  DB_ASSERT_OK(other->Close());
  DB_ASSERT_OK(database_->Close());
}

// What this version cannot do is told apart from what no journal holds.
TEST_F(DatabaseTest, EntriesOfAJournalThatCannotBeReplayed) {
  DB_ASSERT_OK(Open());
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  Put(a.get(), "k", "v", Durability::kSync);
  const auto replay = [&](Kind kind) {
    const auto clone = vfs_.CrashClone(CrashPolicy::None(), 1);
    std::vector<std::string> names;
    DB_EXPECT_OK(clone->List("/db", &names));
    uint64_t number = 0;
    for (const std::string& name : names) {
      const ParsedName parsed = ParseFileName(name);
      if (parsed.kind == FileKind::kJournal) number = std::max(number, parsed.number);
    }
    std::unique_ptr<File> file;
    DB_EXPECT_OK(
        clone->Open(FileName("/db", FileKind::kJournal, number), OpenMode::kReadWrite, &file));
    std::string bytes(64 * 1024, '\0');
    size_t got = 0;
    DB_EXPECT_OK(file->Read(0, bytes.size(), bytes.data(), &got));
    const uint64_t end = bytes.find_last_not_of('\0') + 1;  // of the value "v"
    WriteBatch batch;
    const bool is_range = kind == Kind::kRangeTombstone;
    batch.Add(kind, a->id(), IsKeyspaceRecord(kind) ? "" : "key", is_range ? "\1" : "");
    LogRecordHeader header;
    header.count = 1;
    header.seqno = database_->next_seqno();
    std::string record(kLogRecordHeaderBytes, '\0');
    EncodeLogRecordHeader(header, number, end, batch.bytes(), record.data());
    DB_EXPECT_OK(file->Write(end, record + batch.bytes().ToString()));
    file.reset();
    Ref<Database> other;
    const Status status = OpenSmall(clone.get(), 1, SmallOptions(), &other);
    if (status.ok()) DB_EXPECT_OK(other->Close());
    return status.code();
  };
  EXPECT_EQ(replay(Kind::kValue), Code::kOk);
  EXPECT_EQ(replay(Kind::kRangeTombstone), Code::kOk);
  EXPECT_EQ(replay(kKeyspaceClear), Code::kOk);
  EXPECT_EQ(replay(kTablesChanged), Code::kOk);
  EXPECT_EQ(replay(Kind::kBlobPointer), Code::kCorruption);
  EXPECT_EQ(replay(Kind::kMergeOperand), Code::kCorruption);
  EXPECT_EQ(replay(static_cast<Kind>(0x44)), Code::kCorruption);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, BadArgumentsChangeNothing) {
  DatabaseOptions options = SmallOptions();
  options.max_value_size = 100;
  DB_ASSERT_OK(Open(options));
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  const Seqno before = database_->next_seqno();
  const auto write = [&](Kind kind, Slice key, Slice value) {
    return database_->WriteOne(a.get(), kind, key, value, Durability::kOs).code();
  };
  EXPECT_EQ(write(Kind::kValue, "", "v"), Code::kInvalidKey);
  EXPECT_EQ(write(Kind::kValue, std::string(65536, 'k'), "v"), Code::kKeyTooLarge);
  EXPECT_EQ(write(Kind::kValue, "k", std::string(101, 'v')), Code::kValueTooLarge);
  EXPECT_EQ(write(Kind::kTombstone, "k", "v"), Code::kInvalidValue);
  EXPECT_EQ(write(Kind::kRangeTombstone, "k", "v"), Code::kInvalidArgument);
  WriteBatch batch;
  batch.Add(Kind::kValue, a->id(), "k", "v");
  batch.Add(Kind::kValue, 77, "k", "v");
  EXPECT_EQ(database_->Write(batch.bytes(), Durability::kOs).code(), Code::kInvalidArgument);
  EXPECT_EQ(database_->Write(Slice(batch.bytes().data(), 5), Durability::kOs).code(),
            Code::kInvalidArgument);
  DB_EXPECT_OK(database_->Write(Slice(), Durability::kSync));
  Ref<Keyspace> bad;
  EXPECT_EQ(database_->OpenKeyspace("", SmallTree, &bad).code(), Code::kInvalidName);
  EXPECT_EQ(database_->OpenKeyspace("a\nb", SmallTree, &bad).code(), Code::kInvalidName);
  EXPECT_EQ(database_->OpenKeyspace("a\xff", SmallTree, &bad).code(), Code::kInvalidName);
  EXPECT_EQ(database_->OpenKeyspace(std::string(256, 'n'), SmallTree, &bad).code(),
            Code::kInvalidName);
  EXPECT_EQ(database_->next_seqno(), before);
  EXPECT_EQ(Get(a.get(), "k"), "NOT_FOUND");
  DB_ASSERT_OK(database_->Close());
  EXPECT_EQ(write(Kind::kValue, "k", "v"), Code::kDbClosed);
}

TEST_F(DatabaseTest, OptionsThatCouldNotBeReadBackAreRefused) {
  DB_ASSERT_OK(Open());
  MustOpenKeyspace(database_.get(), "a");
  const auto too_many = [](bool, TreeOptions* tree) {
    tree->compression.assign(9, Codec::kLz4);
    return Status::Ok();
  };
  Ref<Keyspace> keyspace;
  EXPECT_EQ(database_->OpenKeyspace("a", too_many, &keyspace).code(), Code::kInvalidOption);
  EXPECT_EQ(database_->OpenKeyspace("b", too_many, &keyspace).code(), Code::kInvalidOption);
  DB_ASSERT_OK(database_->Close());
  DB_ASSERT_OK(Open());
  EXPECT_EQ(database_->KeyspaceNames(), std::vector<std::string>{"a"});
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, ABatchIsOneCommitOverKeyspaces) {
  DB_ASSERT_OK(Open());
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  const Ref<Keyspace> b = MustOpenKeyspace(database_.get(), "b");
  const Seqno before = database_->next_seqno();
  WriteBatch batch;
  batch.Add(Kind::kValue, a->id(), "k", "1");
  batch.Add(Kind::kValue, b->id(), "k", "2");
  batch.Add(Kind::kTombstone, a->id(), "k", "");
  batch.Add(Kind::kValue, a->id(), "l", std::string(10000, 'x'));
  DB_ASSERT_OK(database_->Write(batch.bytes(), Durability::kSync));
  EXPECT_EQ(database_->next_seqno(), before + 1);
  EXPECT_EQ(Get(a.get(), "k"), "NOT_FOUND");
  EXPECT_EQ(Get(b.get(), "k"), "2");
  const auto clone = vfs_.CrashClone(CrashPolicy::None(), 1);
  Ref<Database> other;
  DB_ASSERT_OK(OpenSmall(clone.get(), 1, SmallOptions(), &other));
  const Ref<Keyspace> again = other->FindKeyspace("a");
  std::string value;
  DB_ASSERT_OK(ReadOne(*again, "l", other->visible(), &value));
  EXPECT_EQ(value, std::string(10000, 'x'));
  DB_ASSERT_OK(other->Close());
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, OpenSaysWhatIsWrong) {
  DatabaseOptions options = SmallOptions();
  options.create_if_missing = false;
  EXPECT_EQ(Open(options).code(), Code::kDbNotFound);
  EXPECT_EQ(OpenSmall(&vfs_, 1, SmallOptions(), &database_, "/no/db").code(), Code::kDbNotFound);
  DB_ASSERT_OK(Open());
  Ref<Database> second;
  Status status = OpenSmall(&vfs_, 1, SmallOptions(), &second);
  EXPECT_EQ(status.code(), Code::kDbLocked);
  EXPECT_TRUE(status.details()->same_process);
  DB_ASSERT_OK(database_->Close());
  options.create_if_missing = true;
  options.error_if_exists = true;
  vfs_.SetHook([](const MemVfs::Operation& operation) {
    EXPECT_EQ(ClassifyPath(operation.path), PathClass::kLock) << operation.path;
  });
  EXPECT_EQ(Open(options).code(), Code::kDbExists);
  vfs_.SetHook(nullptr);
  DB_ASSERT_OK(vfs_.MakeDir("/foreign"));
  std::unique_ptr<File> file;
  DB_ASSERT_OK(vfs_.Open("/foreign/notes.txt", OpenMode::kCreateNew, &file));
  EXPECT_EQ(OpenSmall(&vfs_, 1, SmallOptions(), &second, "/foreign").code(), Code::kNotADatabase);
  EXPECT_EQ(OpenSmall(&vfs_, 1, SmallOptions(), &second, "/foreign/notes.txt").code(),
            Code::kInvalidPath);
  // Files by which another opener is trying to take the lock are ours, whatever looks like them is
  // not.
  DB_ASSERT_OK(vfs_.MakeDir("/lock"));
  std::unique_ptr<File> helper;
  DB_ASSERT_OK(vfs_.Open("/lock/lock.txt", OpenMode::kCreateNew, &helper));
  EXPECT_EQ(OpenSmall(&vfs_, 1, SmallOptions(), &second, "/lock").code(), Code::kNotADatabase);
  DB_ASSERT_OK(vfs_.Rename("/lock/lock.txt", "/lock/lock.0123456789abcdef"));
  std::unique_ptr<FileLock> taking;
  DB_ASSERT_OK(vfs_.Lock(helper.get(), &taking));
  DB_ASSERT_OK(OpenSmall(&vfs_, 1, SmallOptions(), &second, "/lock"));
  DB_ASSERT_OK(second->Close());
  std::vector<std::string> names;
  DB_ASSERT_OK(vfs_.List("/foreign", &names));
  EXPECT_EQ(names, std::vector<std::string>{"notes.txt"});
  // Without its manifest a database is damaged, not absent.
  file.reset();
  DB_ASSERT_OK(vfs_.Open("/foreign/000007.table", OpenMode::kCreateNew, &file));
  options = SmallOptions();
  for (const bool create : {true, false}) {
    options.create_if_missing = create;
    EXPECT_EQ(OpenSmall(&vfs_, 1, options, &second, "/foreign").code(), Code::kCorruption);
  }
  options.read_only = true;
  EXPECT_EQ(OpenSmall(&vfs_, 1, options, &second, "/foreign").code(), Code::kCorruption);
}

TEST_F(DatabaseTest, ReadOnlyWritesNothing) {
  DB_ASSERT_OK(Open());
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  Put(a.get(), "k", "v");
  const auto clone = vfs_.CrashClone(CrashPolicy::All(), 1);
  const auto names_of = [&] {
    std::vector<std::string> names;
    DB_EXPECT_OK(clone->List("/db", &names));
    names.erase(std::remove_if(names.begin(), names.end(),
                               [](const std::string& name) { return name.rfind("lock", 0) == 0; }),
                names.end());
    return names;
  };
  const auto names = names_of();
  DatabaseOptions options = SmallOptions();
  options.read_only = true;
  Ref<Database> reader;
  std::set<std::string> changed;
  clone->SetHook([&](const MemVfs::Operation& operation) { changed.insert(operation.path); });
  DB_ASSERT_OK(OpenSmall(clone.get(), 1, options, &reader));
  const Ref<Keyspace> again = reader->FindKeyspace("a");
  ASSERT_TRUE(again);
  std::string value;
  DB_ASSERT_OK(ReadOne(*again, "k", reader->visible(), &value));
  EXPECT_EQ(value, "v");
  EXPECT_EQ(reader->WriteOne(again.get(), Kind::kValue, "x", "y", Durability::kOs).code(),
            Code::kReadOnly);
  Ref<Keyspace> fresh;
  EXPECT_EQ(reader->OpenKeyspace("new", SmallTree, &fresh).code(), Code::kKeyspaceNotFound);
  EXPECT_EQ(reader->FlushKeyspace(again.get()).code(), Code::kReadOnly);
  DB_ASSERT_OK(reader->Close());
  for (const std::string& path : changed) EXPECT_EQ(path.rfind("/db/lock", 0), 0u) << path;
  EXPECT_EQ(names_of(), names);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, AFailedAppendLeavesNoTrace) {
  FaultVfs fault(&vfs_);
  DB_ASSERT_OK(OpenSmall(&fault, 1, SmallOptions(), &database_));
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  Put(a.get(), "before", "1");
  const Seqno seqno = database_->next_seqno();
  for (const FaultKind kind : {FaultKind::kEnospc, FaultKind::kShortWrite, FaultKind::kEio}) {
    fault.SetPlan({{FaultOp::kWrite, PathClass::kJournal, 0, kind, false}});
    const Status status =
        database_->WriteOne(a.get(), Kind::kValue, "failed", "1", Durability::kOs);
    EXPECT_EQ(status.code(), kind == FaultKind::kEnospc ? Code::kDiskFull : Code::kIoError);
    EXPECT_EQ(Get(a.get(), "failed"), "NOT_FOUND");
    EXPECT_EQ(database_->next_seqno(), seqno);
    EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
    const auto clone = vfs_.CrashClone(CrashPolicy::All(), 1);
    Ref<Database> other;
    DB_ASSERT_OK(OpenSmall(clone.get(), 1, SmallOptions(), &other));
    EXPECT_EQ(other->next_seqno(), seqno);
    DB_ASSERT_OK(other->Close());
  }
  Put(a.get(), "after", "1");
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, AFailedSyncEndsWriting) {
  FaultVfs fault(&vfs_);
  DB_ASSERT_OK(OpenSmall(&fault, 1, SmallOptions(), &database_));
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  Put(a.get(), "before", "1", Durability::kSync);
  fault.SetPlan({{FaultOp::kSync, PathClass::kJournal, 0, FaultKind::kSyncKept, false}});
  const Status status =
      database_->WriteOne(a.get(), Kind::kValue, "unknown", "1", Durability::kSync);
  EXPECT_EQ(status.code(), Code::kSyncFailed);
  EXPECT_TRUE(status.details()->indeterminate);
  EXPECT_EQ(database_->status(), DatabaseStatus::kFailed);
  EXPECT_EQ(Get(a.get(), "unknown"), "NOT_FOUND");
  EXPECT_EQ(Get(a.get(), "before"), "1");
  EXPECT_EQ(database_->WriteOne(a.get(), Kind::kValue, "k", "1", Durability::kOs).code(),
            Code::kDbFailed);
  EXPECT_EQ(database_->Persist(Durability::kSync).code(), Code::kSyncFailed);
  EXPECT_EQ(database_->FlushKeyspace(a.get()).code(), Code::kSyncFailed);
  EXPECT_EQ(database_->Close().code(), Code::kSyncFailed);
}

TEST_F(DatabaseTest, SyncCommitsBecomeVisibleAfterTheSync) {
  DB_ASSERT_OK(Open());
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  std::vector<std::string> told;
  const auto tell = [&](const char* name) {
    return [&told, name](Status status) { told.push_back(name + status.ToString()); };
  };
  EXPECT_EQ(database_->WriteOneAsync(a.get(), Kind::kValue, "s", "1", Durability::kSync, tell("s "))
                .code(),
            Code::kWouldBlock);
  EXPECT_EQ(Get(a.get(), "s"), "NOT_FOUND");
  // Behind it, in order: invisible as well.
  EXPECT_EQ(
      database_->WriteOneAsync(a.get(), Kind::kValue, "o", "1", Durability::kOs, tell("o ")).code(),
      Code::kWouldBlock);
  EXPECT_EQ(Get(a.get(), "o"), "NOT_FOUND");
  EXPECT_TRUE(told.empty());
  // A sync form goes last and waits for the sync of the first.
  Put(a.get(), "x", "1");
  EXPECT_EQ(told, (std::vector<std::string>{"s OK", "o OK"}));
  EXPECT_EQ(Get(a.get(), "s") + Get(a.get(), "o") + Get(a.get(), "x"), "111");
  DB_ASSERT_OK(database_->Close());
}

TEST_F(DatabaseTest, BufferedCommitsReachTheFileInTime) {
  DatabaseOptions options = SmallOptions();
  options.journal_compression = Codec::kNone;
  DB_ASSERT_OK(Open(options));
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  const auto survivors = [&] {
    const auto clone = vfs_.CrashClone(CrashPolicy::All(), 1);
    Ref<Database> other;
    DB_EXPECT_OK(OpenSmall(clone.get(), 1, SmallOptions(), &other));
    Contents contents;
    DB_EXPECT_OK(ReadAll(other.get(), &contents));
    DB_EXPECT_OK(other->Close());
    return contents["a"].size();
  };
  Put(a.get(), "b1", "1", Durability::kBuffered);
  EXPECT_EQ(Get(a.get(), "b1"), "1");
  EXPECT_EQ(survivors(), 0u);
  DB_ASSERT_OK(database_->Persist(Durability::kOs));
  EXPECT_EQ(survivors(), 1u);
  Put(a.get(), "b2", "1", Durability::kBuffered);
  Put(a.get(), "o", "1", Durability::kOs);  // takes along what is before it
  EXPECT_EQ(survivors(), 3u);
  Put(a.get(), "b3", std::string(300 * 1024, 'x'), Durability::kBuffered);
  EXPECT_EQ(survivors(), 4u);
  DB_ASSERT_OK(database_->Close());
}

// A reader of anything in the process holds back what is retired, also longer than the database
// lives.
TEST_F(DatabaseTest, WhatAReaderHoldsBackMayOutliveIt) {
  DB_ASSERT_OK(Open());
  Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  std::vector<std::string> files;
  {
    const EpochGuard reader;
    for (const char* value : {"old", "new"}) {
      Put(a.get(), "k", value);
      DB_ASSERT_OK(database_->FlushKeyspace(a.get()));
    }
    DB_ASSERT_OK(database_->MajorCompaction(a.get(), 8192, nullptr));
    DB_ASSERT_OK(database_->Close());
    DB_ASSERT_OK(vfs_.List("/db", &files));
    a.reset();
    database_.reset();
    EXPECT_FALSE(EpochCollect());
  }
  EXPECT_TRUE(EpochCollect());
  // The directory may belong to somebody else by now.
  std::vector<std::string> later;
  DB_ASSERT_OK(vfs_.List("/db", &later));
  EXPECT_EQ(later, files);
  EXPECT_EQ(std::count_if(files.begin(), files.end(),
                          [](const auto& f) { return ParseFileName(f).kind == FileKind::kTable; }),
            3);
}

TEST_F(DatabaseTest, ADiskThatIsFullHealsByItself) {
  FaultVfs fault(&vfs_);
  DB_ASSERT_OK(OpenSmall(&fault, 1, SmallOptions(), &database_));
  const Ref<Keyspace> a = MustOpenKeyspace(database_.get(), "a");
  Put(a.get(), "k", "v");
  fault.SetPlan({{FaultOp::kCreate, PathClass::kTable, 0, FaultKind::kEnospc, true}});
  EXPECT_EQ(database_->FlushKeyspace(a.get()).code(), Code::kDiskFull);
  EXPECT_EQ(database_->status(), DatabaseStatus::kDegraded);
  EXPECT_EQ(database_->failure().code(), Code::kDiskFull);
  Put(a.get(), "l", "v");  // writes go on
  fault.SetPlan({});
  DB_ASSERT_OK(database_->FlushKeyspace(a.get()));
  EXPECT_EQ(database_->status(), DatabaseStatus::kOpen);
  EXPECT_EQ(a->tree()->level0_runs(), 1u);
  DB_ASSERT_OK(database_->Close());
}

// Writes at random with snapshots, background work in between and reopening now and then.
class Model {
 public:
  Model(MemVfs* vfs, uint64_t stream) : vfs_(vfs), random_(stream) {}

  void Run(uint64_t steps) {
    Reopen();
    for (uint64_t i = 0; i < steps && !testing::Test::HasFailure(); ++i) Step();
    Check();
    DropSnapshots();
    DB_EXPECT_OK(database_->Close());
  }

 private:
  struct Open {
    Seqno seqno = 0;
    Contents contents;
    std::map<std::string, Ref<SuperVersion>> pins;
  };

  void Reopen() {
    DropSnapshots();
    if (database_) DB_EXPECT_OK(database_->Close());
    DB_ASSERT_OK(OpenSmall(vfs_, random_.Next(), SmallOptions(), &database_));
  }
  void DropSnapshots() {
    for (const Open& snapshot : snapshots_) database_->snapshots().Close(snapshot.seqno);
    snapshots_.clear();
  }
  std::string Key() { return "key" + std::to_string(random_.Below(120)); }
  std::string Value() {
    return std::string(random_.Below(90), static_cast<char>('a' + random_.Below(26)));
  }
  std::string Name() { return std::string(1, static_cast<char>('a' + random_.Below(4))); }

  void Step() {
    const uint64_t what = random_.Below(100);
    if (what < 45) {
      WriteSingle();
    } else if (what < 65) {
      WriteSeveral();
    } else if (what < 82) {
      vfs_->AdvanceClock(random_.Below(20) * 1'000'000);
      RunSome();
    } else if (what < 88) {
      TakeSnapshot();
    } else if (what < 93) {
      CheckSnapshot();
    } else if (what < 95) {
      const Ref<Keyspace> keyspace = MustOpenKeyspace(database_.get(), Name());
      contents_[keyspace->name()];
      DB_EXPECT_OK(database_->FlushKeyspace(keyspace.get()));
    } else if (what < 96) {
      const Ref<Keyspace> keyspace = MustOpenKeyspace(database_.get(), Name());
      contents_[keyspace->name()];
      DB_EXPECT_OK(database_->MajorCompaction(keyspace.get(), 16 * 1024, nullptr));
    } else if (what < 97) {
      DB_EXPECT_OK(database_->Persist(static_cast<Durability>(random_.Below(3))));
    } else if (what < 99) {
      Check();
    } else if (random_.OneIn(4)) {
      Reopen();
    }
  }

  // Runs background work: nothing, one step or a lot.
  void RunSome() {
    const Ref<Keyspace> keyspace = MustOpenKeyspace(database_.get(), "a");
    contents_["a"];
    if (random_.OneIn(3)) database_->RotateMemtable(keyspace.get());
    if (random_.OneIn(5)) DB_EXPECT_OK(database_->FlushKeyspace(keyspace.get()));
  }

  void WriteSingle() {
    const Ref<Keyspace> keyspace = MustOpenKeyspace(database_.get(), Name());
    Rows& rows = contents_[keyspace->name()];
    const std::string key = Key();
    const auto durability = static_cast<Durability>(random_.Below(3));
    if (random_.OneIn(4)) {
      DB_EXPECT_OK(database_->WriteOne(keyspace.get(), Kind::kTombstone, key, "", durability));
      rows.erase(key);
    } else {
      const std::string value = Value();
      DB_EXPECT_OK(database_->WriteOne(keyspace.get(), Kind::kValue, key, value, durability));
      rows[key] = value;
    }
  }

  void WriteSeveral() {
    WriteBatch batch;
    const uint64_t count = 1 + random_.Below(20);
    for (uint64_t i = 0; i < count; ++i) {
      const Ref<Keyspace> keyspace = MustOpenKeyspace(database_.get(), Name());
      Rows& rows = contents_[keyspace->name()];
      const std::string key = Key();
      if (random_.OneIn(4)) {
        batch.Add(Kind::kTombstone, keyspace->id(), key, "");
        rows.erase(key);
      } else {
        const std::string value = Value();
        batch.Add(Kind::kValue, keyspace->id(), key, value);
        rows[key] = value;
      }
    }
    DB_EXPECT_OK(database_->Write(batch.bytes(), static_cast<Durability>(random_.Below(3))));
  }

  void TakeSnapshot() {
    if (snapshots_.size() > 5) {
      database_->snapshots().Close(snapshots_.front().seqno);
      snapshots_.erase(snapshots_.begin());
    }
    snapshots_.push_back({database_->snapshots().Open(), contents_, {}});
  }

  void CheckSnapshot() {
    if (snapshots_.empty()) return;
    const Open& snapshot = snapshots_[random_.Below(snapshots_.size())];
    for (const auto& [name, rows] : snapshot.contents) {
      const Ref<Keyspace> keyspace = database_->FindKeyspace(name);
      Rows actual;
      const auto direction =
          random_.OneIn(2) ? Cursor::Direction::kForward : Cursor::Direction::kReverse;
      DB_EXPECT_OK(
          ReadRows(*keyspace, keyspace->tree()->Pin(), snapshot.seqno, &actual, direction));
      EXPECT_EQ(Difference({{name, rows}}, {{name, actual}}), "0 differences");
    }
  }

  void Check() {
    Contents actual;
    DB_EXPECT_OK(ReadAll(database_.get(), &actual));
    EXPECT_EQ(Difference(contents_, actual), "0 differences");
    for (const auto& [name, rows] : contents_) {
      const Ref<Keyspace> keyspace = database_->FindKeyspace(name);
      const std::string key = Key();
      std::string value;
      const Status status = ReadOne(*keyspace, key, database_->visible(), &value);
      const auto row = rows.find(key);
      EXPECT_EQ(status.ok(), row != rows.end()) << status.ToString();
      if (status.ok() && row != rows.end()) {
        EXPECT_EQ(value, row->second);
      }
    }
  }

  MemVfs* const vfs_;
  TestRandom random_;
  Ref<Database> database_;
  Contents contents_;
  std::vector<Open> snapshots_;
};

TEST(DatabaseModelTest, BehavesLikeAnOrderedMap) {
  for (uint64_t run = 0; run < 4; ++run) {
    MemVfs vfs(TestSeed() + run);
    Model(&vfs, run).Run(Scaled(2500));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace shale
