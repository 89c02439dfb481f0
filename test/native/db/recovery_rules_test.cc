// Replay of journals that break a rule of docs/format.md, 5.1, whatever their checksums say, and of
// one that lost what the manifest knows of.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "db/database_support.h"
#include "db/recovery.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

// The journal with the highest number, open for changes that leave its checksums right.
class OpenJournal {
 public:
  explicit OpenJournal(Vfs* vfs) {
    std::vector<std::string> names;
    DB_EXPECT_OK(vfs->List("/db", &names));
    for (const std::string& name : names) {
      const ParsedName parsed = ParseFileName(name);
      if (parsed.kind == FileKind::kJournal) number_ = std::max(number_, parsed.number);
    }
    DB_EXPECT_OK(vfs->Open(path(), OpenMode::kReadWrite, &file_));
    DB_EXPECT_OK(LogReader::Open(file_.get(), kJournalMagic, number_, 0, &reader_));
  }

  std::string path() const { return FileName("/db", FileKind::kJournal, number_); }

  // Changes the first entry of the commit that has `text` in it; returns the offset of its record.
  uint64_t Change(const std::string& text, const std::function<void(char* entry)>& change) {
    LogRecordHeader header;
    Slice payload;
    uint64_t offset = 0;
    while (reader_->Next(&header, &payload, &offset)) {
      std::string bytes = payload.ToString();
      if (bytes.find(text) == bytes.npos) continue;
      change(bytes.data());
      Write(offset, header, bytes);
      return offset;
    }
    ADD_FAILURE() << "no commit has \"" << text << "\" in it";
    return 0;
  }

  // Appends one commit; returns the offset of its record.
  uint64_t Append(uint32_t count, Slice payload) {
    LogRecordHeader header;
    Slice each;
    uint64_t offset = 0;
    while (reader_->Next(&header, &each, &offset)) last_ = header.seqno;
    const uint64_t at = std::max(end_, reader_->end_offset());
    Write(at, {.count = count, .seqno = ++last_}, payload);
    end_ = at + kLogRecordHeaderBytes + payload.size();
    return at;
  }

  void Cut() { DB_EXPECT_OK(file_->Truncate(kLogHeaderBytes)); }

 private:
  void Write(uint64_t offset, const LogRecordHeader& header, Slice payload) {
    std::string record(kLogRecordHeaderBytes, '\0');
    EncodeLogRecordHeader(header, number_, offset, payload, record.data());
    DB_EXPECT_OK(file_->Write(offset, record + payload.ToString()));
  }

  uint64_t number_ = 0;
  uint64_t end_ = 0;  // of what was appended
  Seqno last_ = 0;
  std::unique_ptr<File> file_;
  std::unique_ptr<LogReader> reader_;
};

constexpr uint32_t kKept = 1;
constexpr uint32_t kFlushed = 2;

// A killed database: its journal holds a commit to `kFlushed` that is in a table, behind one to
// `kKept` that is not.
std::unique_ptr<MemVfs> FlushedInPart() {
  MemVfs vfs(TestSeed());
  Ref<Database> database;
  DB_EXPECT_OK(OpenSmall(&vfs, 1, SmallOptions(), &database));
  for (const char* name : {"kept", "flushed"}) {
    const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), name);
    EXPECT_EQ(keyspace->id(), name == std::string("kept") ? kKept : kFlushed);
    DB_EXPECT_OK(database->WriteOne(keyspace.get(), Kind::kValue, std::string("in ") + name,
                                    std::string(100, 'v'), Durability::kSync));
  }
  DB_EXPECT_OK(database->FlushKeyspace(database->FindKeyspace("flushed").get()));
  return vfs.CrashClone(CrashPolicy::All(), TestSeed());
}

void ExpectDamage(const Status& status, const OpenJournal& journal, uint64_t offset,
                  const std::string& what) {
  ASSERT_TRUE(status.Is(Code::kCorruption)) << what << ": " << status.ToString();
  EXPECT_EQ(status.details()->path, journal.path()) << what;
  EXPECT_EQ(status.details()->offset, offset) << what;
}

// Sets codec and raw length of an entry whose value is longer than that.
void Compressed(char* entry, uint32_t raw_length) {
  entry[1] = static_cast<char>(Codec::kLz4);
  StoreLe(entry + kEntryHeaderBytes + LoadLe<uint16_t>(entry + 2), raw_length);
}

// Makes the key longer by `n` bytes at the cost of the value.
void MoveKeyEnd(char* entry, int n) {
  StoreLe(entry + 2, static_cast<uint16_t>(LoadLe<uint16_t>(entry + 2) + n));
  StoreLe(entry + 8, LoadLe<uint32_t>(entry + 8) - n);
}

