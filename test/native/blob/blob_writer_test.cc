#include "blob/blob_writer.h"

#include "blob/blob_support.h"

namespace shale {
namespace {

constexpr uint64_t kWrittenNumber = 5;

class BlobWriterTest : public testing::Test {
 protected:
  Status Create(const BlobWriteOptions& options = {}) {
    return BlobWriter::Create(&env.vfs, env.Path(kWrittenNumber), kWrittenNumber, options, &writer);
  }
  Status Add(Slice key, Seqno seqno, Slice value) {
    BlobPointer pointer;
    return writer->Add(key, seqno, value, &pointer);
  }

  BlobEnv env;
  std::unique_ptr<BlobWriter> writer;
  BlobFileMeta meta;
};

TEST_F(BlobWriterTest, TotalsArePreciseAndValuesThatDoNotCompressAreRaw) {
  TestRandom random;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    Items items = {{"a", 2, std::string(5000, 'a'), {}}, {"a", 1, "", {}}, {"b", 7, "tiny", {}}};
    std::string noise(3000, '\0');
    for (char& c : noise) c = static_cast<char>(random.Next());
    items.push_back({"c", 0, noise, {}});
    meta = env.Write(kWrittenNumber, &items, {codec, 100});
    EXPECT_EQ(meta.number, kWrittenNumber);
    EXPECT_EQ(meta.item_count, 4u);
    EXPECT_EQ(meta.raw_bytes, 5000u + 4 + 3000);
    uint64_t frames = 0;
    uint64_t next = kFileHeaderBytes;
    for (const Item& item : items) {
      EXPECT_EQ(item.pointer.file_number, kWrittenNumber);
      EXPECT_EQ(item.pointer.offset, next);
      EXPECT_EQ(item.pointer.raw_length, item.value.size());
      frames += item.pointer.FrameBytes(item.key.size());
      next = kFileHeaderBytes + frames;
    }
    EXPECT_EQ(meta.frame_bytes, frames);
    EXPECT_EQ(meta.size, frames + kBlobFileOverhead);
    EXPECT_EQ(items[0].pointer.stored_length < 5000, codec != Codec::kNone);
    EXPECT_EQ(items[3].pointer.stored_length, 3000u);
    ASSERT_TRUE(env.MustOpen(meta)->Verify().ok());
    ASSERT_TRUE(env.memory.Remove(env.Path(kWrittenNumber)).ok());
    env.files->Evict(kWrittenNumber);
  }
}

TEST_F(BlobWriterTest, WhatAFileCannotTakeIsRefusedAndLeavesNothing) {
  struct Wrong {
    std::string key;
    Seqno seqno;
  };
  for (const Wrong& wrong :
       {Wrong{"a", 5}, Wrong{"a", 6}, Wrong{"A", 1}, Wrong{"", 1},
        Wrong{std::string(kKeyBytesMax + 1, 'z'), 1}, Wrong{"b", kSeqnoMax + 1}}) {
    ASSERT_TRUE(Create().ok());
    ASSERT_TRUE(Add("a", 5, "1").ok());
    const Status status = Add(wrong.key, wrong.seqno, "2");
    EXPECT_TRUE(status.Is(Code::kInvalidArgument)) << wrong.key.size();
    // The first error is sticky, and nothing is left behind.
    EXPECT_EQ(Add("c", 1, "3").ToString(), status.ToString());
    EXPECT_EQ(writer->Finish(&meta).ToString(), status.ToString());
    EXPECT_FALSE(env.Exists(kWrittenNumber));
  }
  ASSERT_TRUE(Create().ok());
  EXPECT_TRUE(writer->Finish(&meta).Is(Code::kInvalidArgument));  // empty
  EXPECT_FALSE(env.Exists(kWrittenNumber));
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(Add("a", 5, "1").ok());
  writer.reset();
  EXPECT_FALSE(env.Exists(kWrittenNumber));
}

TEST_F(BlobWriterTest, NeverWritesOverAFile) {
  ASSERT_TRUE(Create().ok());
  std::unique_ptr<BlobWriter> other;
  EXPECT_FALSE(
      BlobWriter::Create(&env.vfs, env.Path(kWrittenNumber), kWrittenNumber, {}, &other).ok());
  EXPECT_TRUE(env.Exists(kWrittenNumber));
}

TEST_F(BlobWriterTest, TheFileIsSyncedBeforeFinishReturns) {
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(Add("a", 5, "1").ok());
  ASSERT_TRUE(writer->Finish(&meta).ok());
  EXPECT_EQ(env.vfs.Count(FaultOp::kSync, PathClass::kBlob), 1u);
  EXPECT_TRUE(writer->Finish(&meta).Is(Code::kInvalidArgument));
  EXPECT_TRUE(env.Exists(kWrittenNumber));
}

// Every call to the disk fails in turn: the error comes out, and no half file stays.
TEST_F(BlobWriterTest, EveryFaultOfTheDisk) {
  TestRandom random;
  Items items = RandomItems(&random, 40, 700);
  const auto run = [&] {
    SHALE_RETURN_IF_ERROR(Create({Codec::kLz4, 500}));
    for (Item& item : items) {
      SHALE_RETURN_IF_ERROR(writer->Add(item.key, item.seqno, item.value, &item.pointer));
    }
    return writer->Finish(&meta);
  };
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
      env.vfs.SetPlan({{c.op, PathClass::kBlob, nth, c.kind, false}});
      const Status status = run();
      writer.reset();
      if (env.vfs.fired() == 0) {
        EXPECT_TRUE(status.ok()) << status.ToString();
        ASSERT_TRUE(env.memory.Remove(env.Path(kWrittenNumber)).ok());
        break;
      }
      fired++;
      EXPECT_TRUE(status.Is(c.code) || status.Is(Code::kSyncFailed)) << status.ToString();
      EXPECT_FALSE(env.Exists(kWrittenNumber));
    }
    EXPECT_GT(fired, 0u);
  }
}

