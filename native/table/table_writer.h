// TableWriter: sorted versions in, one durable table file and its description out.
//
// Threads: one. Memory: one data block, the encoded index and filter partitions, the hashes of the
// keys in the filter (8 bytes each; one partition's when partitioned), and the range tombstones.
// Errors: the first is sticky; Abandon (or an error in Finish, or the destructor before it) removes
// the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/compression.h"
#include "base/internal_key.h"
#include "base/range_tombstone.h"
#include "table/blob_references.h"
#include "vfs/vfs.h"

namespace shale {

// How a table of one level is written; resolved from the keyspace's options for that level.
struct TableWriteOptions {
  uint32_t block_size = 4096;      // raw bytes of entries after which a data block is closed
  uint32_t restart_interval = 16;  // 1..255
  double hash_index_ratio = 0;     // buckets per entry; 0 = none
  Codec codec = Codec::kNone;
  Codec index_codec = Codec::kNone;
  double filter_bits_per_key = 10;  // fractional values honoured; 0 = no filter
  bool partition_index = false;
  bool partition_filter = false;
  uint64_t write_chunk = 256 * 1024;  // bytes gathered before a write call
};

// What a finished table is; goes to the manifest and into TableInfo.
struct TableMeta {
  uint64_t number = 0;      // file number
  uint64_t size = 0;        // bytes of the file
  uint64_t item_count = 0;  // all versions and tombstones
  uint64_t tombstone_count = 0;
  uint64_t weak_tombstone_count = 0;
  uint64_t range_tombstone_count = 0;
  uint64_t block_count = 0;
  std::string first_key;  // user keys
  std::string last_key;   // empty if unbounded
  KeyBound last_key_bound = KeyBound::kInclusive;
  Seqno lowest_seqno = 0;
  Seqno highest_seqno = 0;
  Seqno global_seqno = 0;  // ingested tables: added to every seqno read; else 0
  uint64_t created_at_ms = 0;
  Codec codec = Codec::kNone;
  BlobReferences blobs;

  // Whether the table ends before `key`.
  bool EndsBefore(Slice key) const { return shale::EndsBefore(last_key, last_key_bound, key); }
};

class TableWriter {
 public:
  static Status Create(Vfs* vfs, const std::string& path, uint64_t file_number,
                       const TableWriteOptions& options, std::unique_ptr<TableWriter>* writer);
  ~TableWriter();

  // Strictly ascending internal order.
  Status Add(const Entry& entry);
  // At any time, in any order, each once; entries are not looked at.
  Status AddRange(const RangeTombstone& range);
  // Bytes the file would have if finished now (estimate), range tombstones aside: callers rotate by
  // it, between user keys only.
  uint64_t EstimatedSize() const;
  uint64_t item_count() const;
  // Writes filter, index, properties and footer and syncs the file (not the directory). With
  // `unsynced` the open file is handed over instead: syncing it is the caller's.
  Status Finish(TableMeta* meta, std::unique_ptr<File>* unsynced = nullptr);
  void Abandon();

 private:
  class Impl;
  explicit TableWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
