// Reads of a tree: point lookups and size estimates.
#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "tree/tree.h"

namespace shale {
namespace {

// Of a version that decides about the key: a tombstone is a hit too. `cover` is the seqno of the
// newest range tombstone over it, or 0.
Status Decide(const Entry& entry, Seqno cover) {
  if (IsTombstone(entry.kind()) || entry.seqno() < cover) return Code::kNotFound;
  return Status::Ok();
}

// *cover grows to the newest range tombstone on the way that covers the key.
bool FindInMemtables(const SuperVersion* sv, Slice key, Seqno read_seqno, Entry* entry,
                     Seqno* cover) {
  const auto find = [&](const Memtable& memtable) {
    if (!memtable.ranges().empty()) [[unlikely]] {
      *cover = std::max(*cover, memtable.ranges().NewestCover(key, read_seqno));
    }
    return memtable.Get(key, read_seqno, entry);
  };
  if (find(*sv->active)) return true;
  for (const auto& memtable : sv->sealed) {
    if (find(*memtable)) return true;
  }
  return false;
}

// One attempt at a lookup, and what is counted of it.
struct Lookup {
  ReadContext context;
  LookupTally tally;
  const TableReader* table = nullptr;  // any that was looked into

  explicit Lookup(ReadMode mode) { context.mode = mode; }
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  void End(const Status& status) const {
    if (table != nullptr && !status.Is(Code::kWouldBlock)) table->CountLookup(tally);
  }
};

// The newest living entry of the key, as it is in memtable or table.
inline Status Find(const SuperVersion* sv, Slice key, Seqno read_seqno, Lookup* lookup,
                   Entry* entry, TreeHit* hit) {
  const ReadMode mode = lookup->context.mode;
  if (read_seqno == 0) return Code::kNotFound;
  Seqno cover = 0;
  if (FindInMemtables(sv, key, read_seqno, entry, &cover)) {
    if (mode == ReadMode::kMayBlock) {
      hit->super_version = Ref<SuperVersion>::Share(const_cast<SuperVersion*>(sv));
    }
    return Decide(*entry, cover);
  }
  const Version& version = *sv->version;
  if (version.empty()) return Code::kNotFound;

  const uint64_t hash = Hash64(key);
  lookup->context.tally = &lookup->tally;
  TableHit found;
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : version.level(level)) {
      const TableReader* table = run.Find(key);
      if (table == nullptr || table->meta().lowest_seqno >= read_seqno) continue;
      if (table->meta().highest_seqno < cover) continue;
      if (run.has_ranges()) [[unlikely]] {
        const RangeTombstone* range = run.FindCover(key, read_seqno, cover);
        if (range != nullptr) cover = range->seqno;
      }
      lookup->table = table;
      Status s = table->Get(key, hash, read_seqno, lookup->context, &found);
      if (s.Is(Code::kNotFound)) continue;
      if (!s.ok()) return s;
      hit->block = std::move(found.pin);
      *entry = found.entry;
      return Decide(found.entry, cover);
    }
  }
  return Code::kNotFound;
}

}  // namespace

Status Tree::Get(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode, TreeHit* hit) {
  sv = sv->For(read_seqno);
  Entry entry;
  Lookup lookup(mode);
  Status s = Find(sv, key, read_seqno, &lookup, &entry, hit);
  if (s.ok()) {
    if (entry.kind() != Kind::kBlobPointer) [[likely]] {
      hit->value = entry.value;
    } else {
      BlobHit blob;
      s = sv->version->ReadBlob(key, entry.value, lookup.context, false, &blob);
      hit->value = blob.value;
      hit->block = std::move(blob.pin);
    }
  }
  lookup.End(s);
  return s;
}

Status Tree::SizeOf(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode,
                    uint64_t* size) {
  Entry entry;
  TreeHit hit;
  Lookup lookup(mode);
  Status s = Find(sv->For(read_seqno), key, read_seqno, &lookup, &entry, &hit);
  if (s.ok()) *size = ValueSize(entry);
  lookup.End(s);
  return s;
}

Status Tree::ApproximateSize(const Bounds& range, ReadMode mode, uint64_t* bytes) const {
  *bytes = 0;
  const Slice lower = range.lower ? Slice(*range.lower) : Slice();
  const Slice upper = range.upper ? Slice(*range.upper) : Slice();
  if (range.upper && !(lower < upper)) return Status::Ok();
  const Ref<SuperVersion> sv = Pin();
  ReadContext context;
  context.mode = mode;
  for (int level = 0; level < kLevelCount; level++) {
    for (const Run& run : sv->version->level(level)) {
      const size_t end = range.upper ? run.FirstStartingAt(upper) : run.tables.size();
      for (size_t i = run.LowerBound(lower); i < end; i++) {
        const TableMeta& m = run.tables[i]->meta();
        const bool whole = !(Slice(m.first_key) < lower) && (!range.upper || m.EndsBefore(upper));
        uint64_t part = m.size;
        if (!whole) {
          SHALE_RETURN_IF_ERROR(run.tables[i]->ApproximateBytes(
              lower, range.upper ? &upper : nullptr, context, &part));
        }
        *bytes += part;
      }
    }
  }
  return Status::Ok();
}

}  // namespace shale
