// Compaction filters in a tree: who is asked and when, what reads see before and after, and what a
// failure leaves behind.
#include "tree/compaction_filter.h"

#include "tree/filter_support.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

using Pairs = TreeHarness::Pairs;

std::shared_ptr<TestFilter> Keeper() {
  return std::make_shared<TestFilter>([](const FilterEntry&) { return FilterVerdict(); });
}

// The verdict is the first letter of the value; of a new value it is the rest.
FilterVerdict SpokenVerdict(const FilterEntry& entry) {
  const std::string value = entry.value ? entry.value->ToString() : "";
  switch (value.empty() ? 'k' : value[0]) {
    case 'r':
      return {Verdict::kRemove, {}};
    case 'w':
      return {Verdict::kRemoveWeak, {}};
    case 'd':
      return {Verdict::kDestroy, {}};
    case 'n':
      return {Verdict::kReplace, value.substr(1)};
    default:
      return {};
  }
}

std::vector<uint64_t> TablesOf(const Version& version, int level) {
  std::vector<uint64_t> numbers;
  for (const Run& run : version.level(level)) {
    for (const auto& table : run.tables) numbers.push_back(table->meta().number);
  }
  return numbers;
}

// All of level 0 to `level`.
Status MergeDown(TreeHarness* h, int level) {
  CompactionPlan plan;
  plan.tables = TablesOf(*h->tree()->Pin()->version, 0);
  plan.destination_level = level;
  SHALE_RETURN_IF_ERROR(h->tree()->Claim(plan));
  return h->tree()->Compact(plan, nullptr, nullptr);
}

uint64_t Tombstones(const Version& version) {
  uint64_t sum = 0;
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : version.level(level)) {
      for (const auto& t : run.tables) {
        sum += t->meta().tombstone_count + t->meta().weak_tombstone_count;
      }
    }
  }
  return sum;
}

std::vector<FilterVerdict> JudgeAll(CompactionFilter* filter,
                                    const std::vector<FilterEntry>& entries, uint64_t now_ms) {
  FilterContext context;
  context.now_ms = now_ms;
  std::vector<FilterVerdict> verdicts;
  EXPECT_OK(filter->Judge(entries, context, &verdicts));
  EXPECT_EQ(verdicts.size(), entries.size());
  return verdicts;
}

TEST(BuiltInFilters, TtlReadsBigEndianMilliseconds) {
  const auto stamped = [](uint64_t ms) {
    std::string bytes = "xx";
    for (int i = 7; i >= 0; i--) bytes.push_back(static_cast<char>(ms >> 8 * i));
    return bytes + "y";
  };
  const auto in_key = MakeTtlFilter(true, 2, 100);
  const auto in_value = MakeTtlFilter(false, 2, 100);
  EXPECT_FALSE(in_key->needs_blob_values());
  EXPECT_TRUE(in_value->needs_blob_values());
  const auto drops = [&](uint64_t stamp, uint64_t now) {
    const std::string bytes = stamped(stamp);
    const auto a = JudgeAll(in_key.get(), {{bytes, std::nullopt}}, now);
    const auto b = JudgeAll(in_value.get(), {{"k", bytes}}, now);
    EXPECT_EQ(a[0].verdict, b[0].verdict);
    return a[0].verdict == Verdict::kRemove;
  };
  EXPECT_FALSE(drops(1000, 1099));
  EXPECT_TRUE(drops(1000, 1100));
  EXPECT_TRUE(drops(0x0102030405, 0x0102030405 + 100));
  EXPECT_FALSE(drops(1000, 900));
  EXPECT_FALSE(drops(UINT64_MAX, UINT64_MAX - 1));
  const std::string cut = stamped(0).substr(0, 9);
  EXPECT_EQ(JudgeAll(in_key.get(), {{cut, "v"}}, 1000)[0].verdict, Verdict::kKeep);
  EXPECT_EQ(JudgeAll(in_value.get(), {{"k", cut}}, 1000)[0].verdict, Verdict::kKeep);
  EXPECT_EQ(JudgeAll(in_value.get(), {{"k", std::nullopt}}, 1000)[0].verdict, Verdict::kKeep);
  const auto far = MakeTtlFilter(false, UINT64_MAX - 4, 0);
  EXPECT_EQ(JudgeAll(far.get(), {{"k", stamped(0)}}, 1000)[0].verdict, Verdict::kKeep);
}

TEST(BuiltInFilters, PrefixesAreFoundAmongManyThatOverlap) {
  std::mt19937_64 random(TestSeed());
  const auto word = [&](size_t size) {
    std::string text;
    for (size_t i = 0; i < size; i++) text.push_back("\x00\x01\xff"[random() % 3]);
    return text;
  };
  for (int round = 0; round < 300; round++) {
    std::vector<std::string> prefixes;
    for (uint64_t i = 0; i < random() % 8; i++) prefixes.push_back(word(1 + random() % 4));
    const auto filter = MakePrefixFilter(prefixes);
    EXPECT_FALSE(filter->needs_blob_values());
    for (int i = 0; i < 30; i++) {
      const std::string key = word(1 + random() % 6);
      const bool expected = std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) {
        return Slice(key).StartsWith(prefix);
      });
      const auto verdict = JudgeAll(filter.get(), {{key, "v"}}, 0)[0].verdict;
      ASSERT_EQ(verdict == Verdict::kRemove, expected) << "round " << round;
    }
  }
  EXPECT_EQ(JudgeAll(MakePrefixFilter({"a", ""}).get(), {{"z", "v"}}, 0)[0].verdict,
            Verdict::kRemove);
}

