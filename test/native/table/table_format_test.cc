#include "table/table_format.h"

#include "table/data_block.h"
#include "table/filter_block.h"
#include "table/index_block.h"
#include "table/table_support.h"

namespace shale {
namespace {

std::string Hex(const char* text) {
  std::string bytes;
  int high = -1;
  for (; *text != '\0'; text++) {
    if (*text == ' ') continue;
    const int digit = *text <= '9' ? *text - '0' : *text - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<char>(high * 16 + digit));
      high = -1;
    }
  }
  return bytes;
}

// The examples of docs/format.md: what the code writes and reads is what the document says.
constexpr uint64_t kExampleFile = 12;

TEST(TableFormat, DataBlockOfTheDocument) {
  const std::string stored =
      Hex("00 05 00 07 03 61 70 70 6c 65 72 65 64 05 00 00 03 05 67 72 65 65 6e"
          "00 07 01 05 00 61 70 72 69 63 6f 74 00 06 00 06 06 62 61 6e 61 6e 61 79 65 6c 6c 6f 77"
          "00 00 17 00 ff 00 01 ff ff 04 00 00 00 02 00 00 00 05 00 02 00");
  DataBlockBuilder builder(2, 1.25);
  const Records records = {{"apple", 7, Kind::kValue, "red"},
                           {"apple", 3, Kind::kValue, "green"},
                           {"apricot", 5, Kind::kTombstone, ""},
                           {"banana", 6, Kind::kValue, "yellow"}};
  for (size_t i = 0; i < records.size(); i++) {
    builder.Add(records[i].entry(), i != 1, Hash64(records[i].key));
  }
  const Slice raw = builder.Finish();
  EXPECT_EQ(raw, Slice(stored));
  const SealedBlock sealed = SealBlock(raw, Codec::kNone, kExampleFile, 0, nullptr);
  EXPECT_EQ(Slice(sealed.trailer.data(), sealed.trailer.size()),
            Slice(Hex("00 49 00 00 00 96 3c 94 dd")));
  BlockBuffer buffer;
  Ref<DataBlock> block;
  ASSERT_TRUE(DataBlock::Parse(stored, &buffer, &block).ok());
  Entry entry;
  ASSERT_TRUE(block->Get({"apple", 4}, Hash64("apple"), &entry));
  EXPECT_EQ(entry.value, Slice("green"));
}

TEST(TableFormat, FilterOfTheDocument) {
  const std::string raw = Hex(
      "00 00 00 00 00 10 01 00 00 00 00 40 00 00 02 00 04 00 00 00 20 00 10 02 08 00 00 00 00 40 00"
      "10 04 00 80 00 00 00 00 00 00 00 00 00 00 00 00 00 c0 00 00 02 81 20 02 00 00 00 04 00 00 00"
      "00 00 01 00 00 00 03 00 00 00 01 07 00 00 10 27 00 00");
  FilterBlockBuilder builder(10);
  for (const char* key : {"apple", "apricot", "banana"}) builder.Add(Hash64(key));
  EXPECT_EQ(builder.Finish(), Slice(raw));
  Ref<FilterBlock> filter;
  ASSERT_TRUE(FilterBlock::Parse(raw, &filter).ok());
  EXPECT_TRUE(filter->MayContain(Hash64("apple")));
}

TEST(TableFormat, IndexOfTheDocument) {
  const std::string raw =
      Hex("00 06 00 00 49 62 61 6e 61 6e 61 00 00 01 00 00 00 01 00 00 00 00 00 01 00");
  Ref<IndexBlock> index;
  ASSERT_TRUE(IndexBlock::Parse(raw, BlockType::kData, 294, &index).ok());
  EXPECT_EQ(index->handle(0), (BlockHandle{0, 73}));
  EXPECT_EQ(index->LowerBound({"apple", 4}), 0u);
}

