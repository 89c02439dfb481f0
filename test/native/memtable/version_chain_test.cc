// Version chains: many versions of one key, added in any order, found at any seqno.
// At these lengths a list that is walked from its start would not come to an end.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "memtable/memtable_model.h"

namespace shale {
namespace {

enum class SeqnoOrder { kAscending, kDescending, kRandom, kTwoEnds };

using Case = std::tuple<MemtableKind, SeqnoOrder>;

class VersionChainTest : public testing::TestWithParam<Case> {
 protected:
  static MemtableKind kind() { return std::get<0>(GetParam()); }

  static std::vector<Seqno> Seqnos(size_t count, TestRandom* random) {
    std::vector<Seqno> seqnos(count);
    std::iota(seqnos.begin(), seqnos.end(), Seqno{1});
    switch (std::get<1>(GetParam())) {
      case SeqnoOrder::kAscending:
        break;
      case SeqnoOrder::kDescending:
        std::reverse(seqnos.begin(), seqnos.end());
        break;
      case SeqnoOrder::kRandom:
        std::shuffle(seqnos.begin(), seqnos.end(), random->engine());
        break;
      case SeqnoOrder::kTwoEnds:
        for (size_t i = 0; i < count; ++i) seqnos[i] = i % 2 == 0 ? count - i / 2 : 1 + i / 2;
        break;
    }
    return seqnos;
  }
};

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  static const char* const kOrders[] = {"Ascending", "Descending", "Random", "TwoEnds"};
  return std::string(std::get<0>(info.param) == MemtableKind::kRadix ? "Radix" : "Skiplist") +
         kOrders[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(
    All, VersionChainTest,
    testing::Combine(BothKinds(), testing::Values(SeqnoOrder::kAscending, SeqnoOrder::kDescending,
                                                  SeqnoOrder::kRandom, SeqnoOrder::kTwoEnds)),
    CaseName);

TEST_P(VersionChainTest, HundredThousandVersions) {
  TestRandom random;
  const std::vector<Seqno> seqnos = Seqnos(Scaled(100'000), &random);
  const Ref<Memtable> table = Memtable::Create(kind(), 1);
  table->Add("kex", "before", 1, Kind::kValue);
  table->Add("kez", "behind", 1, Kind::kValue);
  // Every seqno is doubled, so that there is one between any two.
  for (const Seqno seqno : seqnos) {
    table->Add("key", std::to_string(seqno), 2 * seqno, Kind::kValue);
  }
  ASSERT_EQ(table->item_count(), seqnos.size() + 2);
  const auto it = table->NewIterator();
  for (const Seqno seqno : seqnos) {
    Entry entry;
    ASSERT_TRUE(table->Get("key", 2 * seqno + 1, &entry));
    ASSERT_EQ(entry.value, Slice(std::to_string(seqno)));
    ASSERT_EQ(table->Get("key", 2 * seqno, &entry), seqno != 1);
    if (seqno % 8 != 0) continue;
    it->Seek("key", MakeTag(2 * seqno + 1, Kind::kValue));
    ASSERT_TRUE(it->valid());
    ASSERT_EQ(it->entry().seqno(), 2 * seqno);
    it->SeekBefore("key", MakeTag(2 * seqno - 1, Kind::kValue));
    ASSERT_EQ(it->entry().seqno(), 2 * seqno);
    it->SeekBefore("key", MakeTag(2 * seqno, Kind::kValue));
    ASSERT_EQ(it->entry().key, seqno == seqnos.size() ? Slice("kex") : Slice("key"));
  }
  it->SeekToFirst();
  for (Seqno seqno = seqnos.size(); seqno > 0; --seqno) {
    it->Next();
    ASSERT_EQ(it->entry().seqno(), 2 * seqno);
  }
  it->Next();
  ASSERT_EQ(it->entry().key, Slice("kez"));
  for (Seqno seqno = 1; seqno <= seqnos.size(); ++seqno) {
    it->Prev();
    ASSERT_EQ(it->entry().seqno(), 2 * seqno);
  }
  it->Prev();
  ASSERT_EQ(it->entry().key, Slice("kex"));
  it->Prev();
  ASSERT_FALSE(it->valid());
}

// Lengths around the one at which a chain gets its index, with replacements, against the model; an
// iterator that was open all the while still finds its way.
TEST_P(VersionChainTest, ShortChainsAgreeWithTheModel) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(400); ++round) {
    const Ref<Memtable> table = Memtable::Create(kind(), 1);
    Model model;
    const auto kept = table->NewIterator();
    const std::vector<Seqno> seqnos = Seqnos(1 + random.Below(24), &random);
    for (size_t i = 0; i < seqnos.size(); ++i) {
      const bool again = i > 0 && random.OneIn(4);
      const Seqno seqno = again ? seqnos[random.Below(i)] : seqnos[i];
      const std::string value = std::to_string(i);
      const Kind kind = random.OneIn(4) ? Kind::kWeakTombstone : Kind::kValue;
      table->Add("key", value, seqno, kind);
      AddTo(&model, {"key", seqno}, {value, kind});
      if (i == 0) kept->SeekToFirst();
      const Seqno at = random.Below(seqnos.size() + 2);
      const auto it = table->NewIterator();
      it->Seek("key", MakeTag(at, Kind::kValue));
      ASSERT_NO_FATAL_FAILURE(ExpectAt(*it, model, model.lower_bound({"key", at})));
      const auto reverse = table->NewIterator();
      reverse->SeekToLast();
      for (auto due = model.rbegin(); due != model.rend(); ++due, reverse->Prev()) {
        ASSERT_NO_FATAL_FAILURE(ExpectAt(*reverse, model, std::prev(due.base())));
      }
      ASSERT_FALSE(reverse->valid());
    }
    Seqno last = kReadAll;
    for (; kept->valid(); kept->Next()) {
      ASSERT_LT(kept->entry().seqno(), last);
      last = kept->entry().seqno();
    }
  }
}

}  // namespace
}  // namespace shale
