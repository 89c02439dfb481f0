// StoredEntry: one version of one key in an arena; both index structures link these.
//
// Layout: next u64, tag u64, value length u32, key length u16, key, value; the key starts in the
// first cache line more often than not. An entry that is tall (I3 of version_chain.h) has link
// words in front.
// Threads: everything but the links is written before the entry is published and never again.
// Lifetime: the arena's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/internal_key.h"

namespace shale {

// The start of a linked thing. Link 0 is the first word, link n lies n words before it.
struct Links {
  std::atomic<uintptr_t> next;

  std::atomic<uintptr_t>& at(int level) { return (&next)[-level]; }
  const std::atomic<uintptr_t>& at(int level) const { return (&next)[-level]; }
};

// memcmp(a, b, n) == 0 in place: for the short runs that keys are, the call costs more than the
// work.
inline bool EqualBytes(const char* a, const char* b, size_t n) {
  auto differ = [](const char* x, const char* y) {
    uint64_t u;
    uint64_t v;
    std::memcpy(&u, x, sizeof u);
    std::memcpy(&v, y, sizeof v);
    return u != v;
  };
  if (n > 64) return std::memcmp(a, b, n) == 0;
  if (n < 8) {
    for (size_t i = 0; i < n; ++i) {
      if (a[i] != b[i]) return false;
    }
    return true;
  }
  for (size_t i = 0; i + 8 < n; i += 8) {
    if (differ(a + i, b + i)) return false;
  }
  return !differ(a + n - 8, b + n - 8);
}

struct StoredEntry {
  static constexpr size_t kHeaderBytes = 22;
  static constexpr uint32_t kTallBit = uint32_t{1} << 31;

  Links links;
  uint64_t tag;
  uint32_t value_word;  // length, and kTallBit
  uint16_t key_bytes;

  Seqno seqno() const { return TagSeqno(tag); }
  bool tall() const { return (value_word & kTallBit) != 0; }
  const char* key_data() const { return reinterpret_cast<const char*>(this) + kHeaderBytes; }
  Slice key() const { return {key_data(), key_bytes}; }
  Slice value() const { return {key_data() + key_bytes, value_word & ~kTallBit}; }
  bool HasKey(Slice key) const {
    return key_bytes == key.size() && EqualBytes(key_data(), key.data(), key.size());
  }
  // Starts loading an entry of common size: header, key and the start of the value.
  void Prefetch() const {
    const char* const p = reinterpret_cast<const char*>(this);
    __builtin_prefetch(p);
    __builtin_prefetch(p + 64);
    __builtin_prefetch(p + 128);
  }
  // The rest of a longer one, up to a kilobyte. Touches the header.
  void PrefetchRest() const {
    const char* const p = reinterpret_cast<const char*>(this);
    const char* const end = std::min(value().end(), p + 1024);
    for (const char* line = p + 192; line < end; line += 64) __builtin_prefetch(line);
  }
  void CopyTo(Entry* entry) const {
    entry->key = key();
    entry->value = value();
    entry->tag = tag;
  }

  static size_t Bytes(const Entry& entry) {
    const size_t bytes = kHeaderBytes + entry.key.size() + entry.value.size();
    return (bytes + 7) & ~size_t{7};
  }
  // Writes everything but the links to `place`, which holds Bytes(entry) bytes.
  static StoredEntry* Write(char* place, const Entry& entry, bool tall) {
    StoredEntry* const stored = reinterpret_cast<StoredEntry*>(place);
    stored->tag = entry.tag;
    stored->value_word = static_cast<uint32_t>(entry.value.size()) | (tall ? kTallBit : 0);
    stored->key_bytes = static_cast<uint16_t>(entry.key.size());
    char* const key = place + kHeaderBytes;
    std::memcpy(key, entry.key.data(), entry.key.size());
    std::memcpy(key + entry.key.size(), entry.value.data(), entry.value.size());
    return stored;
  }
};
static_assert(sizeof(StoredEntry) == 24);
static_assert(kKeyBytesMax <= UINT16_MAX && kValueBytesMax < StoredEntry::kTallBit);

}  // namespace shale
