#include "blob/blob_format.h"

#include <functional>

#include "blob/blob_support.h"

namespace shale {
namespace {

constexpr uint64_t kExampleNumber = 15;
constexpr uint64_t kOffset = 32;

std::string Frame(const BlobFrame& frame) {
  std::string bytes(kBlobFrameHeaderBytes, '\0');
  EncodeBlobFrameHeader(frame, kExampleNumber, kOffset, bytes.data());
  return bytes + frame.key.ToString() + frame.stored.ToString();
}

TEST(BlobFormat, AFrameComesBack) {
  const BlobFrame frame{"photo", 9, Codec::kLz4, 70, "stored"};
  const std::string bytes = Frame(frame);
  EXPECT_EQ(bytes.size(), frame.bytes());
  BlobFrame back;
  ASSERT_TRUE(DecodeBlobFrame(bytes, kExampleNumber, kOffset, &back).ok());
  EXPECT_EQ(back.key, frame.key);
  EXPECT_EQ(back.seqno, frame.seqno);
  EXPECT_EQ(back.codec, frame.codec);
  EXPECT_EQ(back.raw_length, frame.raw_length);
  EXPECT_EQ(back.stored, frame.stored);
  // Elsewhere it is another one.
  EXPECT_TRUE(DecodeBlobFrame(bytes, kExampleNumber + 1, kOffset, &back).Is(Code::kCorruption));
  EXPECT_TRUE(DecodeBlobFrame(bytes, kExampleNumber, kOffset + 1, &back).Is(Code::kCorruption));
}

TEST(BlobFormat, EveryFlippedBitOfAFrameIsReported) {
  const std::string good = Frame({"photo", 9, Codec::kNone, 6, "stored"});
  BlobFrame frame;
  for (size_t bit = 0; bit < good.size() * 8; bit++) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_TRUE(DecodeBlobFrame(bad, kExampleNumber, kOffset, &frame).Is(Code::kCorruption)) << bit;
  }
  for (size_t n = 0; n < good.size(); n++) {
    const Slice cut = Slice(good).Prefix(n);
    EXPECT_TRUE(DecodeBlobFrame(cut, kExampleNumber, kOffset, &frame).Is(Code::kCorruption)) << n;
  }
}

TEST(BlobFormat, FieldsThatBreakARuleAreDamageWithARightChecksum) {
  const std::string good = Frame({"photo", 9, Codec::kNone, 6, "stored"});
  const auto decode = [&](const std::function<void(char*)>& change) {
    std::string bad = good;
    change(bad.data());
    StoreLe(bad.data(), Crc32cKeyed(kExampleNumber, kOffset, Slice(bad).Skip(4)));
    BlobFrame frame;
    return DecodeBlobFrame(bad, kExampleNumber, kOffset, &frame);
  };
  EXPECT_TRUE(decode([](char*) {}).ok());
  EXPECT_TRUE(decode([](char* f) { StoreLe<uint64_t>(f + 16, kSeqnoMax); }).ok());
  const std::function<void(char*)> wrong[] = {
      [](char* f) { StoreLe<uint16_t>(f + 4, 0); },
      [](char* f) { StoreLe<uint16_t>(f + 4, 6); },   // another length of the whole
      [](char* f) { StoreLe<uint16_t>(f + 4, 11); },  // no value left
      [](char* f) { f[6] = 3; },                      // codec
      [](char* f) { f[7] = 1; },                      // reserved
      [](char* f) { StoreLe<uint32_t>(f + 8, 7); },   // raw length of what is stored raw
      [](char* f) { StoreLe<uint32_t>(f + 12, 7); },
      [](char* f) { StoreLe<uint32_t>(f + 12, 0xffffffff); },
      [](char* f) { StoreLe<uint64_t>(f + 16, kSeqnoMax + 1); },
      [](char* f) {
        f[6] = 1;
        StoreLe<uint32_t>(f + 8, kBlobCompressionMax + 1);
      },
  };
  for (size_t i = 0; i < std::size(wrong); i++) {
    EXPECT_TRUE(decode(wrong[i]).Is(Code::kCorruption)) << i;
  }
}

TEST(BlobFormat, TheFooterComesBackOrIsDamage) {
  const uint64_t offset = 1032;
  const BlobFooter footer{3, 1000, 5000, 1700000000000};
  std::string good(kBlobFooterBytes, '\0');
  EncodeBlobFooter(footer, kExampleNumber, offset, good.data());
  BlobFooter back;
  ASSERT_TRUE(DecodeBlobFooter(good, kExampleNumber, offset, &back).ok());
  EXPECT_EQ(back.item_count, 3u);
  EXPECT_EQ(back.frame_bytes, 1000u);
  EXPECT_EQ(back.raw_bytes, 5000u);
  EXPECT_EQ(back.created_at_ms, 1700000000000u);
  for (size_t bit = 0; bit < good.size() * 8; bit++) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_TRUE(DecodeBlobFooter(bad, kExampleNumber, offset, &back).Is(Code::kCorruption)) << bit;
  }
  EXPECT_TRUE(DecodeBlobFooter(good, kExampleNumber, offset + 1, &back).Is(Code::kCorruption));
  EXPECT_TRUE(DecodeBlobFooter(good, kExampleNumber + 1, offset, &back).Is(Code::kCorruption));

