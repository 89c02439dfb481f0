#include "table/data_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/blob_pointer.h"
#include "base/hash.h"
#include "table/table_format.h"

namespace shale {

const char* DataEntry::DecodeChecked(const char* p, const char* limit, DataEntry* e) {
  uint64_t shared = 0;
  uint64_t rest_size = 0;
  uint64_t value_size = 0;
  p = ReadVarintChecked(p, limit, kKeyBytesMax, &shared);
  if (p == nullptr) return nullptr;
  p = ReadVarintChecked(p, limit, kKeyBytesMax, &rest_size);
  if (p == nullptr || p == limit) return nullptr;
  e->kind = static_cast<Kind>(*p++);
  p = ReadVarintChecked(p, limit, kSeqnoMax, &e->seqno);
  if (p == nullptr) return nullptr;
  p = ReadVarintChecked(p, limit, kValueBytesMax, &value_size);
  if (p == nullptr || static_cast<uint64_t>(limit - p) < rest_size + value_size) return nullptr;
  switch (e->kind) {
    case Kind::kValue:
      break;
    case Kind::kTombstone:
    case Kind::kWeakTombstone:
      if (value_size != 0) return nullptr;
      break;
    case Kind::kBlobPointer:
      if (!BlobPointer::IsSound(Slice(p + rest_size, value_size))) return nullptr;
      break;
    default:
      return nullptr;
  }
  e->shared = static_cast<uint32_t>(shared);
  e->rest_size = static_cast<uint32_t>(rest_size);
  e->value_size = static_cast<uint32_t>(value_size);
  e->rest = p;
  return p + rest_size + value_size;
}

// ---- builder ----

DataBlockBuilder::DataBlockBuilder(uint32_t restart_interval, double hash_index_ratio)
    : restart_interval_(std::clamp<uint32_t>(restart_interval, 1, kRestartIntervalMax)),
      hash_index_ratio_(hash_index_ratio) {}

void DataBlockBuilder::Add(const Entry& entry, bool new_key, uint64_t key_hash) {
  size_t shared = 0;
  if (entry_count_ % restart_interval_ == 0) {
    restarts_.push_back(static_cast<uint32_t>(buffer_.size()));
    head_key_.assign(entry.key.data(), entry.key.size());
  } else {
    shared = SharedPrefix(head_key_, entry.key);
  }
  char header[kEntryOverheadMax];
  char* p = EncodeVarint(header, shared);
  p = EncodeVarint(p, entry.key.size() - shared);
  *p++ = static_cast<char>(entry.kind());
  p = EncodeVarint(p, entry.seqno());
  p = EncodeVarint(p, entry.value.size());
  buffer_.append(header, static_cast<size_t>(p - header));
  buffer_.append(entry.key.data() + shared, entry.key.size() - shared);
  buffer_.append(entry.value.data(), entry.value.size());
  if (hash_index_ratio_ > 0 && (new_key || entry_count_ == 0)) {
    hashed_keys_.push_back(
        {static_cast<uint32_t>(key_hash), static_cast<uint32_t>(restarts_.size() - 1)});
  }
  entry_count_++;
}

size_t DataBlockBuilder::SizeWith(size_t more) const {
  size_t size = buffer_.size() + more + (restarts_.size() + 1) * sizeof(uint32_t);
  if (hash_index_ratio_ > 0) size += kBucketCountMax;
  return size + kBlockFooterBytes;
}

// Empty where a bucket could not name every restart.
std::string DataBlockBuilder::MakeBuckets() const {
  if (hash_index_ratio_ <= 0 || restarts_.size() > kBucketConflict) return {};
  const double wanted = std::floor(static_cast<double>(entry_count_) * hash_index_ratio_);
  const auto count = static_cast<uint64_t>(std::clamp(wanted, 1.0, double{kBucketCountMax}));
  std::string buckets(count, static_cast<char>(kBucketFree));
  for (const HashedKey& key : hashed_keys_) {
    char& place = buckets[(key.hash * count) >> 32];
    if (static_cast<uint8_t>(place) == kBucketFree) {
      place = static_cast<char>(key.restart);
    } else if (static_cast<uint8_t>(place) != key.restart) {
      place = static_cast<char>(kBucketConflict);
    }
  }
  return buckets;
}

Slice DataBlockBuilder::Finish() {
  AppendBlockShape(restarts_, MakeBuckets(), entry_count_, restart_interval_, &buffer_);
  return buffer_;
}

void DataBlockBuilder::Reset() {
  // A block that held one huge entry does not keep its room.
  if (buffer_.capacity() > 4 * kBlockStoredBytesMax) std::string().swap(buffer_);
  buffer_.clear();
  restarts_.clear();
  hashed_keys_.clear();
  entry_count_ = 0;
}

// ---- block ----

Status DataBlock::Parse(Slice raw, BlockBuffer* buffer, Ref<DataBlock>* block) {
  static_assert(sizeof(DataBlock) == kCacheLineBytes);
  Parsed parsed;
  SHALE_RETURN_IF_ERROR(
      Check(raw, /*stride_shift_max=*/2, /*entry_count_max=*/UINT32_MAX, &parsed));
  const size_t arrays_end = kCacheLineBytes + parsed.array_bytes();
  const size_t object_bytes = arrays_end + sizeof(const char*);
  BlockPiece object(object_bytes);
  const Bytes bytes = KeepBytes(raw, buffer);
  const char* buckets = bytes.data + (parsed.shape.buckets.data() - raw.data());
  std::memcpy(object.data() + arrays_end, &buckets, sizeof buckets);
  *block = Ref<DataBlock>::Adopt(::new (object.Release()) DataBlock(object_bytes, parsed, bytes));
  return Status::Ok();
}

bool DataBlock::Get(const Needle& needle, uint64_t key_hash, Entry* entry) const {
  const uint32_t bucket = Bucket(key_hash);
  if (bucket == kBucketFree || CompareWithPrefix(needle.key) != 0) return false;
  const uint32_t first = bucket == kBucketConflict ? 0 : bucket * restart_interval();
  const uint32_t begin = first >> stride_shift();
  const uint64_t head = MakeKeyHead(needle.key, prefix_size());
  DataEntry e;
  if (stride_shift() == 0) {
    // The usual block and the usual answer: one head is the key's, and one entry has that head.
    const uint32_t i = begin + static_cast<uint32_t>(
                                   LowerBoundHead(heads() + begin, sample_count() - begin, head));
    if (i == sample_count() || heads()[i] != head) return false;
    DataEntry::Decode(Locate(i), &e);
    const int c = CompareKey(e, i, needle.key, prefix_size() + kKeyHeadBytes);
    if (c > 0) return false;
    if (c == 0 && static_cast<int64_t>(e.seqno) <= needle.seqno) return Found(e, needle, entry);
  }
  const uint32_t i = Search(needle, head, begin, sample_count());
  if (i >= entry_count()) return false;
  DataEntry::Decode(Locate(i), &e);
  if (CompareKey(e, i, needle.key, prefix_size()) != 0) return false;
  return Found(e, needle, entry);
}

Status DataBlock::VerifyBuckets() const {
  if (bucket_count() == 0) return Status::Ok();
  std::string previous;
  std::string key;
  for (uint32_t i = 0; i < entry_count(); i++) {
    AssignKey(i, &key);
    if (i != 0 && key == previous) continue;
    const uint32_t bucket = Bucket(Hash64(key));
    if (bucket != kBucketConflict && bucket != i / restart_interval()) {
      return Status::Corruption("the hash index of the block hides a key");
    }
    previous.swap(key);
  }
  return Status::Ok();
}

// ---- cursor ----

void DataBlockCursor::Attach(const DataBlock* block) {
  block_ = block;
  count_ = block->entry_count();
  ordinal_ = count_;
  restart_begin_ = 0;
  restart_end_ = 0;
  const size_t room = block->key_bytes_max() + BlockBuffer::kSlackBytes;
  if (room <= key_room_) return;
  key_room_ = std::max<size_t>(room, 64);
  key_ = std::make_unique_for_overwrite<char[]>(key_room_);
}

void DataBlockCursor::MoveTo(uint32_t ordinal) {
  ordinal_ = std::min(ordinal, count_);
  if (ordinal_ == count_) {
    restart_end_ = 0;
    restart_begin_ = 0;
    return;
  }
  if (ordinal_ < restart_begin_ || ordinal_ >= restart_end_) EnterRestart(ordinal_);
  DecodeAt(block_->Locate(ordinal_));
}

void DataBlockCursor::EnterRestart(uint32_t ordinal) {
  if (ordinal >= count_) return;
  const uint32_t interval = block_->restart_interval();
  if (ordinal == restart_end_ && ordinal != 0) {
    restart_begin_ = ordinal;  // forward: the head is the entry itself, DecodeAt keeps its key
  } else {
    restart_begin_ = ordinal - ordinal % interval;
    head_key_ = block_->RestartKey(ordinal).data();
  }
  restart_end_ = restart_begin_ + interval;
}

}  // namespace shale
