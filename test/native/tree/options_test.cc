#include "tree/options.h"

#include <bit>
#include <limits>

#include "base/coding.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

std::string FromHex(const std::string& hex) {
  std::string bytes;
  std::istringstream in(hex);
  for (std::string byte; in >> byte;) {
    bytes.push_back(static_cast<char>(std::stoi(byte, nullptr, 16)));
  }
  return bytes;
}

// The example of docs/format.md, section 7.
const char kDefaults[] =
    "01 04 80 80 80 20 02 01 ff 03 02 80 20 04 02 0a 10 05 08 00 00 00 00 00 00 00 00"
    " 06 03 00 00 01 07 01 00 08 12 02 2d 43 1c eb e2 36 1a 3f 01 00 00 00 00 00 00 24 40"
    " 09 03 01 01 00 0a 02 01 00 0b 04 00 00 00 01 0c 04 00 00 00 01 0d 01 00 0e 29"
    " 01 01 00 02 07 6c 65 76 65 6c 65 64 03 01 04 04 04 80 80 80 20"
    " 05 08 00 00 00 00 00 00 24 40 0b 08 00 00 00 00 00 00 e0 3f";

TEST(TreeOptions, DefaultsAreTheExampleOfTheFormat) {
  EXPECT_EQ(TreeOptions().Encode(), FromHex(kDefaults));
  TreeOptions decoded;
  ASSERT_OK(TreeOptions::Decode(FromHex(kDefaults), &decoded));
  EXPECT_EQ(decoded.Encode(), FromHex(kDefaults));
  EXPECT_TRUE(decoded.memtable_auto);
  EXPECT_TRUE(decoded.durability_inherited);
  ASSERT_OK(TreeOptions::Decode("", &decoded));
  EXPECT_EQ(decoded.Encode(), FromHex(kDefaults));
}

TEST(TreeOptions, EveryFieldComesBack) {
  TreeOptions o;
  o.max_memtable_size = 12345;
  o.memtable = MemtableKind::kSkiplist;
  o.memtable_auto = false;
  o.data_block_size = {1, 4096, 32 << 20};
  o.restart_interval = {1, 255};
  o.hash_index_ratio = {0, 0.75, 8};
  o.compression = {Codec::kLz4, Codec::kZstd, Codec::kNone};
  o.index_compression = {Codec::kZstd};
  o.filter = {{0, 0.01}, {9.5, 0}, {0, 0}};
  o.pin_index = {false};
  o.pin_filter = {true, true, false};
  o.partition_index = {true};
  o.partition_filter = {false};
  o.expect_point_read_hits = true;
  o.strategy.l0_threshold = 7;
  o.strategy.target_size = 1 << 20;
  o.strategy.level_ratio = {1, 4.5, 12};
  o.durability = 2;
  o.durability_inherited = false;
  TreeOptions back;
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  EXPECT_EQ(back.Encode(), o.Encode());
  EXPECT_EQ(back.data_block_size, o.data_block_size);
  EXPECT_EQ(back.filter[1].bits_per_key, 9.5);
  EXPECT_EQ(back.filter[2].BitsPerKey(), 0);
  EXPECT_EQ(back.strategy.level_ratio, o.strategy.level_ratio);
  EXPECT_EQ(back.strategy.name, "leveled");
  EXPECT_EQ(back.durability, 2);
}

TEST(TreeOptions, EveryStrategyComesBack) {
  TreeOptions o;
  o.strategy.kind = StrategyKind::kSizeTiered;
  o.strategy.name = "size-tiered";
  o.strategy.base_size = 12345;
  o.strategy.ratio = 2.5;
  o.strategy.min_runs = 7;
  o.strategy.tombstone_share = 0.75;
  o.strategy.max_age_seconds = 86400;
  TreeOptions back;
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  EXPECT_EQ(back.strategy.kind, StrategyKind::kSizeTiered);
  EXPECT_EQ(back.strategy.tombstone_share, 0.75);
  EXPECT_EQ(back.strategy.max_age_seconds, 86400);
  EXPECT_EQ(back.strategy.base_size, 12345u);
  EXPECT_EQ(back.strategy.ratio, 2.5);
  EXPECT_EQ(back.strategy.min_runs, 7u);

  o.strategy = StrategyOptions();
  o.strategy.tombstone_share = 1;
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  EXPECT_EQ(back.strategy.kind, StrategyKind::kLeveled);
  EXPECT_EQ(back.strategy.tombstone_share, 1);
  EXPECT_EQ(back.strategy.max_age_seconds, std::nullopt);

  o.strategy = StrategyOptions();
  o.strategy.kind = StrategyKind::kFifo;
  o.strategy.limit = 77;
  for (const std::optional<double> ttl : {std::optional<double>(), std::optional<double>(0.5)}) {
    o.strategy.ttl_seconds = ttl;
    ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
    EXPECT_EQ(back.strategy.kind, StrategyKind::kFifo);
    EXPECT_EQ(back.strategy.limit, 77u);
    EXPECT_EQ(back.strategy.ttl_seconds, ttl);
  }

  o.strategy = StrategyOptions();
  o.strategy.kind = StrategyKind::kUser;
  o.strategy.name = "mine";
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  EXPECT_EQ(back.strategy.kind, StrategyKind::kUser);
  EXPECT_EQ(back.strategy.name, "mine");
}

