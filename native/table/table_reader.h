// TableReader: one open, immutable table: point reads and iteration.
//
// Threads: any number of readers. Blocks come from the cache or, in ReadMode::kMayBlock, from the
// file; each is verified (checksum keyed with file number and offset) and checked once, when it is
// loaded, so that nothing on the hot path has to distrust it.
// Lifetime: shared by the versions that hold the table; when MarkObsolete() was called, the last
// reference removes the file (and the cache entries age out).
// Cost of Get in memory: one filter cache line, a search over contiguous key heads, one
// search inside the block, a cache lookup for each part that is not pinned; no allocation.
#pragma once

#include <memory>
#include <string>

#include "base/cache.h"
#include "base/iterator.h"
#include "base/range_tombstone.h"
#include "base/ref.h"
#include "table/table_counters.h"
#include "table/table_writer.h"
#include "vfs/file_cache.h"
#include "vfs/vfs.h"

namespace shale {

// What all tables of a database share.
struct TableContext {
  Vfs* vfs = nullptr;
  std::string directory;
  // Kept by the tables: a reader may be the last to let go of one, after its database.
  std::shared_ptr<Cache> cache;
  std::shared_ptr<FileCache> files;
};

struct TableOpenOptions {
  bool pin_index = true;  // decoded and kept in memory; else its blocks go through the cache
  bool pin_filter = true;
};

// A version found in a table. entry.key is the key that was asked for. entry.value points into the
// block: under an EpochGuard it is valid inside the guard; otherwise `pin` keeps the block.
struct TableHit {
  Entry entry;
  Ref<CacheValue> pin;  // set in kMayBlock only
};

class TableReader : public RefCounted {
 public:
  // Reads and checks footer, properties, index and filter as pinned. `meta` is what the manifest
  // says: size, number, counts and key range must agree, else kCorruption with path and offset.
  static Status Open(const TableContext& context, const TableMeta& meta,
                     const TableOpenOptions& options, std::shared_ptr<TableCounters> counters,
                     Ref<TableReader>* reader);

  // Its range tombstones; null if it has none. They hide nothing from the calls below.
  const RangeIndex* ranges() const;

  // Newest version of `key` with seqno < read_seqno. kNotFound; kWouldBlock in kMemoryOnly when a
  // block is not in memory; requires an EpochGuard in kMemoryOnly. `key_hash` = Hash64(key).
  Status Get(Slice key, uint64_t key_hash, Seqno read_seqno, const ReadContext& context,
             TableHit* hit) const;
  // Counts a lookup over tables of this one's tree that was tallied.
  void CountLookup(const LookupTally& tally) const;
  // True only if the filter rules the key out (or the key is outside the range); never does I/O.
  bool RulesOut(Slice key, uint64_t key_hash) const;

  // `context` outlives the iterator. The iterator keeps the table alive. Its blocks are pinned by
  // Ref.
  std::unique_ptr<Iterator> NewIterator(const ReadContext* context) const;

  // Bytes of the file that hold the keys in [first, last) (an estimate from the index; end
  // unbounded if `last` is null). May read index blocks.
  Status ApproximateBytes(Slice first, const Slice* last, const ReadContext& context,
                          uint64_t* bytes) const;

  // Reads every byte and checks every checksum, the order of entries and the counts.
  Status Verify() const;

  const TableMeta& meta() const;
  void MarkObsolete();  // the file goes with the last reference
  // Memory held outside the cache: pinned index and filter, range tombstones.
  size_t pinned_bytes() const;

 private:
  class Impl;
  explicit TableReader(std::unique_ptr<Impl> impl);
  ~TableReader() override;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shale