TEST(CompactionFilterTest, OnlyMergesAsk) {
  TreeHarness h;
  h.retention = {{}, kReadAll};
  const auto filter = Keeper();
  h.tree()->AddFilter(filter);
  h.Put("a", "1", 1);
  ASSERT_OK(h.RotateAndFlush());
  CompactionPlan move;
  move.type = CompactionPlan::Type::kMove;
  move.tables = TablesOf(*h.tree()->Pin()->version, 0);
  move.destination_level = 3;
  ASSERT_OK(h.tree()->Claim(move));
  ASSERT_OK(h.tree()->Compact(move, nullptr, nullptr));
  h.Put("b", "2", 2);
  ASSERT_OK(h.RotateAndFlush());
  CompactionPlan drop;
  drop.type = CompactionPlan::Type::kDrop;
  drop.tables = TablesOf(*h.tree()->Pin()->version, 0);
  ASSERT_OK(h.tree()->Claim(drop));
  ASSERT_OK(h.tree()->Compact(drop, nullptr, nullptr));
  EXPECT_TRUE(filter->batches.empty());
  h.Put("c", "3", 3);
  ASSERT_OK(h.RotateAndFlush());
  ASSERT_OK(MergeDown(&h, 2));
  ASSERT_EQ(filter->batches.size(), 1u);
  EXPECT_EQ(filter->batches[0].keys, (std::vector<std::string>{"c"}));
  EXPECT_FALSE(filter->batches[0].is_last_level);
  ASSERT_OK(h.Major());
  ASSERT_EQ(filter->batches.size(), 2u);
  EXPECT_EQ(filter->batches[1].keys, (std::vector<std::string>{"a", "c"}));
  EXPECT_TRUE(filter->batches[1].is_last_level);
}

// Edge: a filter that removes everything under an open snapshot.
TEST(CompactionFilterTest, ReadsOfBeforeAChangeSeeWhatWasThere) {
  TreeHarness h;
  h.Put("a", "keep", 1);
  h.Put("b", "remove", 2);
  h.Put("c", "destroy", 3);
  h.Put("d", "new", 4);
  h.Put("e", "weak", 5);
  ASSERT_OK(h.RotateAndFlush());
  h.retention = {{5}, 6};
  h.tree()->AddFilter(std::make_shared<TestFilter>(SpokenVerdict));
  const Pairs before = h.Scan(kReadAll);
  ASSERT_OK(h.Major());
  EXPECT_EQ(h.Scan(kReadAll), (Pairs{{"a", "keep"}, {"d", "ew"}}));
  EXPECT_EQ(Tombstones(*h.tree()->Pin()->version), 0u);
  EXPECT_TRUE(h.tree()->holds());
  EXPECT_EQ(h.Scan(5), Pairs(before.begin(), before.begin() + 4));
  EXPECT_EQ(h.tree()->PinFor(5)->version->table_count(), 1u);
  h.retention = {{}, 6};
  h.tree()->ReleaseHeld();
  EXPECT_FALSE(h.tree()->holds());
  EpochCollect();
  ASSERT_OK(h.Reopen());
  EXPECT_EQ(h.Scan(kReadAll), (Pairs{{"a", "keep"}, {"d", "ew"}}));
}

TEST(CompactionFilterTest, WhatIsKeptIsCommittedUnseen) {
  TreeHarness h;
  h.Put("a", "keep", 1);
  ASSERT_OK(h.RotateAndFlush());
  h.tree()->AddFilter(Keeper());
  ASSERT_OK(h.Major());
  EXPECT_FALSE(h.tree()->holds());
  EXPECT_EQ(h.Scan(kReadAll), (Pairs{{"a", "keep"}}));
}

TEST(CompactionFilterTest, TombstonesStayOnlyAboveWhatTheyHide) {
  TreeHarness h;
  h.retention = {{}, kReadAll};
  for (const char* key : {"a", "b", "c", "d"}) h.Put(key, "old", 1);
  ASSERT_OK(h.RotateAndFlush());
  ASSERT_OK(h.Major());
  h.Put("a", "remove", 2);
  h.Put("b", "weak", 3);
  h.Put("c", "destroy", 4);
  h.Put("d", "new", 5);
  h.Put("x", "remove", 6);
  h.Put("y", "weak", 7);
  ASSERT_OK(h.RotateAndFlush());
  const auto filter = std::make_shared<TestFilter>(SpokenVerdict);
  h.tree()->AddFilter(filter);
  ASSERT_OK(MergeDown(&h, 3));
  const Pairs expected{{"c", "old"}, {"d", "ew"}};
  EXPECT_EQ(h.Scan(kReadAll), expected);
  EXPECT_EQ(Tombstones(*h.tree()->Pin()->version), 2u);
  ASSERT_OK(h.Major());
  EXPECT_EQ(h.Scan(kReadAll), expected);
  EXPECT_EQ(Tombstones(*h.tree()->Pin()->version), 0u);
}

