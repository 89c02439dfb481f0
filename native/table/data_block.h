// Data block: versions in internal order, as builder, parsed block and cursor.
//
// Threads: the builder one; a parsed block any; a cursor one.
// Cost: a lookup in a parsed block reads one or two cache lines of heads and one of entries; a step
// of a cursor decodes one entry in either direction.
// Bytes: docs/format.md, "Data blocks".
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/internal_key.h"
#include "base/ref.h"
#include "base/status.h"
#include "table/sorted_block.h"
#include "table/varint_inline.h"

namespace shale {

// One entry as it lies in a block.
struct DataEntry {
  static constexpr size_t kBytesMin = 5;

  uint32_t shared = 0;
  uint32_t rest_size = 0;
  uint32_t value_size = 0;
  Kind kind = Kind::kValue;
  uint64_t seqno = 0;
  const char* rest = nullptr;  // the value follows

  Slice value() const { return {rest + rest_size, value_size}; }
  uint64_t tag() const { return MakeTag(seqno, kind); }

  static const char* Decode(const char* p, DataEntry* e) {
    p = ReadVarint(p, &e->shared);
    p = ReadVarint(p, &e->rest_size);
    e->kind = static_cast<Kind>(*p++);
    p = ReadVarint(p, &e->seqno);
    p = ReadVarint(p, &e->value_size);
    e->rest = p;
    return p + e->rest_size + e->value_size;
  }
  static const char* DecodeChecked(const char* p, const char* limit, DataEntry* e);
};

class DataBlockBuilder {
 public:
  // hash_index_ratio: buckets per entry; 0 = no hash index.
  DataBlockBuilder(uint32_t restart_interval, double hash_index_ratio);

  // Requires: internal order ascends strictly within the block. `new_key`: the entry before has
  // another key. `key_hash` = Hash64(entry.key); used only with a hash index.
  void Add(const Entry& entry, bool new_key, uint64_t key_hash);
  bool empty() const { return entry_count_ == 0; }
  // Bytes of entries so far.
  size_t entry_bytes() const { return buffer_.size(); }
  // Upper bound of the bytes of the block if `more` bytes of entries were added and it was
  // finished.
  size_t SizeWith(size_t more) const;
  // The bytes of the block; valid until Reset().
  Slice Finish();
  void Reset();
  // Upper bound of what one entry takes besides its key and value.
  static constexpr size_t kEntryOverheadMax = 3 + 3 + 1 + 8 + 5;

 private:
  std::string MakeBuckets() const;

  const uint32_t restart_interval_;
  const double hash_index_ratio_;
  std::string buffer_;
  std::string head_key_;
  std::vector<uint32_t> restarts_;
  struct HashedKey {
    uint32_t hash;  // low half
    uint32_t restart;
  };
  std::vector<HashedKey> hashed_keys_;  // only with a hash index
  uint32_t entry_count_ = 0;
};

class DataBlock;

// The short ways to the data blocks of a table: while the cache holds a block, its slot leads to
// it, so that a read needs no lookup. Read under an EpochGuard.
// Lifetime: counted; every block that has a slot holds a count, because the cache may empty the
// slot long after the table has gone.
class BlockSlots final : public RefCounted {
 public:
  explicit BlockSlots(size_t count) : blocks_(count) {}

  DataBlock* Borrow(uint32_t i) const { return blocks_[i].load(std::memory_order_acquire); }
  size_t bytes() const { return sizeof *this + blocks_.size() * sizeof blocks_[0]; }

 private:
  friend class DataBlock;
  std::vector<std::atomic<DataBlock*>> blocks_;  // written under the lock of the cache's shard
};

// One of them; none if `slots` is null.
struct BlockSlot {
  BlockSlots* slots = nullptr;
  uint32_t index = 0;

  DataBlock* Borrow() const { return slots == nullptr ? nullptr : slots->Borrow(index); }
};

class alignas(kCacheLineBytes) DataBlock final : public SortedBlock<DataEntry> {
 public:
  static constexpr BlockType kType = BlockType::kData;

  // Before the block goes into the cache.
  void BindSlot(BlockSlot slot) {
    slots_ = Ref<BlockSlots>::Share(slot.slots);
    slot_index_ = slot.index;
  }
  void OnLink() override { FillSlot(this); }
  void OnUnlink() override { FillSlot(nullptr); }

  // Checks `raw` whole and makes a block of it. If `raw` is large and lies in `buffer`, the block
  // takes the buffer over. kCorruption says what is wrong; the caller adds path and offset.
  static Status Parse(Slice raw, BlockBuffer* buffer, Ref<DataBlock>* block);

