#include "tree/cursor.h"

#include <utility>
#include <vector>

#include "base/seeded_bug.h"
#include "tree/run_iterator.h"

namespace shale {
namespace {

// Versions of one key that are walked over before a seek jumps over the rest.
constexpr int kWalkMax = 16;

// A scan that has passed this many bytes of tables starts to read ahead; the distance doubles with
// what was passed, up to the limit.
constexpr uint64_t kReadAheadStart = uint64_t{64} << 10;
constexpr size_t kReadAheadMax = size_t{1} << 20;

// After all versions of a key but, if there is one, that with seqno 0.
constexpr uint64_t kTagOldest = MakeTag(0, Kind::kValue);

}  // namespace

std::optional<std::string> PrefixEnd(Slice prefix) {
  size_t n = prefix.size();
  while (n > 0 && prefix[n - 1] == 0xff) n--;
  if (n == 0) return std::nullopt;
  std::string end = prefix.Prefix(n).ToString();
  if (BugIsOn(SeededBug::kPrefixEndOffByOne)) return end + '\xff';
  end.back() = static_cast<char>(prefix[n - 1] + 1);
  return end;
}

std::optional<std::string> KeyAfter(Slice key) {
  if (key.size() >= kKeyBytesMax) return PrefixEnd(key);
  std::string after = key.ToString();
  after.push_back('\0');
  return after;
}

Cursor::Cursor(Ref<SuperVersion> pin, Seqno read_seqno, Bounds bounds, Direction direction)
    : pin_(std::move(pin)),
      read_seqno_(read_seqno),
      bounds_(std::move(bounds)),
      direction_(direction) {
  has_upper_ = bounds_.upper.has_value();
  has_lower_ = bounds_.lower.has_value();
  if (has_upper_) upper_ = *bounds_.upper;
  if (has_lower_) lower_ = *bounds_.lower;
}

Cursor::~Cursor() = default;

void Cursor::AddRun(const Run& run, std::vector<std::unique_ptr<Iterator>>* sources) {
  const size_t first = has_lower_ ? run.LowerBound(lower_) : 0;
  const size_t last = has_upper_ ? run.FirstStartingAt(upper_) : run.tables.size();
  if (first >= last) return;
  if (last - first == 1 && run.tables[first]->meta().lowest_seqno >= read_seqno_) return;
  sources->push_back(MakeRunIterator(run, first, last, &context_));
}

void Cursor::OpenSources() {
  std::vector<std::unique_ptr<Iterator>> sources;
  const auto add_memtable = [&](const Memtable& m) {
    // What was visible when the cursor was made is in the memtable already.
    if (m.item_count() != 0) sources.push_back(m.NewIterator());
  };
  add_memtable(*pin_->active);
  for (const auto& m : pin_->sealed) add_memtable(*m);
  const size_t memtables = sources.size();
  if (!pin_->version->empty()) {
    for (int i = 0; i < kLevelCount; i++) {
      for (const Run& run : pin_->version->level(i)) AddRun(run, &sources);
    }
  }
  stable_ = sources.size() == memtables;
  grow_at_ = stable_ ? UINT64_MAX : kReadAheadStart;
  iterator_ = MakeMerge(std::move(sources));
  ranges_ = RangeCover::Make(*pin_, read_seqno_);
}

void Cursor::SeekTo(Slice key) {
  seek_key_ = key.ToString();
  resume_ = Resume::kAtSeek;
  has_last_ = false;
  positioned_ = false;
  finished_ = false;
}

Code Cursor::Next(ReadMode mode) {
  context_.mode = mode;
  if (positioned_) [[likely]] {
    if (direction_ == Direction::kForward) {
      iterator_->Next();
      return SettleForward();
    }
    return SettleReverse();
  }
  status_ = Status();
  if (finished_ || read_seqno_ == 0 || (has_lower_ && has_upper_ && !(lower_ < upper_))) {
    finished_ = true;
    return Code::kNotFound;
  }
  if (iterator_ == nullptr) OpenSources();
  if (direction_ == Direction::kForward) {
    PositionForward();
    return SettleForward();
  }
  PositionReverse();
  return SettleReverse();
}

Code Cursor::LoadBlob(ReadMode mode) {
  ReadContext context;
  context.mode = mode;
  // The values of a file lie in the order of their keys.
  if (direction_ == Direction::kForward) context.read_ahead_bytes = context_.read_ahead_bytes;
  BlobHit hit;
  status_ = pin_->version->ReadBlob(entry_.key, entry_.value, context, /*keep=*/true, &hit);
  if (!status_.ok()) return status_.code();
  blob_ = std::move(hit.pin);
  entry_.value = hit.value;
  entry_.tag = MakeTag(entry_.seqno(), Kind::kValue);
  scanned_bytes_ += hit.value.size();
  if (scanned_bytes_ >= grow_at_) GrowReadAhead();
  return Code::kOk;
}

// ---- forward ----

void Cursor::PositionForward() {
  positioned_ = true;
  if (resume_ == Resume::kBehindLast) return iterator_->Seek(last_, kTagOldest);
  if (resume_ == Resume::kAtSeek && !(has_lower_ && Slice(seek_key_) < lower_)) {
    return iterator_->Seek(seek_key_, SeekTag(read_seqno_));
  }
  if (has_lower_) return iterator_->Seek(lower_, SeekTag(read_seqno_));
  iterator_->SeekToFirst();
}

Code Cursor::SettleForward() {
  Iterator* const it = iterator_.get();
  int walked = 0;
  while (it->valid()) {
    const Entry& e = it->entry();
    if (has_last_ && e.key == last_) {
      // An older version of a key that is dealt with.
      if (++walked < kWalkMax) {
        it->Next();
      } else {
        it->Seek(last_, kTagOldest);
        walked = 0;  // at most one version, that with seqno 0, still follows
      }
      continue;
    }
    if (has_upper_ && !(e.key < upper_)) break;
    if (e.seqno() >= read_seqno_) {
      if (++walked < kWalkMax) {
        it->Next();
      } else {
        walked = 0;
        group_key_.assign(e.key.data(), e.key.size());
        it->Seek(group_key_, SeekTag(read_seqno_));
      }
      if (OneTooMany()) return GiveUpTurn();
      continue;
    }
    walked = 0;
    Remember(e.key);
    if (ranges_ != nullptr && SkipCovered()) [[unlikely]] {
      if (OneTooMany()) return GiveUpTurn();
      continue;
    }
    if (!IsTombstone(e.kind())) [[likely]] {
      entry_ = e;
      scanned_bytes_ += e.key.size() + e.value.size();
      if (scanned_bytes_ >= grow_at_) GrowReadAhead();
      return Code::kOk;
    }
    it->Next();
    if (OneTooMany()) return GiveUpTurn();
  }
  if (!it->valid() && !it->status().ok()) return Lost();
  positioned_ = false;
  finished_ = true;
  return Code::kNotFound;
}

// ---- reverse ----
//
// The versions of a key come oldest first, so the newest visible one is known only when the key
// before it, or the beginning, has been reached. The iterator then stands there, ready for the next
// call.

void Cursor::PositionReverse() {
  positioned_ = true;
  if (resume_ == Resume::kBehindLast) return iterator_->SeekBefore(last_, kTagNewest);
  if (resume_ == Resume::kAtSeek) {
    const std::optional<std::string> after = KeyAfter(seek_key_);
    if (after && !(has_upper_ && !(Slice(*after) < upper_))) {
      return iterator_->SeekBefore(*after, kTagNewest);
    }
  }
  if (has_upper_) return iterator_->SeekBefore(upper_, kTagNewest);
  iterator_->SeekToLast();
}

Code Cursor::SettleReverse() {
  while (iterator_->valid() && !(has_lower_ && iterator_->entry().key < lower_)) {
    // What is covered is as good as not there; a newer version of the key may follow.
    if (ranges_ != nullptr && SkipCovered()) [[unlikely]] {
      if (OneTooMany()) return GiveUpTurn();
      continue;
    }
    bool visible = false;
    if (!ReadGroup(&visible)) return Lost();
    if (visible && ranges_ != nullptr) {
      visible = group_.seqno() >= ranges_->At(group_.key).seqno;
    }
    if (stable_) {
      last_ = group_.key;
    } else {
      last_key_.swap(group_key_);
      last_ = last_key_;
    }
    has_last_ = true;
    resume_ = Resume::kBehindLast;
    if (!visible || IsTombstone(group_.kind())) {
      if (OneTooMany()) return GiveUpTurn();
      continue;
    }
    entry_ = group_;
    entry_.key = last_;
    scanned_bytes_ += entry_.key.size() + entry_.value.size();
    if (scanned_bytes_ >= grow_at_) GrowReadAhead();
    return Code::kOk;
  }
  if (!iterator_->valid() && !iterator_->status().ok()) return Lost();
  positioned_ = false;
  finished_ = true;
  return Code::kNotFound;
}

// Reads all versions of the key at hand into group_. False if the position was lost on the way.
bool Cursor::ReadGroup(bool* visible) {
  Iterator* const it = iterator_.get();
  if (stable_) {
    group_.key = it->entry().key;
  } else {
    group_key_.assign(it->entry().key.data(), it->entry().key.size());
    group_.key = group_key_;
  }
  for (int walked = 0; it->valid() && it->entry().key == group_.key; walked++) {
    const Entry& e = it->entry();
    if (e.seqno() >= read_seqno_ || walked == kWalkMax) {
      JumpToNewest(visible);
      break;
    }
    *visible = true;
    group_.tag = e.tag;
    if (stable_) {
      group_.value = e.value;
    } else {
      group_value_.assign(e.value.data(), e.value.size());
      group_.value = group_value_;
    }
    it->Prev();
  }
  return it->valid() || it->status().ok();
}

// The same by seeks: what stands here is too new, or there are many versions.
void Cursor::JumpToNewest(bool* visible) {
  Iterator* const it = iterator_.get();
  if (it->entry().seqno() < read_seqno_) {
    it->Seek(group_.key, SeekTag(read_seqno_));
    if (!it->valid()) return;
    *visible = true;
    group_.tag = it->entry().tag;
    group_value_.assign(it->entry().value.data(), it->entry().value.size());
    group_.value = stable_ ? it->entry().value : Slice(group_value_);
  }
  it->SeekBefore(group_.key, kTagNewest);
}

// ---- both ----

// If the entry at hand is hidden by a range tombstone: leaves it, and with it what the same one
// hides, as far as that costs nothing.
bool Cursor::SkipCovered() {
  const Entry& e = iterator_->entry();
  const RangeTombstone& cover = ranges_->At(e.key);
  if (e.seqno() >= cover.seqno) return false;
  if (direction_ == Direction::kForward) {
    iterator_->SkipForward(cover.end, cover.seqno);
  } else {
    iterator_->SkipBack(cover.start, cover.seqno);
  }
  return true;
}

// The iterator has no position any more: the next call seeks behind the last key.
Code Cursor::Lost() {
  positioned_ = false;
  if (has_last_) resume_ = Resume::kBehindLast;
  status_ = iterator_->status();
  return status_.code();
}

// Goes on behind the last key that is dealt with.
Code Cursor::GiveUpTurn() {
  positioned_ = false;
  status_ = Status(Code::kWouldBlock);
  return Code::kWouldBlock;
}

void Cursor::Remember(Slice key) {
  if (stable_) {
    last_ = key;
  } else {
    last_key_.assign(key.data(), key.size());
    last_ = last_key_;
  }
  has_last_ = true;
  resume_ = Resume::kBehindLast;
}

void Cursor::GrowReadAhead() {
  const size_t ahead = context_.read_ahead_bytes;
  context_.read_ahead_bytes = ahead == 0 ? kReadAheadStart : ahead * 2;
  grow_at_ = ahead >= kReadAheadMax / 2 ? UINT64_MAX : scanned_bytes_ * 2;
}

}  // namespace shale
