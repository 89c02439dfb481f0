// LogReader: walks the records of one journal or manifest and tells a torn tail from damage.
//
// At the first bad record, at offset b: if a later valid record of the file says that more than b bytes were
// durable, or the caller knows it (`known_durable`), or a durable successor file exists (the caller's
// knowledge too), it is damage; otherwise the tail was torn off by a crash and everything from b on never
// was acknowledged as durable.
// Threads: one. Memory: one buffer of at most the file's size per record; sizes are checked against the
// file before anything is allocated.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "journal/log_format.h"
#include "vfs/vfs.h"

namespace shale {

class LogReader {
 public:
  // Checks the file header. `known_durable`: bytes of this file that must be intact (0 if unknown).
  static Status Open(File* file, const char* magic, uint64_t file_number, uint64_t known_durable,
                     std::unique_ptr<LogReader>* reader);

  // Next data record; synced-to records are consumed silently. False at the end or on the first bad record;
  // then status() and tail() tell. The payload lives until the next call.
  bool Next(LogRecordHeader* header, Slice* payload, uint64_t* offset);

  enum class Tail : uint8_t {
    kClean,    // zeros or the end of the file
    kTorn,     // bad record, not proven durable: cut here
    kDamaged,  // bad record before the durable end
  };
  Tail tail() const { return tail_; }
  // I/O errors, and kCorruption with path and offset for kDamaged.
  const Status& status() const { return status_; }
  // End of the last good record, synced-to records included.
  uint64_t end_offset() const { return end_offset_; }
  // Highest synced_to stated by any valid record of the file, also behind the first bad one.
  uint64_t synced_to() const { return synced_to_; }
  // Bytes between end_offset() and the last byte that is not zero (what a cut drops).
  uint64_t dropped_bytes() const { return dropped_bytes_; }

  // Salvage: go on behind the bad record with the next valid one, if any.
  bool SkipDamage();

 private:
  LogReader(File* file, uint64_t file_number, uint64_t known_durable)
      : file_(file), file_number_(file_number), known_durable_(known_durable) {}

  File* file_;
  uint64_t file_number_;
  uint64_t known_durable_;
  uint64_t file_size_ = 0;
  uint64_t next_offset_ = kLogHeaderBytes;
  uint64_t end_offset_ = kLogHeaderBytes;
  uint64_t synced_to_ = 0;
  uint64_t dropped_bytes_ = 0;
  Tail tail_ = Tail::kClean;
  Status status_;
  std::string buffer_;
};

}  // namespace shale