const std::vector<std::pair<const char*, std::function<void(char* entry)>>> kBrokenRules = {
    {"raw length 0", [](char* e) { Compressed(e, 0); }},
    {"raw length above the limit", [](char* e) { Compressed(e, (64u << 20) + 1); }},
    {"nothing behind the raw length",
     [](char* e) {
       Compressed(e, 4096);
       MoveKeyEnd(e, 96);
       Compressed(e, 4096);
     }},
    {"a tombstone with a value", [](char* e) { e[0] = static_cast<char>(Kind::kTombstone); }},
    {"a tombstone with a codec",
     [](char* e) {
       Compressed(e, 4096);
       e[0] = static_cast<char>(Kind::kWeakTombstone);
     }},
    {"a range tombstone with unknown flags",
     [](char* e) { e[0] = static_cast<char>(Kind::kRangeTombstone); }},
    {"a range that ends where it begins",
     [](char* e) {
       e[0] = static_cast<char>(Kind::kRangeTombstone);
       const size_t key_length = LoadLe<uint16_t>(e + 2);
       e[kEntryHeaderBytes + key_length] = 0;
       __builtin_memset(e + kEntryHeaderBytes + key_length + 1, ' ', 99);
     }},
    {"a blob pointer", [](char* e) { e[0] = static_cast<char>(Kind::kBlobPointer); }},
    {"a keyspace record with a rest", [](char* e) { e[0] = static_cast<char>(kKeyspaceClear); }},
    {"no key", [](char* e) { MoveKeyEnd(e, -LoadLe<uint16_t>(e + 2)); }},
    {"no keyspace", [](char* e) { StoreLe<uint32_t>(e + 4, 0); }},
};

TEST(RecoveryRules, HoldForAnEntryThatIsInTables) {
  const auto whole = FlushedInPart();
  const auto open = [&](const std::function<void(char*)>& change, const char* broken) {
    const auto vfs = whole->CrashClone(CrashPolicy::All(), 1);
    OpenJournal journal(vfs.get());
    const uint64_t offset = journal.Change("in flushed", change);
    Ref<Database> database;
    const Status status = OpenSmall(vfs.get(), 1, SmallOptions(), &database);
    if (broken == nullptr) {
      DB_EXPECT_OK(status);
    } else {
      ExpectDamage(status, journal, offset, broken);
    }
  };
  for (const auto& [what, change] : kBrokenRules) open(change, what);
  // What keeps them is passed over without a look at what it decodes to.
  open([](char* e) { Compressed(e, 64 << 20); }, nullptr);
}

TEST(RecoveryRules, HoldForAnEntryOfAKeyspaceThatWasDeleted) {
  const auto whole = FlushedInPart();
  const auto open = [&](const std::function<void(char*)>& change, const char* broken) {
    const auto vfs = whole->CrashClone(CrashPolicy::All(), 1);
    OpenJournal journal(vfs.get());
    WriteBatch batch;
    batch.Add(kKeyspaceDelete, kFlushed, "", "");
    journal.Append(1, batch.bytes());
    batch.Clear();
    batch.Add(Kind::kValue, kFlushed, "late", std::string(100, 'v'));
    std::string payload = batch.bytes().ToString();
    change(payload.data());
    const uint64_t offset = journal.Append(1, payload);
    Ref<Database> database;
    const Status status = OpenSmall(vfs.get(), 1, SmallOptions(), &database);
    if (broken == nullptr) {
      DB_EXPECT_OK(status);
    } else {
      ExpectDamage(status, journal, offset, broken);
    }
  };
  for (const auto& [what, change] : kBrokenRules) open(change, what);
  open([](char* e) { Compressed(e, 64 << 20); }, nullptr);
}

// Values count with their lengths uncompressed, also those that nobody uncompresses.
TEST(RecoveryRules, ACommitIsNoLargerThanOneMayBe) {
  const auto whole = FlushedInPart();
  for (const uint32_t count : {16, 17}) {
    const auto vfs = whole->CrashClone(CrashPolicy::All(), 1);
    OpenJournal journal(vfs.get());
    WriteBatch batch;
    batch.Add(kKeyspaceDelete, kFlushed, "", "");
    journal.Append(1, batch.bytes());
    batch.Clear();
    batch.Add(Kind::kValue, kFlushed, "k", "raw length and more");
    std::string entry = batch.bytes().ToString();
    Compressed(entry.data(), 64 << 20);
    std::string payload;
    for (uint32_t i = 0; i < count; i++) payload += entry;
    const uint64_t offset = journal.Append(count, payload);
    Ref<Database> database;
    const Status status = OpenSmall(vfs.get(), 1, SmallOptions(), &database);
    if (count == 16) {
      DB_EXPECT_OK(status);
    } else {
      ExpectDamage(status, journal, offset, "too large");
    }
  }
}