// Tagged fields of a strategy in the options of a tree.
std::string WithStrategy(const std::vector<std::pair<uint64_t, std::string>>& fields) {
  std::string strategy;
  for (const auto& [id, content] : fields) {
    PutVarint(&strategy, id);
    PutBytes(&strategy, content);
  }
  std::string bytes;
  PutVarint(&bytes, 14);
  PutBytes(&bytes, strategy);
  return bytes;
}

TEST(TreeOptions, NumbersOfStrategiesAreChecked) {
  const auto real = [](double v) {
    std::string out;
    PutU64(&out, std::bit_cast<uint64_t>(v));
    return out;
  };
  const std::string one(1, '\1');
  const std::string two(1, '\2');
  const std::string nought(1, '\0');
  TreeOptions o;
  EXPECT_OK(TreeOptions::Decode(WithStrategy({{1, one}, {6, one}, {7, real(2)}, {8, two}}), &o));
  EXPECT_EQ(o.strategy.name, "size-tiered");
  // Stored before there was an upkeep.
  EXPECT_EQ(o.strategy.tombstone_share, 0.5);
  EXPECT_EQ(o.strategy.max_age_seconds, std::nullopt);
  EXPECT_OK(TreeOptions::Decode(WithStrategy({{1, two}, {9, one}}), &o));
  EXPECT_EQ(o.strategy.name, "fifo");
  for (const std::string& bad : {
           WithStrategy({{1, one}, {7, real(2)}, {8, two}}),
           WithStrategy({{1, one}, {6, one}, {8, two}}),
           WithStrategy({{1, one}, {6, one}, {7, real(2)}}),
           WithStrategy({{1, one}, {6, nought}, {7, real(2)}, {8, two}}),
           WithStrategy({{1, one}, {6, one}, {7, real(1)}, {8, two}}),
           WithStrategy({{1, one}, {6, one}, {7, real(NAN)}, {8, two}}),
           WithStrategy({{1, one}, {6, one}, {7, real(INFINITY)}, {8, two}}),
           WithStrategy({{1, one}, {6, one}, {7, real(2)}, {8, one}}),
           WithStrategy({{1, nought}, {11, real(0)}}),
           WithStrategy({{1, nought}, {11, real(1.01)}}),
           WithStrategy({{1, nought}, {11, real(NAN)}}),
           WithStrategy({{1, nought}, {12, real(0)}}),
           WithStrategy({{1, nought}, {12, real(INFINITY)}}),
           WithStrategy({{1, one}, {6, one}, {7, real(2)}, {8, two}, {11, real(-1)}}),
           WithStrategy({{1, one}, {6, one}, {7, real(2)}, {8, two}, {12, one}}),
           WithStrategy({{1, two}}),
           WithStrategy({{1, two}, {9, nought}}),
           WithStrategy({{1, two}, {9, one}, {10, real(-1)}}),
           WithStrategy({{1, two}, {9, one}, {10, real(NAN)}}),
           WithStrategy({{1, two}, {9, one}, {10, one}}),
       }) {
    EXPECT_TRUE(TreeOptions::Decode(bad, &o).Is(Code::kCorruption));
  }
}

TEST(TreeOptions, WhatThisVersionDoesNotKnowIsKept) {
  std::string bytes;
  PutVarint(&bytes, 2);
  PutBytes(&bytes, "\x02");  // a memtable that this engine lacks
  std::string strategy;
  PutVarint(&strategy, 1);
  PutBytes(&strategy, "\x09");
  PutVarint(&strategy, 9);
  PutBytes(&strategy, "limit");
  PutVarint(&bytes, 14);
  PutBytes(&bytes, strategy);
  std::string separation;
  PutVarint(&separation, 1);
  PutBytes(&separation, "\x40");
  PutVarint(&separation, 6);
  PutBytes(&separation, "of tomorrow, too");
  PutVarint(&bytes, 15);
  PutBytes(&bytes, separation);
  PutVarint(&bytes, 300);
  PutBytes(&bytes, "of tomorrow");
  TreeOptions o;
  ASSERT_OK(TreeOptions::Decode(bytes, &o));
  EXPECT_TRUE(o.memtable_auto);
  TreeOptions back;
  ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
  EXPECT_EQ(back.memtable_stated, 2);
  EXPECT_EQ(static_cast<int>(back.strategy.kind), 9);
  EXPECT_EQ(back.strategy.unknown_fields, o.strategy.unknown_fields);
  EXPECT_NE(back.strategy.unknown_fields.find("limit"), std::string::npos);
  ASSERT_TRUE(back.kv_separation.has_value());
  EXPECT_EQ(back.kv_separation->threshold, 64u);
  EXPECT_EQ(back.kv_separation->file_size, KvSeparation().file_size);
  EXPECT_NE(back.kv_separation->unknown_fields.find("tomorrow"), std::string::npos);
  EXPECT_NE(back.unknown_fields.find("of tomorrow"), std::string::npos);
  EXPECT_EQ(Choose(VersionSummary{}, back.strategy, {}).has_value(), false);
}

