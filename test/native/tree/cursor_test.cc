#include "tree/cursor.h"

#include "tree/tree_support.h"

namespace shale {
namespace {

using Direction = Cursor::Direction;

TEST(KeyAfter, IsTheNextLegalKey) {
  EXPECT_EQ(KeyAfter("a"), std::string("a\0", 2));
  EXPECT_EQ(KeyAfter(Slice("\xff", 1)), std::string("\xff\0", 2));
  const std::string longest(kKeyBytesMax, 'a');
  EXPECT_EQ(KeyAfter(longest), std::string(kKeyBytesMax - 1, 'a') + "b");
  std::string ends_high = longest;
  ends_high.back() = '\xff';
  EXPECT_EQ(KeyAfter(ends_high), std::string(kKeyBytesMax - 2, 'a') + "b");
  EXPECT_EQ(KeyAfter(std::string(kKeyBytesMax, '\xff')), std::nullopt);
}

// Edge case 22: prefixes that end in 0xff.
TEST(PrefixEnd, IsAboveEveryKeyWithThePrefix) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd(Slice("a\xff\xff", 3)), "b");
  EXPECT_EQ(PrefixEnd(Slice("\xff\xff", 2)), std::nullopt);
  EXPECT_EQ(PrefixEnd(""), std::nullopt);
}

// A small tree with versions in memtables and tables, and what it should show.
class CursorTest : public testing::Test {
 protected:
  // Where versions are put: everything in one memtable, or spread.
  void Fill(TestRandom* random, TreeHarness* harness, bool spread, uint64_t keys, uint64_t writes) {
    for (uint64_t i = 0; i < writes; i++) {
      OwnedEntry e;
      e.key = "k" + std::to_string(random->Below(keys));
      e.seqno = ++seqno_;
      if (random->OneIn(3)) {
        e.kind = Kind::kTombstone;
      } else {
        e.value = std::string(random->Below(30), 'x') + std::to_string(seqno_);
      }
      harness->tree()->Add(e.key, e.value, e.seqno, e.kind);
      model_.Add(e);
      if (!spread) continue;
      if (random->OneIn(20)) harness->tree()->Rotate();
      if (random->OneIn(40)) {
        ASSERT_OK(harness->RotateAndFlush());
      }
      if (random->OneIn(80)) {
        ASSERT_OK(harness->CompactAll());
      }
    }
  }
  Bounds RandomBounds(TestRandom* random, uint64_t keys) {
    Bounds bounds;
    const auto key = [&] { return "k" + std::to_string(random->Below(keys + 2)); };
    if (random->OneIn(2)) bounds.lower = random->OneIn(8) ? "a" : key();
    if (random->OneIn(2)) bounds.upper = random->OneIn(8) ? "z" : key();
    return bounds;
  }

  HistoryModel model_;
  Seqno seqno_ = 0;
};

void ExpectScan(TreeHarness* harness, const HistoryModel& model, Seqno r, const Bounds& bounds) {
  const auto expected = model.Scan(r, bounds);
  ASSERT_EQ(harness->Scan(r, bounds), expected) << "forward at " << r;
  auto reversed = expected;
  std::reverse(reversed.begin(), reversed.end());
  ASSERT_EQ(harness->Scan(r, bounds, Direction::kReverse), reversed) << "reverse at " << r;
}

