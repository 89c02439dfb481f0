// Memtable: what both structures share.
#include "memtable/memtable.h"

#include "memtable/radix.h"
#include "memtable/skiplist.h"

namespace shale {

Ref<Memtable> Memtable::Create(MemtableKind kind, uint64_t id) {
  if (kind == MemtableKind::kSkiplist) return MakeRef<SkiplistMemtable>(id);
  return MakeRef<RadixMemtable>(id);
}

size_t Memtable::AddRange(Slice start, Slice end, Seqno seqno) {
  CountSeqno(seqno);
  return ranges_.Add(start, end, seqno);
}

// Plain loads and stores: there is one writer.
void Memtable::CountSeqno(Seqno seqno) {
  if (seqno < lowest_seqno()) lowest_seqno_.store(seqno, std::memory_order_relaxed);
  if (seqno > highest_seqno()) highest_seqno_.store(seqno, std::memory_order_relaxed);
}

void Memtable::Count(Seqno seqno) {
  CountSeqno(seqno);
  if (seqno > highest_entry_seqno()) {
    highest_entry_seqno_.store(seqno, std::memory_order_relaxed);
  }
  item_count_.store(item_count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

}  // namespace shale
