// TreeOptions: how one tree is kept; stored in the manifest with the tree.
//
// A per-level option is a list: entry i holds for level i, the last one for all deeper levels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/compression.h"
#include "base/status.h"
#include "memtable/memtable.h"
#include "table/table_reader.h"
#include "table/table_writer.h"

namespace shale {

inline constexpr int kLevelCount = 7;

template <typename T>
using PerLevel = std::vector<T>;  // never empty
template <typename T>
T AtLevel(const PerLevel<T>& v, int level) {
  return v[static_cast<size_t>(level) < v.size() ? static_cast<size_t>(level) : v.size() - 1];
}

// One of the two is set; both zero = no filter.
struct FilterPolicy {
  double bits_per_key = 0;
  double false_positive_rate = 0;
  double BitsPerKey() const;  // of the blocked filter that meets the rate
};

// Numbers are on disk. A number above these is treated like kUser: nothing is compacted by itself.
enum class StrategyKind : uint8_t { kLeveled = 0, kSizeTiered = 1, kFifo = 2, kUser = 3 };

// A strategy and its numbers; those of the other kinds mean nothing.
struct StrategyOptions {
  StrategyKind kind = StrategyKind::kLeveled;
  std::string name = "leveled";
  // leveled
  uint32_t l0_threshold = 4;
  uint64_t target_size = uint64_t{64} << 20;
  std::vector<double> level_ratio = {10};  // 1 or more; the last one repeats
  // size-tiered
  uint64_t base_size = uint64_t{64} << 20;
  double ratio = 4;
  uint64_t min_runs = 4;
  // leveled and size-tiered: what makes a table worth compacting although no level is too large
  double tombstone_share = 0.5;  // of its entries
  std::optional<double> max_age_seconds;
  // fifo
  uint64_t limit = UINT64_MAX;
  std::optional<double> ttl_seconds;
  std::string unknown_fields;  // tagged fields that are none of these, kept as they are

  // Bytes of an output table where the plan does not say it.
  uint64_t OutputSize() const;
  bool HasUpkeep() const {
    return kind == StrategyKind::kLeveled || kind == StrategyKind::kSizeTiered;
  }
  // Seconds after which a table is dropped, or rewritten.
  std::optional<double> MaxAge() const;
};

// Values of `threshold` bytes and more lie in blob files.
struct KvSeparation {
  uint64_t threshold = 1024;
  uint64_t file_size = uint64_t{64} << 20;  // bytes after which a blob file is closed
  Codec compression = Codec::kLz4;
  double staleness_threshold = 0.25;  // share of garbage from which a blob file is rewritten
  double age_cutoff = 0.25;           // of those, the share that one compaction rewrites
  std::string unknown_fields;         // tagged fields that are none of these, kept as they are
};

struct TreeOptions {
  uint64_t max_memtable_size = uint64_t{64} << 20;
  MemtableKind memtable = MemtableKind::kRadix;
  bool memtable_auto = true;      // the user said 'auto' (or nothing)
  uint8_t memtable_stated = 255;  // if memtable_auto: 255, or a structure that this engine lacks
  PerLevel<uint32_t> data_block_size = {4096};
  PerLevel<uint32_t> restart_interval = {10, 16};
  PerLevel<double> hash_index_ratio = {0};
  PerLevel<Codec> compression = {Codec::kNone, Codec::kNone, Codec::kLz4};
  PerLevel<Codec> index_compression = {Codec::kNone};
  PerLevel<FilterPolicy> filter = {{0, 1e-4}, {10, 0}};
  PerLevel<bool> pin_index = {true, true, false};
  PerLevel<bool> pin_filter = {true, false};
  PerLevel<bool> partition_index = {false, false, false, true};
  PerLevel<bool> partition_filter = {false, false, false, true};
  bool expect_point_read_hits = false;
  StrategyOptions strategy;
  std::optional<KvSeparation> kv_separation;  // decided when the tree is created
  uint8_t durability = 1;                     // 0 buffered, 1 os, 2 sync; see db
  bool durability_inherited = true;           // the database's
  std::string unknown_fields;  // tagged fields this version does not know, kept as they are

  // `policy_level`: see Version::PolicyLevel. `last_level`: nothing lies below.
  TableWriteOptions WriteOptions(int policy_level, bool last_level) const;
  TableOpenOptions OpenOptions(int policy_level) const;

  // kInvalidOption if a value is out of its range: such options must not be written.
  Status Check() const;
  // docs/format.md, "Options". Decode checks ranges (kCorruption).
  std::string Encode() const;
  static Status Decode(Slice bytes, TreeOptions* options);
};

}  // namespace shale
