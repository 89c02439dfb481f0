#include "journal/log_format.h"

#include <gtest/gtest.h>

#include <string>

#include "base/coding.h"
#include "base/crc32c.h"

namespace shale {
namespace {

std::string FromHex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

std::string Header(const char* magic, uint64_t number) {
  std::string out(kLogHeaderBytes, '\0');
  EncodeFileHeader(magic, number, out.data());
  return out;
}

void Reseal(std::string* header, uint64_t number) {
  StoreLe<uint32_t>(header->data() + 28, Crc32cKeyed(number, 0, Slice(header->data(), 28)));
}

// The examples of docs/format.md, sections 4.1 and 4.2.
TEST(LogFormat, EncodesTheExamplesOfTheDocument) {
  EXPECT_EQ(Header(kJournalMagic, 13),
            FromHex("5348414c454a4e4c01000000000000000d00000000000000000000004677f264"));
  const std::string payload =
      FromHex("0000020001000000030000006b3172656402000100020000000000000071");
  char record[kLogRecordHeaderBytes];
  EncodeLogRecordHeader({.count = 2, .synced_to = 32, .seqno = 8}, 13, 32, payload, record);
  EXPECT_EQ(std::string(record, sizeof record),
            FromHex("d55bb3971e00000001000000020000002000000000000000"
                    "0800000000000000"));
  EncodeLogRecordHeader({.type = RecordType::kSyncedTo, .synced_to = 94}, 13, 94, Slice(), record);
  EXPECT_EQ(std::string(record, sizeof record),
            FromHex("ec4396db0000000002000000000000005e00000000000000"
                    "0000000000000000"));
}

TEST(LogFormat, HeaderOfTheRightFileDecodes) {
  EXPECT_TRUE(DecodeFileHeader(Header(kJournalMagic, 7), kJournalMagic, 7).ok());
  EXPECT_TRUE(DecodeFileHeader(Header(kManifestMagic, 7), kManifestMagic, 7).ok());
  EXPECT_TRUE(
      DecodeFileHeader(Header(kManifestMagic, 7), kJournalMagic, 7).Is(Code::kNotADatabase));
  EXPECT_TRUE(DecodeFileHeader(Header(kJournalMagic, 7), kJournalMagic, 8).Is(Code::kCorruption));
}

TEST(LogFormat, EveryFlippedBitOfAHeaderIsReported) {
  const std::string good = Header(kJournalMagic, 7);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const Status s = DecodeFileHeader(bad, kJournalMagic, 7);
    EXPECT_TRUE(s.Is(bit < 64 ? Code::kNotADatabase : Code::kCorruption)) << bit;
  }
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_TRUE(DecodeFileHeader(Slice(good).Prefix(n), kJournalMagic, 7).Is(Code::kCorruption));
  }
}

TEST(LogFormat, NewerFormatsAreRefusedByName) {
  std::string newer = Header(kJournalMagic, 7);
  StoreLe<uint16_t>(newer.data() + 8, kFormatMajor + 1);
  Reseal(&newer, 7);
  EXPECT_TRUE(DecodeFileHeader(newer, kJournalMagic, 7).Is(Code::kFormatTooNew));

  for (int bit = 0; bit < 32; ++bit) {
    std::string feature = Header(kJournalMagic, 7);
    StoreLe<uint32_t>(feature.data() + 12, uint32_t{1} << bit);
    Reseal(&feature, 7);
    EXPECT_TRUE(DecodeFileHeader(feature, kJournalMagic, 7).Is(Code::kFormatTooNew)) << bit;
  }

  std::string minor = Header(kJournalMagic, 7);
  StoreLe<uint16_t>(minor.data() + 10, 9);  // for information
  Reseal(&minor, 7);
  EXPECT_TRUE(DecodeFileHeader(minor, kJournalMagic, 7).ok());
}

TEST(LogFormat, ResealedNonsenseInAHeaderIsDamage) {
  std::string zero = Header(kJournalMagic, 7);
  StoreLe<uint16_t>(zero.data() + 8, 0);
  Reseal(&zero, 7);
  EXPECT_TRUE(DecodeFileHeader(zero, kJournalMagic, 7).Is(Code::kCorruption));
  std::string number = Header(kJournalMagic, 7);
  StoreLe<uint64_t>(number.data() + 16, 8);
  Reseal(&number, 7);
  EXPECT_TRUE(DecodeFileHeader(number, kJournalMagic, 7).Is(Code::kCorruption));
  std::string reserved = Header(kJournalMagic, 7);
  reserved[24] = 1;
  Reseal(&reserved, 7);
  EXPECT_TRUE(DecodeFileHeader(reserved, kJournalMagic, 7).Is(Code::kCorruption));
}

TEST(LogFormat, RecordFieldsThatNoWriterMakesAreRefused) {
  char bytes[kLogRecordHeaderBytes];
  LogRecordHeader h;
  const auto decodes = [&](const LogRecordHeader& in, uint64_t offset) {
    EncodeLogRecordHeader(in, 7, offset, Slice(), bytes);
    return DecodeLogRecordHeader(bytes, offset, &h);
  };
  EXPECT_TRUE(decodes({.count = 3, .synced_to = 64, .seqno = kSeqnoMax}, 64));
  EXPECT_EQ(h.count, 3u);
  EXPECT_EQ(h.synced_to, 64u);
  EXPECT_EQ(h.seqno, kSeqnoMax);
  EXPECT_FALSE(decodes({.synced_to = 65}, 64));
  EXPECT_FALSE(decodes({.seqno = kSeqnoMax + 1}, 64));
  EXPECT_TRUE(decodes({.type = RecordType::kSyncedTo, .synced_to = 64}, 64));
  EXPECT_FALSE(decodes({.type = RecordType::kSyncedTo, .count = 1}, 64));
  EXPECT_FALSE(decodes({.type = RecordType::kSyncedTo, .seqno = 1}, 64));
  EXPECT_FALSE(decodes({.type = static_cast<RecordType>(0)}, 64));
  EXPECT_FALSE(decodes({.type = static_cast<RecordType>(3)}, 64));

  EncodeLogRecordHeader({}, 7, 64, Slice(), bytes);
  for (int i : {9, 10, 11}) {
    char reserved[kLogRecordHeaderBytes];
    std::copy(bytes, bytes + sizeof bytes, reserved);
    reserved[i] = 1;
    EXPECT_FALSE(DecodeLogRecordHeader(reserved, 64, &h)) << i;
  }
  StoreLe<uint32_t>(bytes + 4, kLogPayloadBytesMax);
  EXPECT_TRUE(DecodeLogRecordHeader(bytes, 64, &h));
  StoreLe<uint32_t>(bytes + 4, kLogPayloadBytesMax + 1);
  EXPECT_FALSE(DecodeLogRecordHeader(bytes, 64, &h));
  EncodeLogRecordHeader({.type = RecordType::kSyncedTo}, 7, 64, Slice(), bytes);
  StoreLe<uint32_t>(bytes + 4, 1);
  EXPECT_FALSE(DecodeLogRecordHeader(bytes, 64, &h));
}

}  // namespace
}  // namespace shale
