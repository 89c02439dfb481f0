#include "table/table_writer.h"

#include "table/table_support.h"

namespace shale {
namespace {

struct WriterTest : testing::Test {
  Status Create(const TableWriteOptions& options = {}) {
    return TableWriter::Create(&env.vfs, env.Path(5), 5, options, &writer);
  }
  Status Add(const Record& record) { return writer->Add(record.entry()); }
  bool FileExists() {
    FileInfo info;
    return env.memory.Stat(env.Path(5), &info).ok();
  }

  TableEnv env;
  std::unique_ptr<TableWriter> writer;
  TableMeta meta;
};

TEST_F(WriterTest, DescribesWhatItWrote) {
  TableWriteOptions options;
  options.codec = Codec::kLz4;
  ASSERT_TRUE(Create(options).ok());
  EXPECT_EQ(writer->EstimatedSize(), 0u);
  ASSERT_TRUE(Add({"a", 9, Kind::kValue, "1"}).ok());
  ASSERT_TRUE(Add({"a", 4, Kind::kTombstone, ""}).ok());
  ASSERT_TRUE(Add({"b", 70, Kind::kWeakTombstone, ""}).ok());
  EXPECT_EQ(writer->item_count(), 3u);
  const uint64_t estimate = writer->EstimatedSize();
  ASSERT_TRUE(writer->Finish(&meta).ok());
  EXPECT_EQ(meta.number, 5u);
  EXPECT_EQ(meta.size, env.ReadFile(5).size());
  EXPECT_LT(meta.size, 2 * estimate);
  EXPECT_LT(estimate, 2 * meta.size);
  EXPECT_EQ(meta.item_count, 3u);
  EXPECT_EQ(meta.tombstone_count, 1u);
  EXPECT_EQ(meta.weak_tombstone_count, 1u);
  EXPECT_EQ(meta.range_tombstone_count, 0u);
  EXPECT_EQ(meta.block_count, 1u);
  EXPECT_EQ(meta.first_key, "a");
  EXPECT_EQ(meta.last_key, "b");
  EXPECT_EQ(meta.lowest_seqno, 4u);
  EXPECT_EQ(meta.highest_seqno, 70u);
  EXPECT_EQ(meta.global_seqno, 0u);
  EXPECT_EQ(meta.codec, Codec::kLz4);
  EXPECT_TRUE(env.MustOpen(meta)->Verify().ok());
  // Finished is finished; destroying the writer leaves the file.
  EXPECT_FALSE(writer->Finish(&meta).ok());
  writer.reset();
  EXPECT_TRUE(FileExists());
}

TEST_F(WriterTest, RefusesWhatATableCannotHold) {
  const Record wrong[] = {
      {"a", 5, Kind::kValue, ""},  // equal to the one before
      {"a", 6, Kind::kValue, ""},  // newer than the one before
      {"A", 1, Kind::kValue, ""},  // a smaller key
      {"", 1, Kind::kValue, ""},
      {std::string(kKeyBytesMax + 1, 'z'), 1, Kind::kValue, ""},
      {"b", kSeqnoMax + 1, Kind::kValue, ""},
      {"b", 1, Kind::kTombstone, "value"},
      {"b", 1, Kind::kWeakTombstone, "value"},
      {"b", 1, Kind::kBlobPointer, "not 24 bytes"},
      {"b", 1, Kind::kBlobPointer, std::string(24, '\0')},  // of no file
      {"b", 1, Kind::kRangeTombstone, ""},
      {"b", 1, Kind::kMergeOperand, ""},
  };
  for (const Record& record : wrong) {
    ASSERT_TRUE(Create().ok());
    ASSERT_TRUE(Add({"a", 5, Kind::kValue, "1"}).ok());
    const Status status = Add(record);
    EXPECT_TRUE(status.Is(Code::kInvalidArgument)) << record;
    // The first error is sticky, and nothing is left behind.
    EXPECT_EQ(Add({"c", 1, Kind::kValue, "1"}).ToString(), status.ToString());
    EXPECT_EQ(writer->Finish(&meta).ToString(), status.ToString());
    EXPECT_FALSE(FileExists());
  }
  ASSERT_TRUE(Create().ok());
  EXPECT_TRUE(writer->Finish(&meta).Is(Code::kInvalidArgument));  // empty
  EXPECT_FALSE(FileExists());
}

TEST_F(WriterTest, AbandonedOrDroppedWritersLeaveNothing) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(Add({"a", 5, Kind::kValue, "1"}).ok());
  EXPECT_TRUE(FileExists());
  writer->Abandon();
  EXPECT_FALSE(FileExists());
  EXPECT_FALSE(Add({"b", 5, Kind::kValue, "1"}).ok());
  EXPECT_FALSE(writer->Finish(&meta).ok());
  ASSERT_TRUE(Create().ok());
  writer.reset();
  EXPECT_FALSE(FileExists());
}

TEST_F(WriterTest, NeverWritesOverAFile) {
  ASSERT_TRUE(Create().ok());
  std::unique_ptr<TableWriter> other;
  EXPECT_FALSE(TableWriter::Create(&env.vfs, env.Path(5), 5, {}, &other).ok());
  EXPECT_TRUE(FileExists());
}

// Every call to the disk fails in turn: the error comes out, and no half table stays.
TEST_F(WriterTest, EveryFaultOfTheDisk) {
  TestRandom random;
  const Records records = RandomRecords(&random, 200, 300, 100);
  TableWriteOptions options;
  options.write_chunk = 1000;
  options.block_size = 200;
  const auto run = [&] {
    SHALE_RETURN_IF_ERROR(Create(options));
    for (const Record& r : records) SHALE_RETURN_IF_ERROR(Add(r));
    return writer->Finish(&meta);
  };
  ASSERT_TRUE(run().ok());
  ASSERT_TRUE(env.memory.Remove(env.Path(5)).ok());
  struct Case {
    FaultOp op;
    FaultKind kind;
    Code code;
  };
  for (const Case c : {Case{FaultOp::kCreate, FaultKind::kEio, Code::kIoError},
                       Case{FaultOp::kWrite, FaultKind::kEio, Code::kIoError},
                       Case{FaultOp::kWrite, FaultKind::kEnospc, Code::kDiskFull},
                       Case{FaultOp::kWrite, FaultKind::kShortWrite, Code::kIoError},
                       Case{FaultOp::kSync, FaultKind::kSyncDropped, Code::kIoError}}) {
    uint64_t fired = 0;
    for (uint64_t nth = 0;; nth++) {
      env.vfs.SetPlan({{c.op, PathClass::kTable, nth, c.kind, false}});
      const Status status = run();
      writer.reset();
      if (env.vfs.fired() == 0) {
        EXPECT_TRUE(status.ok());
        ASSERT_TRUE(env.memory.Remove(env.Path(5)).ok());
        break;
      }
      fired++;
      EXPECT_TRUE(status.Is(c.code) || status.Is(Code::kSyncFailed)) << status.ToString();
      EXPECT_FALSE(FileExists());
    }
    EXPECT_GT(fired, 0u);
  }
}

TEST_F(WriterTest, TheFileIsSyncedBeforeFinishReturns) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(Add({"a", 5, Kind::kValue, "1"}).ok());
  ASSERT_TRUE(writer->Finish(&meta).ok());
  EXPECT_EQ(env.vfs.Count(FaultOp::kSync, PathClass::kTable), 1u);
}

