#include "memtable/range_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/epoch.h"
#include "memtable/memtable.h"
#include "support/seed.h"

namespace shale {
namespace {

struct Owned {
  std::string start;
  std::string end;
  Seqno seqno;
};

std::string KeyOf(uint64_t n) {
  const std::string digits = std::to_string(n);
  return std::string(8 - digits.size(), '0') + digits;
}

TEST(MemtableRanges, CoverWhatALookAtAllSays) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(100); round++) {
    MemtableRanges ranges;
    std::vector<Owned> model;
    const size_t count = random.Below(150);
    for (size_t i = 0; i < count; i++) {
      const uint64_t start = random.Below(50);
      Owned r{KeyOf(start), KeyOf(start + 1 + random.Below(20)), 1 + random.Below(200)};
      if (random.OneIn(8)) r.end.clear();
      ranges.Add(r.start, r.end, r.seqno);
      model.push_back(std::move(r));
      const std::string key = KeyOf(random.Below(60));
      const Seqno read = random.Below(220);
      Seqno expected = 0;
      for (const Owned& m : model) {
        const bool covers = m.start <= key && (m.end.empty() || key < m.end);
        if (covers && m.seqno < read) expected = std::max(expected, m.seqno);
      }
      ASSERT_EQ(ranges.NewestCover(key, read), expected);
    }
  }
}

TEST(MemtableRanges, AreNothingBeforeTheFirst) {
  MemtableRanges ranges;
  EXPECT_TRUE(ranges.empty());
  EXPECT_FALSE(ranges.Pin());
  EXPECT_EQ(ranges.used_bytes(), 0u);
  EXPECT_EQ(ranges.NewestCover("a", kReadAll), 0u);
}

// A queue that is trimmed, the same range again and again, disjoint and nested ranges: the number
// of parts and the memory stay small, and a search does not look at everything (else this takes
// minutes).
TEST(MemtableRanges, TakeMany) {
  constexpr uint64_t kCount = 100000;
  using Shape = std::function<Owned(uint64_t)>;
  const std::vector<Shape> shapes = {
      [](uint64_t i) {
        return Owned{KeyOf(0), KeyOf(i + 1), i + 1};
      },
      [](uint64_t i) {
        return Owned{KeyOf(0), "", i + 1};
      },
      [](uint64_t i) {
        return Owned{KeyOf(2 * i), KeyOf(2 * i + 1), i + 1};
      },
      [](uint64_t i) {
        return Owned{KeyOf(i), KeyOf(4 * kCount - i), i + 1};
      },
  };
  for (const Shape& shape : shapes) {
    MemtableRanges ranges;
    for (uint64_t i = 0; i < kCount; i++) {
      const Owned r = shape(i);
      ranges.Add(r.start, r.end, r.seqno);
      if (i % 16 == 0) {
        ASSERT_EQ(ranges.NewestCover(r.start, kReadAll), i + 1);
        ASSERT_LE(ranges.NewestCover(KeyOf(i / 2), i + 1), i);
      }
    }
    EXPECT_LT(ranges.used_bytes(), kCount * 120);
    EXPECT_LE(ranges.Pin()->parts().size(), 18u);
  }
}

TEST(MemtableWithRanges, CountsThemApart) {
  for (const MemtableKind kind : {MemtableKind::kRadix, MemtableKind::kSkiplist}) {
    const Ref<Memtable> table = Memtable::Create(kind, 1);
    EXPECT_GT(table->AddRange("b", "c", 7), 2u);
    EXPECT_FALSE(table->empty());
    EXPECT_EQ(table->item_count(), 0u);
    EXPECT_GT(table->used_bytes(), 0u);
    EXPECT_EQ(table->highest_seqno(), 7u);
    EXPECT_EQ(table->highest_entry_seqno(), 0u);
    table->Add("b", "v", 5, Kind::kValue);
    EXPECT_EQ(table->lowest_seqno(), 5u);
    EXPECT_EQ(table->highest_entry_seqno(), 5u);
    EXPECT_EQ(table->ranges().NewestCover("b", 8), 7u);
    EXPECT_EQ(table->ranges().NewestCover("b", 7), 0u);
    EXPECT_EQ(table->ranges().NewestCover("c", 8), 0u);
  }
}

}  // namespace
}  // namespace shale
