// A compaction filter for tests: it remembers what it was asked, and does what it is told.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tree/compaction_filter.h"

namespace shale {

class TestFilter final : public CompactionFilter {
 public:
  using Decide = std::function<FilterVerdict(const FilterEntry& entry)>;
  explicit TestFilter(Decide decide) : decide_(std::move(decide)) {}

  bool needs_blob_values() const override { return needs; }
  Status Judge(const std::vector<FilterEntry>& entries, const FilterContext& context,
               std::vector<FilterVerdict>* verdicts) override {
    Batch batch;
    for (const FilterEntry& entry : entries) {
      batch.keys.push_back(entry.key.ToString());
      batch.bytes += entry.key.size() + (entry.value ? entry.value->size() : 0);
      verdicts->push_back(decide_(entry));
    }
    batch.is_last_level = context.is_last_level;
    verdicts->resize(verdicts->size() + surplus);
    const std::lock_guard<std::mutex> lock(mutex_);
    batches.push_back(std::move(batch));
    return failure;
  }

  struct Batch {
    std::vector<std::string> keys;
    size_t bytes = 0;
    bool is_last_level = false;
  };
  // Read and changed while no job runs.
  std::vector<Batch> batches;
  bool needs = true;
  Status failure;
  size_t surplus = 0;  // verdicts that nobody asked for

 private:
  const Decide decide_;
  std::mutex mutex_;
};

}  // namespace shale
