// Sorted block: what data blocks and index blocks have in common: entries in internal order whose
// keys are truncated against the head of their restart interval.
//
// `E` is the entry form (data_block.h, index_block.h): fields shared, rest_size, rest, seqno, and
// two functions that return the byte behind the entry at `p`: Decode(p, &e) of a checked entry, and
// DecodeChecked(p, limit, &e), which returns null if it is damaged.
//
// Parsing checks every byte once and adds what makes searching fast: heads and offsets of every
// entry, or of every second or fourth ("sample") where entries are small. Any entry decodes from
// its restart head and itself, so that both directions cost the same.
// Threads: any.
// Invariants of a parsed block:
//   I1  every entry lies whole inside the block and decodes; keys have 1 to kKeyBytesMax bytes;
//   I2  internal order ascends strictly; entry i belongs to restart i / restart_interval();
//   I3  every restart head is a sample;
//   I4  BlockBuffer::kSlackBytes readable bytes follow the block's bytes.
// Cost: a search reads one or two cache lines of heads and one of entries.
// Bytes: docs/format.md, "Data blocks" and "Index".
#pragma once

#include <cstdint>
#include <vector>

#include "base/internal_key.h"
#include "base/status.h"
#include "table/block.h"
#include "table/block_shape.h"
#include "table/key_heads.h"

namespace shale {

// A position in internal order. Wider than a seqno, because in a table whose seqnos are relative a
// needle may lie below all of them.
struct Needle {
  Slice key;
  int64_t seqno = 0;
};

template <typename E>
class SortedBlock : public Block {
 public:
  uint32_t entry_count() const { return entry_count_; }
  uint32_t restart_interval() const { return restart_interval_; }

  // Starts loading what a search reads first, without reading the block itself: object, prefix, and
  // heads and offsets of about forty entries.
  static constexpr size_t kPrefetchLines = 8;
  void Prefetch() const {
    const char* p = reinterpret_cast<const char*>(this);
    for (size_t i = 0; i < kPrefetchLines; i++) __builtin_prefetch(p + i * kCacheLineBytes);
  }

  // Ordinal of the first entry at or after the needle; entry_count() if there is none.
  uint32_t LowerBound(const Needle& needle) const {
    const int c = CompareWithPrefix(needle.key);
    if (c != 0) return c < 0 ? 0 : entry_count_;
    return Search(needle, MakeKeyHead(needle.key, prefix_size_), 0, sample_count_);
  }

  // Where entry `ordinal` begins. Requires ordinal < entry_count().
  const char* Locate(uint32_t ordinal) const {
    const char* p = bytes_ + SampleOffset(ordinal >> stride_shift_);
    E e;
    for (uint32_t n = ordinal & stride_mask(); n != 0; n--) p = E::Decode(p, &e);
    return p;
  }
  // Key of the restart head that `ordinal` belongs to.
  Slice RestartKey(uint32_t ordinal) const {
    const uint32_t head = ordinal - ordinal % restart_interval_;
    E e;
    E::Decode(bytes_ + SampleOffset(head >> stride_shift_), &e);
    return {e.rest, e.rest_size};
  }
  // Replaces *key with the key of an entry.
  void AssignKey(uint32_t ordinal, std::string* key) const {
    E e;
    E::Decode(Locate(ordinal), &e);
    key->assign(RestartKey(ordinal).data(), e.shared);
    key->append(e.rest, e.rest_size);
  }
  uint32_t key_bytes_max() const { return key_bytes_max_; }

 protected:
  // Everything known about a block before it is built.
  struct Parsed {
    BlockShape shape;
    std::vector<uint32_t> offsets;  // of every entry
    uint32_t key_bytes_max = 0;
    uint32_t prefix_size = 0;
    uint32_t stride_shift = 0;
    bool wide_offsets = false;

    uint32_t sample_count() const {
      return (shape.entry_count + (1u << stride_shift) - 1) >> stride_shift;
    }
    // Bytes of prefix, heads and offsets; a multiple of eight.
    size_t array_bytes() const {
      const size_t width = wide_offsets ? 4 : 2;
      return PrefixRoom(prefix_size) + sample_count() * sizeof(uint64_t) +
             RoundUp8(sample_count() * width);
    }
  };

  // The number of entries is bounded before anything is allocated for them.
  static Status Check(Slice raw, uint32_t stride_shift_max, uint64_t entry_count_max,
                      Parsed* parsed);

