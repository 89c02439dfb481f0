// Damaged and hostile table files: every read gives the true answer or CORRUPTION with path and
// offset; nothing crashes, reads outside its memory, or invents an entry.
#include <functional>
#include <string>

#include "base/crc32c.h"
#include "table/data_block.h"
#include "table/index_block.h"
#include "table/table_support.h"

namespace shale {
namespace {

constexpr uint64_t kNumber = 9;

TableWriteOptions SmallOptions(bool partitioned) {
  TableWriteOptions options;
  options.block_size = 256;
  options.hash_index_ratio = 1;
  options.partition_index = partitioned;
  options.partition_filter = partitioned;
  return options;
}

Records SmallRecords(TestRandom* random) {
  Records records;
  for (int i = 0; i < 60; i++) {
    const std::string key = "key" + std::to_string(100 + i / 2);
    records.push_back({key, random->Below(1000), i % 7 == 0 ? Kind::kTombstone : Kind::kValue, ""});
    if (records.back().kind == Kind::kValue) records.back().value = RandomValue(random, 40);
  }
  Sort(&records);
  return records;
}

// Whether `status` is an answer that damage may have; counts the ones that are errors.
class Judge {
 public:
  explicit Judge(std::string path) : path_(std::move(path)) {}

  // False if the read went well.
  bool Failed(const Status& status) {
    if (status.ok() || status.Is(Code::kNotFound)) return false;
    reported_++;
    EXPECT_TRUE(status.Is(Code::kCorruption)) << status.ToString();
    const ErrorDetails* details = status.details();
    EXPECT_NE(details, nullptr);
    if (details == nullptr) return true;
    EXPECT_EQ(details->path, path_) << status.ToString();
    EXPECT_TRUE(details->offset.has_value()) << status.ToString();
    return true;
  }
  uint64_t reported() const { return reported_; }

 private:
  const std::string path_;
  uint64_t reported_ = 0;
};

// Opens and reads everything there is. With `exact`, what is read without an error must be true.
void ReadAll(TableEnv* env, const TableMeta& meta, bool pinned, const Records& records, bool exact,
             Judge* judge) {
  Ref<TableReader> table;
  if (judge->Failed(env->Open(meta, {pinned, pinned}, &table))) return;
  for (const Record& r : records) {
    TableHit hit;
    const Status status = table->Get(r.key, Hash64(r.key), r.seqno + 1, kReadAny, &hit);
    if (judge->Failed(status) || !exact) continue;
    ASSERT_TRUE(status.ok());
    ASSERT_EQ(ToRecord(hit.entry), r);
  }
  const auto it = table->NewIterator(&kReadAny);
  for (const bool backward : {false, true}) {
    Records seen;
    const Status status = Collect(it.get(), backward, &seen);
    if (!judge->Failed(status) && exact) {
      ASSERT_TRUE(seen == records);
    } else if (exact && backward) {
      ASSERT_TRUE(std::equal(seen.rbegin(), seen.rend(), records.rbegin()));
    } else if (exact) {
      ASSERT_TRUE(std::equal(seen.begin(), seen.end(), records.begin()));
    }
  }
  judge->Failed(table->Verify());
}

struct Good {
  explicit Good(TestRandom* random, bool partitioned)
      : records(SmallRecords(random)),
        meta(env.Write(kNumber, records, SmallOptions(partitioned))) {
    bytes = env.ReadFile(kNumber);
  }
  // A fresh environment for each damaged file: nothing may come out of an older cache.
  uint64_t Try(const std::string& damaged, bool pinned, bool exact) {
    TableEnv fresh(1 << 20);
    fresh.WriteFile(kNumber, damaged);
    Judge judge(fresh.Path(kNumber));
    ReadAll(&fresh, meta, pinned, records, exact, &judge);
    return judge.reported();
  }

  TableEnv env;
  Records records;
  TableMeta meta;
  std::string bytes;
};

TEST(TableDamage, TheGoodFileReads) {
  TestRandom random;
  for (const bool partitioned : {false, true}) {
    Good good(&random, partitioned);
    EXPECT_EQ(good.Try(good.bytes, true, true), 0u);
    EXPECT_EQ(good.Try(good.bytes, false, true), 0u);
  }
}

// Edge case 27: a flipped byte anywhere in a table.
TEST(TableDamage, EveryByteFlipped) {
  TestRandom random;
  for (const bool partitioned : {false, true}) {
    Good good(&random, partitioned);
    for (size_t i = 0; i < good.bytes.size(); i++) {
      std::string damaged = good.bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << random.Below(8)));
      // The whole verification reads every byte, so none of them goes unreported.
      ASSERT_GT(good.Try(damaged, i % 2 == 0, true), 0u) << "byte " << i;
      if (HasFatalFailure()) FAIL() << "byte " << i;
    }
  }
}

