#include "tree/tree_metrics.h"

#include "base/epoch.h"
#include "tree/tree.h"

namespace shale {
namespace {

double Ratio(uint64_t a, uint64_t b, double without) {
  return b == 0 ? without : static_cast<double>(a) / static_cast<double>(b);
}

}  // namespace

TreeMetrics Tree::metrics() const {
  using enum TableCount;
  TreeMetrics m;
  const auto relaxed = std::memory_order_relaxed;
  // Before what they are divided by: users' bytes are counted first.
  const uint64_t written = journal_bytes_.load(relaxed) + output_bytes_.load(relaxed);
  m.write_amplification =
      Ratio(written, user_bytes_.load(relaxed) + ingested_bytes_.load(relaxed), 1);
  uint64_t deepest = 0;
  uint64_t live = 0;
  {
    const EpochGuard guard;
    const SuperVersion* sv = current();
    m.memtable_bytes = sv->active->used_bytes();
    for (const auto& memtable : sv->sealed) m.memtable_bytes += memtable->used_bytes();
    const Version& version = *sv->version;
    for (int i = 0; i < kLevelCount; i++) {
      TreeMetrics::Level& level = m.levels[static_cast<size_t>(i)];
      level.runs = version.level(i).size();
      for (const Run& run : version.level(i)) {
        level.tables += run.tables.size();
        level.bytes += run.bytes();
      }
      if (level.tables != 0) deepest = level.bytes;
    }
    m.table_bytes = version.bytes();
    m.blob_bytes = version.blob_bytes();
    m.stale_blob_bytes = version.stale_blob_bytes();
    for (const BlobFileUse& use : version.blob_files()) live += use.live_bytes;
  }
  m.space_amplification = Ratio(m.table_bytes + m.blob_bytes, deepest == 0 ? 0 : deepest + live, 1);
  m.filter_queries = counters_->Sum(kFilterQueries);
  m.filter_negatives = counters_->Sum(kFilterNegatives);
  m.filter_false_positives = counters_->Sum(kFilterFalsePositives);
  m.block_loads = {counters_->Sum(kLoadsCached), counters_->Sum(kLoadsIo)};
  m.blob_loads = {blob_counters_->loads_cached(), blob_counters_->loads_io()};
  m.read_amplification = Ratio(counters_->Sum(kLookupLoads), counters_->Sum(kLookups), 0);
  return m;
}

}  // namespace shale