std::string Field(uint64_t id, const std::string& content) {
  std::string bytes;
  PutVarint(&bytes, id);
  PutBytes(&bytes, content);
  return bytes;
}
std::string F64(double v) {
  std::string bytes;
  PutU64(&bytes, std::bit_cast<uint64_t>(v));
  return bytes;
}

TEST(TreeOptions, ValuesOutOfRangeAreDamage) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  const std::string zero(1, '\0');
  const std::string leveled = Field(1, zero);
  const std::vector<std::string> bad = {Field(1, zero),
                                        Field(1, ""),
                                        Field(1, "\x01\x01"),
                                        Field(2, ""),
                                        Field(3, zero),
                                        Field(3, ""),
                                        Field(3, std::string(9, '\x01')),
                                        Field(4, "\x80\x02"),
                                        Field(5, F64(nan)),
                                        Field(5, F64(-1)),
                                        Field(5, F64(9)),
                                        Field(5, "1234567"),
                                        Field(6, "\x03"),
                                        Field(7, "\xff"),
                                        Field(8, zero + F64(1)),
                                        Field(8, "\x01" + F64(101)),
                                        Field(8, "\x02" + F64(0)),
                                        Field(8, "\x02" + F64(1)),
                                        Field(8, "\x03" + F64(0)),
                                        Field(9, "\x02"),
                                        Field(13, "\x02"),
                                        Field(13, ""),
                                        Field(14, leveled + Field(3, zero)),
                                        Field(14, leveled + Field(4, zero)),
                                        Field(14, leveled + Field(5, F64(infinite))),
                                        Field(14, leveled + Field(5, F64(0.5))),
                                        Field(14, leveled + Field(5, "")),
                                        Field(14, "\x01"),
                                        Field(14, Field(3, "\x04")),
                                        Field(16, "\x03"),
                                        Field(4, "\x01") + Field(3, "\x01"),
                                        Field(3, "\x01") + Field(3, "\x01"),
                                        "\x01\x05\x01"};
  for (size_t i = 0; i < bad.size(); i++) {
    TreeOptions o;
    EXPECT_EQ(TreeOptions::Decode(bad[i], &o).code(), Code::kCorruption) << i;
    EXPECT_EQ(o.Encode(), FromHex(kDefaults)) << "changed by a failed Decode: " << i;
  }
}

TEST(TreeOptions, AnyBytesAreRefusedOrUnderstood) {
  TestRandom random(1);
  const std::string valid = FromHex(kDefaults);
  for (uint64_t i = 0; i < Scaled(20000); i++) {
    std::string bytes = valid.substr(0, random.Below(valid.size() + 1));
    for (uint64_t n = random.Below(4); n > 0 && !bytes.empty(); n--) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    }
    TreeOptions o;
    if (!TreeOptions::Decode(bytes, &o).ok()) continue;
    TreeOptions back;
    ASSERT_OK(TreeOptions::Decode(o.Encode(), &back));
    ASSERT_EQ(back.Encode(), o.Encode());
  }
}

TEST(TreeOptions, LevelsTakeTheirEntryOrTheLast) {
  TreeOptions o;
  EXPECT_EQ(o.WriteOptions(0, false).restart_interval, 10u);
  EXPECT_EQ(o.WriteOptions(5, false).restart_interval, 16u);
  EXPECT_EQ(o.WriteOptions(1, false).codec, Codec::kNone);
  EXPECT_EQ(o.WriteOptions(2, false).codec, Codec::kLz4);
  EXPECT_TRUE(o.WriteOptions(3, false).partition_index);
  EXPECT_FALSE(o.OpenOptions(2).pin_index);
  EXPECT_EQ(o.WriteOptions(6, true).filter_bits_per_key, 10);
  o.expect_point_read_hits = true;
  EXPECT_EQ(o.WriteOptions(6, true).filter_bits_per_key, 0);
  EXPECT_EQ(o.WriteOptions(6, false).filter_bits_per_key, 10);
}

TEST(FilterPolicy, ARateBecomesBits) {
  const auto bits = [](double rate) { return FilterPolicy{0, rate}.BitsPerKey(); };
  EXPECT_EQ(FilterPolicy{}.BitsPerKey(), 0);
  EXPECT_EQ((FilterPolicy{12.5, 0}.BitsPerKey()), 12.5);
  EXPECT_EQ((FilterPolicy{1000, 0}.BitsPerKey()), 100);
  // A classic filter needs 9.6 bits for one in a hundred and 19.2 for one in ten thousand; lines of
  // 64 bytes cost some more.
  EXPECT_GT(bits(0.01), 9.6);
  EXPECT_LT(bits(0.01), 11.5);
  EXPECT_GT(bits(1e-4), 19.2);
  EXPECT_LT(bits(1e-4), 30);
  EXPECT_GT(bits(1e-9), bits(1e-4));
  EXPECT_LE(bits(1e-300), 100);
  EXPECT_LT(bits(0.9), 1);
}

}  // namespace
}  // namespace shale
