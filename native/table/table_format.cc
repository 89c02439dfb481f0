#include "table/table_format.h"

#include <cstring>

#include "base/crc32c.h"
#include "base/seeded_bug.h"
#include "table/key_heads.h"

namespace shale {
namespace {

constexpr size_t kTrailerChecked =
    5;  // codec and raw length: what the checksum covers of a trailer
constexpr size_t kFooterChecked = 60;

enum PropertyId : uint64_t {
  kItemCount = 1,
  kTombstoneCount = 2,
  kWeakTombstoneCount = 3,
  kRangeTombstoneCount = 4,
  kBlockCount = 5,
  kKeyCount = 6,
  kFirstKey = 7,
  kLastKey = 8,
  kLastKeyBound = 9,
  kLowestSeqno = 10,
  kHighestSeqno = 11,
  kCreatedAt = 12,
  kCodec = 13,
  kRawBytes = 14,
  kIndexKind = 15,
  kFilterKind = 16,
  kRangeTombstones = 17,
  kBlobReferences = 18,
};
constexpr uint64_t kRequiredIds = (uint64_t{1} << (kFilterKind + 1)) - 2;  // bits 1..16

// CRC of a block's stored bytes and what its trailer says of them.
uint32_t BlockCrc(uint64_t file_number, uint64_t offset, Slice stored, const char* trailer) {
  if (BugIsOn(SeededBug::kChecksumWithoutOffset)) offset = 0;
  const uint32_t crc = Crc32cKeyed(file_number, offset, stored);
  return Crc32cExtend(crc, trailer, kTrailerChecked);
}

void PutField(std::string* out, uint64_t id, Slice content) {
  PutVarint(out, id);
  PutBytes(out, content);
}
void PutVarintField(std::string* out, uint64_t id, uint64_t v) {
  char content[kVarintBytesMax];
  const char* end = EncodeVarint(content, v);
  PutField(out, id, Slice(content, static_cast<size_t>(end - content)));
}
template <typename T>
void PutByteField(std::string* out, uint64_t id, T v) {
  const auto byte = static_cast<char>(v);
  PutField(out, id, Slice(&byte, 1));
}
void PutHandleField(std::string* out, uint64_t id, BlockHandle handle) {
  std::string content;
  PutVarint(&content, handle.offset);
  PutVarint(&content, handle.length);
  PutField(out, id, content);
}

// Each reads a whole field; false if the content is not exactly that.
bool GetVarint(Slice content, uint64_t* v) {
  Reader reader(content);
  *v = reader.Varint();
  return reader.ok() && reader.AtEnd();
}
bool GetSeqno(Slice content, Seqno* seqno) {
  return GetVarint(content, seqno) && *seqno <= kSeqnoMax;
}
template <typename T>
bool GetByte(Slice content, T max, T* v) {
  if (content.size() != 1 || content[0] > static_cast<uint8_t>(max)) return false;
  *v = static_cast<T>(content[0]);
  return true;
}
bool GetHandle(Slice content, BlockHandle* handle) {
  Reader reader(content);
  handle->offset = reader.Varint();
  const uint64_t length = reader.Varint();
  handle->length = static_cast<uint32_t>(length);
  return reader.ok() && reader.AtEnd() && BlockLengthAllowed(length, BlockType::kIndex);
}
bool GetKey(Slice content, std::string* key) {
  if (content.size() > kKeyBytesMax) return false;
  key->assign(content.data(), content.size());
  return true;
}

bool DecodeProperty(uint64_t id, Slice content, TableProperties* p) {
  switch (id) {
    case kItemCount:
      return GetVarint(content, &p->item_count);
    case kTombstoneCount:
      return GetVarint(content, &p->tombstone_count);
    case kWeakTombstoneCount:
      return GetVarint(content, &p->weak_tombstone_count);
    case kRangeTombstoneCount:
      return GetVarint(content, &p->range_tombstone_count);
    case kBlockCount:
      return GetVarint(content, &p->block_count);
    case kKeyCount:
      return GetVarint(content, &p->key_count);
    case kFirstKey:
      return GetKey(content, &p->first_key);
    case kLastKey:
      return GetKey(content, &p->last_key);
    case kLastKeyBound:
      return GetByte(content, KeyBound::kUnbounded, &p->last_key_bound);
    case kLowestSeqno:
      return GetSeqno(content, &p->lowest_seqno);
    case kHighestSeqno:
      return GetSeqno(content, &p->highest_seqno);
    case kCreatedAt:
      return GetVarint(content, &p->created_at_ms);
    case kCodec:
      return GetByte(content, static_cast<Codec>(kCodecMax), &p->codec);
    case kRawBytes:
      return GetVarint(content, &p->raw_bytes);
    case kIndexKind:
      return GetByte(content, IndexKind::kPartitioned, &p->index_kind);
    case kFilterKind:
      return GetByte(content, FilterKind::kPartitioned, &p->filter_kind);
    case kRangeTombstones:
      return GetHandle(content, &p->range_tombstones);
    case kBlobReferences:
      return GetHandle(content, &p->blob_references);
    default:
      return true;  // from a later writer, and not needed to understand the table
  }
}

// What must hold between the fields, whoever wrote them.
bool PropertiesAgree(const TableProperties& p) {
  const bool has_ranges = p.range_tombstone_count != 0;
  if (p.item_count == 0 && !has_ranges) return false;
  if (has_ranges != !p.range_tombstones.is_null()) return false;
  if (p.tombstone_count > p.item_count) return false;
  if (p.weak_tombstone_count > p.item_count - p.tombstone_count) return false;
  if (p.key_count > p.item_count || p.block_count > p.item_count) return false;
  if ((p.item_count == 0) != (p.block_count == 0)) return false;
  if ((p.item_count == 0) != (p.key_count == 0)) return false;
  if (!has_ranges && p.last_key_bound != KeyBound::kInclusive) return false;
  const bool unbounded = p.last_key_bound == KeyBound::kUnbounded;
  if (p.first_key.empty() || p.last_key.empty() != unbounded) return false;
  if (!unbounded && Slice(p.last_key) < Slice(p.first_key)) return false;
  return p.lowest_seqno <= p.highest_seqno;
}

}  // namespace

// ---- blocks ----

SealedBlock SealBlock(Slice raw, Codec codec, uint64_t file_number, uint64_t offset,
                      std::string* scratch) {
  SealedBlock block;
  block.stored = raw;
  // What is larger may exist only as it is: see the limits of the format.
  if (raw.size() > kBlockStoredBytesMax) codec = Codec::kNone;
  if (codec != Codec::kNone && Compress(codec, raw, scratch)) {
    block.stored = *scratch;
  } else {
    codec = Codec::kNone;
  }
  char* t = block.trailer.data();
  t[0] = static_cast<char>(codec);
  StoreLe(t + 1, static_cast<uint32_t>(raw.size()));
  StoreLe(t + kTrailerChecked, BlockCrc(file_number, offset, block.stored, t));
  return block;
}

Status UnsealBlock(Slice bytes, BlockHandle handle, BlockType type, uint64_t file_number,
                   BlockBuffer* buffer, Slice* raw) {
  const Slice stored = bytes.Prefix(handle.length);
  const char* t = stored.end();
  const uint32_t crc = BlockCrc(file_number, handle.offset, stored, t);
  const bool unchecked = type == BlockType::kFilter && BugIsOn(SeededBug::kNoFilterChecksum);
  if (LoadLe<uint32_t>(t + kTrailerChecked) != crc && !unchecked) {
    return Status::Corruption("block checksum does not match");
  }
  const auto codec = static_cast<uint8_t>(t[0]);
  const auto raw_length = LoadLe<uint32_t>(t + 1);
  if (codec > kCodecMax) return Status::Corruption("unknown block codec");
  if (static_cast<Codec>(codec) == Codec::kNone) {
    if (raw_length != stored.size()) return Status::Corruption("block length does not match");
    // Large blocks are for data only.
    if (!BlockLengthAllowed(stored.size(), type)) return Status::Corruption("block is too long");
    *raw = stored;
    return Status::Ok();
  }
  // Else a few bytes of nothing but zeros would be a filter of megabytes.
  if (type == BlockType::kFilter) return Status::Corruption("a filter block is compressed");
  if (stored.size() > kBlockStoredBytesMax || raw_length > kBlockRawBytesMax) {
    return Status::Corruption("block is too long");
  }
  char* dst = buffer->Reserve(raw_length);
  SHALE_RETURN_IF_ERROR(Decompress(static_cast<Codec>(codec), stored, dst, raw_length));
  *raw = Slice(dst, raw_length);
  return Status::Ok();
}

bool HandleFits(BlockHandle handle, BlockType type, uint64_t limit) {
  return BlockLengthAllowed(handle.length, type) && handle.offset <= limit &&
         limit - handle.offset >= handle.length + uint64_t{kBlockTrailerBytes};
}

// ---- properties ----

std::string EncodeTableProperties(const TableProperties& p) {
  std::string out;
  PutVarintField(&out, kItemCount, p.item_count);
  PutVarintField(&out, kTombstoneCount, p.tombstone_count);
  PutVarintField(&out, kWeakTombstoneCount, p.weak_tombstone_count);
  PutVarintField(&out, kRangeTombstoneCount, p.range_tombstone_count);
  PutVarintField(&out, kBlockCount, p.block_count);
  PutVarintField(&out, kKeyCount, p.key_count);
  PutField(&out, kFirstKey, p.first_key);
  PutField(&out, kLastKey, p.last_key);
  PutByteField(&out, kLastKeyBound, p.last_key_bound);
  PutVarintField(&out, kLowestSeqno, p.lowest_seqno);
  PutVarintField(&out, kHighestSeqno, p.highest_seqno);
  PutVarintField(&out, kCreatedAt, p.created_at_ms);
  PutByteField(&out, kCodec, p.codec);
  PutVarintField(&out, kRawBytes, p.raw_bytes);
  PutByteField(&out, kIndexKind, p.index_kind);
  PutByteField(&out, kFilterKind, p.filter_kind);
  if (!p.range_tombstones.is_null()) PutHandleField(&out, kRangeTombstones, p.range_tombstones);
  if (!p.blob_references.is_null()) PutHandleField(&out, kBlobReferences, p.blob_references);
  return out;
}

Status DecodeTableProperties(Slice raw, TableProperties* p) {
  Reader reader(raw);
  uint64_t previous = 0;
  uint64_t seen = 0;
  while (!reader.AtEnd()) {
    const uint64_t id = reader.Varint();
    const Slice content = reader.Bytes();
    if (!reader.ok() || id <= previous || !DecodeProperty(id, content, p)) {
      return Status::Corruption("table properties do not decode");
    }
    previous = id;
    if (id < 64) seen |= uint64_t{1} << id;
  }
  if (!reader.ok() || (seen & kRequiredIds) != kRequiredIds) {
    return Status::Corruption("a table property is missing");
  }
  if (!PropertiesAgree(*p)) return Status::Corruption("table properties contradict each other");
  return Status::Ok();
}

// ---- footer ----

std::string EncodeTableFooter(const TableFooter& footer, uint64_t file_number, uint64_t offset) {
  std::string out(kTableMagic, 8);
  PutU16(&out, kTableFormatMajor);
  PutU16(&out, kTableFormatMinor);
  PutU32(&out, kTableFeatureBits);
  PutU64(&out, file_number);
  PutU64(&out, footer.properties.offset);
  PutU64(&out, footer.index.offset);
  PutU64(&out, footer.filter.offset);
  PutU32(&out, footer.properties.length);
  PutU32(&out, footer.index.length);
  PutU32(&out, footer.filter.length);
  PutU32(&out, Crc32cKeyed(file_number, offset, out));
  return out;
}

Status DecodeTableFooter(Slice bytes, uint64_t file_number, uint64_t offset, TableFooter* footer) {
  Reader reader(bytes);
  if (bytes.size() != kTableFooterBytes || reader.Raw(8) != Slice(kTableMagic, 8)) {
    return Status::Corruption("no table footer");
  }
  if (LoadLe<uint32_t>(bytes.data() + kFooterChecked) !=
      Crc32cKeyed(file_number, offset, bytes.Prefix(kFooterChecked))) {
    return Status::Corruption("table footer checksum does not match");
  }
  const uint16_t major = reader.U16();
  reader.U16();  // minor: what it adds can be ignored
  const uint32_t features = reader.U32();
  if (major == 0) return Status::Corruption("table format version 0");
  if (major > kTableFormatMajor || (features & ~kTableFeatureBits) != 0) {
    return Status(Code::kFormatTooNew, "the table was written by a newer version");
  }
  if (reader.U64() != file_number) return Status::Corruption("the table has another file's number");
  footer->properties.offset = reader.U64();
  footer->index.offset = reader.U64();
  footer->filter.offset = reader.U64();
  footer->properties.length = reader.U32();
  footer->index.length = reader.U32();
  footer->filter.length = reader.U32();
  const bool no_filter = footer->filter.length == 0 && footer->filter.offset == 0;
  if (!HandleFits(footer->properties, BlockType::kIndex, offset) ||
      !HandleFits(footer->index, BlockType::kIndex, offset) ||
      !(no_filter || HandleFits(footer->filter, BlockType::kFilter, offset))) {
    return Status::Corruption("a handle in the table footer points outside the file");
  }
  return Status::Ok();
}

// ---- keys ----

std::string ShortSeparator(Slice last, Slice next) {
  const size_t shared = SharedPrefix(last, next);
  if (shared == last.size()) return last.ToString();  // a proper prefix of `next`
  // next[shared] > last[shared]: what follows in `next` decides whether its prefix is below it.
  if (next.size() > shared + 1) return next.Prefix(shared + 1).ToString();
  size_t i = shared;
  if (last[i] + 1 == next[i]) {
    // Nothing fits between at this byte: keep it and raise a later one.
    for (i++; i < last.size() && last[i] == 0xff; i++) {
    }
    if (i >= last.size()) return last.ToString();
  }
  std::string key = last.Prefix(i + 1).ToString();
  key[i] = static_cast<char>(last[i] + 1);
  return key;
}

}  // namespace shale
