#include "tree/version.h"

#include <list>
#include <unordered_map>

#include "support/case_file.h"
#include "tree/placement.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

// Real tables of two entries each: what a version needs of them are their bounds. Each has a
// machine of its own, so that two may have one number.
class TableFactory {
 public:
  // "number:first-last"
  Ref<TableReader> Make(const std::string& text) {
    const auto parts = SplitAt(text, ':');
    const auto keys = SplitAt(parts.at(1), '-');
    return Make(std::stoull(parts.at(0)), keys.at(0), keys.at(1));
  }
  Ref<TableReader> Make(uint64_t number, const std::string& first, const std::string& last) {
    Machine& m = machines_.emplace_back();
    std::unique_ptr<TableWriter> writer;
    EXPECT_OK(TableWriter::Create(&m.vfs, FileName("/db", FileKind::kTable, number), number, {},
                                  &writer));
    EXPECT_OK(writer->Add({first, "v", MakeTag(2, Kind::kValue)}));
    if (first != last) {
      EXPECT_OK(writer->Add({last, "v", MakeTag(1, Kind::kValue)}));
    }
    TableMeta meta;
    EXPECT_OK(writer->Finish(&meta));
    Ref<TableReader> reader;
    EXPECT_OK(TableReader::Open({&m.vfs, "/db", m.cache, m.files}, meta, {},
                                std::make_shared<TableCounters>(), &reader));
    return reader;
  }

 private:
  struct Machine {
    Machine() { EXPECT_OK(vfs.MakeDir("/db")); }
    MemVfs vfs;
    std::shared_ptr<Cache> cache = std::make_shared<Cache>(1 << 16);
    std::shared_ptr<FileCache> files = std::make_shared<FileCache>(&vfs, 4);
  };
  std::list<Machine> machines_;
};

TablePlace ParsePlace(const std::string& text) {
  const auto parts = SplitAt(text, '/');
  return {std::stoi(parts.at(0)), std::stoull(parts.at(1))};
}

struct VersionCase {
  std::vector<std::vector<shale::Run>> levels{kLevelCount};
  std::unordered_map<uint64_t, Ref<TableReader>> opened;
  VersionEdit edit;
  std::vector<std::string> expected;
};

std::string Join(const std::vector<std::string>& words, size_t first) {
  std::string text;
  for (size_t i = first; i < words.size(); i++) text += (i == first ? "" : " ") + words[i];
  return text;
}

void Parse(const TextCase& text, TableFactory* factory, VersionCase* c) {
  for (const auto& words : text.lines) {
    if (words[0] == "->") {
      c->expected.push_back(Join(words, 1));
    } else if (words[0] == "add") {
      Ref<TableReader> table = factory->Make(words.at(1));
      c->edit.added.push_back({table->meta(), ParsePlace(words.at(3))});
      c->opened[table->meta().number] = table;
    } else if (words[0] == "remove") {
      for (size_t i = 1; i < words.size(); i++) c->edit.removed.push_back(std::stoull(words[i]));
    } else if (words[0] == "move") {
      c->edit.moved.push_back({std::stoull(words.at(1)), ParsePlace(words.at(3))});
    } else {
      const TablePlace place = ParsePlace(words[0].substr(1));
      shale::Run run;
      run.order = place.run_order;
      for (size_t i = 1; i < words.size(); i++) run.tables.push_back(factory->Make(words[i]));
      c->levels.at(size_t(place.level)).push_back(std::move(run));
    }
  }
}

std::vector<std::string> Describe(const Version& version) {
  std::vector<std::string> lines;
  for (int level = 0; level < kLevelCount; level++) {
    for (const shale::Run& run : version.level(level)) {
      std::string line = "L" + std::to_string(level) + "/" + std::to_string(run.order);
      for (const auto& t : run.tables) line += " " + std::to_string(t->meta().number);
      lines.push_back(line);
    }
  }
  return lines.empty() ? std::vector<std::string>{"empty"} : lines;
}

TEST(Version, Cases) {
  for (const TextCase& text : ReadCases("version.cases.txt")) {
    TableFactory factory;
    VersionCase c;
    Parse(text, &factory, &c);
    const Ref<Version> before = MakeRef<Version>(1, std::move(c.levels));
    ASSERT_OK(before->CheckInvariants());
    Ref<Version> after;
    const Status s = before->Apply(
        c.edit, 2, [&](uint64_t number) { return c.opened[number]; }, &after);
    std::vector<std::string> got;
    if (s.ok()) {
      got = Describe(*after);
      EXPECT_OK(after->CheckInvariants());
      EXPECT_EQ(after->id(), 2u);
    } else {
      got = {s.Is(Code::kPlanStale) ? "stale" : (s.Is(Code::kCorruption) ? "damaged" : "?")};
    }
    EXPECT_EQ(got, c.expected) << "line " << text.line << ": " << text.name;
  }
}