  const auto decode = [&](size_t at, uint64_t value, size_t size) {
    std::string bad = good;
    std::memcpy(bad.data() + at, &value, size);
    StoreLe(bad.data() + 60, Crc32cKeyed(kExampleNumber, offset, Slice(bad).Prefix(60)));
    return DecodeBlobFooter(bad, kExampleNumber, offset, &back).code();
  };
  EXPECT_EQ(decode(8, 2, 2), Code::kFormatTooNew);
  EXPECT_EQ(decode(8, 0, 2), Code::kCorruption);
  EXPECT_EQ(decode(10, 9, 2), Code::kOk);  // minor
  EXPECT_EQ(decode(12, 1, 4), Code::kFormatTooNew);
  EXPECT_EQ(decode(16, 16, 8), Code::kCorruption);
  EXPECT_EQ(decode(32, 999, 8), Code::kCorruption);  // not the whole file
  EXPECT_EQ(decode(56, 1, 4), Code::kCorruption);
}

TEST(BlobPointer, SoundOnesComeBack) {
  const BlobPointer pointer{15, 32, 13, 4096};
  const auto bytes = pointer.Encode();
  EXPECT_TRUE(BlobPointer::IsSound(Slice(bytes.data(), bytes.size())));
  EXPECT_EQ(BlobPointer::Decode(bytes.data()), pointer);
  EXPECT_EQ(pointer.FrameBytes(5), 42u);
  const auto sound = [](const BlobPointer& p) {
    const auto encoded = p.Encode();
    return BlobPointer::IsSound(Slice(encoded.data(), encoded.size()));
  };
  EXPECT_TRUE(sound({kSeqnoMax, kSeqnoMax, 0, 0}));
  EXPECT_TRUE(sound({1, 32, kValueBytesMax, kValueBytesMax}));
  EXPECT_TRUE(sound({1, 32, kValueBytesMax, kBlobCompressionMax}));
  EXPECT_FALSE(sound({0, 32, 1, 1}));
  EXPECT_FALSE(sound({kSeqnoMax + 1, 32, 1, 1}));
  EXPECT_FALSE(sound({1, 31, 1, 1}));
  EXPECT_FALSE(sound({1, kSeqnoMax + 1, 1, 1}));
  EXPECT_FALSE(sound({1, 32, kValueBytesMax + 1, kValueBytesMax + 1}));
  EXPECT_FALSE(sound({1, 32, 1, kBlobCompressionMax + 1}));
  EXPECT_FALSE(BlobPointer::IsSound(Slice(bytes.data(), 23)));
}

}  // namespace
}  // namespace shale