TEST(CompactionFilterTest, AFailureChangesNothingAndLetsGoOfTheTables) {
  TreeHarness h;
  h.retention = {{}, kReadAll};
  for (int i = 0; i < 300; i++) h.Put("k" + std::to_string(1000 + i), "remove", 1);
  ASSERT_OK(h.RotateAndFlush());
  const auto filter = std::make_shared<TestFilter>(SpokenVerdict);
  filter->failure = ApplicationFailure("not today", 7);
  h.tree()->AddFilter(filter);
  const Pairs before = h.Scan(kReadAll);
  const std::vector<std::string> files = h.Files(FileKind::kTable);
  const Status failed = h.Major();
  EXPECT_TRUE(failed.Is(Code::kAborted) && failed.from_application()) << failed.ToString();
  EXPECT_EQ(failed.details()->question, 7u);
  EXPECT_EQ(h.Scan(kReadAll), before);
  EXPECT_FALSE(h.tree()->holds());
  EpochCollect();
  EXPECT_EQ(h.Files(FileKind::kTable), files);
  filter->failure = Status::Ok();
  ASSERT_OK(h.Major());
  EXPECT_EQ(h.Scan(kReadAll), Pairs());
  EXPECT_EQ(h.tree()->Pin()->version->table_count(), 0u);
}

TEST(CompactionFilterTest, OfSeveralTheFirstOneThatIsAliveIsAsked) {
  TreeHarness h;
  h.retention = {{}, kReadAll};
  h.Put("a", "1", 1);
  ASSERT_OK(h.RotateAndFlush());
  const auto first = Keeper();
  const auto second = Keeper();
  h.tree()->AddFilter(first);
  h.tree()->AddFilter(second);
  ASSERT_OK(h.Major());
  EXPECT_EQ(first->batches.size(), 1u);
  EXPECT_EQ(second->batches.size(), 0u);
  first->Drop();
  ASSERT_OK(h.Major());
  EXPECT_EQ(first->batches.size(), 1u);
  EXPECT_EQ(second->batches.size(), 1u);
  second->Drop();
  EXPECT_EQ(h.tree()->filter(), nullptr);
  ASSERT_OK(h.Major());
}

TEST(CompactionFilterTest, SeparatedValues) {
  TreeOptions options = TreeHarness::SmallOptions();
  options.kv_separation.emplace();
  options.kv_separation->threshold = 16;
  options.kv_separation->file_size = 4096;
  options.kv_separation->compression = Codec::kNone;
  options.kv_separation->staleness_threshold = 0.1;
  options.kv_separation->age_cutoff = 1;
  TreeHarness h(options);
  h.retention = {{}, kReadAll};
  std::map<std::string, std::string> expected;
  const std::string words = "krnd";
  Seqno seqno = 1;
  for (int i = 0; i < 120; i++) {
    const std::string key = "k" + std::to_string(1000 + i);
    // Of each kind some are small, and some new values cross the threshold either way.
    std::string value(1, words[static_cast<size_t>(i) % words.size()]);
    value += std::string(i % 3 == 0 ? 5 : 40 + static_cast<size_t>(i), 'v');
    h.Put(key, "stale" + std::string(50, 's'), seqno++);
    h.Put(key, value, seqno++);
    if (i % 10 == 9) ASSERT_OK(h.RotateAndFlush());
    if (value[0] == 'k') expected[key] = value;
    if (value[0] == 'n') expected[key] = i % 2 == 0 ? value.substr(1) : value;
  }
  const auto filter = std::make_shared<TestFilter>([](const FilterEntry& entry) -> FilterVerdict {
    const FilterVerdict verdict = SpokenVerdict(entry);
    const bool odd = entry.key[entry.key.size() - 1] % 2 == 1;
    if (verdict.verdict != Verdict::kReplace || !odd) return verdict;
    return {Verdict::kReplace, entry.value->ToString()};
  });
  h.tree()->AddFilter(filter);
  const uint64_t cached = h.tree()->blob_counters()->loads_cached();
  ASSERT_OK(h.Major());
  EXPECT_EQ(h.tree()->blob_counters()->loads_cached(), cached);
  EXPECT_EQ(h.Scan(kReadAll), Pairs(expected.begin(), expected.end()));
  EXPECT_OK(h.tree()->Pin()->version->CheckInvariants());
  // What was removed is garbage of files that had none before.
  filter->Drop();
  ASSERT_OK(h.Major());
  EXPECT_OK(h.tree()->Pin()->version->CheckInvariants());
  EXPECT_EQ(h.tree()->stale_blob_bytes(), 0u);
  h.tree()->ReleaseAllHeld();
  ASSERT_OK(h.Reopen());
  EXPECT_EQ(h.Scan(kReadAll), Pairs(expected.begin(), expected.end()));
}

}  // namespace
}  // namespace shale