TEST(RecoveryRules, ACreatedKeyspaceHasANameInUtf8) {
  const auto whole = FlushedInPart();
  for (const std::string name : {"\xc3\xa9t\xc3\xa9", "\xc3t\xc3\xa9"}) {
    const bool valid = name.size() == 5;
    // The second one exists: its creation is passed over.
    for (const uint32_t id : {kFlushed + 1, kKept}) {
      const auto vfs = whole->CrashClone(CrashPolicy::All(), 1);
      OpenJournal journal(vfs.get());
      WriteBatch batch;
      batch.Add(kKeyspaceCreate, id, name, SmallTreeOptions().Encode());
      const uint64_t offset = journal.Append(1, batch.bytes());
      Ref<Database> database;
      const Status status = OpenSmall(vfs.get(), 1, SmallOptions(), &database);
      if (!valid) {
        ExpectDamage(status, journal, offset, "keyspace " + std::to_string(id));
        continue;
      }
      DB_ASSERT_OK(status);
      EXPECT_EQ(static_cast<bool>(database->FindKeyspace(name)), id == kFlushed + 1);
    }
  }
}

// Names were looked for in all trees there are: 20,000 of them took minutes.
TEST(RecoveryRules, ManyCreationsInAJournalTakeNoTime) {
  constexpr uint32_t kCreations = 20000;
  const auto vfs = FlushedInPart();
  WriteBatch batch;
  OpenJournal journal(vfs.get());
  for (uint32_t i = 1; i <= kCreations; i++) {
    batch.Clear();
    batch.Add(kKeyspaceCreate, kFlushed + i, "n" + std::to_string(i), SmallTreeOptions().Encode());
    journal.Append(1, batch.bytes());
  }
  const std::clock_t begin = std::clock();
  Ref<Database> database;
  DB_ASSERT_OK(OpenSmall(vfs.get(), 1, SmallOptions(), &database));
  EXPECT_LT(std::clock() - begin, 10 * CLOCKS_PER_SEC);
  EXPECT_TRUE(database->FindKeyspace("n20000"));
}

// The manifest knows of a creation, and then of a clear, whose records the journal lost.
// The journal with the record of the creation may have been removed.
TEST(RecoveryRules, ACreationThatIsGoneCanBeTakenBack) {
  const auto vfs = FlushedInPart();
  WriteBatch batch;
  batch.Add(kKeyspaceDelete, kFlushed + 3, Slice(), Slice());
  OpenJournal(vfs.get()).Append(1, batch.bytes());
  Ref<Database> database;
  DB_ASSERT_OK(OpenSmall(vfs.get(), 1, SmallOptions(), &database));
  EXPECT_GT(MustOpenKeyspace(database.get(), "next")->id(), kFlushed + 3);
}

TEST(RecoveryRules, TheNextSeqnoIsAboveWhatTheManifestKnows) {
  MemVfs vfs(TestSeed());
  Ref<Database> database;
  DB_ASSERT_OK(OpenSmall(&vfs, 1, SmallOptions(), &database));
  MustOpenKeyspace(database.get(), "a");
  const Seqno next = database->next_seqno();
  const auto killed = vfs.CrashClone(CrashPolicy::All(), 1);
  OpenJournal(killed.get()).Cut();
  DatabaseOptions options = SmallOptions();
  options.recovery = RecoveryMode::kSalvage;
  Ref<Database> salvaged;
  DB_ASSERT_OK(OpenSmall(killed.get(), 1, options, &salvaged));
  EXPECT_TRUE(salvaged->FindKeyspace("a"));
  EXPECT_EQ(salvaged->next_seqno(), next);
  DB_ASSERT_OK(salvaged->Close());
  salvaged.reset();

  std::unique_ptr<Manifest> manifest;
  DB_ASSERT_OK(Manifest::Load(killed.get(), "/db", false, &manifest));
  ManifestEdit edit;
  edit.changes.resize(1);
  edit.changes[0].tree_id = kKept;
  edit.changes[0].cleared_seqno = next + 5;
  DB_ASSERT_OK(manifest->Commit(edit));
  manifest.reset();
  DB_ASSERT_OK(OpenSmall(killed.get(), 1, options, &salvaged));
  EXPECT_EQ(salvaged->next_seqno(), next + 5);
}

}  // namespace
}  // namespace shale
