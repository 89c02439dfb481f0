#include "tree/retention.h"

#include <set>

#include "tree/tree_support.h"

namespace shale {
namespace {

class Collector final : public Retention::Sink {
 public:
  Status Add(const Entry& entry) override {
    kept.push_back(Own(entry));
    return Status::Ok();
  }
  std::vector<OwnedEntry> kept;
};

std::vector<OwnedEntry> Retain(const std::vector<OwnedEntry>& entries, const RetentionView& view,
                               const std::function<bool(Slice)>& below) {
  Collector sink;
  Retention retention(view, below, nullptr, &sink);
  for (const OwnedEntry& e : entries) {
    // The slices of a source die with its next step.
    auto copy = std::make_unique<OwnedEntry>(e);
    EXPECT_OK(retention.Add(copy->view()));
  }
  EXPECT_OK(retention.Finish());
  return sink.kept;
}

// One key, newest version first: "v5 t4 w3" (value, tombstone, weak tombstone).
std::vector<OwnedEntry> History(const std::string& text) {
  std::vector<OwnedEntry> entries;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const Kind kind = word[0] == 'v'   ? Kind::kValue
                      : word[0] == 't' ? Kind::kTombstone
                      : word[0] == 'b' ? Kind::kBlobPointer
                                       : Kind::kWeakTombstone;
    entries.emplace_back("k", std::stoull(word.substr(1)), kind, IsTombstone(kind) ? "" : word);
  }
  return entries;
}
std::string Text(const std::vector<OwnedEntry>& entries) {
  std::string text;
  for (const OwnedEntry& e : entries) {
    if (!text.empty()) text += ' ';
    text += "vtw?b"[static_cast<int>(e.kind)] + std::to_string(e.seqno);
  }
  return text;
}
std::string Kept(const std::string& history, std::vector<Seqno> snapshots = {}, Seqno visible = 100,
                 bool below = true) {
  return Text(
      Retain(History(history), {std::move(snapshots), visible}, [=](Slice) { return below; }));
}

TEST(Retention, ValuesThatNobodySeesGo) {
  EXPECT_EQ(Kept("v5 v4 v3"), "v5");
  EXPECT_EQ(Kept("v5 v4 v3", {4}), "v5 v3");
  EXPECT_EQ(Kept("v5 v4 v3", {5, 6}), "v5 v4");
  EXPECT_EQ(Kept("v5 v4 v3", {4, 5}), "v5 v4 v3");
  EXPECT_EQ(Kept("v5 v4 v3", {1, 2, 3}), "v5");
}

TEST(Retention, NothingGoesThroughWhatIsNotVisibleYet) {
  EXPECT_EQ(Kept("v5 v4 v3", {}, 0), "v5 v4 v3");
  EXPECT_EQ(Kept("v5 v4 v3", {}, 5), "v5 v4");
  EXPECT_EQ(Kept("v5 v4 v3", {}, 6), "v5");
}

TEST(Retention, TombstonesCoverAndStayAsLongAsSomethingMayLieBelow) {
  EXPECT_EQ(Kept("t5 v4 v3"), "t5");
  EXPECT_EQ(Kept("t5 v4 v3", {}, 100, false), "");
  EXPECT_EQ(Kept("t5 v4", {5}, 100, false), "t5 v4");
  EXPECT_EQ(Kept("t5 t4 v3", {5}, 100, false), "");
  EXPECT_EQ(Kept("t9 v7 t5 v4", {5, 8}, 100, false), "t9 v7 t5 v4");
  EXPECT_EQ(Kept("t9 v7 t5 v4", {6}, 100, false), "");
}

TEST(Retention, AWeakTombstoneGoesWithItsValue) {
  EXPECT_EQ(Kept("w5 v4"), "");
  EXPECT_EQ(Kept("w5 v4", {5}), "w5 v4");
  EXPECT_EQ(Kept("w5 v4", {}, 5), "w5 v4");
  EXPECT_EQ(Kept("w5"), "w5");
  EXPECT_EQ(Kept("w5", {}, 100, false), "");
  EXPECT_EQ(Kept("w5 v4 w3 v2"), "");
}

TEST(Retention, AWeakTombstoneGoesWithItsBlobPointer) {
  EXPECT_EQ(Kept("w5 b4"), "");
  EXPECT_EQ(Kept("w5 b4", {5}), "w5 b4");
  EXPECT_EQ(Kept("w5 b4 w3 v2"), "");
  EXPECT_EQ(Kept("w5 b4", {}, 100, false), "");
}

TEST(Retention, OfTwoTombstonesTheOneThatCoversAsMuchStays) {
  EXPECT_EQ(Kept("w5 t4"), "t4");
  EXPECT_EQ(Kept("w5 w4"), "w4");
  EXPECT_EQ(Kept("w5 w4 v3"), "");
  EXPECT_EQ(Kept("t5 w4 v3"), "t5");
  EXPECT_EQ(Kept("t5 t4"), "t5");
}

// A value may later go in a pair; what hides the versions below it must be there then.
TEST(Retention, ATombstoneUnderAValueStaysUntilNothingIsBelow) {
  EXPECT_EQ(Kept("v5 t4 v3"), "v5 t4");
  EXPECT_EQ(Kept("v5 t4 v3", {}, 100, false), "v5");
  EXPECT_EQ(Kept("v5 w4"), "v5 w4");
  EXPECT_EQ(Kept("w6 v5 t4"), "t4");
  EXPECT_EQ(Kept("w6 v5 t4 v3", {}, 100, false), "");
}

TEST(Retention, APairDoesNotUncoverWhatASnapshotKept) {
  EXPECT_EQ(Kept("w6 v5 v3", {4}), "w6 v3");
  EXPECT_EQ(Kept("w6 v5 t4 v2", {3}), "t4 v2");
  EXPECT_EQ(Kept("w6 v5 t3", {4}), "t3");
}

TEST(Retention, RepetitionsOfAVersionCountOnce) {
  std::vector<OwnedEntry> entries = History("v5 v4");
  entries.insert(entries.begin() + 1, OwnedEntry("k", 5, Kind::kValue, "again"));
  EXPECT_EQ(Text(Retain(entries, {{}, 0}, [](Slice) { return true; })), "v5 v4");
}

// ---- random histories ----

// What a reader at R sees of one key.
std::string See(const std::vector<OwnedEntry>& versions, Seqno read_seqno) {
  const OwnedEntry* newest = nullptr;
  for (const OwnedEntry& e : versions) {
    if (e.seqno < read_seqno && (newest == nullptr || e.seqno > newest->seqno)) newest = &e;
  }
  return newest == nullptr || IsTombstone(newest->kind) ? "absent" : newest->value;
}

// A key whose versions lie in several components, newest first, as memtables and levels hold them.
class OneKey {
 public:
  explicit OneKey(TestRandom* random) : random_(random) {}

