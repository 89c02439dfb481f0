// Table format: the frame of a table file: handles, block trailers, properties and footer.
//
// Everything here turns bytes into checked structures and back; nothing reads a file or keeps
// state. Functions that find damage return kCorruption without a path: the caller, who knows the
// file, adds it.
// Bytes: docs/format.md, "Tables".
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/coding.h"
#include "base/compression.h"
#include "base/internal_key.h"
#include "base/range_tombstone.h"
#include "base/status.h"
#include "table/block.h"

namespace shale {

inline constexpr char kTableMagic[] = "SHALETBL";
inline constexpr uint16_t kTableFormatMajor = 1;
inline constexpr uint16_t kTableFormatMinor = 0;
inline constexpr uint32_t kTableFeatureBits = 0;  // what this code understands

inline constexpr size_t kBlockTrailerBytes = 9;
inline constexpr size_t kTableFooterBytes = 64;
inline constexpr size_t kBlockStoredBytesMax = size_t{32} << 20;
inline constexpr size_t kBlockRawBytesMax = size_t{64} << 20;
// One entry that is too large for the limits above is alone in an uncompressed data block.
inline constexpr size_t kLargeBlockBytesMax = (size_t{1} << 30) + (size_t{1} << 17);

// Where a block lies; its trailer follows its `length` stored bytes.
struct BlockHandle {
  uint64_t offset = 0;
  uint32_t length = 0;

  bool is_null() const { return length == 0; }
  uint64_t end() const { return offset + length + kBlockTrailerBytes; }
};
inline bool operator==(BlockHandle a, BlockHandle b) {
  return a.offset == b.offset && a.length == b.length;
}

enum class IndexKind : uint8_t { kWhole = 0, kPartitioned = 1 };
enum class FilterKind : uint8_t { kNone = 0, kWhole = 1, kPartitioned = 2 };

// ---- blocks ----

// True if a block of this size with this codec may exist at all.
constexpr bool BlockLengthAllowed(uint64_t stored, BlockType type) {
  return stored >= 1 &&
         stored <= (type == BlockType::kData ? kLargeBlockBytesMax : kBlockStoredBytesMax);
}

// A block ready to be written at the offset it was sealed for: `stored`, then `trailer`.
struct SealedBlock {
  Slice stored;  // points into the raw bytes or into the scratch string
  std::array<char, kBlockTrailerBytes> trailer{};
};
// Compresses `raw` where that is worth it and makes the trailer. `scratch` keeps compressed bytes.
SealedBlock SealBlock(Slice raw, Codec codec, uint64_t file_number, uint64_t offset,
                      std::string* scratch);

// The opposite: `bytes` are the stored bytes and the trailer as read at `handle`. Checks lengths
// and checksum, decompresses into `buffer` if need be. *raw points into `bytes` or into `buffer`;
// it is followed by BlockBuffer::kSlackBytes readable bytes only in the second case.
Status UnsealBlock(Slice bytes, BlockHandle handle, BlockType type, uint64_t file_number,
                   BlockBuffer* buffer, Slice* raw);

// ---- properties ----

struct TableProperties {
  uint64_t item_count = 0;
  uint64_t tombstone_count = 0;
  uint64_t weak_tombstone_count = 0;
  uint64_t range_tombstone_count = 0;
  uint64_t block_count = 0;
  uint64_t key_count = 0;
  std::string first_key;
  std::string last_key;
  KeyBound last_key_bound = KeyBound::kInclusive;
  Seqno lowest_seqno = 0;   // as stored
  Seqno highest_seqno = 0;  // as stored
  uint64_t created_at_ms = 0;
  Codec codec = Codec::kNone;
  uint64_t raw_bytes = 0;
  IndexKind index_kind = IndexKind::kWhole;
  FilterKind filter_kind = FilterKind::kNone;
  BlockHandle range_tombstones;  // null if there is none
  BlockHandle blob_references;   // null if there is none
};

std::string EncodeTableProperties(const TableProperties& properties);
Status DecodeTableProperties(Slice raw, TableProperties* properties);

// ---- footer ----

struct TableFooter {
  BlockHandle properties;
  BlockHandle index;
  BlockHandle filter;  // null if there is none
};

std::string EncodeTableFooter(const TableFooter& footer, uint64_t file_number, uint64_t offset);
// `bytes` are the kTableFooterBytes at `offset`. kFormatTooNew when the file says that it needs
// more than this code understands.
Status DecodeTableFooter(Slice bytes, uint64_t file_number, uint64_t offset, TableFooter* footer);

// True if the block lies whole before `limit`, the offset of the footer.
bool HandleFits(BlockHandle handle, BlockType type, uint64_t limit);

// ---- keys ----

// A short key k with last <= k < next. Requires last < next.
std::string ShortSeparator(Slice last, Slice next);

}  // namespace shale
