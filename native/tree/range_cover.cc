#include "tree/range_cover.h"

#include <utility>

namespace shale {

std::unique_ptr<RangeCover> RangeCover::Make(const SuperVersion& sv, Seqno read_seqno) {
  std::unique_ptr<RangeCover> cover(new RangeCover(read_seqno));
  const auto add = [&](const Memtable& memtable) {
    if (!memtable.ranges().empty()) cover->sets_.push_back(memtable.ranges().Pin());
  };
  add(*sv.active);
  for (const auto& memtable : sv.sealed) add(*memtable);
  for (int i = 0; sv.version->has_ranges() && i < kLevelCount; i++) {
    for (const Run& run : sv.version->level(i)) {
      if (run.has_ranges()) cover->runs_.push_back(&run);
    }
  }
  if (cover->sets_.empty() && cover->runs_.empty()) return nullptr;
  return cover;
}

void RangeCover::Look(Slice key) {
  known_ = true;
  has_until_ = false;
  cover_ = RangeTombstone();
  from_.assign(key.data(), key.size());
  for (const auto& set : sets_) LookAt(*set, key);
  for (const Run* run : runs_) LookAt(*run, key);
  // Where the newest ends, an older one may go on.
  if (cover_.seqno != 0 && !cover_.unbounded()) EndAt(cover_.end);
}

void RangeCover::LookAt(const RangeSet& set, Slice key) {
  Take(set.FindNewest(key, read_seqno_, cover_.seqno));
  const Slice next = set.NextStart(key);
  if (!next.empty()) EndAt(next);
}

void RangeCover::LookAt(const Run& run, Slice key) {
  size_t i = run.LowerBound(key);
  if (i == run.tables.size()) return;
  const TableReader& table = *run.tables[i];
  if (key < Slice(table.meta().first_key)) return EndAt(table.meta().first_key);
  if (const RangeIndex* ranges = table.ranges()) {
    Take(ranges->FindNewest(key, read_seqno_, cover_.seqno));
    const Slice next = ranges->NextStart(key);
    if (!next.empty()) return EndAt(next);
  }
  if (++i < run.tables.size()) EndAt(run.tables[i]->meta().first_key);
}

}  // namespace shale