  // Weak removals only where the key was written at most once since its last removal, unless
  // `misuse`.
  void Write(bool misuse) {
    Kind kind = Kind::kValue;
    const uint64_t dice = random_->Below(6);
    if (dice < 2) kind = Kind::kTombstone;
    if (dice >= 4 && (misuse || writes_ <= 1)) kind = Kind::kWeakTombstone;
    writes_ = IsTombstone(kind) ? 0 : writes_ + 1;
    const OwnedEntry e("k", next_, kind, IsTombstone(kind) ? "" : "v" + std::to_string(next_));
    next_ += 1 + random_->Below(2);
    all_.push_back(e);
    if (components_.empty() || random_->OneIn(2)) components_.insert(components_.begin(), {{}});
    components_.front().insert(components_.front().begin(), e);
  }
  void Snapshot() { snapshots_.insert(next_); }
  void CloseSnapshot() {
    if (snapshots_.empty()) return;
    snapshots_.erase(std::next(snapshots_.begin(), ptrdiff_t(random_->Below(snapshots_.size()))));
  }

  // Merges a row of components; what is newer or older stays where it is.
  void Job(bool everything) {
    if (components_.empty()) return;
    const size_t n = components_.size();
    const size_t first = everything ? 0 : random_->Below(n);
    const size_t last = everything ? n : first + 1 + random_->Below(n - first);
    std::vector<OwnedEntry> input;
    for (size_t i = first; i < last; i++) {
      input.insert(input.end(), components_[i].begin(), components_[i].end());
    }
    visible_ = std::max<Seqno>(visible_, random_->OneIn(3) ? next_ : random_->Below(next_ + 1));
    const RetentionView view{{snapshots_.begin(), snapshots_.end()}, visible_};
    bool below = false;
    for (size_t i = last; i < n; i++) below |= !components_[i].empty();
    // An answer of "maybe" is always allowed.
    below |= random_->OneIn(4);
    auto output = Retain(input, view, [=](Slice) { return below; });
    components_.erase(components_.begin() + ptrdiff_t(first),
                      components_.begin() + ptrdiff_t(last));
    components_.insert(components_.begin() + ptrdiff_t(first), std::move(output));
    Check();
  }