  // The entries of `raw` and what follows them, with slack behind: taken over from `buffer` if they
  // are many and lie there, else a copy.
  struct Bytes {
    char* data = nullptr;
    size_t size = 0;
    bool adopted = false;
  };
  static Bytes KeepBytes(Slice raw, BlockBuffer* buffer);
  static void FreeBytes(const char* data, size_t size, bool adopted) {
    if (adopted) {
      delete[] data;
    } else {
      BlockMemory::Shared().Free(const_cast<char*>(data), size);
    }
  }

  // The arrays follow the object's cache line and are filled here. Takes `bytes` over.
  SortedBlock(BlockType type, size_t object_bytes, const Parsed& parsed, const Bytes& bytes);
  ~SortedBlock() override { FreeBytes(bytes_, charge() - object_bytes(), adopted_); }

  uint32_t stride_shift() const { return stride_shift_; }
  uint32_t stride_mask() const { return (1u << stride_shift_) - 1; }
  uint32_t sample_count() const { return sample_count_; }
  uint32_t prefix_size() const { return prefix_size_; }
  uint32_t bucket_count() const { return bucket_count_; }
  const char* bytes() const { return bytes_; }
  // The prefix that all keys share; heads are what follows it in each key.
  Slice prefix() const {
    return {prefix_size_ <= kPrefixCopyMax ? arrays() : RestartKey(0).data(), prefix_size_};
  }
  const uint64_t* heads() const {
    return reinterpret_cast<const uint64_t*>(arrays() + PrefixRoom(prefix_size_));
  }
  const char* offsets() const { return reinterpret_cast<const char*>(heads() + sample_count_); }
  // Behind the offsets.
  const char* tail() const {
    return offsets() + RoundUp8(sample_count_ * (wide_offsets_ ? size_t{4} : size_t{2}));
  }

  // Negative: the key is before all keys of the block; positive: behind; zero: it has their prefix.
  int CompareWithPrefix(Slice key) const {
    if (key.StartsWith(prefix())) return 0;
    return key < prefix() ? -1 : 1;
  }
  // Order of entry `e` against a key that agrees with it in the first `known` bytes, as far as both
  // have them.
  int CompareKey(const E& e, uint32_t ordinal, Slice key, size_t known) const {
    if (e.shared > known) [[unlikely]] {
      const Slice shared = RestartKey(ordinal).Prefix(e.shared).Skip(known);
      const int c = shared.Compare(key.Prefix(e.shared).Skip(known));
      if (c != 0) return c;
    }
    if (key.size() < e.shared) return 1;
    return Slice(e.rest, e.rest_size).Compare(key.Skip(e.shared));
  }
  int Compare(const E& e, uint32_t ordinal, const Needle& needle, size_t known) const {
    const int c = CompareKey(e, ordinal, needle.key, known);
    if (c != 0) return c;
    const auto seqno = static_cast<int64_t>(e.seqno);
    return seqno > needle.seqno ? -1 : (seqno < needle.seqno ? 1 : 0);
  }

  // First entry at or after the needle, which has the block's prefix and the given head. Requires
  // that it is not before sample `begin`.
  uint32_t Search(const Needle& needle, uint64_t head, uint32_t begin, uint32_t end) const {
    const uint64_t* h = heads();
    uint32_t i = begin + static_cast<uint32_t>(LowerBoundHead(h + begin, end - begin, head));
    if (i < end && h[i] == head) i = SearchEqualHeads(needle, i, end);
    if (stride_shift_ == 0 || i == begin) return i << stride_shift_;
    return SearchGap(needle, i);
  }

 private:
  static constexpr size_t RoundUp8(size_t n) { return (n + 7) & ~size_t{7}; }
  // A prefix of usual length is copied to where the search begins.
  static constexpr size_t kPrefixCopyMax = 64;
  static constexpr size_t PrefixRoom(size_t size) {
    return size <= kPrefixCopyMax ? RoundUp8(size) : 0;
  }
  const char* arrays() const { return reinterpret_cast<const char*>(this) + kCacheLineBytes; }
  uint32_t SampleOffset(uint32_t i) const {
    const char* p = offsets();
    return wide_offsets_ ? LoadLe<uint32_t>(p + i * sizeof(uint32_t))
                         : LoadLe<uint16_t>(p + i * sizeof(uint16_t));
  }
  uint32_t SearchEqualHeads(const Needle& needle, uint32_t begin, uint32_t end) const;
  uint32_t SearchGap(const Needle& needle, uint32_t sample) const;
  static bool Ascends(const E& a, Slice a_head, const E& b, Slice b_head);
  static uint32_t ChooseStride(const BlockShape& shape, uint32_t stride_shift_max);
  uint64_t HeadOf(const E& e, Slice restart_key) const;