  // First entry of the needle's key at or after the needle. False if there is none in this block.
  // `key_hash` = Hash64(needle.key). On success the entry's key is the needle's, its seqno is as
  // stored.
  bool Get(const Needle& needle, uint64_t key_hash, Entry* entry) const;

  // kCorruption if the hash index, where there is one, hides a key or names a wrong restart.
  Status VerifyBuckets() const;

 private:
  friend class DataBlockCursor;
  DataBlock(size_t object_bytes, const Parsed& parsed, const Bytes& bytes)
      : SortedBlock(kType, object_bytes, parsed, bytes) {}
  ~DataBlock() override = default;

  static bool Found(const DataEntry& e, const Needle& needle, Entry* entry) {
    *entry = {needle.key, e.value(), e.tag()};
    return true;
  }
  // Content of the bucket of a key; kBucketConflict without a hash index.
  uint32_t Bucket(uint64_t key_hash) const {
    if (bucket_count() == 0) return kBucketConflict;
    const uint64_t i = ((key_hash & 0xffffffff) * bucket_count()) >> 32;
    return static_cast<uint8_t>(buckets()[i]);
  }
  const char* buckets() const {
    const char* p = nullptr;
    std::memcpy(&p, tail(), sizeof p);
    return p;
  }

  void FillSlot(DataBlock* block) {
    if (slots_) slots_->blocks_[slot_index_].store(block, std::memory_order_release);
  }

  uint32_t slot_index_ = 0;
  Ref<BlockSlots> slots_;  // null: the block has no slot
};

// A position in a block. The caller keeps the block alive while the cursor is used.
class DataBlockCursor {
 public:
  // Forgets the position.
  void Attach(const DataBlock* block);
  bool valid() const { return ordinal_ < count_; }
  uint32_t ordinal() const { return ordinal_; }
  // The entry at the position, its seqno as stored. The key lives until the next move.
  const Entry& entry() const { return entry_; }

  // The next three require an attached block, the last two a valid position. Beyond either end the
  // cursor is not valid and must be moved by MoveTo.
  void MoveTo(uint32_t ordinal);
  void Next() {
    if (++ordinal_ == restart_end_) EnterRestart(ordinal_);
    if (ordinal_ == count_) return;
    __builtin_prefetch(next_ + kPrefetchBytes);
    DecodeAt(next_);
  }
  void Prev() {
    if (ordinal_ == 0) {
      ordinal_ = count_;
      return;
    }
    if (ordinal_-- == restart_begin_) EnterRestart(ordinal_);
    const char* const p = block_->Locate(ordinal_);
    __builtin_prefetch(p - kPrefetchBytes);
    DecodeAt(p);
  }

 private:
  // How far ahead of the position a walk loads: the processor's own prefetching begins anew with
  // every page and every block. What lies there need not belong to the block.
  static constexpr size_t kPrefetchBytes = 512;

  void EnterRestart(uint32_t ordinal);
  void DecodeAt(const char* p);

  const DataBlock* block_ = nullptr;
  uint32_t count_ = 0;
  uint32_t ordinal_ = 0;
  uint32_t restart_begin_ = 0;  // the interval that the position is in
  uint32_t restart_end_ = 0;
  const char* head_key_ = nullptr;
  const char* next_ = nullptr;  // the entry behind the current one
  Entry entry_;
  std::unique_ptr<char[]> key_;  // room for the longest key and BlockBuffer::kSlackBytes
  size_t key_room_ = 0;
};

inline void DataBlockCursor::DecodeAt(const char* p) {
  DataEntry e;
  next_ = DataEntry::Decode(p, &e);
  if (e.shared == 0) {
    if (ordinal_ == restart_begin_) head_key_ = e.rest;
    entry_.key = Slice(e.rest, e.rest_size);
  } else {
    char* const key = key_.get();
    if (e.shared <= 16 && e.rest_size <= 16) [[likely]] {
      // Both may read into what follows in the block: see the slack bytes of a block.
      std::memcpy(key, head_key_, 16);
      std::memcpy(key + e.shared, e.rest, 16);
    } else {
      std::memcpy(key, head_key_, e.shared);
      std::memcpy(key + e.shared, e.rest, e.rest_size);
    }
    entry_.key = Slice(key, size_t{e.shared} + e.rest_size);
  }
  entry_.value = e.value();
  entry_.tag = e.tag();
}

}  // namespace shale