TEST(TableDamage, EveryTruncation) {
  TestRandom random;
  Good good(&random, false);
  for (size_t n = 0; n < good.bytes.size(); n++) {
    ASSERT_GT(good.Try(good.bytes.substr(0, n), true, true), 0u) << n;
    // The same with a tail of zeros up to the right length, as after a lost write.
    std::string zeros = good.bytes;
    std::fill(zeros.begin() + static_cast<std::ptrdiff_t>(n), zeros.end(), '\0');
    if (zeros != good.bytes) {
      ASSERT_GT(good.Try(zeros, true, true), 0u) << n;
    }
  }
  ASSERT_GT(good.Try(good.bytes + '\0', true, true), 0u);
}

// The file gets shorter while the table is open.
TEST(TableDamage, CutOffWhileOpen) {
  TestRandom random;
  Good good(&random, false);
  const Ref<TableReader> table = good.env.MustOpen(good.meta);
  good.env.WriteFile(kNumber, good.bytes.substr(0, 100));
  TableHit hit;
  const std::string& key = good.records.back().key;
  const Status status = table->Get(key, Hash64(key), kReadAll, kReadAny, &hit);
  ASSERT_TRUE(status.Is(Code::kCorruption)) << status.ToString();
  EXPECT_EQ(status.details()->path, good.env.Path(kNumber));
  EXPECT_TRUE(status.details()->offset.has_value());
  // Sequential reading finds it as well.
  const auto it = table->NewIterator(&kBypass);
  it->SeekToFirst();
  EXPECT_FALSE(it->valid());
  EXPECT_TRUE(it->status().Is(Code::kCorruption));
}

TEST(TableDamage, SwappedBlocks) {
  TestRandom random;
  Good good(&random, false);
  // Two neighbours of equal length exchange places, trailers and all.
  const TableFooter footer = FooterOf(good.bytes, kNumber);
  Ref<IndexBlock> index;
  ASSERT_TRUE(IndexBlock::Parse(Slice(good.bytes.data() + footer.index.offset, footer.index.length),
                                BlockType::kData, good.bytes.size(), &index)
                  .ok());
  uint64_t swaps = 0;
  for (uint32_t i = 0; i < index->entry_count(); i++) {
    for (uint32_t j = i + 1; j < index->entry_count(); j++) {
      const BlockHandle a = index->handle(i);
      const BlockHandle b = index->handle(j);
      if (a.length != b.length) continue;
      std::string damaged = good.bytes;
      std::swap_ranges(damaged.begin() + static_cast<std::ptrdiff_t>(a.offset),
                       damaged.begin() + static_cast<std::ptrdiff_t>(a.end()),
                       damaged.begin() + static_cast<std::ptrdiff_t>(b.offset));
      ASSERT_GT(good.Try(damaged, true, true), 0u);
      swaps++;
    }
  }
  // Blocks overwritten with others, whatever their length.
  for (uint32_t i = 1; i < index->entry_count(); i++) {
    std::string damaged = good.bytes;
    const BlockHandle from = index->handle(i - 1);
    const BlockHandle to = index->handle(i);
    const size_t n = std::min(from.length, to.length) + kBlockTrailerBytes;
    damaged.replace(to.offset, n, good.bytes, from.offset, n);
    ASSERT_GT(good.Try(damaged, true, true), 0u);
    swaps++;
  }
  EXPECT_GT(swaps, 3u);
}

TEST(TableDamage, SwappedFilesAndWrongNumbers) {
  TestRandom random;
  Good good(&random, false);
  TableEnv env;
  const TableMeta other = env.Write(10, SmallRecords(&random), SmallOptions(false));
  const std::string other_bytes = env.ReadFile(10);
  // Another table under this one's name, and this one under another number.
  ASSERT_GT(good.Try(other_bytes, true, true), 0u);
  TableMeta renumbered = good.meta;
  renumbered.number = 10;
  env.WriteFile(10, good.bytes);
  Ref<TableReader> table;
  const Status status = env.Open(renumbered, {}, &table);
  ASSERT_TRUE(status.Is(Code::kCorruption)) << status.ToString();
  EXPECT_EQ(status.details()->path, env.Path(10));
}