  // With what Block and the block's own class add, the object fills one cache line.
  uint8_t stride_shift_;
  uint8_t restart_interval_;
  bool wide_offsets_;
  bool adopted_;
  uint16_t prefix_size_;
  uint16_t bucket_count_;
  uint32_t entry_count_;
  uint32_t sample_count_;
  const char* bytes_;
  uint32_t key_bytes_max_;
};

// Sample in [begin, end), which starts with one or more of the needle's head, that is the first at
// or after the needle.
template <typename E>
uint32_t SortedBlock<E>::SearchEqualHeads(const Needle& needle, uint32_t begin,
                                          uint32_t end) const {
  const uint64_t* h = heads();
  const uint64_t head = h[begin];
  uint32_t low = begin;
  uint32_t high = begin + 1;
  if (high < end && h[high] == head) {
    high = begin + static_cast<uint32_t>(UpperBoundHead(h + begin, end - begin, head));
  }
  // The first element is by far the most frequent answer where heads tell keys apart.
  uint32_t middle = low;
  while (low < high) {
    const uint32_t ordinal = middle << stride_shift_;
    E e;
    E::Decode(bytes_ + SampleOffset(middle), &e);
    if (Compare(e, ordinal, needle, prefix_size_ + kKeyHeadBytes) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
    middle = low + (high - low) / 2;
  }
  return low;
}

// First entry at or after the needle between sample - 1, which is before it, and `sample`.
template <typename E>
uint32_t SortedBlock<E>::SearchGap(const Needle& needle, uint32_t sample) const {
  uint32_t ordinal = (sample - 1) << stride_shift_;
  const uint32_t end = sample < sample_count_ ? sample << stride_shift_ : entry_count_;
  E e;
  const char* p = E::Decode(bytes_ + SampleOffset(sample - 1), &e);
  for (ordinal++; ordinal < end; ordinal++) {
    p = E::Decode(p, &e);
    if (Compare(e, ordinal, needle, prefix_size_) >= 0) break;
  }
  return ordinal;
}

template <typename E>
uint32_t SortedBlock<E>::ChooseStride(const BlockShape& shape, uint32_t stride_shift_max) {
  const size_t average = shape.entries.size() / shape.entry_count;
  uint32_t shift = average >= 64 ? 0 : average >= 32 ? 1 : 2;
  if (shift > stride_shift_max) shift = stride_shift_max;
  while (shape.restart_interval % (1u << shift) != 0) shift--;
  return shift;
}

// Whether entry `b` comes behind entry `a`, each given with the key of its restart head.
template <typename E>
inline bool SortedBlock<E>::Ascends(const E& a, Slice a_head, const E& b, Slice b_head) {
  const Slice a_rest(a.rest, a.rest_size);
  const Slice b_rest(b.rest, b.rest_size);
  int c = 0;
  if (b.shared == 0 || a_head.data() != b_head.data()) {
    c = ComparePieces(a_head.Prefix(a.shared), a_rest, b_head.Prefix(b.shared), b_rest);
  } else if (a.shared == b.shared) {
    c = a_rest.Compare(b_rest);
  } else {
    // What both share with the head is equal; the one that shares more goes on as the head does.
    const size_t shared = a.shared < b.shared ? a.shared : b.shared;
    c = ComparePieces(a_head.Prefix(a.shared).Skip(shared), a_rest,
                      b_head.Prefix(b.shared).Skip(shared), b_rest);
  }
  return c < 0 || (c == 0 && a.seqno > b.seqno);
}

template <typename E>
Status SortedBlock<E>::Check(Slice raw, uint32_t stride_shift_max, uint64_t entry_count_max,
                             Parsed* parsed) {
  BlockShape& shape = parsed->shape;
  SHALE_RETURN_IF_ERROR(DecodeBlockShape(raw, E::kBytesMin, &shape));
  if (shape.entry_count == 0 || shape.entry_count > entry_count_max) {
    return Status::Corruption("the block has an impossible number of entries");
  }
  parsed->offsets.reserve(shape.entry_count);
  const char* p = shape.entries.begin();
  const char* const limit = shape.entries.end();
  Slice head;
  Slice first;
  Slice previous_head;
  E previous;
  for (uint32_t i = 0; i < shape.entry_count; i++) {
    const auto offset = static_cast<uint32_t>(p - shape.entries.begin());
    E e;
    p = E::DecodeChecked(p, limit, &e);
    if (p == nullptr) return Status::Corruption("an entry of the block does not decode");
    previous_head = head;
    if (i % shape.restart_interval == 0) {
      if (e.shared != 0 || shape.Restart(i / shape.restart_interval) != offset) {
        return Status::Corruption("a restart of the block is not where it should be");
      }
      head = Slice(e.rest, e.rest_size);
      if (i == 0) first = head;
    }
    const size_t key_size = size_t{e.shared} + e.rest_size;
    if (e.shared > head.size() || key_size == 0 || key_size > kKeyBytesMax) {
      return Status::Corruption("a key of the block has an impossible length");
    }
    if (i != 0 && !Ascends(previous, previous_head, e, head)) {
      return Status::Corruption("the entries of the block are out of order");
    }
    if (key_size > parsed->key_bytes_max) parsed->key_bytes_max = static_cast<uint32_t>(key_size);
    parsed->offsets.push_back(offset);
    previous = e;
  }
  if (p != limit) return Status::Corruption("the block has bytes behind its last entry");
  // The keys between the first and the last share what these two share.
  size_t prefix = SharedPrefix(first, head.Prefix(previous.shared));
  if (prefix == previous.shared) {
    prefix += SharedPrefix(first.Skip(prefix), Slice(previous.rest, previous.rest_size));
  }
  parsed->prefix_size = static_cast<uint32_t>(prefix);
  parsed->stride_shift = ChooseStride(shape, stride_shift_max);
  parsed->wide_offsets = shape.entries.size() > 0xffff;
  return Status::Ok();
}

template <typename E>
typename SortedBlock<E>::Bytes SortedBlock<E>::KeepBytes(Slice raw, BlockBuffer* buffer) {
  Bytes bytes;
  bytes.size = raw.size() + BlockBuffer::kSlackBytes;
  bytes.adopted = raw.size() >= BlockBuffer::kAdoptBytes && buffer != nullptr && buffer->Holds(raw);
  if (bytes.adopted) {
    bytes.data = buffer->Release();
  } else {
    bytes.data = static_cast<char*>(BlockMemory::Shared().Allocate(bytes.size));
    std::memcpy(bytes.data, raw.data(), raw.size());
    std::memset(bytes.data + raw.size(), 0, BlockBuffer::kSlackBytes);
  }
  return bytes;
}

template <typename E>
SortedBlock<E>::SortedBlock(BlockType type, size_t object_bytes, const Parsed& parsed,
                            const Bytes& bytes)
    : Block(type, object_bytes, object_bytes + bytes.size),
      stride_shift_(static_cast<uint8_t>(parsed.stride_shift)),
      restart_interval_(static_cast<uint8_t>(parsed.shape.restart_interval)),
      wide_offsets_(parsed.wide_offsets),
      adopted_(bytes.adopted),
      prefix_size_(static_cast<uint16_t>(parsed.prefix_size)),
      bucket_count_(static_cast<uint16_t>(parsed.shape.bucket_count)),
      entry_count_(parsed.shape.entry_count),
      sample_count_(parsed.sample_count()),
      bytes_(bytes.data),
      key_bytes_max_(parsed.key_bytes_max) {
  static_assert(sizeof(SortedBlock) <= kCacheLineBytes);
  auto* head_out = const_cast<uint64_t*>(heads());
  auto* offset_out = reinterpret_cast<char*>(head_out + sample_count_);
  Slice restart_key;
  uint32_t restart_end = 0;
  for (uint32_t i = 0; i < sample_count_; i++) {
    const uint32_t ordinal = i << stride_shift_;
    const uint32_t offset = parsed.offsets[ordinal];
    if (wide_offsets_) {
      StoreLe(offset_out + i * sizeof(uint32_t), offset);
    } else {
      StoreLe(offset_out + i * sizeof(uint16_t), static_cast<uint16_t>(offset));
    }
    E e;
    E::Decode(bytes_ + offset, &e);
    if (ordinal == restart_end) {
      restart_key = Slice(e.rest, e.rest_size);
      restart_end += restart_interval_;
    }
    head_out[i] = HeadOf(e, restart_key);
  }
  if (prefix_size_ <= kPrefixCopyMax) {
    E first;
    E::Decode(bytes_, &first);
    std::memcpy(const_cast<char*>(arrays()), first.rest, prefix_size_);
  }
}

template <typename E>
uint64_t SortedBlock<E>::HeadOf(const E& e, Slice restart_key) const {
  if (e.shared <= prefix_size_) return MakeKeyHead({e.rest, e.rest_size}, prefix_size_ - e.shared);
  const Slice shared = restart_key.Prefix(e.shared).Skip(prefix_size_);
  uint64_t head = MakeKeyHead(shared.data(), shared.size());
  if (shared.size() < kKeyHeadBytes) {
    head |= MakeKeyHead(e.rest, e.rest_size) >> (8 * shared.size());
  }
  return head;
}

}  // namespace shale
