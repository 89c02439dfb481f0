#include "tree/run_iterator.h"

#include <algorithm>
#include <utility>

namespace shale {
namespace {

class RunIterator final : public Iterator {
 public:
  RunIterator(const Run& run, size_t first, size_t last, const ReadContext* context)
      : run_(run), first_(first), last_(last), index_(last), context_(context) {}

  void SeekToFirst() override {
    Enter(first_);
    table_->SeekToFirst();
    PassEnds();
  }
  void SeekToLast() override {
    Enter(last_ - 1);
    table_->SeekToLast();
    PassEndsBack();
  }
  void Seek(Slice key, uint64_t tag) override {
    const size_t i = std::max(run_.LowerBound(key), first_);
    if (i >= last_) return Finish();
    Enter(i);
    table_->Seek(key, tag);
    PassEnds();
  }
  void SeekBefore(Slice key, uint64_t tag) override {
    // All versions of `key` are in the first table that ends at or behind it, or in none.
    const size_t i = std::max(run_.LowerBound(key), first_);
    Enter(std::min(i, last_ - 1));
    table_->SeekBefore(key, tag);
    PassEndsBack();
  }
  void Next() override {
    table_->Next();
    PassEnds();
  }
  void Prev() override {
    table_->Prev();
    PassEndsBack();
  }
  void SkipForward(Slice end, Seqno seqno) override {
    const auto newer = [&](size_t i) { return run_.tables[i]->meta().highest_seqno >= seqno; };
    if (newer(index_)) return Next();
    // To the first table that holds something newer, or that goes on at `end`.
    size_t i = index_;
    while (i < last_ && !newer(i) && (end.empty() || run_.tables[i]->meta().EndsBefore(end))) i++;
    if (i == last_) return Finish();
    Enter(i);
    if (newer(i)) {
      table_->SeekToFirst();
    } else {
      table_->Seek(end, kTagNewest);
    }
    PassEnds();
  }
  void SkipBack(Slice start, Seqno seqno) override {
    const auto newer = [&](size_t i) { return run_.tables[i]->meta().highest_seqno >= seqno; };
    if (newer(index_)) return Prev();
    size_t i = index_;
    while (i > first_ && !newer(i) && !(Slice(run_.tables[i]->meta().first_key) < start)) i--;
    Enter(i);
    if (newer(i)) {
      table_->SeekToLast();
    } else {
      table_->SeekBefore(start, kTagNewest);
    }
    PassEndsBack();
  }

 private:
  void Enter(size_t index) {
    if (table_ != nullptr && index == index_) return;
    table_ = run_.tables[index]->NewIterator(context_);
    index_ = index;
  }
  void PassEnds() {
    while (!table_->valid() && table_->status().ok() && index_ + 1 < last_) {
      Enter(index_ + 1);
      table_->SeekToFirst();
    }
    Publish();
  }
  void PassEndsBack() {
    while (!table_->valid() && table_->status().ok() && index_ > first_) {
      Enter(index_ - 1);
      table_->SeekToLast();
    }
    Publish();
  }
  void Publish() {
    valid_ = table_->valid();
    if (valid_) [[likely]] {
      entry_ = table_->entry();
    } else {
      status_ = table_->status();
    }
  }
  void Finish() {
    valid_ = false;
    status_ = Status();
  }

  const Run& run_;
  const size_t first_;
  const size_t last_;
  size_t index_;  // of table_
  const ReadContext* context_;
  std::unique_ptr<Iterator> table_;
};

}  // namespace

std::unique_ptr<Iterator> MakeRunIterator(const Run& run, size_t first, size_t last,
                                          const ReadContext* context) {
  if (first >= last) return nullptr;
  if (last - first == 1) return run.tables[first]->NewIterator(context);
  return std::make_unique<RunIterator>(run, first, last, context);
}

}  // namespace shale
