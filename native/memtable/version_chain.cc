// Version chains: the plain list, the index over it, and the passage from one to the other.
#include "memtable/version_chain.h"

#include <new>

#include "base/memory_order.h"

namespace shale {

namespace {

// A headless tower; the pointer to it carries bit 0 wherever an entry could stand too.
struct ChainIndex {
  Links links;
};

bool IsIndex(uintptr_t word) { return (word & 1) != 0; }
ChainIndex* IndexOf(uintptr_t word) { return reinterpret_cast<ChainIndex*>(word & ~uintptr_t{1}); }
uintptr_t WordOf(const ChainIndex* index) { return reinterpret_cast<uintptr_t>(index) | 1; }
uintptr_t WordOf(const StoredEntry* entry) { return reinterpret_cast<uintptr_t>(entry); }
StoredEntry* EntryOf(uintptr_t word) { return reinterpret_cast<StoredEntry*>(word); }

StoredEntry* NewEntry(const Entry& entry, int height, Arena* arena) {
  const size_t towers = static_cast<size_t>(height - 1) * sizeof(uintptr_t);
  char* const place = arena->Allocate(towers + StoredEntry::Bytes(entry)) + towers;
  StoredEntry* const stored = StoredEntry::Write(place, entry, height > 1);
  for (int level = 0; level < height; ++level) {
    new (&stored->links.at(level)) std::atomic<uintptr_t>(0);
  }
  if (height > 1) stored->links.at(1).store(static_cast<uintptr_t>(height), kRelaxed);
  return stored;
}

ChainIndex* NewIndex(uintptr_t first, Arena* arena) {
  char* const place = arena->Allocate(kChainHeightMax * sizeof(uintptr_t));
  ChainIndex* const index =
      reinterpret_cast<ChainIndex*>(place + (kChainHeightMax - 1) * sizeof(uintptr_t));
  for (int level = 0; level < kChainHeightMax; ++level) {
    new (&index->links.at(level)) std::atomic<uintptr_t>(level == 0 ? first : 0);
  }
  return index;
}

// Moves the newest version into the index: a newer one is about to take its place.
void Demote(StoredEntry* newest, ChainIndex* index) {
  const int height = newest->tall() ? static_cast<int>(newest->links.at(1).load(kRelaxed)) : 1;
  for (int level = 0; level < height; ++level) {
    newest->links.at(level).store(index->links.at(level).load(kRelaxed), kRelease);
  }
  for (int level = 0; level < height; ++level) {
    index->links.at(level).store(WordOf(newest), kRelease);
  }
}

// Links `added`; answers whether it took the place of a version with its seqno.
bool InsertIntoIndex(ChainIndex* index, StoredEntry* added) {
  const Seqno seqno = added->seqno();
  Links* before[kChainHeightMax];
  Links* at = &index->links;
  for (int level = kChainHeightMax - 1; level >= 0; --level) {
    for (StoredEntry* next;
         (next = EntryOf(at->at(level).load(kRelaxed))) != nullptr && next->seqno() > seqno;) {
      at = &next->links;
    }
    before[level] = at;
  }
  StoredEntry* old = EntryOf(before[0]->at(0).load(kRelaxed));
  if (old != nullptr && old->seqno() != seqno) old = nullptr;

  const int height = added->tall() ? static_cast<int>(added->links.at(1).load(kRelaxed)) : 1;
  auto successor = [&](int level) {
    const uintptr_t next = before[level]->at(level).load(kRelaxed);
    const bool is_old = old != nullptr && next == WordOf(old);
    return is_old ? old->links.at(level).load(kRelaxed) : next;
  };
  for (int level = 0; level < height; ++level) {
    added->links.at(level).store(successor(level), kRelaxed);
  }
  for (int level = 0; level < kChainHeightMax; ++level) {
    if (level < height) {
      before[level]->at(level).store(WordOf(added), kRelease);
    } else if (old != nullptr) {
      before[level]->at(level).store(successor(level), kRelease);
    }
  }
  return old != nullptr;
}

// Links `added`, which is older than newest, into a plain list.
bool InsertIntoList(StoredEntry* newest, StoredEntry* added) {
  StoredEntry* before = newest;
  StoredEntry* next;
  while ((next = EntryOf(before->links.next.load(kRelaxed))) != nullptr &&
         next->seqno() > added->seqno()) {
    before = next;
  }
  const bool replaced = next != nullptr && next->seqno() == added->seqno();
  added->links.next.store(replaced ? next->links.next.load(kRelaxed) : WordOf(next), kRelaxed);
  before->links.next.store(WordOf(added), kRelease);
  return replaced;
}

// Last entry of the index with a seqno above `seqno`, or of all; null if there is none.
const StoredEntry* LastAbove(const ChainIndex* index, Seqno seqno, bool all) {
  const Links* at = &index->links;
  const StoredEntry* last = nullptr;
  for (int level = kChainHeightMax - 1; level >= 0; --level) {
    for (const StoredEntry* next; (next = EntryOf(at->at(level).load(kAcquire))) != nullptr &&
                                  (all || next->seqno() > seqno);) {
      last = next;
      at = &next->links;
    }
  }
  return last;
}

// A weak tombstone in the place of another entry of its commit is held as a whole one.
Entry Held(const StoredEntry* newest, const Entry& entry) {
  if (entry.kind() != Kind::kWeakTombstone) return entry;
  const StoredEntry* const same = NewestBelow(newest, entry.seqno() + 1);
  const bool replaces = same != nullptr && same->seqno() == entry.seqno();
  return replaces ? Entry{entry.key, entry.value, MakeTag(entry.seqno(), Kind::kTombstone)} : entry;
}

}  // namespace

namespace chain_internal {

const StoredEntry* NewestBelowInIndex(uintptr_t next_word, Seqno bound) {
  const Links* at = &IndexOf(next_word)->links;
  const StoredEntry* next = nullptr;
  for (int level = kChainHeightMax - 1; level >= 0; --level) {
    while ((next = EntryOf(at->at(level).load(kAcquire))) != nullptr && next->seqno() >= bound) {
      at = &next->links;
    }
  }
  return next;
}

const StoredEntry* OlderInIndex(const StoredEntry* entry, uintptr_t next_word) {
  const StoredEntry* const first = EntryOf(IndexOf(next_word)->links.next.load(kAcquire));
  if (first == nullptr || first->seqno() < entry->seqno()) return first;
  // Newer versions have come since the caller took `entry` for the newest.
  return NewestBelowInIndex(next_word, entry->seqno());
}

}  // namespace chain_internal

StoredEntry* NewStoredEntry(const Entry& entry, Arena* arena) { return NewEntry(entry, 1, arena); }

AddedVersion AddVersion(StoredEntry* newest, const Entry& entry, Arena* arena,
                        HeightSource* heights) {
  const int height = heights->Next(kChainHeightBits, kChainHeightMax);
  StoredEntry* const added = NewEntry(Held(newest, entry), height, arena);
  AddedVersion result{newest, StoredEntry::Bytes(entry) + (height - 1) * sizeof(uintptr_t), false};
  const uintptr_t next = newest->links.next.load(kRelaxed);
  if (added->seqno() >= newest->seqno()) {
    result.newest = added;
    if (added->seqno() == newest->seqno()) {
      added->links.next.store(next, kRelaxed);
      result.replaced = true;
    } else if (IsIndex(next)) {
      added->links.next.store(next, kRelaxed);
      Demote(newest, IndexOf(next));
    } else if (height > 1) {
      added->links.next.store(WordOf(NewIndex(WordOf(newest), arena)), kRelaxed);
    } else {
      added->links.next.store(WordOf(newest), kRelaxed);
    }
  } else if (IsIndex(next)) {
    result.replaced = InsertIntoIndex(IndexOf(next), added);
  } else if (height > 1) {
    ChainIndex* const index = NewIndex(next, arena);
    result.replaced = InsertIntoIndex(index, added);
    newest->links.next.store(WordOf(index), kRelease);
  } else {
    result.replaced = InsertIntoList(newest, added);
  }
  return result;
}

const StoredEntry* OldestAbove(const StoredEntry* newest, Seqno seqno) {
  if (newest->seqno() <= seqno) return nullptr;
  const StoredEntry* last = newest;
  for (;;) {
    const uintptr_t word = last->links.next.load(kAcquire);
    if (IsIndex(word)) {
      const StoredEntry* const found = LastAbove(IndexOf(word), seqno, false);
      // The index may have got versions newer than the one we were given.
      return found == nullptr || found->seqno() > last->seqno() ? last : found;
    }
    const StoredEntry* const next = EntryOf(word);
    if (next == nullptr || next->seqno() <= seqno) return last;
    last = next;
  }
}

const StoredEntry* Oldest(const StoredEntry* newest) {
  const StoredEntry* last = newest;
  for (;;) {
    const uintptr_t word = last->links.next.load(kAcquire);
    if (word == 0) return last;
    if (IsIndex(word)) {
      const StoredEntry* const found = LastAbove(IndexOf(word), 0, true);
      return found == nullptr || found->seqno() > last->seqno() ? last : found;
    }
    last = EntryOf(word);
  }
}

}  // namespace shale
