// CrashPolicy: which of the changes that were not synced a crash leaves behind.
//
// Changes are the writes and size changes of each file since its last sync and the creations,
// removals and renames in each directory since its last sync. They are numbered in the order in
// which they were made, over all files and directories: their places in MemVfs::Pending().
// Threads: a value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shale {

struct CrashPolicy {
  enum class Kind : uint8_t {
    kNone,       // only what was synced
    kAll,        // everything
    kKill,       // the process alone is gone: everything is there, and what was pending still is
    kPrefix,     // the first `index` changes of each file and directory
    kRandom,     // each page and each other change with a chance of `percent`
    kDropOne,    // everything except change `index`
    kTorn,       // everything before change `index`, of that write the first `cut` bytes
    kSizeFirst,  // directories and file sizes, but zeros for the data
    kMetaFirst,  // directories, but nothing of the files
    kDataFirst,  // files, but nothing of the directories
  };
  // What stands where the rest of a torn write was to go. kOld: what was there before, and no
  // growth.
  enum class Fill : uint8_t { kZero, kGarbage, kOld };

  static CrashPolicy None() { return {}; }
  static CrashPolicy All() { return {.kind = Kind::kAll}; }
  static CrashPolicy Kill() { return {.kind = Kind::kKill}; }
  static CrashPolicy Prefix(uint64_t count) { return {.kind = Kind::kPrefix, .index = count}; }
  static CrashPolicy Random(uint32_t percent) {
    return {.kind = Kind::kRandom, .percent = percent};
  }
  static CrashPolicy DropOne(uint64_t index) { return {.kind = Kind::kDropOne, .index = index}; }
  static CrashPolicy Torn(uint64_t index, uint64_t cut, Fill fill) {
    return {.kind = Kind::kTorn, .fill = fill, .index = index, .cut = cut};
  }
  static CrashPolicy SizeFirst() { return {.kind = Kind::kSizeFirst}; }
  static CrashPolicy MetaFirst() { return {.kind = Kind::kMetaFirst}; }
  static CrashPolicy DataFirst() { return {.kind = Kind::kDataFirst}; }

  // For the message of a failed test: "torn 3 at 512, garbage".
  std::string ToString() const;

  Kind kind = Kind::kNone;
  Fill fill = Fill::kZero;
  uint32_t percent = 50;
  uint64_t index = 0;
  uint64_t cut = 0;
};

// One change that a crash may lose.
struct PendingChange {
  enum class Kind : uint8_t { kWrite, kResize, kDirectory } kind = Kind::kWrite;
  uint64_t sequence = 0;
  uint64_t offset = 0;  // kWrite
  uint64_t length = 0;  // kWrite: bytes; kResize: the new size

  // Where a write may tear: 0 and every multiple of `unit` in the file that lies inside it, as
  // bytes of the write that come before. Empty unless kWrite.
  std::vector<uint64_t> Cuts(uint64_t unit) const;
};

}  // namespace shale
