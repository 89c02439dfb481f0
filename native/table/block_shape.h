// Block shape: where the parts of a data or index block lie, from its footer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/status.h"

namespace shale {

inline constexpr size_t kBlockFooterBytes = 12;
inline constexpr uint8_t kBlockFlagWideRestarts = 1;
inline constexpr uint32_t kBucketConflict = 254;
inline constexpr uint32_t kBucketFree = 255;
inline constexpr uint32_t kBucketCountMax = 65535;
inline constexpr uint32_t kRestartIntervalMax = 255;

struct BlockShape {
  Slice entries;
  Slice restarts;
  Slice buckets;
  uint32_t entry_count = 0;
  uint32_t restart_count = 0;
  uint32_t bucket_count = 0;
  uint32_t restart_interval = 1;
  bool wide_restarts = false;

  uint32_t Restart(uint32_t i) const {
    return wide_restarts ? LoadLe<uint32_t>(restarts.data() + i * sizeof(uint32_t))
                         : LoadLe<uint16_t>(restarts.data() + i * sizeof(uint16_t));
  }
};

// kCorruption (without path) if the footer and the length of the block contradict each other.
// `entry_bytes_min` bounds the number of entries before anything is allocated for them.
Status DecodeBlockShape(Slice raw, size_t entry_bytes_min, BlockShape* shape);

// Appends restarts, buckets and footer to the entries in *block.
void AppendBlockShape(const std::vector<uint32_t>& restarts, Slice buckets, uint32_t entry_count,
                      uint32_t restart_interval, std::string* block);

// Order of the concatenations a1 a2 and b1 b2.
int ComparePieces(Slice a1, Slice a2, Slice b1, Slice b2);

}  // namespace shale
