// RadixMemtable: adaptive radix tree over keys of any length.
//
// Lookups skip compressed paths and compare the whole key once, at the entry (optimistic descent).
// Insertions compare each path with the node's own prefix, so they touch an entry only where one is
// split.
// Threads, lifetime: as Memtable. Node invariants: radix_node.h.
// Cost: one node per distinguishing key byte; an entry of 24 bytes beside key and value, and 15 to
// 35 bytes of nodes for each, what was replaced included.
#pragma once

#include <atomic>
#include <memory>

#include "memtable/arena.h"
#include "memtable/memtable.h"
#include "memtable/radix_node.h"
#include "memtable/version_chain.h"

namespace shale {

class RadixMemtable final : public Memtable {
 public:
  explicit RadixMemtable(uint64_t id) : Memtable(id) {}

  size_t Add(Slice key, Slice value, Seqno seqno, Kind kind) override;
  bool Get(Slice key, Seqno read_seqno, Entry* entry) const override;
  std::unique_ptr<Iterator> NewIterator() const override;
  void Prefetch(Slice key) const override;

 private:
  size_t index_used_bytes() const override { return entries_.used() + nodes_.arena().used(); }
  size_t index_reserved_bytes() const override {
    return entries_.reserved() + nodes_.arena().reserved();
  }

  using Slot = std::atomic<radix::NodeRef>;

  // Where the descent for a key to be added has ended.
  struct Place {
    Slot* slot;  // holds `ref`
    radix::NodeRef ref;
    size_t from;     // key bytes known to be equal to those on the path
    size_t same;     // first position that differs from the prefix of the node `ref`
    Slot* terminal;  // set if the key ends at the node `ref`
  };

  struct Added {
    const StoredEntry* entry;  // one of the key
    size_t bytes;
    bool replaced;
  };

  Place FindPlace(Slice key);
  Added AddAt(const Place& place, const Entry& entry);
  Added AddFirst(Slot* slot, const Entry& entry);
  Added AddToChain(Slot* slot, const Entry& entry);
  Added AddChildAt(const Place& place, const Entry& entry);
  Added Split(const Place& place, uint8_t below_byte, size_t depth, const Entry& entry);
  Added SplitEntry(const Place& place, const Entry& entry);
  radix::NodeRef Descend(Slice key) const;

  Arena entries_;
  radix::NodeFactory nodes_;
  HeightSource heights_;
  Slot root_{0};

  // Writer only: the slot where the last descent ended, and a key of which the first hint_from_
  // bytes lead there. Keys that come in order start at it.
  Slot* hint_slot_ = nullptr;
  size_t hint_from_ = 0;
  const char* hint_key_ = nullptr;
};

}  // namespace shale