TEST_F(CursorTest, ShowsWhatTheModelShows) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(30); round++) {
    TreeHarness harness;
    model_ = {};
    seqno_ = 0;
    const uint64_t keys = 1 + random.Below(60);
    Fill(&random, &harness, !random.OneIn(3), keys, 1 + random.Below(400));
    for (int i = 0; i < 40; i++) {
      const Seqno r = random.OneIn(4) ? kReadAll : random.Below(seqno_ + 3);
      ExpectScan(&harness, model_, r, RandomBounds(&random, keys));
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(CursorTest, ManyVersionsOfOneKeyAreJumpedOver) {
  TreeHarness harness;
  for (const bool flushed : {false, true}) {
    for (int i = 0; i < 300; i++) {
      const std::string key = i % 100 == 99 ? "z" : (i % 100 == 98 ? "a" : "m");
      const std::string value = std::to_string(++seqno_);
      harness.Put(key, value, seqno_);
      model_.Add({key, seqno_, Kind::kValue, value});
    }
    if (flushed) {
      ASSERT_OK(harness.RotateAndFlush());
    }
    for (Seqno r = 0; r <= seqno_ + 1; r += 7) ExpectScan(&harness, model_, r, {});
  }
}

TEST_F(CursorTest, TombstonesAtBothEndsAndNothingElse) {
  TreeHarness harness;
  for (int i = 0; i < 100; i++) {
    const std::string key = "k" + std::to_string(100 + i);
    harness.Put(key, "v", ++seqno_);
    model_.Add({key, seqno_, Kind::kValue, "v"});
  }
  const auto remove = [&](int from, int to) {
    for (int i = from; i < to; i++) {
      const std::string key = "k" + std::to_string(100 + i);
      harness.Remove(key, ++seqno_);
      model_.Add({key, seqno_, Kind::kTombstone, ""});
    }
    ASSERT_OK(harness.RotateAndFlush());
    ExpectScan(&harness, model_, kReadAll, {});
  };
  remove(0, 30);
  remove(70, 100);
  remove(30, 70);
  EXPECT_TRUE(harness.Scan(kReadAll).empty());
}

TEST_F(CursorTest, BoundsThatLeaveNothing) {
  TreeHarness harness;
  harness.Put("b", "1", 1);
  EXPECT_TRUE(harness.Scan(kReadAll, {"c", "a"}).empty());
  EXPECT_TRUE(harness.Scan(kReadAll, {"b", "b"}).empty());
  EXPECT_TRUE(harness.Scan(kReadAll, {"", ""}).empty());
  EXPECT_TRUE(harness.Scan(0).empty());
  EXPECT_EQ(harness.Scan(2, {"b", std::string("b\0", 2)}).size(), 1u);
}

// A cache that holds nothing: every block that memory does not pin makes a step block, and the step
// then goes on as if it had not.
TEST_F(CursorTest, GoesOnAfterEveryStepThatWouldBlock) {
  TestRandom random(2);
  uint64_t blocked = 0;
  for (uint64_t round = 0; round < Scaled(20); round++) {
    TreeOptions options = TreeHarness::SmallOptions();
    options.data_block_size = {1};
    options.pin_index = {false};
    TreeHarness harness(options, 1);
    model_ = {};
    seqno_ = 0;
    Fill(&random, &harness, true, 40, 200);
    for (int i = 0; i < 10; i++) {
      const Seqno r = random.OneIn(2) ? kReadAll : random.Below(seqno_ + 2);
      const Bounds bounds = RandomBounds(&random, 40);
      const bool forward = random.OneIn(2);
      auto expected = model_.Scan(r, bounds);
      if (!forward) std::reverse(expected.begin(), expected.end());
      Cursor cursor(harness.tree()->Pin(), r, bounds,
                    forward ? Direction::kForward : Direction::kReverse);
      TreeHarness::Pairs got;
      for (;;) {
        const Code code =
            cursor.Next(random.OneIn(2) ? ReadMode::kMemoryOnly : ReadMode::kMayBlock);
        if (code == Code::kWouldBlock) {
          blocked++;
          continue;
        }
        if (code != Code::kOk) {
          ASSERT_EQ(code, Code::kNotFound) << cursor.status().ToString();
          break;
        }
        got.emplace_back(cursor.key().ToString(), cursor.value().ToString());
        ASSERT_LE(got.size(), expected.size());
      }
      ASSERT_EQ(got, expected);
      EXPECT_EQ(cursor.Next(ReadMode::kMayBlock), Code::kNotFound);
    }
  }
  EXPECT_GT(blocked, 100u);
}

// What memory alone passes over in one turn is bounded; every turn goes on where the last ended.
TEST_F(CursorTest, ManyHiddenEntriesTakeSeveralTurns) {
  TreeHarness harness;
  const uint64_t hidden = 3 * Cursor::kHiddenMax;
  const auto key = [](uint64_t i) { return "key" + std::to_string(1'000'000 + i); };
  harness.Put("a", "first", 1);
  for (uint64_t i = 0; i < hidden; i++) {
    // Too new for the one that reads at 2, tombstones for the one that reads at 9.
    harness.Remove(key(i), 5);
  }
  harness.Put("z", "last", 1);
  for (const Seqno r : {Seqno{2}, Seqno{9}}) {
    for (const Direction direction : {Direction::kForward, Direction::kReverse}) {
      const bool forward = direction == Direction::kForward;
      Cursor cursor(harness.tree()->Pin(), r, Bounds(), direction);
      ASSERT_EQ(cursor.Next(ReadMode::kMemoryOnly), Code::kOk);
      EXPECT_EQ(cursor.key(), forward ? "a" : "z");
      cursor.BeginTurn();
      ASSERT_EQ(cursor.Next(ReadMode::kMemoryOnly), Code::kWouldBlock);
      if (r == 9) {
        cursor.BeginTurn();
        ASSERT_EQ(cursor.Next(ReadMode::kMemoryOnly), Code::kWouldBlock);
      }
      ASSERT_EQ(cursor.Next(ReadMode::kMayBlock), Code::kOk);
      EXPECT_EQ(cursor.key(), forward ? "z" : "a");
      EXPECT_EQ(cursor.Next(ReadMode::kMemoryOnly), Code::kNotFound);
    }
  }
}

TEST_F(CursorTest, SeekToGoesAnywhereInsideTheBounds) {
  TestRandom random(3);
  for (uint64_t round = 0; round < Scaled(20); round++) {
    TreeHarness harness;
    model_ = {};
    seqno_ = 0;
    Fill(&random, &harness, random.OneIn(2), 50, 300);
    for (const Direction direction : {Direction::kForward, Direction::kReverse}) {
      const bool forward = direction == Direction::kForward;
      const Bounds bounds = RandomBounds(&random, 50);
      Cursor cursor(harness.tree()->Pin(), kReadAll, bounds, direction);
      for (int i = 0; i < 30; i++) {
        const std::string target = "k" + std::to_string(random.Below(52));
        Bounds rest = bounds;
        if (forward && (!rest.lower || *rest.lower < target)) rest.lower = target;
        if (!forward) {
          const std::string after = *KeyAfter(target);
          if (!rest.upper || after < *rest.upper) rest.upper = after;
        }
        auto expected = model_.Scan(kReadAll, rest);
        if (!forward) std::reverse(expected.begin(), expected.end());
        cursor.SeekTo(target);
        const size_t steps = random.Below(6);
        for (size_t k = 0; k < steps; k++) {
          const Code code = cursor.Next(ReadMode::kMayBlock);
          ASSERT_EQ(code, k < expected.size() ? Code::kOk : Code::kNotFound);
          if (code == Code::kOk) {
            ASSERT_EQ(cursor.key().ToString(), expected[k].first);
          }
        }
      }
    }
  }
}

// What is written, flushed and compacted while a cursor is open does not change what it shows.
TEST_F(CursorTest, StandsStillUnderWrites) {
  TestRandom random(4);
  for (uint64_t round = 0; round < Scaled(10); round++) {
    TreeHarness harness;
    model_ = {};
    seqno_ = 0;
    Fill(&random, &harness, true, 30, 200);
    const Seqno r = seqno_ + 1;
    const auto expected = model_.Scan(r);
    Cursor forward(harness.tree()->Pin(), r, {}, Direction::kForward);
    Cursor reverse(harness.tree()->Pin(), r, {}, Direction::kReverse);
    harness.retention = {{}, kReadAll};
    for (size_t i = 0; i < expected.size(); i++) {
      ASSERT_EQ(forward.Next(ReadMode::kMayBlock), Code::kOk);
      ASSERT_EQ(reverse.Next(ReadMode::kMayBlock), Code::kOk);
      ASSERT_EQ(forward.key().ToString(), expected[i].first);
      ASSERT_EQ(reverse.key().ToString(), expected[expected.size() - 1 - i].first);
      HistoryModel other;
      std::swap(other, model_);
      Fill(&random, &harness, true, 30, 20);
      std::swap(other, model_);
    }
    ASSERT_EQ(forward.Next(ReadMode::kMayBlock), Code::kNotFound);
    ASSERT_EQ(reverse.Next(ReadMode::kMayBlock), Code::kNotFound);
  }
}

}  // namespace
}  // namespace shale
