// Memtable, both structures: every answer is compared with an ordered map.
#include "memtable/memtable.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "memtable/memtable_model.h"
#include "memtable/skiplist.h"

namespace shale {
namespace {

class MemtableTest : public MemtableSuite {
 protected:
  void Add(const std::string& key, const std::string& value, Seqno seqno, Kind kind) {
    const size_t bytes = table_->Add(key, value, seqno, kind);
    ASSERT_GE(bytes, key.size() + value.size());
    ASSERT_LE(bytes, key.size() + value.size() + 128);
    AddTo(&model_, {key, seqno}, {value, kind});
  }

  void ExpectGet(const std::string& key, Seqno read_seqno) {
    auto at = model_.end();
    if (read_seqno > 0) at = model_.lower_bound({key, read_seqno - 1});
    if (at != model_.end() && at->first.key != key) at = model_.end();
    Entry entry;
    ASSERT_EQ(table_->Get(key, read_seqno, &entry), at != model_.end());
    if (at == model_.end()) return;
    ASSERT_EQ(entry.key, Slice(key));
    ASSERT_EQ(entry.seqno(), at->first.seqno);
    ASSERT_EQ(entry.kind(), at->second.kind);
    ASSERT_EQ(entry.value, Slice(at->second.value));
  }

  void ExpectScans() {
    if (GetParam() == MemtableKind::kSkiplist) {
      ASSERT_TRUE(static_cast<const SkiplistMemtable&>(*table_).IsOrderedForTest());
    }
    const auto it = table_->NewIterator();
    it->SeekToFirst();
    for (auto at = model_.begin(); at != model_.end(); ++at, it->Next()) {
      ASSERT_NO_FATAL_FAILURE(ExpectAt(*it, model_, at));
    }
    ASSERT_FALSE(it->valid());
    ASSERT_TRUE(it->status().ok());
    it->SeekToLast();
    for (auto at = model_.rbegin(); at != model_.rend(); ++at, it->Prev()) {
      ASSERT_NO_FATAL_FAILURE(ExpectAt(*it, model_, std::prev(at.base())));
    }
    ASSERT_FALSE(it->valid());
  }

  // A seek by either method and a walk that turns at random.
  void ExpectWalk(Iterator* it, const std::string& key, uint64_t tag, TestRandom* random) {
    auto at = model_.lower_bound({key, TagSeqno(tag)});
    if (random->OneIn(2)) {
      it->Seek(key, tag);
    } else {
      at = at == model_.begin() ? model_.end() : std::prev(at);
      it->SeekBefore(key, tag);
    }
    ASSERT_NO_FATAL_FAILURE(ExpectAt(*it, model_, at));
    bool forward = random->OneIn(2);
    for (uint64_t steps = random->Below(40); steps > 0 && it->valid(); --steps) {
      if (random->OneIn(4)) forward = !forward;
      if (forward) {
        it->Next();
        ++at;
      } else {
        it->Prev();
        at = at == model_.begin() ? model_.end() : std::prev(at);
      }
      ASSERT_NO_FATAL_FAILURE(ExpectAt(*it, model_, at));
    }
  }

