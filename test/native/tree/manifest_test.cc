#include "tree/manifest.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "journal/log_format.h"
#include "tree/tree_support.h"
#include "vfs/fault_vfs.h"

namespace shale {
namespace {

constexpr const char* kDir = "/db";

std::unique_ptr<MemVfs> EmptyMachine() {
  auto vfs = std::make_unique<MemVfs>(TestSeed());
  EXPECT_OK(vfs->MakeDir(kDir));
  EXPECT_OK(vfs->SyncDir("/"));
  return vfs;
}

// The state without the count of file numbers.
std::string Content(const Manifest& m) {
  ManifestState state = m.state();
  state.next_file_number = 0;
  return ManifestEdit::SnapshotOf(state).Encode();
}
std::string Snapshot(const Manifest& m) { return ManifestEdit::SnapshotOf(m.state()).Encode(); }

// Commit number `n`: every part of the state tells how many there were.
ManifestEdit NumberedEdit(Manifest* m, uint64_t n, size_t padding = 0) {
  ManifestEdit e;
  e.last_seqno = n;
  TreeState t;
  t.id = m->NewTreeId();
  t.name = "t" + std::to_string(n);
  t.options = std::string(padding, 'o');
  e.created_trees.push_back(t);
  e.journals.push_back({m->NewFileNumber(), std::nullopt});
  // Two of each stay.
  const ManifestState now = m->state();
  if (now.trees.size() == 2) {
    e.deleted_trees.push_back(now.trees.begin()->first);
    e.removed_journals.push_back(now.journals.begin()->first);
  }
  return e;
}

std::string ReadAll(Vfs* vfs, const std::string& path) {
  std::unique_ptr<File> file;
  EXPECT_OK(vfs->Open(path, OpenMode::kRead, &file));
  uint64_t size = 0;
  EXPECT_OK(file->Size(&size));
  std::string bytes(size, '\0');
  size_t got = 0;
  EXPECT_OK(file->Read(0, bytes.size(), bytes.data(), &got));
  EXPECT_EQ(got, size);
  return bytes;
}
void WriteAll(Vfs* vfs, const std::string& path, const std::string& bytes) {
  static_cast<void>(vfs->Remove(path));
  std::unique_ptr<File> file;
  ASSERT_OK(vfs->Open(path, OpenMode::kCreateNew, &file));
  ASSERT_OK(file->Write(0, bytes));
}
std::string Path(uint64_t number) { return FileName(kDir, FileKind::kManifest, number); }

std::unique_ptr<Manifest> Create(Vfs* vfs) {
  std::unique_ptr<Manifest> m;
  EXPECT_OK(Manifest::Create(vfs, kDir, DirectoryKind::kDatabase, &m));
  return m;
}

TEST(Manifest, WhatWasCommittedIsLoaded) {
  auto vfs = EmptyMachine();
  std::string expected;
  uint64_t number = 0;
  {
    auto m = Create(vfs.get());
    for (uint64_t n = 1; n <= 20; n++) ASSERT_OK(m->Commit(NumberedEdit(m.get(), n)));
    expected = Snapshot(*m);
    number = m->NewFileNumber();
    EXPECT_EQ(m->live_generations(), std::vector<uint64_t>{1});
  }
  for (const bool read_only : {true, false}) {
    std::unique_ptr<Manifest> m;
    ASSERT_OK(Manifest::Load(vfs.get(), kDir, read_only, &m));
    EXPECT_EQ(Snapshot(*m), expected);
    EXPECT_EQ(m->state().kind, DirectoryKind::kDatabase);
    EXPECT_LE(m->NewFileNumber(), number);
    EXPECT_EQ(m->Commit(ManifestEdit()).code(), read_only ? Code::kReadOnly : Code::kOk);
  }
}

TEST(Manifest, NumbersStayAboveEveryFileInTheDirectory) {
  auto vfs = EmptyMachine();
  Create(vfs.get());
  WriteAll(vfs.get(), FileName(kDir, FileKind::kTable, 500), "orphan");
  std::unique_ptr<Manifest> m;
  ASSERT_OK(Manifest::Load(vfs.get(), kDir, false, &m));
  ASSERT_OK(vfs->Remove(FileName(kDir, FileKind::kTable, 500)));
  m.reset();
  ASSERT_OK(Manifest::Load(vfs.get(), kDir, false, &m));
  EXPECT_EQ(m->NewFileNumber(), 501u);
}

TEST(Manifest, ADirectoryWithoutOne) {
  const auto load = [](Vfs* vfs, const std::string& dir = kDir) {
    std::unique_ptr<Manifest> m;
    return Manifest::Load(vfs, dir, false, &m).code();
  };
  auto vfs = EmptyMachine();
  EXPECT_EQ(load(vfs.get(), "/absent"), Code::kDbNotFound);
  EXPECT_EQ(load(vfs.get()), Code::kDbNotFound);
  WriteAll(vfs.get(), "/db/lock", "x");
  EXPECT_EQ(load(vfs.get()), Code::kDbNotFound);
  WriteAll(vfs.get(), "/db/holiday.jpg", "x");
  EXPECT_EQ(load(vfs.get()), Code::kNotADatabase);
  WriteAll(vfs.get(), FileName(kDir, FileKind::kTable, 3), "x");
  EXPECT_EQ(load(vfs.get()), Code::kCorruption);
  std::unique_ptr<Manifest> m;
  EXPECT_EQ(Manifest::Create(vfs.get(), kDir, DirectoryKind::kTree, &m).code(), Code::kCorruption);
}

TEST(Manifest, IsNeverCreatedOverAnother) {
  auto vfs = EmptyMachine();
  const std::string before = Snapshot(*Create(vfs.get()));
  std::unique_ptr<Manifest> m;
  EXPECT_EQ(Manifest::Create(vfs.get(), kDir, DirectoryKind::kTree, &m).code(), Code::kDbExists);
  ASSERT_OK(Manifest::Load(vfs.get(), kDir, true, &m));
  EXPECT_EQ(Snapshot(*m), before);
  m.reset();
  WriteAll(vfs.get(), Path(1), "this was never a manifest, but somebody's notes");
  EXPECT_EQ(Manifest::Create(vfs.get(), kDir, DirectoryKind::kTree, &m).code(),
            Code::kNotADatabase);
}

// A bare tree is tree 1 without a name, and has no journals; those of a database have names.
TEST(Manifest, TheKindOfTheDirectoryLimitsWhatItHolds) {
  const auto load = [](DirectoryKind kind, const std::function<void(ManifestState*)>& fill) {
    ManifestState state;
    state.kind = kind;
    state.next_file_number = 9;
    state.next_tree_id = 2;
    fill(&state);
    auto vfs = EmptyMachine();
    std::string bytes(kLogHeaderBytes + kLogRecordHeaderBytes, '\0');
    const std::string payload = ManifestEdit::SnapshotOf(state).Encode();
    EncodeFileHeader(kManifestMagic, 1, bytes.data());
    EncodeLogRecordHeader({}, 1, kLogHeaderBytes, payload, bytes.data() + kLogHeaderBytes);
    WriteAll(vfs.get(), Path(1), bytes + payload);
    std::unique_ptr<Manifest> m;
    return Manifest::Load(vfs.get(), kDir, true, &m).code();
  };
  const auto tree = [](uint32_t id, const std::string& name) {
    TreeState t;
    t.id = id;
    t.name = name;
    return t;
  };
  using State = ManifestState*;
  EXPECT_EQ(load(DirectoryKind::kTree, [](State) {}), Code::kOk);
  EXPECT_EQ(load(DirectoryKind::kTree, [&](State s) { s->trees[1] = tree(1, ""); }), Code::kOk);
  EXPECT_EQ(load(DirectoryKind::kTree, [&](State s) { s->trees[1] = tree(1, "a"); }),
            Code::kCorruption);
  EXPECT_EQ(load(DirectoryKind::kTree, [](State s) { s->next_tree_id = 5; }), Code::kCorruption);
  EXPECT_EQ(load(DirectoryKind::kTree,
                 [&](State s) {
                   s->next_tree_id = 3;
                   s->trees[2] = tree(2, "");
                 }),
            Code::kCorruption);
  EXPECT_EQ(load(DirectoryKind::kTree,
                 [](State s) {
                   s->journals[7] = {7, std::nullopt};
                 }),
            Code::kCorruption);
  EXPECT_EQ(load(DirectoryKind::kDatabase, [&](State s) { s->trees[1] = tree(1, "a"); }),
            Code::kOk);
  EXPECT_EQ(load(DirectoryKind::kDatabase, [&](State s) { s->trees[1] = tree(1, ""); }),
            Code::kCorruption);
  EXPECT_EQ(load(DirectoryKind::kDatabase, [&](State s) { s->trees[1] = tree(1, "\xc3\xa9"); }),
            Code::kOk);
  EXPECT_EQ(load(DirectoryKind::kDatabase, [&](State s) { s->trees[1] = tree(1, "\xc3"); }),
            Code::kCorruption);
}

// Count and seqno of a record are the journal's.
TEST(Manifest, ARecordWithASeqnoOrACountIsDamage) {
  for (const auto& [count, seqno] : {std::pair<uint32_t, Seqno>{0, 0}, {7, 0}, {0, 9}}) {
    auto vfs = EmptyMachine();
    LogRecordHeader header;
    header.count = count;
    header.seqno = seqno;
    std::string bytes(kLogHeaderBytes + kLogRecordHeaderBytes, '\0');
    const std::string payload = ManifestEdit::SnapshotOf(ManifestState()).Encode();
    EncodeFileHeader(kManifestMagic, 1, bytes.data());
    EncodeLogRecordHeader(header, 1, kLogHeaderBytes, payload, bytes.data() + kLogHeaderBytes);
    WriteAll(vfs.get(), Path(1), bytes + payload);
    std::unique_ptr<Manifest> m;
    EXPECT_EQ(Manifest::Load(vfs.get(), kDir, true, &m).code(),
              count == 0 && seqno == 0 ? Code::kOk : Code::kCorruption);
  }
}

TEST(Manifest, AnEditThatDoesNotFitWritesNothing) {
  auto vfs = EmptyMachine();
  auto m = Create(vfs.get());
  const std::string before = Snapshot(*m);
  const uint64_t written = m->bytes();
  ManifestEdit e;
  e.deleted_trees = {7};
  EXPECT_EQ(m->Commit(e).code(), Code::kCorruption);
  EXPECT_EQ(m->bytes(), written);
  EXPECT_EQ(Snapshot(*m), before);
  EXPECT_OK(m->failure());
}

TEST(Manifest, SeqnosNeverDecreaseAndUnknownJournalsAreAddedWhenSealed) {
  auto vfs = EmptyMachine();
  auto m = Create(vfs.get());
  ASSERT_OK(m->Commit(NumberedEdit(m.get(), 10)));
  ManifestEdit e;
  e.last_seqno = 5;
  const uint64_t journal = m->NewFileNumber();
  e.journals = {{journal, 99}};
  e.changes.resize(1);
  e.changes[0].tree_id = 1;
  e.changes[0].flushed_seqno = 8;
  ASSERT_OK(m->Commit(e));
  e.journals.clear();
  e.changes[0].flushed_seqno = 7;
  ASSERT_OK(m->Commit(e));
  EXPECT_EQ(m->state().last_seqno, 10u);
  EXPECT_EQ(m->state().trees.at(1).flushed_seqno, 8u);
  EXPECT_EQ(m->state().journals.at(journal).final_length, 99u);
}

// One manifest file, with the state behind each of its records.
struct Recorded {
  std::string bytes;
  std::vector<std::string> states;  // behind record i; 0 is the snapshot
  std::vector<uint64_t> ends;       // of record i
};

Recorded Record(uint64_t commits) {
  auto vfs = EmptyMachine();
  auto m = Create(vfs.get());
  Recorded r;
  const auto end = [&] {
    const std::string bytes = ReadAll(vfs.get(), Path(1));
    // The witness, which may have been appended, has no payload.
    size_t n = bytes.size();
    while (n > 0 && bytes[n - 1] == '\0') n--;
    return std::pair(bytes, n);
  };
  const auto note = [&] {
    r.states.push_back(Content(*m));
    auto [bytes, n] = end();
    r.bytes = bytes;
    r.ends.push_back(n);
  };
  note();
  for (uint64_t n = 1; n <= commits; n++) {
    EXPECT_OK(m->Commit(NumberedEdit(m.get(), n)));
    note();
  }
  r.bytes.resize(r.ends.back() + 64);
  return r;
}

// A tail that a crash tore off at any byte costs at most the commits that it held.
TEST(Manifest, TornAtEveryByte) {
  const Recorded r = Record(5);
  uint64_t recovered = 0;
  for (size_t cut = 0; cut < r.bytes.size(); cut++) {
    for (const bool zeros : {false, true}) {
      auto vfs = EmptyMachine();
      std::string bytes = r.bytes.substr(0, cut);
      if (zeros) bytes.resize(r.bytes.size(), '\0');
      WriteAll(vfs.get(), Path(1), bytes);
      std::unique_ptr<Manifest> m;
      const Status s = Manifest::Load(vfs.get(), kDir, false, &m);
      if (!s.ok()) {
        // Only a first generation that was not finished is nothing.
        ASSERT_EQ(s.code(), Code::kDbNotFound) << "cut at " << cut << ": " << s.ToString();
        ASSERT_LT(cut, r.ends[0]);
        continue;
      }
      recovered++;
      // A load may take file numbers for a generation of its own.
      const auto at = std::find(r.states.begin(), r.states.end(), Content(*m));
      ASSERT_NE(at, r.states.end()) << "cut at " << cut;
      const size_t index = static_cast<size_t>(at - r.states.begin());
      // A record is whole at its last byte that is not zero or, cut in the zeros behind it, is not.
      ASSERT_TRUE(index + 1 == r.ends.size() || cut < r.ends[index + 1]) << "cut at " << cut;
      // And it goes on: the next commit is found by the next load.
      ASSERT_OK(m->Commit(NumberedEdit(m.get(), 100)));
      const std::string later = Snapshot(*m);
      m.reset();
      ASSERT_OK(Manifest::Load(vfs.get(), kDir, false, &m));
      ASSERT_EQ(Snapshot(*m), later);
    }
  }
  EXPECT_GT(recovered, r.bytes.size() / 2);
}

TEST(Manifest, EveryFlippedByteIsReportedOrHarmless) {
  const Recorded r = Record(5);
  uint64_t reported = 0;
  for (size_t at = 0; at < r.bytes.size(); at++) {
    for (int bit = 0; bit < 8; bit++) {
      auto vfs = EmptyMachine();
      std::string bytes = r.bytes;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      WriteAll(vfs.get(), Path(1), bytes);
      std::unique_ptr<Manifest> m;
      const Status s = Manifest::Load(vfs.get(), kDir, true, &m);
      if (s.ok()) {
        // The last witness and the zeros behind it say nothing that the records do not.
        ASSERT_EQ(Content(*m), r.states.back()) << "bit " << bit << " of byte " << at;
        continue;
      }
      reported++;
      ASSERT_TRUE(s.Is(Code::kCorruption) || s.Is(Code::kNotADatabase) || s.Is(Code::kFormatTooNew))
          << "bit " << bit << " of byte " << at << ": " << s.ToString();
      if (s.Is(Code::kCorruption)) {
        ASSERT_FALSE(s.details()->path.empty());
      }
    }
  }
  EXPECT_GT(reported, r.ends[4]);
}

std::string WithFeatureBits(std::string bytes, uint32_t bits, uint16_t major) {
  StoreLe<uint16_t>(bytes.data() + 8, major);
  StoreLe<uint32_t>(bytes.data() + 12, bits);
  StoreLe<uint32_t>(bytes.data() + 28, Crc32cKeyed(1, 0, Slice(bytes.data(), 28)));
  return bytes;
}

TEST(Manifest, FormatsOfTomorrowAreRefusedAndLeftAlone) {
  const Recorded r = Record(2);
  for (const auto& [bits, major] : {std::pair<uint32_t, uint16_t>{1, 1}, {1u << 31, 1}, {0, 2}}) {
    auto vfs = EmptyMachine();
    const std::string bytes = WithFeatureBits(r.bytes, bits, major);
    WriteAll(vfs.get(), Path(1), bytes);
    std::unique_ptr<Manifest> m;
    EXPECT_EQ(Manifest::Load(vfs.get(), kDir, false, &m).code(), Code::kFormatTooNew);
    EXPECT_EQ(ReadAll(vfs.get(), Path(1)), bytes);
  }
}

// ---- generations ----

// Edits so large that the manifest goes over to a new generation every few of them.
constexpr size_t kLargeEdit = 300 << 10;

TEST(Manifest, GoesOverToANewGenerationAndKeepsTheOldUntilTheNextOpen) {
  auto vfs = EmptyMachine();
  auto m = Create(vfs.get());
  for (uint64_t n = 1; n <= 40; n++) {
    ASSERT_OK(m->Commit(NumberedEdit(m.get(), n, n % 4 == 0 ? kLargeEdit : 0)));
  }
  EXPECT_GT(m->file_number(), 1u);
  const auto live = m->live_generations();
  EXPECT_GT(live.size(), 1u);
  for (uint64_t number : live) EXPECT_GT(ReadAll(vfs.get(), Path(number)).size(), 0u);
  const std::string expected = Snapshot(*m);
  const uint64_t number = m->file_number();
  m.reset();
  ASSERT_OK(Manifest::Load(vfs.get(), kDir, true, &m));
  EXPECT_EQ(Snapshot(*m), expected);
  m.reset();
  ASSERT_OK(Manifest::Load(vfs.get(), kDir, false, &m));
  EXPECT_EQ(m->file_number(), number);
  std::vector<std::string> names;
  ASSERT_OK(vfs->List(kDir, &names));
  EXPECT_EQ(names.size(), 1u);
}

TEST(Manifest, ATornCreationAboveIsRemovedADamagedOneIsNot) {
  const Recorded r = Record(3);
  const auto load = [&](const std::string& newest, const std::string& older) {
    auto vfs = EmptyMachine();
    WriteAll(vfs.get(), Path(1), older);
    WriteAll(vfs.get(), Path(90), newest);
    std::unique_ptr<Manifest> m;
    const Status s = Manifest::Load(vfs.get(), kDir, false, &m);
    if (!s.ok()) return std::string(CodeName(s.code()));
    EXPECT_EQ(m->state().last_seqno, 3u);
    FileInfo info;
    EXPECT_FALSE(vfs->Stat(Path(90), &info).ok());
    EXPECT_GT(m->NewFileNumber(), 90u);
    return std::string("OK");
  };
  EXPECT_EQ(load("", r.bytes), "OK");
  EXPECT_EQ(load(std::string(4096, '\0'), r.bytes), "OK");
  EXPECT_EQ(load("garbage", r.bytes), "OK");
  std::string damaged = r.bytes;
  damaged[r.ends[1] - 1] ^= 1;
  EXPECT_EQ(load("", damaged), "CORRUPTION");
  EXPECT_EQ(load("", "garbage"), "CORRUPTION");
}

// Where neither the highest manifest nor the one below it holds.
TEST(Manifest, TheLowerOneIsToBlameUnlessTheHigherOneIsOfTomorrow) {
  const Recorded r = Record(3);
  const std::string foreign = "this was never a manifest, but somebody's notes";
  // Behind the snapshot and what calls it durable.
  const uint64_t second = kLogHeaderBytes + 2 * kLogRecordHeaderBytes +
                          LoadLe<uint32_t>(r.bytes.data() + kLogHeaderBytes + 4);
  std::string damaged = r.bytes;
  damaged[second] ^= 1;
  std::string unsound = r.bytes;
  unsound[kLogHeaderBytes] ^= 1;
  std::string tomorrow(kLogHeaderBytes, '\0');
  EncodeFileHeader(kManifestMagic, 90, tomorrow.data());
  StoreLe<uint16_t>(tomorrow.data() + 8, 2);
  StoreLe<uint32_t>(tomorrow.data() + 28, Crc32cKeyed(90, 0, Slice(tomorrow.data(), 28)));
  struct Case {
    std::string highest, lower;
    Code code;
    uint64_t named, offset;
  };
  const Case cases[] = {
      {foreign, damaged, Code::kCorruption, 1, second},
      {foreign, unsound, Code::kCorruption, 1, kLogHeaderBytes},
      {foreign, foreign, Code::kCorruption, 1, 0},
      {"", damaged, Code::kCorruption, 1, second},
      {foreign, WithFeatureBits(r.bytes, 0, 2), Code::kFormatTooNew, 1, 0},
      {tomorrow, damaged, Code::kFormatTooNew, 90, 0},
      {tomorrow, foreign, Code::kFormatTooNew, 90, 0},
  };
  for (const Case& c : cases) {
    const auto vfs = EmptyMachine();
    WriteAll(vfs.get(), Path(1), c.lower);
    WriteAll(vfs.get(), Path(90), c.highest);
    std::unique_ptr<Manifest> m;
    const Status s = Manifest::Load(vfs.get(), kDir, false, &m);
    const auto index = &c - cases;
    ASSERT_EQ(s.code(), c.code) << "case " << index << ": " << s.ToString();
    EXPECT_EQ(s.details()->path, Path(c.named)) << "case " << index;
    EXPECT_EQ(s.details()->offset, c.offset) << "case " << index;
  }
}

TEST(Manifest, ASuccessorThatIsMissingIsDamage) {
  auto vfs = EmptyMachine();
  auto m = Create(vfs.get());
  uint64_t n = 0;
  while (m->live_generations().size() == 1) {
    ASSERT_OK(m->Commit(NumberedEdit(m.get(), ++n, kLargeEdit)));
  }
  const uint64_t number = m->file_number();
  m.reset();
  const std::string newest = ReadAll(vfs.get(), Path(number));
  ASSERT_OK(vfs->Remove(Path(number)));
  const Status missing = Manifest::Load(vfs.get(), kDir, false, &m);
  ASSERT_EQ(missing.code(), Code::kCorruption);
  EXPECT_EQ(missing.details()->path, Path(number));
  WriteAll(vfs.get(), Path(number), newest.substr(0, 100));
  EXPECT_EQ(Manifest::Load(vfs.get(), kDir, false, &m).code(), Code::kCorruption);
  WriteAll(vfs.get(), Path(number), std::string(100, 'x'));
  const Status foreign = Manifest::Load(vfs.get(), kDir, false, &m);
  ASSERT_EQ(foreign.code(), Code::kCorruption);
  EXPECT_EQ(foreign.details()->path, Path(number));
  WriteAll(vfs.get(), Path(number), newest);
  EXPECT_OK(Manifest::Load(vfs.get(), kDir, false, &m));
}

// ---- crashes ----

class CrashWorkload {
 public:
  explicit CrashWorkload(Vfs* vfs) : vfs_(vfs) {}