TEST(TableFormat, PropertiesAndFooterOfTheDocument) {
  TableProperties p;
  p.item_count = 4;
  p.tombstone_count = 1;
  p.range_tombstone_count = 1;
  p.block_count = 1;
  p.key_count = 3;
  p.first_key = "apple";
  p.last_key = "c";
  p.last_key_bound = KeyBound::kExclusive;
  p.lowest_seqno = 3;
  p.highest_seqno = 7;
  p.created_at_ms = 1700000000000;
  p.raw_bytes = 73;
  p.filter_kind = FilterKind::kWhole;
  p.range_tombstones = {82, 10};
  const std::string raw = Hex(
      "01 01 04 02 01 01 03 01 00 04 01 01 05 01 01 06 01 03 07 05 61 70 70 6c 65 08 01 63 09 01 01"
      "0a 01 03 0b 01 07 0c 06 80 d0 95 ff bc 31 0d 01 00 0e 01 49 0f 01 00 10 01 01 11 02 52 0a");
  EXPECT_EQ(EncodeTableProperties(p), raw);
  TableProperties decoded;
  ASSERT_TRUE(DecodeTableProperties(raw, &decoded).ok());
  EXPECT_EQ(EncodeTableProperties(decoded), raw);

  const TableFooter footer{{224, 61}, {190, 25}, {101, 80}};
  const std::string bytes =
      Hex("53 48 41 4c 45 54 42 4c 01 00 00 00 00 00 00 00 0c 00 00 00 00 00 00 00"
          "e0 00 00 00 00 00 00 00 be 00 00 00 00 00 00 00 65 00 00 00 00 00 00 00"
          "3d 00 00 00 19 00 00 00 50 00 00 00 e8 2f 65 15");
  EXPECT_EQ(EncodeTableFooter(footer, kExampleFile, 294), bytes);
  TableFooter read;
  ASSERT_TRUE(DecodeTableFooter(bytes, kExampleFile, 294, &read).ok());
  EXPECT_EQ(read.index, footer.index);
  EXPECT_EQ(read.filter, footer.filter);
  EXPECT_EQ(read.properties, footer.properties);
  EXPECT_TRUE(DecodeTableFooter(bytes, kExampleFile, 295, &read).Is(Code::kCorruption));
  EXPECT_TRUE(DecodeTableFooter(bytes, kExampleFile + 1, 294, &read).Is(Code::kCorruption));
}

TEST(TableFormat, PropertiesMustBeCompleteAndAgree) {
  TableProperties good;
  good.item_count = 10;
  good.tombstone_count = 3;
  good.weak_tombstone_count = 2;
  good.block_count = 2;
  good.key_count = 7;
  good.first_key = "a";
  good.last_key = "b";
  good.highest_seqno = 5;
  TableProperties out;
  const std::string raw = EncodeTableProperties(good);
  ASSERT_TRUE(DecodeTableProperties(raw, &out).ok());
  for (size_t n = 0; n < raw.size(); n++) {
    EXPECT_TRUE(DecodeTableProperties(Slice(raw).Prefix(n), &out).Is(Code::kCorruption)) << n;
  }
  // A property of a later version is passed over; one out of order is not.
  EXPECT_TRUE(DecodeTableProperties(raw + Hex("64 02 aa bb"), &out).ok());
  EXPECT_TRUE(DecodeTableProperties(raw + Hex("01 01 0a"), &out).Is(Code::kCorruption));
  const auto refused = [&](void (*change)(TableProperties*)) {
    TableProperties p = good;
    change(&p);
    return DecodeTableProperties(EncodeTableProperties(p), &out).Is(Code::kCorruption);
  };
  EXPECT_FALSE(refused([](TableProperties*) {}));
  EXPECT_TRUE(refused([](TableProperties* p) { p->item_count = 0; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->tombstone_count = 9; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->key_count = 11; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->key_count = 0; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->block_count = 0; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->block_count = 11; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->first_key = "c"; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->first_key = ""; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->last_key = ""; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->lowest_seqno = 6; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->highest_seqno = kSeqnoMax + 1; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->range_tombstone_count = 1; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->range_tombstones = {0, 10}; }));
  EXPECT_TRUE(refused([](TableProperties* p) { p->last_key_bound = KeyBound::kUnbounded; }));
}