TEST_F(WriterTest, BlobReferencesAreKept) {
  const auto pointer = [](uint64_t file, uint32_t stored) {
    std::string bytes;
    PutU64(&bytes, file);
    PutU64(&bytes, 32);
    PutU32(&bytes, stored);
    PutU32(&bytes, stored);
    return bytes;
  };
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(Add({"a", 5, Kind::kBlobPointer, pointer(80, 100)}).ok());
  ASSERT_TRUE(Add({"bb", 5, Kind::kBlobPointer, pointer(70, 10)}).ok());
  ASSERT_TRUE(Add({"c", 5, Kind::kValue, "inline"}).ok());
  ASSERT_TRUE(Add({"d", 5, Kind::kBlobPointer, pointer(80, 1)}).ok());
  ASSERT_TRUE(writer->Finish(&meta).ok());
  const std::string bytes = env.ReadFile(5);
  TableProperties properties;
  const BlockHandle handle = FooterOf(bytes, 5).properties;
  ASSERT_TRUE(
      DecodeTableProperties(Slice(bytes.data() + handle.offset, handle.length), &properties).ok());
  std::string expected;
  PutU32(&expected, 2);
  for (const uint64_t v : {uint64_t{70}, uint64_t{1}, uint64_t{24 + 2 + 10}, uint64_t{80},
                           uint64_t{2}, uint64_t{24 + 1 + 100 + 24 + 1 + 1}}) {
    PutU64(&expected, v);
  }
  ASSERT_FALSE(properties.blob_references.is_null());
  EXPECT_EQ(
      Slice(bytes.data() + properties.blob_references.offset, properties.blob_references.length),
      Slice(expected));
  EXPECT_TRUE(env.MustOpen(meta)->Verify().ok());
  const BlobReferences references = {{70, 1, 24 + 2 + 10}, {80, 2, 24 + 1 + 100 + 24 + 1 + 1}};
  EXPECT_EQ(meta.blobs, references);
  // The manifest says the same, or it is another table.
  const auto open = [&](const BlobReferences& blobs) {
    TableMeta other = meta;
    other.blobs = blobs;
    Ref<TableReader> table;
    return env.Open(other, {}, &table);
  };
  for (const BlobReferences& other :
       {BlobReferences{}, BlobReferences{references[0]},
        BlobReferences{references[0], {80, 1, references[1].frame_bytes}},
        BlobReferences{references[0], {80, 2, references[1].frame_bytes + 1}},
        BlobReferences{references[0], {81, 2, references[1].frame_bytes}}}) {
    const Status status = open(other);
    EXPECT_TRUE(status.Is(Code::kCorruption)) << status.ToString();
    EXPECT_EQ(status.details()->offset, properties.blob_references.offset);
  }
  // Verification compares them with the entries.
  std::string damaged = bytes;
  damaged[properties.blob_references.offset + 12]++;
  Reseal(&damaged, properties.blob_references, 5);
  env.WriteFile(5, damaged);
  EXPECT_TRUE(open(references).Is(Code::kCorruption));
  TableMeta agreeing = meta;
  agreeing.blobs[0].item_count++;
  EXPECT_TRUE(env.MustOpen(agreeing)->Verify().Is(Code::kCorruption));
}