  static constexpr uint64_t kCommits = 24;
  // Creates a manifest and commits to it, over several generations.
  void Run() {
    std::unique_ptr<Manifest> m;
    if (!Manifest::Create(vfs_, kDir, DirectoryKind::kDatabase, &m).ok()) return;
    created = true;
    for (uint64_t n = 1; n <= kCommits; n++) {
      started = n;
      if (m->Commit(NumberedEdit(m.get(), n, n % 3 == 0 ? kLargeEdit : 0)).ok()) {
        acknowledged = n;
        continue;
      }
      // Unless the manifest is poisoned, no trace is left of a failed commit.
      if (m->failure().ok()) started = acknowledged;
      return;
    }
    generations = m->live_generations().size();
  }

  bool created = false;
  uint64_t started = 0;       // last commit that was begun
  uint64_t acknowledged = 0;  // last commit that was told done
  size_t generations = 0;

 private:
  Vfs* vfs_;
};

// After a crash: the state is that of a commit from `least` to `most`, and commits go on.
void ExpectRecovers(MemVfs* vfs, bool created, uint64_t least, uint64_t most,
                    const std::string& what) {
  std::unique_ptr<Manifest> m;
  Status s = Manifest::Load(vfs, kDir, false, &m);
  if (s.Is(Code::kDbNotFound) && !created) {
    s = Manifest::Create(vfs, kDir, DirectoryKind::kDatabase, &m);
  }
  ASSERT_TRUE(s.ok()) << what << ": " << s.ToString();
  const uint64_t at = m->state().last_seqno;
  ASSERT_GE(at, least) << what;
  ASSERT_LE(at, most) << what;
  ASSERT_EQ(m->state().trees.size(), std::min<uint64_t>(at, 2)) << what;
  for (uint64_t n = at + 1; n <= at + 2; n++) {
    ASSERT_OK(m->Commit(NumberedEdit(m.get(), n)));
  }
  const std::string expected = Snapshot(*m);
  m.reset();
  ASSERT_OK(Manifest::Load(vfs, kDir, false, &m));
  ASSERT_EQ(Snapshot(*m), expected) << what;
}

std::vector<CrashPolicy> Policies(const MemVfs& vfs, TestRandom* random) {
  std::vector<CrashPolicy> policies = {
      CrashPolicy::None(),      CrashPolicy::All(),       CrashPolicy::Random(10),
      CrashPolicy::Random(50),  CrashPolicy::Random(90),  CrashPolicy::SizeFirst(),
      CrashPolicy::MetaFirst(), CrashPolicy::DataFirst(), CrashPolicy::Prefix(1)};
  const auto pending = vfs.Pending();
  if (pending.empty()) return policies;
  const uint64_t i = random->Below(pending.size());
  policies.push_back(CrashPolicy::DropOne(i));
  for (const auto fill :
       {CrashPolicy::Fill::kZero, CrashPolicy::Fill::kGarbage, CrashPolicy::Fill::kOld}) {
    const uint64_t last = pending.size() - 1;
    policies.push_back(CrashPolicy::Torn(last, random->Below(pending[last].length + 1), fill));
    policies.push_back(CrashPolicy::Torn(last, 0, fill));
  }
  return policies;
}

TEST(Manifest, CrashedAtEveryOperation) {
  TestRandom random(2);
  auto vfs = EmptyMachine();
  CrashWorkload workload(vfs.get());
  uint64_t images = 0;
  vfs->SetHook([&](const MemVfs::Operation& op) {
    if (testing::Test::HasFailure()) return;
    for (const CrashPolicy& policy : Policies(*vfs, &random)) {
      const auto after = vfs->CrashClone(policy, random.Next());
      ExpectRecovers(after.get(), workload.created, workload.acknowledged, workload.started,
                     "operation " + std::to_string(op.index) + ", " + policy.ToString());
      images++;
    }
  });
  workload.Run();
  EXPECT_EQ(workload.acknowledged, CrashWorkload::kCommits);
  EXPECT_GT(workload.generations, 2u);
  EXPECT_GT(images, 300u);
  std::printf("%llu crash images\n", static_cast<unsigned long long>(images));
}

// ---- faults ----

TEST(Manifest, EveryCallFailsOnceAndForGood) {
  const auto run = [](const FaultPlan& plan, uint64_t* fired) {
    auto memory = EmptyMachine();
    FaultVfs vfs(memory.get(), TestSeed());
    vfs.SetPlan(plan);
    CrashWorkload workload(&vfs);
    workload.Run();
    *fired = vfs.fired();
    vfs.SetPlan({});
    // Once as if the machine went on, once as if it lost what was not synced.
    const auto crashed = memory->CrashClone(CrashPolicy::None(), 1);
    for (MemVfs* after : {memory.get(), crashed.get()}) {
      ExpectRecovers(after, workload.created, workload.acknowledged, workload.started,
                     ToString(plan));
    }
    return workload;
  };
  uint64_t fired = 0;
  FaultPlan none;
  EXPECT_EQ(run(none, &fired).acknowledged, CrashWorkload::kCommits);
  uint64_t cases = 0;
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kTruncate, FaultOp::kSync,
                           FaultOp::kSyncDir, FaultOp::kRemove, FaultOp::kPreallocate}) {
    for (const FaultKind kind : {FaultKind::kEio, FaultKind::kEnospc, FaultKind::kShortWrite,
                                 FaultKind::kSyncKept, FaultKind::kSyncDropped}) {
      if (!FaultApplies(kind, op)) continue;
      for (const bool sticky : {false, true}) {
        for (uint64_t nth = 0;; nth++) {
          run({{op, PathClass::kAny, nth, kind, sticky}}, &fired);
          if (fired == 0) break;
          cases++;
          ASSERT_FALSE(HasFailure());
        }
      }
    }
  }
  EXPECT_GT(cases, 200u);
  std::printf("%llu faults\n", static_cast<unsigned long long>(cases));
}

