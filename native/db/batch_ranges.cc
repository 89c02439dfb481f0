#include "db/batch_ranges.h"

#include <algorithm>
#include <utility>

namespace shale {

BatchRanges::BatchRanges(Slice entries) {
  std::unordered_map<uint32_t, std::vector<RangeTombstone>> found;
  BatchReader reader(entries);
  BatchEntry entry;
  for (uint64_t position = 0; reader.Next(&entry); position++) {
    RangeTombstone range;
    if (!DecodeRange(entry, &range)) continue;
    range.seqno = position + 1;
    found[entry.keyspace].push_back(range);
  }
  for (auto& [keyspace, ranges] : found) {
    std::sort(ranges.begin(), ranges.end(), ComesBefore);
    by_keyspace_.emplace(keyspace, MakeRef<RangeIndex>(std::move(ranges)));
  }
}

bool BatchRanges::IsCancelled(const BatchEntry& entry, uint64_t position) const {
  if (entry.kind == Kind::kRangeTombstone) return false;
  const auto it = by_keyspace_.find(entry.keyspace);
  return it != by_keyspace_.end() &&
         it->second->FindNewest(entry.key, kReadAll, position + 1) != nullptr;
}

}  // namespace shale