TEST_F(WriterTest, ATableWithoutBlobsHasNoReferences) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(Add({"a", 5, Kind::kValue, "1"}).ok());
  ASSERT_TRUE(writer->Finish(&meta).ok());
  EXPECT_TRUE(meta.blobs.empty());
  TableMeta other = meta;
  other.blobs = {{70, 1, 30}};
  Ref<TableReader> table;
  EXPECT_TRUE(env.Open(other, {}, &table).Is(Code::kCorruption));
}

// An entry beyond the limits of a block is alone in a block of its own, uncompressed, among others.
TEST_F(WriterTest, LargeEntries) {
  TableWriteOptions options;
  options.codec = Codec::kLz4;
  options.block_size = 1000;
  const std::string large(kBlockStoredBytesMax + 5, 'x');
  const Records records = {{"a", 5, Kind::kValue, "before"},
                           {"b", 5, Kind::kValue, large},
                           {"b", 4, Kind::kValue, std::string(300000, 'y')},
                           {"c", 5, Kind::kValue, "behind"}};
  meta = env.Write(5, records, options);
  EXPECT_GT(meta.size, large.size());
  EXPECT_LT(meta.size, large.size() + 10000);  // the one below the limit is compressed
  const Ref<TableReader> table = env.MustOpen(meta);
  Records seen;
  ASSERT_TRUE(Collect(table->NewIterator(&kReadAny).get(), false, &seen).ok());
  EXPECT_TRUE(seen == records);
  TableHit hit;
  ASSERT_TRUE(table->Get("b", Hash64("b"), kReadAll, kReadAny, &hit).ok());
  EXPECT_EQ(hit.entry.value, Slice(large));
  EXPECT_TRUE(table->Verify().ok());
}

TEST_F(WriterTest, PartitionsFollowTheirOptions) {
  TestRandom random;
  const Records records = RandomRecords(&random, 3000, 6000, 20);
  for (const bool index : {false, true}) {
    for (const bool filter : {false, true}) {
      TableWriteOptions options;
      options.block_size = 256;
      options.partition_index = index;
      options.partition_filter = filter;
      TableEnv fresh;
      const TableMeta written = fresh.Write(5, records, options);
      const std::string bytes = fresh.ReadFile(5);
      TableProperties properties;
      const BlockHandle handle = FooterOf(bytes, 5).properties;
      ASSERT_TRUE(
          DecodeTableProperties(Slice(bytes.data() + handle.offset, handle.length), &properties)
              .ok());
      EXPECT_EQ(properties.index_kind, index ? IndexKind::kPartitioned : IndexKind::kWhole);
      EXPECT_EQ(properties.filter_kind, filter ? FilterKind::kPartitioned : FilterKind::kWhole);
      // What is not pinned is not held.
      const size_t pinned = fresh.MustOpen(written, {true, true})->pinned_bytes();
      const size_t loose = fresh.MustOpen(written, {false, false})->pinned_bytes();
      EXPECT_GT(pinned, 5000u);
      EXPECT_LT(loose, pinned / 3);
    }
  }
}

}  // namespace
}  // namespace shale
