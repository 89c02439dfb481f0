// What the memtable tests share: an ordered map that says what a memtable must answer, and keys
// that bring out what is hard about ordering them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "memtable/memtable.h"
#include "support/seed.h"

namespace shale {

// Internal order: key ascending, seqno descending.
struct ModelKey {
  std::string key;
  Seqno seqno;

  bool operator<(const ModelKey& other) const {
    const int c = Slice(key).Compare(other.key);
    return c != 0 ? c < 0 : seqno > other.seqno;
  }
};

struct ModelValue {
  std::string value;
  Kind kind;
};

using Model = std::map<ModelKey, ModelValue>;

// A weak tombstone that takes the place of another entry is a whole one.
inline void AddTo(Model* model, const ModelKey& at, const ModelValue& entry) {
  const bool whole = entry.kind == Kind::kWeakTombstone && model->count(at) != 0;
  (*model)[at] = {entry.value, whole ? Kind::kTombstone : entry.kind};
}

inline std::string Describe(const std::string& key) {
  std::string text = std::to_string(key.size()) + ":";
  for (size_t i = 0; i < key.size() && i < 24; ++i) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<uint8_t>(key[i]));
    text += hex;
  }
  return text;
}

// Fails the test if the iterator does not stand on `at`.
inline void ExpectAt(const Iterator& it, const Model& model, Model::const_iterator at) {
  ASSERT_EQ(it.valid(), at != model.end());
  if (!it.valid()) return;
  const Entry& entry = it.entry();
  ASSERT_EQ(Describe(entry.key.ToString()), Describe(at->first.key));
  ASSERT_EQ(entry.key, Slice(at->first.key));
  ASSERT_EQ(entry.seqno(), at->first.seqno);
  ASSERT_EQ(entry.kind(), at->second.kind);
  ASSERT_EQ(entry.value, Slice(at->second.value));
}

class KeyMaker {
 public:
  explicit KeyMaker(TestRandom* random) : random_(random) {}

  // Short keys over few bytes collide and are prefixes of one another; some extend or cut a known
  // key, some share long runs, and a few are as long as a key may be.
  std::string Make() {
    std::string key = Draw();
    if (key.empty()) key.push_back(Byte());
    if (key.size() > kKeyBytesMax) key.resize(kKeyBytesMax);
    if (known_.size() < 4096) known_.push_back(key);
    return key;
  }
  const std::string& Known() { return known_[random_->Below(known_.size())]; }

 private:
  char Byte() {
    static const char kBytes[] = {'\x00', '\x01', 'a', 'b', '\x7f', '\x80', '\xfe', '\xff'};
    return random_->OneIn(8) ? static_cast<char>(random_->Below(256))
                             : kBytes[random_->Below(sizeof kBytes)];
  }
  std::string Run(size_t length) {
    std::string run;
    while (run.size() < length) run.push_back(Byte());
    return run;
  }
  std::string Draw() {
    const uint64_t what = known_.empty() ? 0 : random_->Below(100);
    if (what < 40) return Run(1 + random_->Below(6));
    if (what < 60) return Known() + Run(1 + random_->Below(3));
    if (what < 75) return Known().substr(0, random_->Below(12));
    if (what < 90) return std::string(random_->Below(40), 'p') + Run(random_->Below(3));
    if (what < 97) return std::string(2, static_cast<char>(random_->Below(256))) + Run(1);
    if (what < 99 || !random_->OneIn(4)) return std::string(300, 'q') + Run(2);
    return std::string(kKeyBytesMax - random_->Below(3), 'z')
        .replace(random_->Below(60000), 1, 1, Byte());
  }

  TestRandom* const random_;
  std::vector<std::string> known_;
};

// Both structures pass every suite that derives from this.
class MemtableSuite : public testing::TestWithParam<MemtableKind> {
 protected:
  Ref<Memtable> table_ = Memtable::Create(GetParam(), 7);
};

inline std::string KindName(const testing::TestParamInfo<MemtableKind>& info) {
  return info.param == MemtableKind::kRadix ? "Radix" : "Skiplist";
}

inline auto BothKinds() { return testing::Values(MemtableKind::kRadix, MemtableKind::kSkiplist); }

}  // namespace shale