TEST(TableFormat, SealedBlocksOpenOnlyWhereTheyBelong) {
  TestRandom random;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    const std::string raw = std::string(5000, 'a') + RandomValue(&random, 100);
    std::string scratch;
    const SealedBlock sealed = SealBlock(raw, codec, 5, 1000, &scratch);
    EXPECT_EQ(sealed.stored.size() < raw.size(), codec != Codec::kNone);
    const std::string bytes =
        sealed.stored.ToString() + std::string(sealed.trailer.data(), sealed.trailer.size());
    const BlockHandle handle{1000, static_cast<uint32_t>(sealed.stored.size())};
    BlockBuffer buffer;
    Slice out;
    ASSERT_TRUE(UnsealBlock(bytes, handle, BlockType::kData, 5, &buffer, &out).ok());
    EXPECT_EQ(UnsealBlock(bytes, handle, BlockType::kFilter, 5, &buffer, &out).ok(),
              static_cast<Codec>(sealed.trailer[0]) == Codec::kNone);
    EXPECT_EQ(out, Slice(raw));
    EXPECT_FALSE(UnsealBlock(bytes, handle, BlockType::kData, 6, &buffer, &out).ok());
    const BlockHandle elsewhere{1001, handle.length};
    EXPECT_FALSE(UnsealBlock(bytes, elsewhere, BlockType::kData, 5, &buffer, &out).ok());
    for (size_t i = 0; i < bytes.size(); i++) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ 4);
      ASSERT_FALSE(UnsealBlock(damaged, handle, BlockType::kData, 5, &buffer, &out).ok()) << i;
    }
  }
}

// A trailer with a right checksum that claims another codec or another raw length.
TEST(TableFormat, HostileTrailers) {
  const std::string raw(5000, 'a');
  std::string scratch;
  const SealedBlock sealed = SealBlock(raw, Codec::kLz4, 5, 0, &scratch);
  const auto open = [&](uint8_t codec, uint32_t raw_length) {
    std::string bytes = sealed.stored.ToString();
    PutU8(&bytes, codec);
    PutU32(&bytes, raw_length);
    PutU32(&bytes, Crc32cKeyed(5, 0, bytes));
    BlockBuffer buffer;
    Slice out;
    const BlockHandle handle{0, static_cast<uint32_t>(sealed.stored.size())};
    return UnsealBlock(bytes, handle, BlockType::kIndex, 5, &buffer, &out);
  };
  EXPECT_TRUE(open(1, 5000).ok());
  EXPECT_TRUE(open(1, 4999).Is(Code::kCorruption));
  EXPECT_TRUE(open(1, 5001).Is(Code::kCorruption));
  EXPECT_TRUE(open(1, 0).Is(Code::kCorruption));
  EXPECT_TRUE(open(1, kBlockRawBytesMax + 1).Is(Code::kCorruption));
  EXPECT_TRUE(open(0, 5000).Is(Code::kCorruption));
  EXPECT_TRUE(open(2, 5000).Is(Code::kCorruption));
  EXPECT_TRUE(open(3, 5000).Is(Code::kCorruption));
  EXPECT_TRUE(open(255, 5000).Is(Code::kCorruption));
}

TEST(TableFormat, ShortSeparators) {
  const auto separator = [](Slice a, Slice b) { return ShortSeparator(a, b); };
  EXPECT_EQ(separator("apple", "banana"), "b");
  EXPECT_EQ(separator("apple", "apricot"), "apr");
  EXPECT_EQ(separator("app", "apple"), "app");
  EXPECT_EQ(separator("a\xff\xffz", "b"), std::string("a\xff\xff{"));
  EXPECT_EQ(separator("azz", "c"), "b");
  EXPECT_EQ(separator("a\xff", "b"), "a\xff");
  TestRandom random;
  for (int i = 0; i < 20000; i++) {
    const std::string a = RandomKey(&random, 300);
    const std::string b = RandomKey(&random, 300);
    if (a == b) continue;
    const Slice last = std::min(Slice(a), Slice(b));
    const Slice next = std::max(Slice(a), Slice(b));
    const std::string k = ShortSeparator(last, next);
    ASSERT_FALSE(Slice(k) < last);
    ASSERT_TRUE(Slice(k) < next);
    ASSERT_LE(k.size(), std::max(last.size(), next.size()));
  }
}

}  // namespace
}  // namespace shale