TEST(TableDamage, MetaThatContradictsTheFile) {
  TestRandom random;
  Good good(&random, false);
  const auto refused = [&](const std::function<void(TableMeta*)>& change) {
    TableMeta meta = good.meta;
    change(&meta);
    Ref<TableReader> table;
    const Status status = good.env.Open(meta, {}, &table);
    return status.Is(Code::kCorruption) && status.details()->path == good.env.Path(kNumber) &&
           status.details()->offset.has_value();
  };
  EXPECT_FALSE(refused([](TableMeta*) {}));
  EXPECT_TRUE(refused([](TableMeta* m) { m->size++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->size--; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->size = 0; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->item_count++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->tombstone_count++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->weak_tombstone_count++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->range_tombstone_count++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->block_count++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->first_key += 'x'; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->last_key += 'x'; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->lowest_seqno++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->highest_seqno++; }));
  EXPECT_TRUE(refused([](TableMeta* m) { m->global_seqno++; }));
}

TEST(TableDamage, MissingFile) {
  TestRandom random;
  Good good(&random, false);
  TableEnv empty;
  Ref<TableReader> table;
  const Status status = empty.Open(good.meta, {}, &table);
  EXPECT_TRUE(status.Is(Code::kIoError)) << status.ToString();
}

// Any byte of any block changed and the checksums made right again: whatever that means, reading it
// stays inside its memory and ends.
TEST(TableDamage, ResealedBytes) {
  TestRandom random;
  for (const bool partitioned : {false, true}) {
    Good good(&random, partitioned);
    std::vector<BlockHandle> blocks;
    for (uint64_t at = 0; at + kTableFooterBytes < good.bytes.size();) {
      // Blocks lie back to back: the trailer that fits ends one.
      for (uint32_t length = 1;; length++) {
        const BlockHandle handle{at, length};
        BlockBuffer buffer;
        Slice raw;
        ASSERT_LE(handle.end(), good.bytes.size());
        if (!UnsealBlock(Slice(good.bytes).Skip(at), handle, BlockType::kData, kNumber, &buffer,
                         &raw)
                 .ok()) {
          continue;
        }
        blocks.push_back(handle);
        at = handle.end();
        break;
      }
    }
    ASSERT_GT(blocks.size(), partitioned ? 8u : 5u);
    for (uint64_t i = 0; i < Scaled(3000); i++) {
      std::string damaged = good.bytes;
      const BlockHandle block = blocks[random.Below(blocks.size())];
      for (uint64_t n = 1 + random.Below(3); n != 0; n--) {
        damaged[block.offset + random.Below(block.length)] = static_cast<char>(random.Next());
      }
      Reseal(&damaged, block, kNumber);
      good.Try(damaged, i % 2 == 0, false);
    }
  }
}

// The footer with right checksums and wrong content.
TEST(TableDamage, ResealedFooter) {
  TestRandom random;
  Good good(&random, false);
  const uint64_t offset = good.bytes.size() - kTableFooterBytes;
  const auto reseal = [&](std::string* bytes) {
    StoreLe(bytes->data() + offset + 60,
            Crc32cKeyed(kNumber, offset, Slice(bytes->data() + offset, 60)));
  };
  for (uint64_t i = 0; i < Scaled(2000); i++) {
    std::string damaged = good.bytes;
    const size_t at = 16 + random.Below(44);
    damaged[offset + at] = static_cast<char>(random.Next());
    reseal(&damaged);
    const bool same = damaged == good.bytes;
    ASSERT_EQ(good.Try(damaged, i % 2 == 0, false) == 0, same) << "footer byte " << at;
  }
  const auto open = [&](size_t at, char byte) {
    std::string damaged = good.bytes;
    damaged[offset + at] = byte;
    reseal(&damaged);
    TableEnv env;
    env.WriteFile(kNumber, damaged);
    Ref<TableReader> table;
    return env.Open(good.meta, {}, &table);
  };
  EXPECT_TRUE(open(8, 2).Is(Code::kFormatTooNew));  // major
  EXPECT_TRUE(open(8, 0).Is(Code::kCorruption));
  EXPECT_TRUE(open(10, 7).ok());                     // minor
  EXPECT_TRUE(open(12, 1).Is(Code::kFormatTooNew));  // feature bits
  EXPECT_TRUE(open(0, 'X').Is(Code::kCorruption));   // magic
}

}  // namespace
}  // namespace shale