 private:
  void Check() const {
    std::vector<OwnedEntry> left;
    for (const auto& c : components_) left.insert(left.end(), c.begin(), c.end());
    const auto check = [&](Seqno read_seqno) {
      ASSERT_EQ(See(left, read_seqno), See(all_, read_seqno))
          << "at " << read_seqno << "\nall  " << Text({all_.rbegin(), all_.rend()}) << "\nleft "
          << Text(left);
    };
    for (Seqno r : snapshots_) check(r);
    for (Seqno r = visible_; r <= next_; r++) check(r);
  }

  TestRandom* random_;
  std::vector<OwnedEntry> all_;  // oldest first
  std::vector<std::vector<OwnedEntry>> components_;
  std::set<Seqno> snapshots_;
  Seqno next_ = 1;
  Seqno visible_ = 0;
  int writes_ = 0;
};

TEST(Retention, EveryReaderSeesTheSameAfterAnySequenceOfJobs) {
  TestRandom random(1);
  for (uint64_t round = 0; round < Scaled(6000); round++) {
    OneKey key(&random);
    for (int step = 0; step < 40 && !testing::Test::HasFailure(); step++) {
      switch (random.Below(6)) {
        case 0:
          key.Snapshot();
          break;
        case 1:
          key.CloseSnapshot();
          break;
        case 2:
          key.Job(false);
          break;
        default:
          key.Write(false);
      }
    }
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

// Even of a key that was removed weakly against the rules nothing comes back while a job has all of
// it.
TEST(Retention, MisusedWeakTombstonesAreExactInOneStream) {
  TestRandom random(2);
  for (uint64_t round = 0; round < Scaled(6000); round++) {
    OneKey key(&random);
    const uint64_t writes = 1 + random.Below(12);
    for (uint64_t i = 0; i < writes; i++) {
      if (random.OneIn(3)) key.Snapshot();
      key.Write(true);
    }
    key.Job(true);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

TEST(Retention, KeepsNoMoreThanTheReadersNeed) {
  TestRandom random(3);
  for (uint64_t round = 0; round < Scaled(2000); round++) {
    std::vector<OwnedEntry> entries;
    std::set<Seqno> snapshots;
    for (Seqno s = 60; s > 0; s--) {
      const bool tombstone = random.OneIn(3);
      entries.emplace_back("k", s, tombstone ? Kind::kTombstone : Kind::kValue);
      if (random.OneIn(10)) snapshots.insert(s);
    }
    const RetentionView view{{snapshots.begin(), snapshots.end()}, 1000};
    const auto kept = Retain(entries, view, [](Slice) { return false; });
    // In each stratum one version, and under a value one tombstone; none where all is absent.
    EXPECT_LE(kept.size(), 2 * (snapshots.size() + 1));
    const auto values = [](const std::vector<OwnedEntry>& list) {
      return std::count_if(list.begin(), list.end(),
                           [](const OwnedEntry& e) { return e.kind == Kind::kValue; });
    };
    EXPECT_LE(static_cast<size_t>(values(kept)), snapshots.size() + 1);
    if (!kept.empty()) {
      EXPECT_EQ(kept.back().kind, Kind::kValue);
    }
  }
}

}  // namespace
}  // namespace shale
