#include "tree/filtered_output.h"

#include <utility>

#include "base/blob_pointer.h"

namespace shale {
namespace {

// Tombstones wait with a batch that does not fill.
constexpr size_t kHeldMax = 16 * kFilterBatchEntries;

}  // namespace

FilteredOutput::FilteredOutput(std::shared_ptr<CompactionFilter> filter, FilterContext context,
                               Fetch fetch, RetentionView view,
                               Retention::MayExistBelow may_exist_below, Retention::Sink* sink)
    : filter_(std::move(filter)),
      needs_blob_values_(filter_->needs_blob_values()),
      context_(std::move(context)),
      fetch_(std::move(fetch)),
      retention_(std::move(view), std::move(may_exist_below), nullptr, sink) {}

Status FilteredOutput::Add(const Entry& entry) {
  if (!Asks(entry)) {
    if (held_.empty()) return retention_.Add(entry);
    Hold(entry, {});
    return held_.size() < kHeldMax ? Status::Ok() : Ask();
  }
  size_t size = entry.key.size();
  if (Fetches(entry)) {
    size += BlobPointer::Decode(entry.value.data()).raw_length;
  } else if (entry.kind() == Kind::kValue) {
    size += entry.value.size();
  }
  if (questions_ != 0 && question_bytes_ + size > kFilterBatchBytes) SHALE_RETURN_IF_ERROR(Ask());
  BlobHit blob;
  if (Fetches(entry)) SHALE_RETURN_IF_ERROR(fetch_(entry, &blob));
  Hold(entry, std::move(blob));
  questions_++;
  question_bytes_ += size;
  const bool full = questions_ == kFilterBatchEntries || question_bytes_ >= kFilterBatchBytes ||
                    held_.size() >= kHeldMax;
  return full ? Ask() : Status::Ok();
}

Status FilteredOutput::Finish() {
  SHALE_RETURN_IF_ERROR(Ask());
  return retention_.Finish();
}

void FilteredOutput::Hold(const Entry& entry, BlobHit blob) {
  Held held;
  held.tag = entry.tag;
  held.blob = std::move(blob);
  held.key_size = entry.key.size();
  if (!held_.empty() && KeyOf(held_.back()) == entry.key) {
    held.key = held_.back().key;
  } else {
    held.key = bytes_.size();
    bytes_.append(entry.key.data(), entry.key.size());
  }
  held.value = bytes_.size();
  held.value_size = entry.value.size();
  bytes_.append(entry.value.data(), entry.value.size());
  held_.push_back(std::move(held));
}

Status FilteredOutput::Ask() {
  if (held_.empty()) return Status::Ok();
  std::vector<FilterEntry> entries;
  entries.reserve(questions_);
  for (const Held& held : held_) {
    const Entry entry = EntryOf(held);
    if (!Asks(entry)) continue;
    FilterEntry& question = entries.emplace_back();
    question.key = entry.key;
    if (entry.kind() == Kind::kValue) {
      question.value = entry.value;
    } else if (Fetches(entry)) {
      question.value = held.blob.value;
    }
  }
  std::vector<FilterVerdict> verdicts;
  verdicts.reserve(entries.size());
  SHALE_RETURN_IF_ERROR(filter_->Judge(entries, context_, &verdicts));
  if (verdicts.size() != entries.size()) {
    return ApplicationFailure("a compaction filter gave " + std::to_string(verdicts.size()) +
                              " verdicts for " + std::to_string(entries.size()) + " entries");
  }
  size_t next = 0;
  for (const Held& held : held_) {
    const Entry entry = EntryOf(held);
    SHALE_RETURN_IF_ERROR(Asks(entry) ? Settle(entry, verdicts[next++]) : retention_.Add(entry));
  }
  held_.clear();
  bytes_.clear();
  questions_ = 0;
  question_bytes_ = 0;
  return Status::Ok();
}

Status FilteredOutput::Settle(const Entry& entry, const FilterVerdict& verdict) {
  if (verdict.verdict == Verdict::kKeep) return retention_.Add(entry);
  changed_ = true;
  switch (verdict.verdict) {
    case Verdict::kRemove:
      return retention_.Add({entry.key, Slice(), MakeTag(entry.seqno(), Kind::kTombstone)});
    case Verdict::kRemoveWeak:
      return retention_.Add({entry.key, Slice(), MakeTag(entry.seqno(), Kind::kWeakTombstone)});
    case Verdict::kReplace:
      return retention_.Add({entry.key, verdict.value, MakeTag(entry.seqno(), Kind::kValue)});
    default:
      return Status::Ok();
  }
}

}  // namespace shale
