// Reads of a tree: point lookups and size estimates.
#include <algorithm>

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

// The newest living entry of the key, as it is in memtable or table.
inline Status Find(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode, Entry* entry,
                   TreeHit* hit) {
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
  ReadContext context;
  context.mode = mode;
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
      Status s = table->Get(key, hash, read_seqno, context, &found);
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
  Status s = Find(sv, key, read_seqno, mode, &entry, hit);
  if (!s.ok()) return s;
  if (entry.kind() != Kind::kBlobPointer) [[likely]] {
    hit->value = entry.value;
    return s;
  }
  ReadContext context;
  context.mode = mode;
  BlobHit blob;
  SHALE_RETURN_IF_ERROR(sv->version->ReadBlob(key, entry.value, context, false, &blob));
  hit->value = blob.value;
  hit->block = std::move(blob.pin);
  return s;
}

Status Tree::SizeOf(const SuperVersion* sv, Slice key, Seqno read_seqno, ReadMode mode,
                    uint64_t* size) {
  Entry entry;
  TreeHit hit;
  Status s = Find(sv->For(read_seqno), key, read_seqno, mode, &entry, &hit);
  if (s.ok()) *size = ValueSize(entry);
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
