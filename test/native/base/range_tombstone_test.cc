#include "base/range_tombstone.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

struct Owned {
  std::string start;
  std::string end;
  Seqno seqno;
};

std::string KeyOf(uint64_t n) { return std::string(1, static_cast<char>('a' + n % 26)); }

std::vector<Owned> RandomRanges(TestRandom* random, size_t count) {
  std::vector<Owned> ranges;
  while (ranges.size() < count) {
    Owned r{KeyOf(random->Below(26)), KeyOf(random->Below(26)), 1 + random->Below(2 * count)};
    if (random->OneIn(6)) r.end.clear();
    if (r.end.empty() || r.start < r.end) ranges.push_back(std::move(r));
  }
  return ranges;
}

std::vector<RangeTombstone> Sorted(const std::vector<Owned>& ranges) {
  std::vector<RangeTombstone> sorted;
  for (const Owned& r : ranges) sorted.push_back({r.start, r.end, r.seqno});
  std::sort(sorted.begin(), sorted.end(), ComesBefore);
  return sorted;
}

Seqno SeqnoOf(const RangeTombstone* found) { return found == nullptr ? 0 : found->seqno; }

TEST(RangeIndex, FindsWhatALookAtAllFinds) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(400); round++) {
    const std::vector<Owned> ranges = RandomRanges(&random, 1 + random.Below(40));
    const auto index = MakeRef<RangeIndex>(Sorted(ranges));
    for (int i = 0; i < 40; i++) {
      const std::string key = KeyOf(random.Below(26)) + (random.OneIn(3) ? "x" : "");
      const std::string last = random.OneIn(2) ? key : key + "y";
      const auto bound = static_cast<KeyBound>(random.Below(3));
      const Seqno read = random.Below(2 * ranges.size() + 3);
      const Seqno above = random.Below(4) == 0 ? random.Below(ranges.size() + 1) : 0;
      Seqno covers = 0;
      Seqno holds = 0;
      std::string next;
      for (const Owned& r : ranges) {
        if (r.start > key && (next.empty() || r.start < next)) next = r.start;
        if (r.start > key || r.seqno >= read || r.seqno <= above) continue;
        if (r.end.empty() || key < r.end) covers = std::max(covers, r.seqno);
        const bool whole = r.end.empty() || (bound == KeyBound::kInclusive && last < r.end) ||
                           (bound == KeyBound::kExclusive && last <= r.end);
        if (whole) holds = std::max(holds, r.seqno);
      }
      ASSERT_EQ(SeqnoOf(index->FindNewest(key, read, above)), covers);
      ASSERT_EQ(SeqnoOf(index->FindNewest(key, last, bound, read, above)), holds);
      ASSERT_EQ(index->NextStart(key), Slice(next));
    }
  }
}

TEST(RangeIndex, KnowsItsSeqnos) {
  const auto index = MakeRef<RangeIndex>(Sorted({{"a", "c", 7}, {"b", "", 3}, {"x", "y", 9}}));
  EXPECT_EQ(index->lowest_seqno(), 3u);
  EXPECT_EQ(index->highest_seqno(), 9u);
}

TEST(UpperBounds, AreOrdered) {
  using B = KeyBound;
  EXPECT_LT(CompareUpperBounds("a", B::kInclusive, "b", B::kExclusive), 0);
  EXPECT_GT(CompareUpperBounds("b", B::kInclusive, "b", B::kExclusive), 0);
  EXPECT_LT(CompareUpperBounds("z", B::kInclusive, "", B::kUnbounded), 0);
  EXPECT_EQ(CompareUpperBounds("", B::kUnbounded, "", B::kUnbounded), 0);
  EXPECT_FALSE(EndsBefore("b", B::kInclusive, "b"));
  EXPECT_TRUE(EndsBefore("b", B::kExclusive, "b"));
  EXPECT_FALSE(EndsBefore("", B::kUnbounded, "z"));
}

}  // namespace
}  // namespace shale
