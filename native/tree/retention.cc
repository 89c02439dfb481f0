#include "tree/retention.h"

#include <algorithm>
#include <utility>

#include "base/seeded_bug.h"

namespace shale {

// A reader at R sees seqnos below R: it tells two apart if older < R <= newer.
Seqno RetentionView::StratumEnd(Seqno seqno) const {
  if (seqno >= visible) return seqno + 1;
  const auto first_above = std::upper_bound(snapshots.begin(), snapshots.end(), seqno);
  return first_above == snapshots.end() ? visible : std::min(*first_above, visible);
}

Retention::Retention(RetentionView view, MayExistBelow may_exist_below, const RangeIndex* ranges,
                     Sink* sink)
    : view_(std::move(view)),
      may_exist_below_(std::move(may_exist_below)),
      ranges_(ranges),
      sink_(sink) {}

bool Retention::Covered(const Entry& entry) const {
  const Seqno end = view_.StratumEnd(entry.seqno());
  return ranges_->FindNewest(entry.key, end, entry.seqno()) != nullptr;
}

Status Retention::Add(const Entry& entry) {
  if (ranges_ != nullptr && Covered(entry)) return Status::Ok();
  if (!has_key_ || entry.key != Slice(key_)) {
    SHALE_RETURN_IF_ERROR(EndKey());
    return Begin(entry);
  }
  const Seqno newer = std::exchange(newer_seqno_, entry.seqno());
  if (entry.seqno() == newer) return Status::Ok();
  return SameStratum(newer, entry.seqno()) ? SameStratumAs(entry) : NewStratum(entry);
}

Status Retention::Finish() { return EndKey(); }

Status Retention::Begin(const Entry& entry) {
  has_key_ = true;
  key_.assign(entry.key.data(), entry.key.size());
  newer_seqno_ = entry.seqno();
  cover_ = Cover::kNone;
  return NewStratum(entry);
}

void Retention::KeepWaiting(const Entry& entry) {
  waiting_.push_back(entry.tag);
  cover_ = entry.kind() == Kind::kTombstone ? Cover::kRegular : Cover::kWeak;
}

// Nothing newer makes up for this version: it stays, tombstones for the time being.
Status Retention::NewStratum(const Entry& entry) {
  if (IsTombstone(entry.kind())) {
    // It hides what the weak tombstone of a pair would have hidden.
    if (cover_ == Cover::kWeakPair) waiting_.pop_back();
    KeepWaiting(entry);
    return Status::Ok();
  }
  SHALE_RETURN_IF_ERROR(PassWaiting());
  cover_ = Cover::kValue;
  return sink_->Add(entry);
}

Status Retention::SameStratumAs(const Entry& entry) {
  if (!IsTombstone(entry.kind())) {
    if (cover_ == Cover::kWeak) cover_ = Cover::kWeakPair;
    return Status::Ok();
  }
  if (cover_ == Cover::kRegular) return Status::Ok();
  if (cover_ == Cover::kWeak || cover_ == Cover::kWeakPair) waiting_.pop_back();
  KeepWaiting(entry);
  return Status::Ok();
}

Status Retention::PassWaiting() {
  Entry tombstone;
  tombstone.key = key_;
  for (uint64_t tag : waiting_) {
    tombstone.tag = tag;
    SHALE_RETURN_IF_ERROR(sink_->Add(tombstone));
  }
  waiting_.clear();
  return Status::Ok();
}

Status Retention::EndKey() {
  if (!has_key_) return Status::Ok();
  has_key_ = false;
  if (cover_ == Cover::kWeakPair) waiting_.pop_back();
  if (waiting_.empty()) return Status::Ok();
  if (BugIsOn(SeededBug::kDropTombstoneAboveLast) || !may_exist_below_(key_)) {
    waiting_.clear();
    return Status::Ok();
  }
  return PassWaiting();
}

}  // namespace shale
