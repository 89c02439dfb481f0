// LogReader: walks the records of one journal or manifest and tells a torn tail from damage.
//
// At the first bad record, at offset b: if a valid record behind it says that more than b bytes
// were durable, or the caller knows it (`known_durable`), it is damage; otherwise the tail was torn
// off by a crash and nothing from b on was acknowledged as durable. docs/format.md, section 4.4.
//
// Threads: one.
// Memory: one buffer, of one chunk or of one record; sizes are checked against the file before
// anything is allocated.
// Cost: one pass; at a bad record a second pass over what is behind it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "journal/log_format.h"
#include "vfs/vfs.h"

namespace shale {

class LogReader {
 public:
  // Checks the file header; its error has path and offset. `file` outlives the reader.
  // `known_durable`: bytes of this file that must be intact (0 if unknown). `end`: the final length
  // of a sealed file; bytes behind it are not looked at.
  static Status Open(File* file, const char* magic, uint64_t file_number, uint64_t known_durable,
                     std::unique_ptr<LogReader>* reader,
                     uint64_t end = std::numeric_limits<uint64_t>::max());

  // Next data record; synced-to records are consumed silently. False at the end or on the first bad
  // record; then status() and tail() tell. The payload lives until the next call.
  bool Next(LogRecordHeader* header, Slice* payload, uint64_t* offset);

  // Numbers as in docs/format.md.
  enum class Tail : uint8_t {
    kClean = 0,    // zeros or the end of the file
    kTorn = 1,     // bad record, not proven durable: cut here
    kDamaged = 2,  // bad record, or the end, before the durable end
  };
  Tail tail() const { return tail_; }
  // I/O errors, and kCorruption with path and offset for kDamaged.
  const Status& status() const { return status_; }
  // End of the last good record, synced-to records included.
  uint64_t end_offset() const { return end_offset_; }
  // Highest synced_to stated by any valid record seen so far; after a torn or damaged end also by
  // those behind it.
  uint64_t synced_to() const { return synced_to_; }
  // Bytes between end_offset() and the last byte that is not zero (what a cut drops).
  uint64_t dropped_bytes() const { return dropped_bytes_; }
  // Of these, what SkipDamage passes over.
  uint64_t skipped_bytes() const {
    return resume_offset_ != 0 ? resume_offset_ - next_offset_ : dropped_bytes_;
  }

  // Salvage: go on behind the bad record with the next valid one, if any.
  bool SkipDamage();

 private:
  enum class Verdict : uint8_t { kValid, kEnd, kBad, kImpossible, kError };

  LogReader(File* file, uint64_t file_number, uint64_t known_durable, uint64_t file_size)
      : file_(file),
        file_number_(file_number),
        known_durable_(known_durable),
        file_size_(file_size) {}

  // Makes [offset, offset + size) contiguous in the buffer and returns its start; null on an error.
  const char* Load(uint64_t offset, size_t size);
  Verdict Examine(uint64_t offset, LogRecordHeader* header, Slice* payload);
  // Finds the last byte at or behind `from` that is not zero; *end is the offset behind it, or
  // `from`. Stops at the first one found if `any` is set.
  bool FindNonZero(uint64_t from, bool any, uint64_t* end);
  // Looks for valid records behind the bad one at `bad`: the first goes to resume_offset_, the
  // highest synced_to to synced_to_. False: gave up, or an I/O error.
  bool ScanBehind(uint64_t bad);
  bool ScanChunk(const char* bytes, size_t size, uint64_t* offset);
  // Whether the candidate at `offset` has the right checksum; `chunk` begins there and may end
  // before the candidate does.
  bool ChecksumHolds(uint64_t offset, Slice chunk, const LogRecordHeader& header);
  void Finish(Verdict verdict);
  void Damaged(std::string message);

  File* file_;
  uint64_t file_number_;
  uint64_t known_durable_;
  uint64_t file_size_;
  uint64_t next_offset_ = kLogHeaderBytes;
  uint64_t end_offset_ = kLogHeaderBytes;
  uint64_t synced_to_ = 0;
  uint64_t dropped_bytes_ = 0;
  uint64_t resume_offset_ = 0;  // next valid record behind the bad one; 0 if none is known
  bool scanned_ = false;        // the whole file was scanned: synced_to_ is final
  uint64_t scan_budget_ = 0;    // bytes over which scans may still compute checksums
  bool finished_ = false;
  Tail tail_ = Tail::kClean;
  Status status_;
  std::string buffer_;
  uint64_t buffer_offset_ = 0;  // of the file
  std::string scan_buffer_;     // payloads of candidates; empty unless scanning
};

}  // namespace shale