TEST(Run, FindsTheTableOfAKey) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(20); round++) {
    TableFactory factory;
    // Bounds with long common prefixes, and some that end inside the others' heads.
    std::set<std::string> bounds;
    const std::string prefix = random.OneIn(2) ? "" : std::string(random.Below(12), 'p');
    const uint64_t count = 2 * (1 + random.Below(20));
    while (bounds.size() < count) {
      std::string key = prefix + std::string(random.Below(3), 'q');
      for (uint64_t n = 1 + random.Below(10); n > 0; n--) key.push_back(char(random.Below(4)));
      bounds.insert(key);
    }
    std::vector<std::vector<shale::Run>> levels(kLevelCount);
    levels[1].resize(1);
    const std::vector<std::string> sorted(bounds.begin(), bounds.end());
    for (size_t i = 0; i < sorted.size(); i += 2) {
      levels[1][0].tables.push_back(factory.Make(i + 1, sorted[i], sorted[i + 1]));
    }
    const Ref<Version> version = MakeRef<Version>(1, std::move(levels));
    const shale::Run& run = version->level(1)[0];
    std::vector<std::string> probes = sorted;
    for (int i = 0; i < 200; i++) {
      std::string key = sorted[random.Below(sorted.size())];
      if (random.OneIn(2)) key.resize(random.Below(key.size() + 1));
      if (random.OneIn(2)) key.push_back(char(random.Below(256)));
      probes.push_back(key);
    }
    for (const std::string& key : probes) {
      size_t lower = 0;
      while (lower * 2 + 1 < sorted.size() && sorted[lower * 2 + 1] < key) lower++;
      ASSERT_EQ(run.LowerBound(key), lower);
      const bool inside = lower < run.tables.size() && sorted[lower * 2] <= key;
      ASSERT_EQ(run.Find(key) != nullptr, inside);
      size_t starting = 0;
      while (starting * 2 < sorted.size() && sorted[starting * 2] < key) starting++;
      ASSERT_EQ(run.FirstStartingAt(key), starting);
    }
  }
}

TEST(Version, OptionsAreLookedUpFromTheFirstLevelInUse) {
  TableFactory factory;
  std::vector<std::vector<shale::Run>> levels(kLevelCount);
  const auto put = [&](int level, const char* table) {
    levels[size_t(level)].resize(1);
    levels[size_t(level)][0].tables.push_back(factory.Make(table));
  };
  put(6, "1:a-c");
  EXPECT_EQ(MakeRef<Version>(1, levels)->PolicyLevel(6), 1);
  EXPECT_EQ(MakeRef<Version>(1, levels)->PolicyLevel(0), 0);
  EXPECT_EQ(MakeRef<Version>(1, levels)->PolicyLevel(4), 1);
  put(4, "2:a-c");
  EXPECT_EQ(MakeRef<Version>(1, levels)->PolicyLevel(6), 3);
  EXPECT_EQ(MakeRef<Version>(1, levels)->PolicyLevel(4), 1);
}

// ---- placement: random plans on random trees keep the order of versions, or are refused ----

TEST(Placement, NoPlanPutsNewerEntriesBelowOlderOnes) {
  TestRandom random(2);
  uint64_t refused = 0;
  uint64_t done = 0;
  for (uint64_t round = 0; round < Scaled(12); round++) {
    TreeHarness h;
    HistoryModel model;
    Seqno s = 0;
    for (int step = 0; step < 150; step++) {
      const uint64_t span = random.Below(20);
      for (int i = 0; i < 5; i++) {
        OwnedEntry e("k" + std::to_string(10 + span + random.Below(4)), ++s);
        if (random.OneIn(3)) {
          e.kind = Kind::kTombstone;
        } else {
          e.value = std::to_string(s);
        }
        h.tree()->Add(e.key, e.value, e.seqno, e.kind);
        model.Add(e);
      }
      h.retention = {{}, s + 1};
      if (random.OneIn(3)) {
        ASSERT_OK(h.RotateAndFlush());
      }
      // Any tables to any level.
      CompactionPlan plan;
      plan.type = random.OneIn(3) ? CompactionPlan::Type::kMove : CompactionPlan::Type::kMerge;
      plan.destination_level = static_cast<int>(random.Below(kLevelCount));
      plan.target_size = 200;
      for (int level = 0; level < kLevelCount; level++) {
        for (const shale::Run& run : h.tree()->Pin()->version->level(level)) {
          for (const auto& t : run.tables) {
            if (random.OneIn(3)) plan.tables.push_back(t->meta().number);
          }
        }
      }
      Status status = h.tree()->Claim(plan);
      if (status.ok()) status = h.tree()->Compact(plan, nullptr, nullptr);
      (status.ok() ? done : refused)++;
      ASSERT_TRUE(status.ok() || status.Is(Code::kInvalidArgument) || status.Is(Code::kPlanStale))
          << status.ToString();
      ASSERT_OK(h.tree()->Pin()->version->CheckInvariants());
      ASSERT_EQ(h.Scan(kReadAll), model.Scan(kReadAll));
      for (int i = 0; i < 24; i++) {
        const std::string key = "k" + std::to_string(10 + i);
        ASSERT_EQ(h.Get(key, kReadAll), model.Get(key, kReadAll)) << key;
      }
    }
  }
  EXPECT_GT(refused, 50 * Scaled(12) / 12);
  EXPECT_GT(done, 50 * Scaled(12) / 12);
}

}  // namespace
}  // namespace shale
