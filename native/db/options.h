// DatabaseOptions: how a database is opened. Nothing here is stored; keyspace options are
// (tree/options.h).
#pragma once

#include <cstdint>

#include "base/compression.h"

namespace shale {

// What a successful write means. kBuffered: in process memory until the next flush point (10 ms or
// 256 KiB); kOs: survives the death of the process; kSync: survives power loss.
enum class Durability : uint8_t { kBuffered = 0, kOs = 1, kSync = 2 };

enum class RecoveryMode : uint8_t { kTail = 0, kStrict = 1, kSalvage = 2 };

struct DatabaseOptions {
  bool create_if_missing = true;
  bool error_if_exists = false;
  bool read_only = false;
  Durability durability = Durability::kOs;
  uint32_t sync_interval_ms = 1000;  // 0 = no background sync
  uint64_t cache_size = uint64_t{32} << 20;
  uint32_t max_open_files = 900;
  uint32_t worker_threads = 2;  // compaction threads; >= 1
  uint64_t max_write_buffer_size = uint64_t{256} << 20;
  uint32_t max_stall_ms = 200;
  uint64_t max_value_size = uint64_t{1} << 30;
  uint64_t compaction_rate_limit = 0;  // bytes per second; 0 = unlimited
  uint64_t max_journal_size = uint64_t{512} << 20;
  Codec journal_compression = Codec::kLz4;  // values of 4 KiB and more
  RecoveryMode recovery = RecoveryMode::kTail;
  bool hold_compactions = false;  // none begins by itself before Database::ReleaseCompactions

  bool operator==(const DatabaseOptions&) const = default;
};

}  // namespace shale