class BlobOutputTest : public testing::Test {
 protected:
  BlobOutputOptions Options(uint64_t file_size) {
    return {env.context,
            env.counters,
            [this] { return next_number++; },
            {Codec::kNone, 1000},
            file_size};
  }

  BlobEnv env;
  uint64_t next_number = 10;
};

TEST_F(BlobOutputTest, FilesEndAtTheWantedSize) {
  TestRandom random;
  Items items = RandomItems(&random, 50, 1000);
  BlobOutput output(Options(4000));
  for (Item& item : items) {
    ASSERT_TRUE(output.Add(item.key, item.seqno, item.value, &item.pointer).ok());
  }
  ASSERT_TRUE(output.Finish().ok());
  ASSERT_GT(output.files().size(), 2u);
  for (size_t i = 0; i + 1 < output.files().size(); i++) {
    EXPECT_GE(output.files()[i].meta.size, 4000u);
    EXPECT_LT(output.files()[i].meta.size, 4000u + 1100);
  }
  for (const Item& item : items) {
    BlobHit hit;
    const auto& written = output.files()[item.pointer.file_number - 10];
    ASSERT_TRUE(written.file->Get(item.key, item.pointer, kReadAny, &hit).ok());
    ASSERT_EQ(hit.value, Slice(item.value));
  }
  output.Keep();
}

TEST_F(BlobOutputTest, NothingIsWrittenForNothing) {
  BlobOutput output(Options(4000));
  ASSERT_TRUE(output.Finish().ok());
  EXPECT_TRUE(output.files().empty());
  EXPECT_EQ(next_number, 10u);
}

TEST_F(BlobOutputTest, WhatIsNotKeptGoes) {
  for (const bool finish : {false, true}) {
    for (const bool keep : {false, true}) {
      const uint64_t first = next_number;
      {
        BlobPointer pointer;
        BlobOutput output(Options(100));
        for (const char* key : {"a", "b", "c"}) {
          ASSERT_TRUE(output.Add(key, 1, std::string(200, 'v'), &pointer).ok());
        }
        if (finish) {
          ASSERT_TRUE(output.Finish().ok());
        }
        if (keep) output.Keep();
      }
      EXPECT_EQ(next_number, first + 3);
      EXPECT_EQ(env.Exists(first), keep);
      EXPECT_EQ(env.Exists(first + 1), keep);
      EXPECT_EQ(env.Exists(first + 2), keep && finish);
    }
  }
}

}  // namespace
}  // namespace shale
