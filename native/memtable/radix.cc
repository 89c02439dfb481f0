// RadixMemtable: lookup, and the five ways in which an entry comes in.
#include "memtable/radix.h"

#include <algorithm>
#include <utility>

#include "base/memory_order.h"
#include "memtable/radix_iterator.h"

namespace shale {

using radix::NodeRef;

NodeRef RadixMemtable::Descend(Slice key) const {
  NodeRef ref = root_.load(kAcquire);
  while (radix::IsNode(ref)) {
    const size_t depth = radix::DepthOf(ref);
    if (depth >= key.size()) {
      return depth == key.size() ? radix::RefOf(radix::Terminal(ref)) : 0;
    }
    ref = radix::FindChild(ref, key[depth]);
  }
  return ref;
}

bool RadixMemtable::Get(Slice key, Seqno read_seqno, Entry* entry) const {
  const NodeRef ref = Descend(key);
  if (ref == 0) return false;
  const StoredEntry* const newest = radix::EntryOf(ref);
  newest->Prefetch();  // the caller reads the value next: its lines come along with the first
  if (!newest->HasKey(key)) return false;
  const StoredEntry* const found = NewestBelow(newest, read_seqno);
  if (found == nullptr) return false;
  found->CopyTo(entry);
  return true;
}

void RadixMemtable::Prefetch(Slice key) const {
  const NodeRef ref = Descend(key);
  if (ref != 0) radix::EntryOf(ref)->Prefetch();
}

std::unique_ptr<Iterator> RadixMemtable::NewIterator() const {
  return std::make_unique<RadixIterator>(this, &root_);
}

// ---- adding ----

RadixMemtable::Place RadixMemtable::FindPlace(Slice key) {
  Slot* slot = &root_;
  size_t from = 0;
  // Taken away until the entry is in: should memory run out on the way, the slot may be of a node
  // that has been replaced.
  Slot* const hint = std::exchange(hint_slot_, nullptr);
  if (hint != nullptr && key.size() > hint_from_ && EqualBytes(key.data(), hint_key_, hint_from_)) {
    slot = hint;
    from = hint_from_;
  }
  NodeRef ref = slot->load(kRelaxed);
  size_t same = 0;
  Slot* terminal = nullptr;
  while (radix::IsNode(ref)) {
    const size_t depth = radix::DepthOf(ref);
    same = radix::MatchPrefix(ref, key, from);
    if (same < depth) break;
    if (depth == key.size()) {
      if (radix::TypeOf(ref) == radix::kNode2) {
        ref = nodes_.Grow(ref);
        slot->store(ref, kRelease);
      }
      terminal = radix::TerminalSlot(ref);
      break;
    }
    Slot* const child = radix::FindSlot(ref, key[depth]);
    if (child == nullptr) break;
    const NodeRef next = child->load(kRelaxed);
    if (next == 0) break;
    slot = child;
    ref = next;
    from = depth + 1;
  }
  return {slot, ref, from, same, terminal};
}

size_t RadixMemtable::Add(Slice key, Slice value, Seqno seqno, Kind kind) {
  const Entry entry{key, value, MakeTag(seqno, kind)};
  const Place place = FindPlace(key);
  const Added added = AddAt(place, entry);
  if (!added.replaced) Count(seqno);
  hint_slot_ = place.slot;
  hint_from_ = place.from;
  hint_key_ = added.entry->key_data();
  return added.bytes;
}

RadixMemtable::Added RadixMemtable::AddAt(const Place& place, const Entry& entry) {
  if (place.ref == 0) return AddFirst(place.slot, entry);
  if (!radix::IsNode(place.ref)) return SplitEntry(place, entry);
  if (place.terminal != nullptr) {
    return place.terminal->load(kRelaxed) == 0 ? AddFirst(place.terminal, entry)
                                               : AddToChain(place.terminal, entry);
  }
  if (place.same < radix::DepthOf(place.ref)) {
    return Split(place, radix::PrefixByte(place.ref, place.same), place.same, entry);
  }
  return AddChildAt(place, entry);
}

RadixMemtable::Added RadixMemtable::AddFirst(Slot* slot, const Entry& entry) {
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  slot->store(radix::RefOf(added), kRelease);
  return {added, StoredEntry::Bytes(entry), false};
}

RadixMemtable::Added RadixMemtable::AddToChain(Slot* slot, const Entry& entry) {
  StoredEntry* const newest = radix::EntryOf(slot->load(kRelaxed));
  const AddedVersion added = AddVersion(newest, entry, &entries_, &heights_);
  if (added.newest != newest) slot->store(radix::RefOf(added.newest), kRelease);
  return {added.newest, added.bytes, added.replaced};
}

RadixMemtable::Added RadixMemtable::AddChildAt(const Place& place, const Entry& entry) {
  const uint8_t byte = entry.key[radix::DepthOf(place.ref)];
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  if (!radix::AddChild(place.ref, byte, radix::RefOf(added))) {
    const NodeRef grown = nodes_.Grow(place.ref);
    radix::AddChild(grown, byte, radix::RefOf(added));
    place.slot->store(grown, kRelease);
  }
  return {added, StoredEntry::Bytes(entry), false};
}

// Puts a node at `depth` above what is there, which goes on with `below_byte`.
RadixMemtable::Added RadixMemtable::Split(const Place& place, uint8_t below_byte, size_t depth,
                                          const Entry& entry) {
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  const bool ends_here = entry.key.size() == depth;
  const NodeRef node =
      nodes_.New(ends_here ? radix::kNode5 : radix::kNode2, added->key(), place.from, depth);
  radix::AddChild(node, below_byte, place.ref);
  if (ends_here) {
    radix::TerminalSlot(node)->store(radix::RefOf(added), kRelaxed);
  } else {
    radix::AddChild(node, entry.key[depth], radix::RefOf(added));
  }
  place.slot->store(node, kRelease);
  return {added, StoredEntry::Bytes(entry), false};
}

RadixMemtable::Added RadixMemtable::SplitEntry(const Place& place, const Entry& entry) {
  const Slice other = radix::EntryOf(place.ref)->key();
  const size_t end = std::min(entry.key.size(), other.size());
  size_t depth = place.from;
  while (depth < end && entry.key[depth] == other[depth]) ++depth;
  if (depth < other.size()) return Split(place, other[depth], depth, entry);
  if (depth == entry.key.size()) return AddToChain(place.slot, entry);
  // The key that is there is a prefix of the new one.
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  const NodeRef node = nodes_.New(radix::kNode5, added->key(), place.from, depth);
  radix::TerminalSlot(node)->store(place.ref, kRelaxed);
  radix::AddChild(node, entry.key[depth], radix::RefOf(added));
  place.slot->store(node, kRelease);
  return {added, StoredEntry::Bytes(entry), false};
}

}  // namespace shale
