#include "tree/compaction_filter.h"

#include <algorithm>
#include <utility>

namespace shale {
namespace {

constexpr size_t kStampBytes = 8;

// Decides about each entry by itself, here and now.
class BuiltInFilter : public CompactionFilter {
 public:
  Status Judge(const std::vector<FilterEntry>& entries, const FilterContext& context,
               std::vector<FilterVerdict>* verdicts) override {
    for (const FilterEntry& entry : entries) {
      verdicts->push_back({Drops(entry, context) ? Verdict::kRemove : Verdict::kKeep, {}});
    }
    return Status::Ok();
  }

 private:
  virtual bool Drops(const FilterEntry& entry, const FilterContext& context) const = 0;
};

class TtlFilter final : public BuiltInFilter {
 public:
  TtlFilter(bool in_key, uint64_t offset, uint64_t ttl_ms)
      : in_key_(in_key), offset_(offset), ttl_ms_(ttl_ms) {}

  bool needs_blob_values() const override { return !in_key_; }

 private:
  bool Drops(const FilterEntry& entry, const FilterContext& context) const override {
    const std::optional<Slice> bytes = in_key_ ? entry.key : entry.value;
    if (!bytes || bytes->size() < kStampBytes || bytes->size() - kStampBytes < offset_) {
      return false;
    }
    uint64_t stamp = 0;
    for (size_t i = 0; i < kStampBytes; i++) {
      stamp = stamp << 8 | static_cast<uint8_t>(bytes->data()[offset_ + i]);
    }
    return stamp <= context.now_ms && context.now_ms - stamp >= ttl_ms_;
  }

  const bool in_key_;
  const uint64_t offset_;
  const uint64_t ttl_ms_;
};

class PrefixFilter final : public BuiltInFilter {
 public:
  explicit PrefixFilter(std::vector<std::string> prefixes) {
    std::sort(prefixes.begin(), prefixes.end());
    for (std::string& prefix : prefixes) {
      if (prefixes_.empty() || !Slice(prefix).StartsWith(prefixes_.back())) {
        prefixes_.push_back(std::move(prefix));
      }
    }
  }

  bool needs_blob_values() const override { return false; }

 private:
  // None is a prefix of another: what stands right before the key is the only one it may have.
  bool Drops(const FilterEntry& entry, const FilterContext&) const override {
    const auto behind =
        std::upper_bound(prefixes_.begin(), prefixes_.end(), entry.key,
                         [](Slice key, const std::string& prefix) { return key < Slice(prefix); });
    return behind != prefixes_.begin() && entry.key.StartsWith(*(behind - 1));
  }

  std::vector<std::string> prefixes_;  // ascending
};

}  // namespace

std::shared_ptr<CompactionFilter> MakeTtlFilter(bool in_key, uint64_t offset, uint64_t ttl_ms) {
  return std::make_shared<TtlFilter>(in_key, offset, ttl_ms);
}

std::shared_ptr<CompactionFilter> MakePrefixFilter(std::vector<std::string> prefixes) {
  return std::make_shared<PrefixFilter>(std::move(prefixes));
}

}  // namespace shale
