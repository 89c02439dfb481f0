#include "tree/merge_iterator.h"

#include <set>

#include "tree/tree_support.h"

namespace shale {
namespace {

struct Source {
  std::vector<OwnedEntry> entries;
};

// Entries spread over sources; the value names the source, so that repetitions can be told apart.
std::vector<Source> RandomSources(TestRandom* random, size_t count, uint64_t keys) {
  std::vector<Source> sources(count);
  for (size_t s = 0; s < count; s++) {
    std::set<std::pair<std::string, Seqno>> seen;
    const uint64_t n = random->Below(40);
    for (uint64_t i = 0; i < n; i++) {
      OwnedEntry e;
      e.key = "key" + std::to_string(random->Below(keys));
      e.seqno = random->Below(6);
      e.value = std::to_string(s);
      if (seen.insert({e.key, e.seqno}).second) sources[s].entries.push_back(e);
    }
    std::sort(sources[s].entries.begin(), sources[s].entries.end(), InternalLess);
  }
  return sources;
}

// The merged order: internal order, of equal entries the one of the earlier source first.
std::vector<OwnedEntry> Merged(const std::vector<Source>& sources) {
  std::vector<OwnedEntry> all;
  for (const Source& s : sources) all.insert(all.end(), s.entries.begin(), s.entries.end());
  std::stable_sort(all.begin(), all.end(), InternalLess);
  return all;
}

std::unique_ptr<Iterator> Merge(const std::vector<Source>& sources) {
  std::vector<std::unique_ptr<Iterator>> iterators;
  for (const Source& s : sources) iterators.push_back(std::make_unique<VectorIterator>(s.entries));
  return MakeMerge(std::move(iterators));
}

TEST(MergeIterator, NoSourceIsEmpty) {
  auto it = MakeMerge({});
  it->SeekToFirst();
  EXPECT_FALSE(it->valid());
  it->SeekToLast();
  EXPECT_FALSE(it->valid());
  EXPECT_TRUE(it->status().ok());
}

TEST(MergeIterator, OneSourceIsPassedThrough) {
  auto source = std::make_unique<VectorIterator>(std::vector<OwnedEntry>{{"a", 1}});
  Iterator* const raw = source.get();
  std::vector<std::unique_ptr<Iterator>> sources;
  sources.push_back(std::move(source));
  EXPECT_EQ(MakeMerge(std::move(sources)).get(), raw);
}

TEST(MergeIterator, AllEntriesInBothDirections) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(400); round++) {
    const auto sources = RandomSources(&random, 1 + random.Below(12), 1 + random.Below(40));
    const auto expected = Merged(sources);
    auto it = Merge(sources);
    std::vector<OwnedEntry> got;
    for (it->SeekToFirst(); it->valid(); it->Next()) got.push_back(Own(it->entry()));
    ASSERT_EQ(got, expected);
    got.clear();
    for (it->SeekToLast(); it->valid(); it->Prev()) got.push_back(Own(it->entry()));
    std::reverse(got.begin(), got.end());
    ASSERT_EQ(got, expected);
  }
}

TEST(MergeIterator, WalksAtRandomLikeAnOrderedList) {
  TestRandom random(2);
  for (uint64_t round = 0; round < Scaled(400); round++) {
    const auto sources = RandomSources(&random, 1 + random.Below(9), 1 + random.Below(20));
    const auto expected = Merged(sources);
    auto it = Merge(sources);
    ptrdiff_t at = -1;
    for (int step = 0; step < 60; step++) {
      const bool inside = at >= 0 && at < static_cast<ptrdiff_t>(expected.size());
      switch (inside ? random.Below(5) : 2 + random.Below(3)) {
        case 0:
          it->Next();
          at++;
          break;
        case 1:
          it->Prev();
          at--;
          break;
        case 2:
          it->SeekToFirst();
          at = 0;
          break;
        default: {
          const OwnedEntry target{"key" + std::to_string(random.Below(20)), random.Below(6)};
          const uint64_t tag = random.OneIn(4) ? kTagNewest : target.view().tag;
          at = 0;
          while (at < static_cast<ptrdiff_t>(expected.size()) &&
                 CompareInternal(expected[size_t(at)].key, expected[size_t(at)].view().tag,
                                 target.key, tag) < 0) {
            at++;
          }
          if (random.OneIn(2)) {
            it->Seek(target.key, tag);
          } else {
            it->SeekBefore(target.key, tag);
            at--;
          }
        }
      }
      const bool exists = at >= 0 && at < static_cast<ptrdiff_t>(expected.size());
      ASSERT_EQ(it->valid(), exists);
      ASSERT_TRUE(it->status().ok());
      if (exists) {
        ASSERT_EQ(Own(it->entry()), expected[size_t(at)]);
      }
    }
  }
}

// Edge case 24: an error of one source surfaces through the merge.
// Whatever source fails in whatever call: the merge stops with that error, and goes on after a
// seek.
TEST(MergeIterator, ErrorsOfSourcesStopIt) {
  TestRandom random(3);
  for (uint64_t round = 0; round < Scaled(400); round++) {
    const auto sources = RandomSources(&random, 2 + random.Below(6), 10);
    const auto expected = Merged(sources);
    std::vector<VectorIterator*> raw;
    std::vector<std::unique_ptr<Iterator>> iterators;
    for (const Source& s : sources) {
      auto it = std::make_unique<VectorIterator>(s.entries);
      raw.push_back(it.get());
      iterators.push_back(std::move(it));
    }
    const bool blocks = random.OneIn(2);
    VectorIterator* const failing = raw[random.Below(raw.size())];
    failing->FailAt(static_cast<int>(random.Below(20)),
                    blocks ? Status(Code::kWouldBlock) : Status::Corruption("broken"));
    auto it = MakeMerge(std::move(iterators));
    const bool forward = random.OneIn(2);
    std::vector<OwnedEntry> got;
    for (forward ? it->SeekToFirst() : it->SeekToLast(); it->valid();
         forward ? it->Next() : it->Prev()) {
      got.push_back(Own(it->entry()));
    }
    auto order = expected;
    if (!forward) std::reverse(order.begin(), order.end());
    if (it->status().ok()) {
      ASSERT_EQ(got, order);
      continue;
    }
    EXPECT_EQ(it->status().code(), blocks ? Code::kWouldBlock : Code::kCorruption);
    ASSERT_LE(got.size(), order.size());
    ASSERT_TRUE(std::equal(got.begin(), got.end(), order.begin()));
    failing->Heal();
    it->SeekToFirst();
    for (size_t i = 0; i < expected.size(); i++, it->Next()) {
      ASSERT_TRUE(it->valid());
      ASSERT_EQ(Own(it->entry()), expected[i]);
    }
    ASSERT_FALSE(it->valid());
  }
}

}  // namespace
}  // namespace shale
