#include "tree/merge_iterator.h"

#include <cstdint>
#include <utility>

namespace shale {
namespace {

// The source that holds the current entry stands beside a binary heap of the others, whose top is
// the runner-up: as long as the current source stays ahead of it, a step costs one comparison, and
// with up to four sources never more than three.
class MergeIterator final : public Iterator {
 public:
  explicit MergeIterator(std::vector<std::unique_ptr<Iterator>> sources)
      : sources_(std::move(sources)) {
    heap_.reserve(sources_.size());
  }

  void SeekToFirst() override {
    for (auto& s : sources_) s->SeekToFirst();
    Rebuild<true>();
  }
  void SeekToLast() override {
    for (auto& s : sources_) s->SeekToLast();
    Rebuild<false>();
  }
  void Seek(Slice key, uint64_t tag) override {
    for (auto& s : sources_) s->Seek(key, tag);
    Rebuild<true>();
  }
  void SeekBefore(Slice key, uint64_t tag) override {
    for (auto& s : sources_) s->SeekBefore(key, tag);
    Rebuild<false>();
  }

  void Next() override {
    if (!forward_) return TurnForward();
    current_.iterator->Next();
    Settle<true>();
  }
  void Prev() override {
    if (forward_) return TurnBack();
    current_.iterator->Prev();
    Settle<false>();
  }
  // The other sources do the same when it is their turn.
  void SkipForward(Slice end, Seqno seqno) override {
    if (!forward_) return TurnForward();
    current_.iterator->SkipForward(end, seqno);
    Settle<true>();
  }
  void SkipBack(Slice start, Seqno seqno) override {
    if (forward_) return TurnBack();
    current_.iterator->SkipBack(start, seqno);
    Settle<false>();
  }

 private:
  struct Head {
    Iterator* iterator = nullptr;
    uint32_t rank = 0;  // position among the sources: the smaller one is newer
  };

  // Whether `a` comes before `b` in the direction of travel.
  template <bool kForward>
  static bool Before(const Head& a, const Head& b) {
    const Entry& x = a.iterator->entry();
    const Entry& y = b.iterator->entry();
    const int c = CompareInternal(x.key, x.tag, y.key, y.tag);
    if constexpr (kForward) return c < 0 || (c == 0 && a.rank < b.rank);
    return c > 0 || (c == 0 && a.rank > b.rank);
  }

  template <bool kForward>
  void SiftDown(size_t i) {
    const size_t n = heap_.size();
    const Head moving = heap_[i];
    for (;;) {
      size_t child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && Before<kForward>(heap_[child + 1], heap_[child])) child++;
      if (!Before<kForward>(heap_[child], moving)) break;
      heap_[i] = heap_[child];
      i = child;
    }
    heap_[i] = moving;
  }

  template <bool kForward>
  void TakeTop() {
    current_ = heap_.front();
    heap_.front() = heap_.back();
    heap_.pop_back();
    if (heap_.size() > 1) SiftDown<kForward>(0);
  }

  // After all sources have been positioned.
  template <bool kForward>
  void Rebuild() {
    forward_ = kForward;
    heap_.clear();
    for (size_t i = 0; i < sources_.size(); i++) {
      Iterator* s = sources_[i].get();
      if (s->valid()) {
        heap_.push_back({s, static_cast<uint32_t>(i)});
      } else if (!s->status().ok()) {
        return Fail(s->status());
      }
    }
    status_ = Status();
    valid_ = !heap_.empty();
    if (!valid_) return;
    for (size_t i = heap_.size() / 2; i-- > 0;) SiftDown<kForward>(i);
    TakeTop<kForward>();
    entry_ = current_.iterator->entry();
  }

  // After the current source has moved.
  template <bool kForward>
  void Settle() {
    if (current_.iterator->valid()) [[likely]] {
      if (!heap_.empty() && Before<kForward>(heap_.front(), current_)) {
        std::swap(heap_.front(), current_);
        SiftDown<kForward>(0);
      }
    } else if (!current_.iterator->status().ok()) {
      return Fail(current_.iterator->status());
    } else if (heap_.empty()) {
      valid_ = false;
      return;
    } else {
      TakeTop<kForward>();
    }
    entry_ = current_.iterator->entry();
  }

  // A change of direction seeks every other source to its neighbour of the current entry; the
  // current source moves last, because the entry points into it.
  void TurnForward() {
    for (size_t i = 0; i < sources_.size(); i++) {
      Iterator* s = sources_[i].get();
      if (s == current_.iterator) continue;
      s->Seek(entry_.key, entry_.tag);
      if (i < current_.rank && AtEqual(s)) s->Next();
    }
    current_.iterator->Next();
    Rebuild<true>();
  }
  void TurnBack() {
    for (size_t i = 0; i < sources_.size(); i++) {
      Iterator* s = sources_[i].get();
      if (s == current_.iterator) continue;
      if (i < current_.rank) {
        s->Seek(entry_.key, entry_.tag);
        if (AtEqual(s) || (!s->valid() && !s->status().ok())) continue;
      }
      s->SeekBefore(entry_.key, entry_.tag);
    }
    current_.iterator->Prev();
    Rebuild<false>();
  }
  bool AtEqual(const Iterator* s) const {
    return s->valid() && s->entry().seqno() == entry_.seqno() && s->entry().key == entry_.key;
  }

  void Fail(const Status& status) {
    valid_ = false;
    status_ = status;
  }

  std::vector<std::unique_ptr<Iterator>> sources_;
  std::vector<Head> heap_;
  Head current_;
  bool forward_ = true;
};

}  // namespace

std::unique_ptr<Iterator> MakeMerge(std::vector<std::unique_ptr<Iterator>> sources) {
  if (sources.empty()) return std::make_unique<EmptyIterator>();
  if (sources.size() == 1) return std::move(sources.front());
  return std::make_unique<MergeIterator>(std::move(sources));
}

}  // namespace shale