  Model model_;
};

INSTANTIATE_TEST_SUITE_P(Both, MemtableTest, BothKinds(), KindName);

TEST_P(MemtableTest, EmptyTableHasNothingAndTakesNoMemory) {
  EXPECT_TRUE(table_->empty());
  EXPECT_EQ(table_->id(), 7u);
  EXPECT_EQ(table_->used_bytes(), 0u);
  EXPECT_EQ(table_->reserved_bytes(), 0u);
  ExpectGet("a", kReadAll);
  ExpectScans();
  const auto it = table_->NewIterator();
  it->Seek("a", kTagNewest);
  EXPECT_FALSE(it->valid());
  it->SeekBefore("a", kTagNewest);
  EXPECT_FALSE(it->valid());
  table_->Prefetch("a");
}

TEST_P(MemtableTest, ReadsSeeVersionsBelowTheirSeqno) {
  Add("k", "five", 5, Kind::kValue);
  Add("k", "", 9, Kind::kTombstone);
  for (Seqno r = 0; r <= 12; ++r) ExpectGet("k", r);
  ExpectGet("k", kReadAll);
  ExpectGet("", kReadAll);
  ExpectGet("kk", kReadAll);
  ExpectGet("j", kReadAll);
  EXPECT_EQ(table_->item_count(), 2u);
  EXPECT_EQ(table_->lowest_seqno(), 5u);
  EXPECT_EQ(table_->highest_seqno(), 9u);
}

TEST_P(MemtableTest, TheLargestSeqnoAndEveryKindComeBack) {
  for (uint8_t kind = 0; kind <= kKindMax; ++kind) {
    Add("key" + std::to_string(kind), "v", kSeqnoMax, static_cast<Kind>(kind));
  }
  ExpectScans();
  ExpectGet("key3", kReadAll);
  ExpectGet("key3", kSeqnoMax);
}

TEST_P(MemtableTest, SameKeyAndSeqnoReplaces) {
  Add("k", "old", 5, Kind::kValue);
  Add("k", "new and longer", 5, Kind::kValue);
  EXPECT_EQ(table_->item_count(), 1u);
  ExpectScans();
  for (Seqno seqno = 1; seqno <= 40; ++seqno) Add("k", "first", seqno, Kind::kValue);
  for (Seqno seqno = 40; seqno >= 1; --seqno) {
    Add("k", "again " + std::to_string(seqno), seqno, Kind::kTombstone);
  }
  EXPECT_EQ(table_->item_count(), 40u);
  ExpectScans();
}

TEST_P(MemtableTest, ValuesOfAnySize) {
  for (const size_t size : {0u, 1u, 7u, 8u, 4000u, 4096u, 5000u, 300000u, 524288u, 3000000u}) {
    Add("size" + std::to_string(size), std::string(size, 'v'), size + 1, Kind::kValue);
    Add("size" + std::to_string(size), std::string(size, 'w'), size + 2, Kind::kValue);
  }
  ExpectScans();
}

// Every node size and every growth of it, with a terminal and without.
TEST_P(MemtableTest, EveryByteUnderOnePrefix) {
  TestRandom random;
  for (const std::string prefix : {"", "x", "a longer prefix than eight bytes"}) {
    std::vector<int> bytes(256);
    for (int i = 0; i < 256; ++i) bytes[static_cast<size_t>(i)] = i;
    std::shuffle(bytes.begin(), bytes.end(), random.engine());
    const size_t terminal_at = random.Below(256);
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i == terminal_at && !prefix.empty()) Add(prefix, "terminal", 1, Kind::kValue);
      Add(prefix + static_cast<char>(bytes[i]), "v", i + 1, Kind::kValue);
      const auto it = table_->NewIterator();
      const std::string key = prefix + static_cast<char>(random.Below(256));
      ExpectWalk(it.get(), key, kTagNewest, &random);
    }
    ExpectScans();
  }
}

TEST_P(MemtableTest, AscendingAndDescendingKeys) {
  for (uint64_t i = 0; i < 3000; ++i) {
    char key[24];
    std::snprintf(key, sizeof key, "up%013llu", static_cast<unsigned long long>(i));
    Add(key, "v", i + 1, Kind::kValue);
    std::snprintf(key, sizeof key, "down%013llu", static_cast<unsigned long long>(9999 - i));
    Add(key, "v", i + 1, Kind::kValue);
  }
  ExpectScans();
  for (uint64_t i = 0; i < 3000; ++i) {
    char key[24];
    std::snprintf(key, sizeof key, "up%013llu", static_cast<unsigned long long>(i));
    Add(key, "again", i + 5000, Kind::kTombstone);
  }
  ExpectScans();
}

// Each key is a prefix of the next: as many nodes above one another as there are keys.
TEST_P(MemtableTest, KeysThatNestDeeply) {
  const size_t depth = std::min<uint64_t>(Scaled(3000), kKeyBytesMax);
  std::vector<size_t> lengths(depth);
  for (size_t i = 0; i < depth; ++i) lengths[i] = i + 1;
  TestRandom random;
  std::shuffle(lengths.begin(), lengths.end(), random.engine());
  for (const size_t length : lengths) {
    table_->Add(std::string(length, 'a'), "v", length, Kind::kValue);
  }
  const auto it = table_->NewIterator();
  it->SeekToFirst();
  for (size_t length = 1; length <= depth; ++length, it->Next()) {
    ASSERT_TRUE(it->valid());
    ASSERT_EQ(it->entry().key.size(), length);
    ASSERT_EQ(it->entry().seqno(), length);
  }
  EXPECT_FALSE(it->valid());
  it->SeekToLast();
  for (size_t length = depth; length >= 1; --length, it->Prev()) {
    ASSERT_TRUE(it->valid());
    ASSERT_EQ(it->entry().key.size(), length);
  }
  EXPECT_FALSE(it->valid());
  const std::string middle(depth / 2, 'a');
  it->Seek(middle, kTagNewest);
  ASSERT_TRUE(it->valid());
  EXPECT_EQ(it->entry().key, Slice(middle));
  it->Prev();
  ASSERT_TRUE(it->valid());
  EXPECT_EQ(it->entry().key.size(), middle.size() - 1);
  it->Next();
  it->Next();
  ASSERT_TRUE(it->valid());
  EXPECT_EQ(it->entry().key.size(), middle.size() + 1);
}

TEST_P(MemtableTest, LongestKeysSharingAlmostAll) {
  const std::string base(kKeyBytesMax, 'k');
  TestRandom random;
  for (Seqno seqno = 1; seqno <= 60; ++seqno) {
    std::string key = base;
    key[random.Below(key.size())] = static_cast<char>(random.Below(256));
    if (random.OneIn(3)) key.resize(key.size() - random.Below(100));
    Add(key, "v", seqno, Kind::kValue);
  }
  ExpectScans();
  const auto it = table_->NewIterator();
  for (int i = 0; i < 60; ++i) {
    std::string key = base;
    key[random.Below(key.size())] = static_cast<char>(random.Below(256));
    ExpectWalk(it.get(), key, kTagNewest, &random);
  }
}

