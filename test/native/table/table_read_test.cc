// How a table reads: what is in memory and what is not, errors of the disk, lifetime, ingestion,
// counters, threads.
#include <atomic>
#include <thread>

#include "table/table_support.h"

namespace shale {
namespace {

constexpr uint64_t kTableNumber = 4;

Records NumberedRecords(size_t count, size_t value_size) {
  Records records;
  for (size_t i = 0; i < count; i++) {
    const std::string n = std::to_string(i);
    records.push_back({"key" + std::string(8 - n.size(), '0') + n, i + 1, Kind::kValue,
                       n + std::string(value_size, 'v')});
  }
  return records;
}

Status MemoryGet(const TableReader& table, Slice key, std::string* value) {
  const EpochGuard guard;
  TableHit hit;
  const Status status = table.Get(key, Hash64(key), kReadAll, kMemoryOnly, &hit);
  if (status.ok()) *value = hit.entry.value.ToString();
  EXPECT_FALSE(hit.pin);
  return status;
}

Status BlockingGet(const TableReader& table, Slice key, const ReadContext& context = kReadAny) {
  TableHit hit;
  return table.Get(key, Hash64(key), kReadAll, context, &hit);
}

TEST(TableRead, MemoryOnlyAnswersWhatIsInMemory) {
  for (const bool partitioned : {false, true}) {
    for (const bool pinned : {false, true}) {
      TableEnv env;
      TableWriteOptions options;
      options.block_size = 512;
      options.partition_index = partitioned;
      options.partition_filter = partitioned;
      const Records records = NumberedRecords(1000, 50);
      const Ref<TableReader> table =
          env.MustOpen(env.Write(kTableNumber, records, options), {pinned, pinned});
      const uint64_t reads = env.vfs.Count(FaultOp::kRead);
      std::string value;
      EXPECT_TRUE(MemoryGet(*table, records[500].key, &value).Is(Code::kWouldBlock));
      const auto it = table->NewIterator(&kMemoryOnly);
      it->Seek(records[500].key, kTagNewest);
      EXPECT_FALSE(it->valid());
      EXPECT_TRUE(it->status().Is(Code::kWouldBlock));
      it->SeekToLast();
      EXPECT_TRUE(it->status().Is(Code::kWouldBlock));
      // An absent key needs a read only where the filter is not in memory.
      EXPECT_TRUE(MemoryGet(*table, "key00000500x", &value)
                      .Is(pinned ? Code::kNotFound : Code::kWouldBlock));
      EXPECT_EQ(table->RulesOut("key00000500x", Hash64("key00000500x")), pinned);
      EXPECT_TRUE(table->RulesOut("zzz", Hash64("zzz")));
      EXPECT_EQ(env.vfs.Count(FaultOp::kRead), reads);

      EXPECT_TRUE(BlockingGet(*table, records[500].key).ok());
      EXPECT_GT(env.vfs.Count(FaultOp::kRead), reads);
      ASSERT_TRUE(MemoryGet(*table, records[500].key, &value).ok());
      EXPECT_EQ(value, records[500].value);
      it->Seek(records[500].key, kTagNewest);
      ASSERT_TRUE(it->valid());
      EXPECT_EQ(ToRecord(it->entry()), records[500]);
      // It goes on to the end of the block, and there it would block.
      while (it->valid()) it->Next();
      EXPECT_TRUE(it->status().Is(Code::kWouldBlock));
    }
  }
}

TEST(TableRead, WithoutFilterTheBlockAnswers) {
  TableEnv env;
  TableWriteOptions options;
  options.filter_bits_per_key = 0;
  const Records records = NumberedRecords(100, 10);
  const Ref<TableReader> table = env.MustOpen(env.Write(kTableNumber, records, options));
  EXPECT_TRUE(BlockingGet(*table, "key00000050x").Is(Code::kNotFound));
  EXPECT_TRUE(BlockingGet(*table, records[50].key).ok());
  EXPECT_FALSE(table->RulesOut("key00000050x", Hash64("key00000050x")));
  EXPECT_TRUE(table->RulesOut("a", Hash64("a")));
  EXPECT_EQ(env.counters->Sum(TableCount::kFilterQueries), 0u);
}

TEST(TableRead, ReadsPastTheCacheLeaveNoTrace) {
  TableEnv env;
  const Records records = NumberedRecords(2000, 100);
  const Ref<TableReader> table = env.MustOpen(env.Write(kTableNumber, records, {}));
  const auto it = table->NewIterator(&kBypass);
  const uint64_t reads = env.vfs.Count(FaultOp::kRead);
  Records seen;
  ASSERT_TRUE(Collect(it.get(), false, &seen).ok());
  EXPECT_EQ(seen.size(), records.size());
  EXPECT_EQ(env.cache->stats().size, 0u);
  // 230 KB in one read, not one per block.
  EXPECT_LE(env.vfs.Count(FaultOp::kRead) - reads, 2u);
  ASSERT_TRUE(Collect(it.get(), true, &seen).ok());
  EXPECT_LE(env.vfs.Count(FaultOp::kRead) - reads, 4u);
  EXPECT_EQ(env.cache->stats().hits + env.cache->stats().misses, 0u);
}

TEST(TableRead, ReadAheadFillsTheCacheWithFewReads) {
  for (const bool backward : {false, true}) {
    TableEnv env;
    const Records records = NumberedRecords(5000, 100);
    const TableMeta meta = env.Write(kTableNumber, records, {});
    const Ref<TableReader> table = env.MustOpen(meta);
    const ReadContext ahead{ReadMode::kMayBlock, true, 128 * 1024};
    const uint64_t reads = env.vfs.Count(FaultOp::kRead);
    const auto it = table->NewIterator(&ahead);
    Records seen;
    ASSERT_TRUE(Collect(it.get(), backward, &seen).ok());
    EXPECT_EQ(seen.size(), records.size());
    EXPECT_LE(env.vfs.Count(FaultOp::kRead) - reads, 10u);
    // Everything is in memory now.
    const auto again = table->NewIterator(&kMemoryOnly);
    ASSERT_TRUE(Collect(again.get(), backward, &seen).ok());
    EXPECT_EQ(seen.size(), records.size());
    // A short range reads little.
    TableEnv fresh;
    const Ref<TableReader> other = fresh.MustOpen(fresh.Write(kTableNumber, records, {}));
    const auto range = other->NewIterator(&ahead);
    range->Seek(records[100].key, kTagNewest);
    for (int i = 0; i < 10; i++) range->Next();
    EXPECT_TRUE(range->valid());
    EXPECT_LT(fresh.cache->stats().size, 40000u);
  }
}

TEST(TableRead, AnErrorOfTheDiskSurfacesOnceAndIsNotCached) {
  const Records records = NumberedRecords(300, 100);
  for (const bool pinned : {false, true}) {
    TableEnv env;
    TableWriteOptions options;
    options.partition_index = true;
    options.partition_filter = true;
    const TableMeta meta = env.Write(kTableNumber, records, options);
    const Ref<TableReader> table = env.MustOpen(meta, {pinned, pinned});
    const auto it = table->NewIterator(&kReadAny);
    for (const bool backward : {false, true}) {
      for (uint64_t nth = 0; nth < 5; nth++) {
        env.vfs.SetPlan({{FaultOp::kRead, PathClass::kTable, nth, FaultKind::kEio, false}});
        TableEnv cold;  // only its cache is used: everything must be read anew
        Records seen;
        Ref<TableReader> reader;
        const TableContext context{&env.vfs, "/db", cold.cache, env.files};
        Status status = TableReader::Open(context, meta, {pinned, pinned}, env.counters, &reader);
        if (status.ok()) {
          const auto scan = reader->NewIterator(&kReadAny);
          status = Collect(scan.get(), backward, &seen);
          EXPECT_LT(seen.size(), records.size());
          EXPECT_FALSE(scan->valid());
          EXPECT_TRUE(status.Is(Code::kIoError)) << status.ToString();
          EXPECT_TRUE(Collect(scan.get(), backward, &seen).ok());
          EXPECT_TRUE(seen == records);
        } else {
          EXPECT_TRUE(status.Is(Code::kIoError)) << status.ToString();
          EXPECT_TRUE(
              TableReader::Open(context, meta, {pinned, pinned}, env.counters, &reader).ok());
        }
        EXPECT_EQ(env.vfs.fired(), 1u);
      }
    }
    env.vfs.SetPlan({{FaultOp::kRead, PathClass::kTable, 0, FaultKind::kEio, false}});
    const Status failed = BlockingGet(*table, records[7].key);
    EXPECT_TRUE(failed.Is(Code::kIoError)) << failed.ToString();
    EXPECT_EQ(failed.details()->path, env.Path(kTableNumber));
    EXPECT_TRUE(BlockingGet(*table, records[7].key).ok());
  }
}

TEST(TableRead, ATransientBitFlipIsReportedAndGone) {
  TableEnv env;
  const Records records = NumberedRecords(300, 100);
  const Ref<TableReader> table = env.MustOpen(env.Write(kTableNumber, records, {}));
  for (size_t i = 0; i < records.size(); i += 40) {
    env.vfs.SetPlan({{FaultOp::kRead, PathClass::kTable, 0, FaultKind::kBitFlipRead, false}});
    const Status status = BlockingGet(*table, records[i].key);
    ASSERT_TRUE(status.Is(Code::kCorruption)) << status.ToString();
    EXPECT_EQ(status.details()->path, env.Path(kTableNumber));
    EXPECT_TRUE(status.details()->offset.has_value());
    EXPECT_TRUE(BlockingGet(*table, records[i].key).ok());
  }
  // A short read of what was asked for is damage; one of what was read ahead is read again.
  env.vfs.SetPlan({{FaultOp::kRead, PathClass::kTable, 0, FaultKind::kShortRead, false}});
  EXPECT_TRUE(BlockingGet(*table, records[20].key, kBypass).Is(Code::kCorruption));
  env.vfs.SetPlan({{FaultOp::kRead, PathClass::kTable, 0, FaultKind::kShortRead, false}});
  Records seen;
  EXPECT_TRUE(Collect(table->NewIterator(&kBypass).get(), false, &seen).ok());
  EXPECT_TRUE(seen == records);
  EXPECT_EQ(env.vfs.fired(), 1u);
}

TEST(TableRead, NoDescriptorIsNeededForWhatIsInMemory) {
  TableEnv env;
  const Records records = NumberedRecords(10, 10);
  const Ref<TableReader> table = env.MustOpen(env.Write(kTableNumber, records, {}));
  ASSERT_TRUE(BlockingGet(*table, records[3].key).ok());
  env.files->Evict(kTableNumber);
  env.vfs.SetPlan({{FaultOp::kOpen, PathClass::kTable, 0, FaultKind::kEmfile, true}});
  std::string value;
  EXPECT_TRUE(MemoryGet(*table, records[3].key, &value).ok());
  EXPECT_TRUE(BlockingGet(*table, records[3].key).ok());
  EXPECT_TRUE(BlockingGet(*table, records[3].key, kBypass).Is(Code::kTooManyOpenFiles));
  env.vfs.SetPlan({});
  EXPECT_TRUE(BlockingGet(*table, records[3].key, kBypass).ok());
}

TEST(TableRead, AnObsoleteFileGoesWithItsLastReader) {
  TableEnv env;
  const Records records = NumberedRecords(100, 10);
  const TableMeta meta = env.Write(kTableNumber, records, {});
  FileInfo info;
  Ref<TableReader> table = env.MustOpen(meta);
  table.reset();
  EXPECT_TRUE(env.memory.Stat(env.Path(kTableNumber), &info).ok());  // not obsolete: it stays

  table = env.MustOpen(meta);
  auto it = table->NewIterator(&kReadAny);
  it->SeekToFirst();
  table->MarkObsolete();
  table.reset();
  EXPECT_TRUE(env.memory.Stat(env.Path(kTableNumber), &info).ok());
  Records seen;
  EXPECT_TRUE(Collect(it.get(), true, &seen).ok());
  EXPECT_TRUE(seen == records);
  it.reset();
  EXPECT_FALSE(env.memory.Stat(env.Path(kTableNumber), &info).ok());
  EXPECT_EQ(env.files->open_count(), 0u);
}

// The short ways of a pinned index: reads through them see what the cache holds, count as hits, and
// the cache may drop a table's blocks when the table has long gone.
TEST(TableRead, BlocksComeAndGoWithTheCache) {
  const Records records = NumberedRecords(4000, 100);
  for (const bool partitioned : {false, true}) {
    TableEnv env(64 << 10);
    TableWriteOptions options;
    options.partition_index = partitioned;
    const TableMeta first = env.Write(kTableNumber, records, options);
    const TableMeta second = env.Write(kTableNumber + 1, records, options);
    TestRandom random;
    for (int round = 0; round < 10; round++) {
      // A second reader of the same file finds the blocks of the first, and reads on without it.
      Ref<TableReader> table = env.MustOpen(round % 2 == 0 ? first : second);
      const Ref<TableReader> other = env.MustOpen(round % 4 < 2 ? first : second);
      for (int i = 0; i < 1000; i++) {
        if (i == 500) table = other;
        const Record& r = records[random.Below(records.size())];
        std::string value;
        Status status = MemoryGet(*table, r.key, &value);
        if (status.Is(Code::kWouldBlock)) {
          TableHit hit;
          status = table->Get(r.key, Hash64(r.key), kReadAll, kReadAny, &hit);
          value = hit.entry.value.ToString();
          // Neither the cache nor a slot had it; now both do.
          EXPECT_TRUE(MemoryGet(*table, r.key, &value).ok());
        }
        ASSERT_TRUE(status.ok());
        ASSERT_EQ(value, r.value);
      }
    }
    EXPECT_LE(env.cache->stats().size, uint64_t{64} << 10);
  }
}

// A block that was found without a lookup counts as used all the same.
TEST(TableRead, ReadsCountAsHitsOfTheCache) {
  for (const bool pinned : {false, true}) {
    TableEnv env;
    const Records records = NumberedRecords(100, 100);
    const Ref<TableReader> table =
        env.MustOpen(env.Write(kTableNumber, records, {}), {pinned, /*pin_filter=*/true});
    ASSERT_TRUE(BlockingGet(*table, records[0].key).ok());
    const uint64_t before = env.cache->stats().hits;
    std::string value;
    for (int i = 0; i < 10; i++) ASSERT_TRUE(MemoryGet(*table, records[0].key, &value).ok());
    EXPECT_EQ(env.cache->stats().hits - before, pinned ? 10u : 20u);  // the index as well
  }
}

TEST(TableRead, AHitKeepsItsBlock) {
  TableEnv env(0);
  const Records records = NumberedRecords(100, 1000);
  TableHit hit;
  {
    const Ref<TableReader> table = env.MustOpen(env.Write(kTableNumber, records, {}));
    ASSERT_TRUE(
        table->Get(records[40].key, Hash64(records[40].key), kReadAll, kReadAny, &hit).ok());
    table->MarkObsolete();
  }
  EXPECT_EQ(hit.entry.value, Slice(records[40].value));
}

// Edge case 6: what is found in an ingested table has the seqno of its ingestion.
// The seqno of an ingested table is added on the way out, and taken into account on the way in.
TEST(TableRead, GlobalSeqno) {
  constexpr Seqno kGlobal = 1000;
  TableEnv env;
  Records records = {{"a", 0, Kind::kValue, "1"},
                     {"b", 0, Kind::kTombstone, ""},
                     {"c", 1, Kind::kValue, "2"},
                     {"c", 0, Kind::kValue, "3"}};
  TableMeta meta = env.Write(kTableNumber, records, {});
  meta.global_seqno = kGlobal;
  meta.lowest_seqno += kGlobal;
  meta.highest_seqno += kGlobal;
  const Ref<TableReader> table = env.MustOpen(meta);
  for (Record& r : records) r.seqno += kGlobal;
  for (const Seqno read_seqno :
       {Seqno{0}, Seqno{1}, kGlobal - 1, kGlobal, kGlobal + 1, kGlobal + 2, kReadAll}) {
    for (const char* key : {"a", "b", "c", "d"}) {
      TableHit hit;
      const Status status = table->Get(key, Hash64(key), read_seqno, kReadAny, &hit);
      const Record* expected = Visible(records, key, read_seqno);
      ASSERT_EQ(status.ok(), expected != nullptr) << key << " @" << read_seqno;
      if (expected != nullptr) {
        EXPECT_EQ(ToRecord(hit.entry), *expected);
      }
      const auto it = table->NewIterator(&kReadAny);
      if (read_seqno == 0) continue;
      const size_t bound = LowerBound(records, key, read_seqno - 1);
      it->Seek(key, SeekTag(read_seqno));
      ASSERT_EQ(it->valid(), bound < records.size());
      if (it->valid()) {
        EXPECT_EQ(ToRecord(it->entry()), records[bound]);
      }
      it->SeekBefore(key, SeekTag(read_seqno));
      ASSERT_EQ(it->valid(), bound > 0);
      if (it->valid()) {
        EXPECT_EQ(ToRecord(it->entry()), records[bound - 1]);
      }
    }
  }
  Records seen;
  ASSERT_TRUE(Collect(table->NewIterator(&kReadAny).get(), false, &seen).ok());
  EXPECT_TRUE(seen == records);
  EXPECT_TRUE(table->Verify().ok());
}

TEST(TableRead, Counters) {
  TableEnv env;
  const Records records = NumberedRecords(1000, 50);
  const Ref<TableReader> table = env.MustOpen(env.Write(kTableNumber, records, {}));
  EXPECT_GT(table->pinned_bytes(), 0u);
  const TableCounters& c = *env.counters;
  const uint64_t loads = c.Sum(TableCount::kLoadsIo);
  for (const Record& r : records) ASSERT_TRUE(BlockingGet(*table, r.key).ok());
  EXPECT_EQ(c.Sum(TableCount::kFilterQueries), records.size());
  EXPECT_EQ(c.Sum(TableCount::kFilterNegatives), 0u);
  EXPECT_EQ(c.Sum(TableCount::kLoadsIo) - loads, table->meta().block_count);
  EXPECT_EQ(c.Sum(TableCount::kLoadsCached), records.size() - table->meta().block_count);
  for (const Record& r : records) {
    ASSERT_TRUE(BlockingGet(*table, r.key + "x").Is(Code::kNotFound));
  }
  EXPECT_EQ(c.Sum(TableCount::kFilterNegatives) + c.Sum(TableCount::kFilterFalsePositives),
            records.size());
  EXPECT_LT(c.Sum(TableCount::kFilterFalsePositives), 60u);
}

// Readers of all kinds at once over a cache that keeps evicting: for the thread sanitizer, and the
// counts come out exact.
class TableReadThreads : public ::testing::TestWithParam<bool> {};

TEST_P(TableReadThreads, ReadWhileBlocksComeAndGo) {
  const bool pinned = GetParam();
  TableEnv env(64 << 10);
  TableWriteOptions options;
  options.block_size = 512;
  options.partition_index = true;
  options.partition_filter = true;
  const Records records = NumberedRecords(2000, 60);
  const TableMeta meta = env.Write(kTableNumber, records, options);
  Ref<TableReader> table = env.MustOpen(meta, {pinned, pinned});
  const uint64_t seed = TestSeed();
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> gets{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; t++) {
    threads.emplace_back([&, t, held = table] {
      std::mt19937_64 random(seed + t);
      const auto it = held->NewIterator(&kReadAny);
      for (uint64_t i = 0; i < Scaled(1500); i++) {
        const Record& r = records[random() % records.size()];
        if (i % 3 == 0) {
          it->Seek(r.key, kTagNewest);
          if (!it->valid() || it->entry().value != Slice(r.value)) wrong++;
          continue;
        }
        TableHit hit;
        std::string value;
        Status status = MemoryGet(*held, r.key, &value);
        if (status.Is(Code::kWouldBlock)) {
          status = held->Get(r.key, Hash64(r.key), kReadAll, kReadAny, &hit);
          if (status.ok()) value = hit.entry.value.ToString();
          gets++;
        }
        gets++;
        if (!status.ok() || value != r.value) wrong++;
      }
    });
  }
  table->MarkObsolete();
  table.reset();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_EQ(env.counters->Sum(TableCount::kFilterQueries), gets.load());
  FileInfo info;
  EXPECT_FALSE(env.memory.Stat(env.Path(kTableNumber), &info).ok());
  EXPECT_TRUE(EpochCollect());
}
INSTANTIATE_TEST_SUITE_P(Pinned, TableReadThreads, ::testing::Bool());

}  // namespace
}  // namespace shale