// Only a file that was read to its end may pass for what a crash left of a creation.
TEST(Manifest, AReadThatEndsEarlyIsNoTornCreation) {
  for (const FaultKind kind : {FaultKind::kShortRead, FaultKind::kMisdirectedRead}) {
    for (const bool reserved : {true, false}) {
      auto memory = EmptyMachine();
      std::unique_ptr<Manifest> m = Create(memory.get());
      // A load gives back the space that was reserved.
      if (!reserved) ASSERT_OK(Manifest::Load(memory.get(), kDir, false, &m));
      m.reset();
      const std::string bytes = ReadAll(memory.get(), Path(1));
      FaultVfs vfs(memory.get(), TestSeed());
      vfs.SetPlan({{FaultOp::kRead, PathClass::kManifest, 0, kind, true}});
      EXPECT_EQ(Manifest::Load(&vfs, kDir, false, &m).code(), Code::kCorruption);
      EXPECT_EQ(Manifest::Create(&vfs, kDir, DirectoryKind::kDatabase, &m).code(),
                Code::kCorruption);
      EXPECT_EQ(ReadAll(memory.get(), Path(1)), bytes);
    }
  }
}

TEST(Manifest, AFullDiskFailsCommitsUntilThereIsRoom) {
  auto memory = EmptyMachine();
  auto m = Create(memory.get());
  ASSERT_OK(m->Commit(NumberedEdit(m.get(), 1)));
  const std::string before = Snapshot(*m);
  memory->SetCapacity(100 << 10);
  EXPECT_EQ(m->Commit(NumberedEdit(m.get(), 2, kLargeEdit)).code(), Code::kDiskFull);
  EXPECT_OK(m->failure());
  EXPECT_EQ(ManifestEdit::SnapshotOf(m->state()).Encode(), before);
  memory->SetCapacity(UINT64_MAX);
  ASSERT_OK(m->Commit(NumberedEdit(m.get(), 2)));
}

TEST(Manifest, AFailedSyncEndsIt) {
  auto memory = EmptyMachine();
  FaultVfs vfs(memory.get());
  auto m = Create(&vfs);
  vfs.SetPlan({{FaultOp::kSync, PathClass::kManifest, 0, FaultKind::kSyncKept, false}});
  const Status s = m->Commit(NumberedEdit(m.get(), 1));
  EXPECT_EQ(s.code(), Code::kSyncFailed);
  EXPECT_TRUE(s.details()->indeterminate);
  EXPECT_EQ(m->failure().code(), Code::kSyncFailed);
  EXPECT_EQ(m->Commit(NumberedEdit(m.get(), 2)).code(), Code::kSyncFailed);
}

}  // namespace
}  // namespace shale
