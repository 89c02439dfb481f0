// RadixMemtable: lookup, and the five ways in which an entry comes in.
#include "memtable/radix.h"

#include <algorithm>

#include "memtable/radix_iterator.h"

namespace shale {

using radix::NodeRef;

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

}  // namespace

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
  if (!newest->HasKey(key)) return false;
  const StoredEntry* const found = NewestBelow(newest, read_seqno);
  if (found == nullptr) return false;
  found->CopyTo(entry);
  return true;
}

void RadixMemtable::Prefetch(Slice key) const {
  const NodeRef ref = Descend(key);
  if (ref != 0) __builtin_prefetch(radix::EntryOf(ref));
}

std::unique_ptr<Iterator> RadixMemtable::NewIterator() const {
  return std::make_unique<RadixIterator>(&root_);
}

// ---- adding ----

RadixMemtable::Place RadixMemtable::FindPlace(Slice key) {
  Place place{&root_, root_.load(kRelaxed), 0, 0, nullptr};
  while (radix::IsNode(place.ref)) {
    const size_t depth = radix::DepthOf(place.ref);
    place.same = radix::MatchPrefix(place.ref, key, place.from);
    if (place.same < depth) return place;
    if (depth == key.size()) {
      if (radix::TypeOf(place.ref) != radix::kNode2) {
        place.terminal = radix::TerminalSlot(place.ref);
        return place;
      }
      const NodeRef grown = nodes_.Grow(place.ref);
      place.slot->store(grown, kRelease);
      place.ref = grown;
      continue;
    }
    Slot* const child = radix::FindSlot(place.ref, key[depth]);
    if (child == nullptr) return place;
    const NodeRef ref = child->load(kRelaxed);
    if (ref == 0) return place;
    place = {child, ref, depth + 1, 0, nullptr};
  }
  return place;
}

size_t RadixMemtable::Add(Slice key, Slice value, Seqno seqno, Kind kind) {
  const Entry entry{key, value, MakeTag(seqno, kind)};
  const Place place = FindPlace(key);
  if (place.ref == 0) return AddFirst(place.slot, entry);
  if (!radix::IsNode(place.ref)) return SplitEntry(place, entry);
  if (place.terminal != nullptr) {
    return place.terminal->load(kRelaxed) == 0 ? AddFirst(place.terminal, entry)
                                               : AddToChain(place.terminal, entry);
  }
  if (place.same < radix::DepthOf(place.ref)) {
    return Split(place.slot, place.ref, radix::PrefixByte(place.ref, place.same), place.from,
                 place.same, entry);
  }
  return AddChildAt(place, entry);
}

size_t RadixMemtable::AddFirst(Slot* slot, const Entry& entry) {
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  slot->store(radix::RefOf(added), kRelease);
  Count(entry.seqno());
  return StoredEntry::Bytes(entry);
}

size_t RadixMemtable::AddToChain(Slot* slot, const Entry& entry) {
  StoredEntry* const newest = radix::EntryOf(slot->load(kRelaxed));
  const AddedVersion added = AddVersion(newest, entry, &entries_, &heights_);
  if (added.newest != newest) slot->store(radix::RefOf(added.newest), kRelease);
  if (!added.replaced) Count(entry.seqno());
  return added.bytes;
}

size_t RadixMemtable::AddChildAt(const Place& place, const Entry& entry) {
  const uint8_t byte = entry.key[radix::DepthOf(place.ref)];
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  if (!radix::AddChild(place.ref, byte, radix::RefOf(added))) {
    const NodeRef grown = nodes_.Grow(place.ref);
    radix::AddChild(grown, byte, radix::RefOf(added));
    place.slot->store(grown, kRelease);
  }
  Count(entry.seqno());
  return StoredEntry::Bytes(entry);
}

// Puts a node at `depth` above `below`, which goes on with `below_byte` there.
size_t RadixMemtable::Split(Slot* slot, NodeRef below, uint8_t below_byte, size_t from,
                            size_t depth, const Entry& entry) {
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  const bool ends_here = entry.key.size() == depth;
  const NodeRef node =
      nodes_.New(ends_here ? radix::kNode5 : radix::kNode2, added->key(), from, depth);
  radix::AddChild(node, below_byte, below);
  if (ends_here) {
    radix::TerminalSlot(node)->store(radix::RefOf(added), kRelaxed);
  } else {
    radix::AddChild(node, entry.key[depth], radix::RefOf(added));
  }
  slot->store(node, kRelease);
  Count(entry.seqno());
  return StoredEntry::Bytes(entry);
}

size_t RadixMemtable::SplitEntry(const Place& place, const Entry& entry) {
  const Slice other = radix::EntryOf(place.ref)->key();
  const size_t end = std::min(entry.key.size(), other.size());
  size_t depth = place.from;
  while (depth < end && entry.key[depth] == other[depth]) ++depth;
  if (depth < other.size()) {
    return Split(place.slot, place.ref, other[depth], place.from, depth, entry);
  }
  if (depth == entry.key.size()) return AddToChain(place.slot, entry);
  // The key that is there is a prefix of the new one.
  StoredEntry* const added = NewStoredEntry(entry, &entries_);
  const NodeRef node = nodes_.New(radix::kNode5, added->key(), place.from, depth);
  radix::TerminalSlot(node)->store(place.ref, kRelaxed);
  radix::AddChild(node, entry.key[depth], radix::RefOf(added));
  place.slot->store(node, kRelease);
  Count(entry.seqno());
  return StoredEntry::Bytes(entry);
}

}  // namespace shale
