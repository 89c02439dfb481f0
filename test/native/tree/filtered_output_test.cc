// What is left of what a compaction would keep, and how a filter is asked about it.
#include "tree/filtered_output.h"

#include <algorithm>
#include <random>

#include "base/blob_pointer.h"
#include "support/case_file.h"
#include "tree/filter_support.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

class FilteredCollector final : public Retention::Sink {
 public:
  Status Add(const Entry& entry) override {
    kept.push_back(Own(entry));
    return Status::Ok();
  }
  std::vector<OwnedEntry> kept;
};

Status NoBlobs(const Entry&, BlobHit*) { return {Code::kInvalidArgument, "no blobs here"}; }

// The entries through a filter that does what `decide` says; the slices of a source die with its
// next step.
Status RunFilter(const std::vector<OwnedEntry>& entries, std::shared_ptr<CompactionFilter> filter,
                 const Retention::MayExistBelow& below, std::vector<OwnedEntry>* kept,
                 bool* changed = nullptr, const FilteredOutput::Fetch& fetch = NoBlobs,
                 const RetentionView& view = {}) {
  FilteredCollector sink;
  FilteredOutput output(std::move(filter), FilterContext(), fetch, view, below, &sink);
  for (const OwnedEntry& e : entries) {
    const auto copy = std::make_unique<OwnedEntry>(e);
    SHALE_RETURN_IF_ERROR(output.Add(copy->view()));
  }
  SHALE_RETURN_IF_ERROR(output.Finish());
  if (changed != nullptr) *changed = output.changed();
  *kept = std::move(sink.kept);
  return Status::Ok();
}

// `a@9=x`, `a@9 T`, `a@9 W`: an entry of the cases. Nothing for a range tombstone: those do not
// come this way here (TableOutput).
std::optional<OwnedEntry> ParseEntry(const std::vector<std::string>& words, size_t first) {
  const std::string& word = words[first];
  const size_t at = word.find('@');
  const size_t equals = word.find('=');
  const bool is_value = equals != std::string::npos;
  if (!is_value && words.size() == first + 1) return std::nullopt;
  OwnedEntry entry;
  entry.key = word.substr(0, at);
  entry.seqno = std::stoull(word.substr(at + 1));
  if (is_value) {
    entry.value = word.substr(equals + 1);
  } else {
    entry.kind = words[first + 1] == "T" ? Kind::kTombstone : Kind::kWeakTombstone;
  }
  return entry;
}

FilterVerdict ParseVerdict(const std::string& word) {
  if (word == "keep") return {};
  if (word == "remove") return {Verdict::kRemove, {}};
  if (word == "removeWeak") return {Verdict::kRemoveWeak, {}};
  if (word == "destroy") return {Verdict::kDestroy, {}};
  EXPECT_EQ(word.rfind("replace=", 0), 0u) << "an unknown verdict: " << word;
  return {Verdict::kReplace, word.substr(8)};
}

struct FilterCase {
  RetentionView view{{}, 100};
  std::set<std::string> below;
  std::vector<OwnedEntry> entries;
  std::vector<FilterVerdict> verdicts;  // of the values
  bool changes = false;
  std::vector<OwnedEntry> left;
};

FilterCase ParseCase(const TextCase& text) {
  FilterCase c;
  for (const std::vector<std::string>& line : text.lines) {
    if (line[0] == "snapshots") {
      for (size_t i = 1; i < line.size(); i++) c.view.snapshots.push_back(std::stoull(line[i]));
    } else if (line[0] == "visible") {
      c.view.visible = std::stoull(line[1]);
    } else if (line[0] == "below") {
      c.below.insert(line.begin() + 1, line.end());
    } else if (line[0] == "->" && (line[1] == "changed" || line[1] == "unchanged")) {
      c.changes = line[1] == "changed";
    } else if (line[0] == "->") {
      if (const auto entry = ParseEntry(line, 1)) c.left.push_back(*entry);
    } else if (const auto entry = ParseEntry(line, 0)) {
      c.entries.push_back(*entry);
      if (!IsTombstone(entry->kind)) c.verdicts.push_back(ParseVerdict(line[1]));
    }
  }
  return c;
}

