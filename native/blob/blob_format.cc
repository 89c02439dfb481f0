#include "blob/blob_format.h"

#include <cstring>

#include "base/coding.h"
#include "base/crc32c.h"

namespace shale {
namespace {

constexpr size_t kMagicBytes = 8;
constexpr size_t kFrameCrcBytes = 4;
constexpr size_t kFooterCrcOffset = 60;

}  // namespace

// ---- frames ----

void EncodeBlobFrameHeader(const BlobFrame& frame, uint64_t file_number, uint64_t offset,
                           char* dst) {
  StoreLe(dst + 4, static_cast<uint16_t>(frame.key.size()));
  StoreLe(dst + 6, static_cast<uint16_t>(frame.codec));  // and the reserved byte
  StoreLe(dst + 8, frame.raw_length);
  StoreLe(dst + 12, static_cast<uint32_t>(frame.stored.size()));
  StoreLe(dst + 16, frame.seqno);
  uint32_t crc = Crc32cKeyed(file_number, offset,
                             Slice(dst + kFrameCrcBytes, kBlobFrameHeaderBytes - kFrameCrcBytes));
  crc = Crc32cExtend(crc, frame.key.data(), frame.key.size());
  crc = Crc32cExtend(crc, frame.stored.data(), frame.stored.size());
  StoreLe(dst, crc);
}

bool DecodeBlobFrameHeader(const char* src, BlobFrameHeader* h) {
  const auto codec = LoadLe<uint16_t>(src + 6);  // with the reserved byte
  h->key_length = LoadLe<uint16_t>(src + 4);
  h->codec = static_cast<Codec>(codec);
  h->raw_length = LoadLe<uint32_t>(src + 8);
  h->stored_length = LoadLe<uint32_t>(src + 12);
  h->seqno = LoadLe<uint64_t>(src + 16);
  if (h->key_length == 0 || codec > kCodecMax || h->seqno > kSeqnoMax) return false;
  if (h->codec == Codec::kNone && h->raw_length != h->stored_length) return false;
  if (h->codec != Codec::kNone && h->raw_length > kBlobCompressionMax) return false;
  return h->stored_length <= kValueBytesMax;
}

Status DecodeBlobFrame(Slice bytes, uint64_t file_number, uint64_t offset, BlobFrame* frame) {
  const uint32_t crc = Crc32cKeyed(file_number, offset, bytes.Skip(kFrameCrcBytes));
  if (bytes.size() < kBlobFrameHeaderBytes || LoadLe<uint32_t>(bytes.data()) != crc) {
    return Status::Corruption("the checksum of a blob frame is wrong");
  }
  BlobFrameHeader h;
  if (!DecodeBlobFrameHeader(bytes.data(), &h) || h.frame_bytes() != bytes.size()) {
    return Status::Corruption("a field of a blob frame is wrong");
  }
  const Slice rest = bytes.Skip(kBlobFrameHeaderBytes);
  *frame = {rest.Prefix(h.key_length), h.seqno, h.codec, h.raw_length, rest.Skip(h.key_length)};
  return Status::Ok();
}

// ---- footer ----

void EncodeBlobFooter(const BlobFooter& footer, uint64_t file_number, uint64_t offset, char* dst) {
  std::memcpy(dst, kBlobFooterMagic, kMagicBytes);
  StoreLe(dst + 8, kFormatMajor);
  StoreLe(dst + 10, kFormatMinor);
  StoreLe(dst + 12, uint32_t{0});  // no feature is needed by this version
  StoreLe(dst + 16, file_number);
  StoreLe(dst + 24, footer.item_count);
  StoreLe(dst + 32, footer.frame_bytes);
  StoreLe(dst + 40, footer.raw_bytes);
  StoreLe(dst + 48, footer.created_at_ms);
  StoreLe(dst + 56, uint32_t{0});
  StoreLe(dst + kFooterCrcOffset, Crc32cKeyed(file_number, offset, Slice(dst, kFooterCrcOffset)));
}

Status DecodeBlobFooter(Slice bytes, uint64_t file_number, uint64_t offset, BlobFooter* footer) {
  const char* p = bytes.data();
  if (bytes.size() != kBlobFooterBytes || std::memcmp(p, kBlobFooterMagic, kMagicBytes) != 0) {
    return Status::Corruption("the blob file does not end as one");
  }
  const uint32_t crc = Crc32cKeyed(file_number, offset, bytes.Prefix(kFooterCrcOffset));
  if (crc != LoadLe<uint32_t>(p + kFooterCrcOffset)) {
    return Status::Corruption("the checksum of the blob footer is wrong");
  }
  const auto major = LoadLe<uint16_t>(p + 8);
  if (major > kFormatMajor || (LoadLe<uint32_t>(p + 12) & ~kKnownFeatures) != 0) {
    return Status(Code::kFormatTooNew, "the blob file was written by a newer version");
  }
  if (major == 0 || LoadLe<uint64_t>(p + 16) != file_number || LoadLe<uint32_t>(p + 56) != 0) {
    return Status::Corruption("the blob footer is not that of this file");
  }
  footer->item_count = LoadLe<uint64_t>(p + 24);
  footer->frame_bytes = LoadLe<uint64_t>(p + 32);
  footer->raw_bytes = LoadLe<uint64_t>(p + 40);
  footer->created_at_ms = LoadLe<uint64_t>(p + 48);
  if (footer->raw_bytes > kSeqnoMax || footer->created_at_ms > kSeqnoMax ||
      footer->item_count > kSeqnoMax || offset < kFileHeaderBytes ||
      footer->frame_bytes != offset - kFileHeaderBytes) {
    return Status::Corruption("the blob footer states what cannot be");
  }
  return Status::Ok();
}

}  // namespace shale