TEST_P(MemtableTest, RandomOperationsAgreeWithTheModel) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(20); ++round) {
    table_ = Memtable::Create(GetParam(), round);
    model_.clear();
    KeyMaker keys(&random);
    const Seqno seqno_max = random.OneIn(2) ? 8 : 100'000;  // few seqnos: many replacements
    auto kept = table_->NewIterator();
    for (int i = 0; i < 1500; ++i) {
      const std::string key = random.OneIn(3) && i > 0 ? keys.Known() : keys.Make();
      const Kind kind = static_cast<Kind>(random.OneIn(2) ? random.Below(3) : 0);
      const std::string value(kind == Kind::kValue ? random.Below(40) : 0, 'v');
      const Seqno seqno = random.Below(seqno_max);
      ASSERT_NO_FATAL_FAILURE(Add(key, value + std::to_string(i), seqno, kind));
      const std::string asked = random.OneIn(2) ? keys.Known() : keys.Make();
      ASSERT_NO_FATAL_FAILURE(ExpectGet(asked, random.Below(seqno_max + 2)));
      if (!random.OneIn(8)) continue;
      const auto it = table_->NewIterator();
      const uint64_t tag =
          random.OneIn(3) ? kTagNewest : MakeTag(random.Below(seqno_max + 2), Kind::kValue);
      ASSERT_NO_FATAL_FAILURE(
          ExpectWalk(random.OneIn(2) ? kept.get() : it.get(), asked, tag, &random));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectScans());
    ASSERT_EQ(table_->item_count(), model_.size());
    Seqno lowest = kReadAll;
    Seqno highest = 0;
    for (const auto& [at, value] : model_) {
      lowest = std::min(lowest, at.seqno);
      highest = std::max(highest, at.seqno);
    }
    ASSERT_EQ(table_->lowest_seqno(), lowest);
    ASSERT_EQ(table_->highest_seqno(), highest);
  }
}

// An iterator lives on while the table grows under it, so that the nodes it stands on are replaced.
TEST_P(MemtableTest, AnOpenIteratorMissesNothingThatWasThere) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(16); ++round) {
    table_ = Memtable::Create(GetParam(), round);
    model_.clear();
    KeyMaker keys(&random);
    Seqno seqno = 1'000'000;
    auto add_some = [&](uint64_t most) {
      for (uint64_t n = random.Below(most + 1); n > 0; --n) {
        const std::string key = random.OneIn(3) && !model_.empty() ? keys.Known() : keys.Make();
        ASSERT_NO_FATAL_FAILURE(
            Add(key, "v", random.OneIn(3) ? random.Below(1'000'000) : ++seqno, Kind::kValue));
      }
    };
    add_some(800);
    const Model before = model_;
    const auto it = table_->NewIterator();
    const bool forward = random.OneIn(2);
    forward ? it->SeekToFirst() : it->SeekToLast();
    auto due = forward ? before.begin() : before.end();
    const ModelKey* last = nullptr;
    while (it->valid()) {
      const auto seen = model_.find({it->entry().key.ToString(), it->entry().seqno()});
      ASSERT_NE(seen, model_.end());
      if (last != nullptr) {
        ASSERT_TRUE(forward ? *last < seen->first : seen->first < *last);
      }
      last = &seen->first;
      if (before.count(seen->first) != 0) {
        if (!forward) --due;
        ASSERT_FALSE(due->first < seen->first || seen->first < due->first) << "passed over one";
        if (forward) ++due;
      }
      add_some(6);
      forward ? it->Next() : it->Prev();
    }
    ASSERT_EQ(due, forward ? before.end() : before.begin());
  }
}

TEST_P(MemtableTest, OverheadPerEntryStaysWithinItsBar) {
  std::vector<uint64_t> order(Scaled(100'000));
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  TestRandom random;
  std::shuffle(order.begin(), order.end(), random.engine());
  size_t entry_bytes = 0;
  for (const uint64_t i : order) {
    char key[24];
    std::snprintf(key, sizeof key, "key%013llu", static_cast<unsigned long long>(i));
    entry_bytes += table_->Add(key, std::string(100, 'v'), i + 1, Kind::kValue);
  }
  const size_t payload = order.size() * 116;
  EXPECT_GT(table_->used_bytes(), entry_bytes);
  const size_t bar = GetParam() == MemtableKind::kRadix ? 64 : 80;
  EXPECT_LE(table_->used_bytes(), payload + order.size() * bar);
  EXPECT_GE(table_->reserved_bytes(), table_->used_bytes());
  EXPECT_LE(table_->reserved_bytes(), table_->used_bytes() + (size_t{6} << 20));
}

}  // namespace
}  // namespace shale