TEST(FilteredOutput, Cases) {
  const std::vector<TextCase> cases = ReadCases("filter.cases.txt");
  EXPECT_FALSE(cases.empty());
  for (const TextCase& text : cases) {
    SCOPED_TRACE(text.name);
    const FilterCase c = ParseCase(text);
    size_t next = 0;
    auto filter =
        std::make_shared<TestFilter>([&](const FilterEntry&) { return c.verdicts.at(next++); });
    std::vector<OwnedEntry> kept;
    bool changed = false;
    ASSERT_OK(RunFilter(
        c.entries, filter, [&](Slice key) { return c.below.count(key.ToString()) != 0; }, &kept,
        &changed, NoBlobs, c.view));
    EXPECT_EQ(kept, c.left);
    EXPECT_EQ(changed, c.changes);
    EXPECT_EQ(next, c.verdicts.size());
  }
}

// Batches end in the middle of keys, and tombstones wait on both sides.
TEST(FilteredOutput, BatchesMakeNoDifference) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 50; round++) {
    std::vector<OwnedEntry> entries;
    for (uint64_t k = 0; k < 1 + random() % 60; k++) {
      const std::string key = "key" + std::to_string(1000 + k);
      for (Seqno s = 1 + random() % 40; s > 0; s -= std::min<Seqno>(s, 1 + random() % 3)) {
        const uint64_t draw = random() % 4;
        const Kind kind = draw < 2    ? Kind::kValue
                          : draw == 2 ? Kind::kTombstone
                                      : Kind::kWeakTombstone;
        const std::string value(kind == Kind::kValue ? random() % 3000 : 0, 'v');
        entries.emplace_back(key, s, kind, value);
      }
    }
    const uint64_t salt = random();
    const auto decide = [salt](Slice key, size_t size) {
      const uint64_t hash = std::hash<std::string>()(key.ToString()) ^ salt ^ (size * 2654435761u);
      return static_cast<Verdict>(hash % 5);
    };
    auto filter = std::make_shared<TestFilter>([&](const FilterEntry& entry) -> FilterVerdict {
      const Verdict verdict = decide(entry.key, entry.value->size());
      return {verdict, verdict == Verdict::kReplace ? "new" : ""};
    });
    const auto below = [salt](Slice key) { return ((key[key.size() - 1] ^ salt) & 1) != 0; };

    // The same, key by key and from its oldest version.
    std::vector<OwnedEntry> expected;
    for (size_t begin = 0; begin < entries.size();) {
      size_t end = begin;
      while (end < entries.size() && entries[end].key == entries[begin].key) end++;
      std::vector<OwnedEntry> left;
      for (size_t i = begin; i < end; i++) {
        OwnedEntry e = entries[i];
        if (!IsTombstone(e.kind)) {
          const Verdict verdict = decide(e.key, e.value.size());
          if (verdict == Verdict::kDestroy) continue;
          if (verdict == Verdict::kReplace) e.value = "new";
          if (verdict == Verdict::kRemove) e.kind = Kind::kTombstone;
          if (verdict == Verdict::kRemoveWeak) e.kind = Kind::kWeakTombstone;
          if (IsTombstone(e.kind)) e.value.clear();
        }
        left.push_back(e);
      }
      if (!below(entries[begin].key)) {
        while (!left.empty() && IsTombstone(left.back().kind)) left.pop_back();
      }
      expected.insert(expected.end(), left.begin(), left.end());
      begin = end;
    }
    std::vector<OwnedEntry> kept;
    ASSERT_OK(RunFilter(entries, filter, below, &kept));
    ASSERT_EQ(kept, expected) << "round " << round;
  }
}

TEST(FilteredOutput, BatchesAreBounded) {
  std::vector<OwnedEntry> entries;
  for (int i = 0; i < 1000; i++) entries.emplace_back("a" + std::to_string(1000 + i), 1);
  for (int i = 0; i < 10; i++) {
    entries.emplace_back("b" + std::to_string(i), 1, Kind::kValue, std::string(20'000, 'v'));
  }
  entries.emplace_back("c", 1, Kind::kValue, std::string(1'000'000, 'v'));
  entries.emplace_back("d", 1, Kind::kValue, "v");
  auto filter = std::make_shared<TestFilter>([](const FilterEntry&) { return FilterVerdict(); });
  std::vector<OwnedEntry> kept;
  bool changed = true;
  ASSERT_OK(RunFilter(
      entries, filter, [](Slice) { return false; }, &kept, &changed));
  EXPECT_EQ(kept, entries);
  EXPECT_FALSE(changed);
  size_t asked = 0;
  for (const TestFilter::Batch& batch : filter->batches) {
    EXPECT_LE(batch.keys.size(), kFilterBatchEntries);
    EXPECT_TRUE(batch.bytes <= kFilterBatchBytes || batch.keys.size() == 1) << batch.bytes;
    asked += batch.keys.size();
  }
  EXPECT_EQ(asked, entries.size());
  EXPECT_EQ(filter->batches[0].keys.size(), kFilterBatchEntries);
}

TEST(FilteredOutput, TombstonesAreNeverAskedAboutAndWaitForNothing) {
  std::vector<OwnedEntry> entries;
  for (int i = 0; i < 20'000; i++) {
    entries.emplace_back("k" + std::to_string(100'000 + i), 1, Kind::kTombstone);
  }
  auto filter = std::make_shared<TestFilter>([](const FilterEntry&) -> FilterVerdict {
    return {Verdict::kDestroy, {}};
  });
  std::vector<OwnedEntry> kept;
  ASSERT_OK(RunFilter(
      entries, filter, [](Slice) { return true; }, &kept));
  EXPECT_EQ(kept, entries);
  EXPECT_TRUE(filter->batches.empty());
  // Those behind a value that waits for its batch.
  entries.insert(entries.begin(), OwnedEntry("a", 5, Kind::kValue, "v"));
  ASSERT_OK(RunFilter(
      entries, filter, [](Slice) { return true; }, &kept));
  entries.erase(entries.begin());
  EXPECT_EQ(kept, entries);
  EXPECT_EQ(filter->batches.size(), 1u);
}

TEST(FilteredOutput, SeparatedValuesAreFetchedWhereTheFilterNeedsThem) {
  BlobPointer pointer;
  pointer.file_number = 3;
  pointer.raw_length = 5;
  const auto bytes = pointer.Encode();
  const std::vector<OwnedEntry> entries = {
      {"a", 7, Kind::kBlobPointer, std::string(bytes.data(), bytes.size())},
      {"b", 6, Kind::kValue, "inline"}};
  const auto fetch = [](const Entry& entry, BlobHit* hit) {
    EXPECT_EQ(entry.key, Slice("a"));
    hit->value = "fetch";
    return Status::Ok();
  };
  for (const bool needs : {false, true}) {
    std::vector<std::string> seen;
    auto filter = std::make_shared<TestFilter>([&](const FilterEntry& entry) -> FilterVerdict {
      seen.push_back(entry.value ? entry.value->ToString() : "absent");
      return {entry.key == Slice("a") ? Verdict::kKeep : Verdict::kRemove, {}};
    });
    filter->needs = needs;
    std::vector<OwnedEntry> kept;
    ASSERT_OK(RunFilter(
        entries, filter, [](Slice) { return true; }, &kept, nullptr, fetch));
    EXPECT_EQ(seen, (std::vector<std::string>{needs ? "fetch" : "absent", "inline"}));
    EXPECT_EQ(kept, (std::vector<OwnedEntry>{entries[0], {"b", 6, Kind::kTombstone}}));
  }
}

TEST(FilteredOutput, FailuresOfTheFilterAndOfAFetchEndTheJob) {
  const std::vector<OwnedEntry> entries = {{"a", 7, Kind::kValue, "v"}};
  std::vector<OwnedEntry> kept;
  auto filter = std::make_shared<TestFilter>([](const FilterEntry&) { return FilterVerdict(); });
  filter->failure = ApplicationFailure("no");
  EXPECT_TRUE(RunFilter(
                  entries, filter, [](Slice) { return false; }, &kept)
                  .from_application());
  filter->failure = Status::Ok();
  filter->surplus = 1;
  const Status wrong = RunFilter(
      entries, filter, [](Slice) { return false; }, &kept);
  EXPECT_TRUE(wrong.Is(Code::kAborted) && wrong.from_application()) << wrong.ToString();
  filter->surplus = 0;
  const auto pointer = BlobPointer().Encode();
  EXPECT_TRUE(RunFilter(
                  {{"a", 7, Kind::kBlobPointer, {pointer.data(), pointer.size()}}}, filter,
                  [](Slice) { return false; }, &kept)
                  .Is(Code::kInvalidArgument));
}

}  // namespace
}  // namespace shale
