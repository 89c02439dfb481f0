// Reading values: from memory, from the file, from damaged and hostile files.
#include "blob/blob_file.h"

#include <fstream>
#include <functional>
#include <iterator>

#include "base/epoch.h"
#include "blob/blob_support.h"

namespace shale {
namespace {

constexpr uint64_t kReadNumber = 9;

TEST(BlobFile, EveryValueComesBack) {
  TestRandom random;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (const ReadContext& context : {kReadAny, kBypass}) {
      BlobEnv env;
      Items items = RandomItems(&random, 60, 3000);
      const BlobFileMeta meta = env.Write(kReadNumber, &items, {codec, 1 + random.Below(5000)});
      const Ref<BlobFile> file = env.MustOpen(meta);
      for (int round = 0; round < 2; round++) {
        for (const Item& item : items) {
          BlobHit hit;
          ASSERT_TRUE(file->Get(item.key, item.pointer, context, &hit).ok());
          ASSERT_EQ(hit.value, Slice(item.value));
        }
      }
      ASSERT_TRUE(file->Verify().ok());
    }
  }
}

TEST(BlobFile, TheCacheAnswersTheSecondTime) {
  TestRandom random;
  BlobEnv env;
  Items items = RandomItems(&random, 10, 3000);
  const Ref<BlobFile> file = env.MustOpen(env.Write(kReadNumber, &items, {}));
  const Item& item = items[3];
  BlobHit hit;
  {
    const EpochGuard guard;
    EXPECT_TRUE(file->Get(item.key, item.pointer, kMemoryOnly, &hit).Is(Code::kWouldBlock));
  }
  ASSERT_TRUE(file->Get(item.key, item.pointer, kReadAny, &hit).ok());
  EXPECT_GE(env.cache->stats().size, item.value.size());
  const uint64_t reads = env.vfs.Count(FaultOp::kRead, PathClass::kBlob);
  {
    const EpochGuard guard;
    BlobHit borrowed;
    ASSERT_TRUE(file->Get(item.key, item.pointer, kMemoryOnly, &borrowed).ok());
    EXPECT_EQ(borrowed.value, Slice(item.value));
    EXPECT_FALSE(borrowed.pin);
  }
  EXPECT_EQ(env.vfs.Count(FaultOp::kRead, PathClass::kBlob), reads);
  EXPECT_EQ(env.counters->loads_io(), 1u);
  EXPECT_EQ(env.counters->loads_cached(), 1u);
  // A hit in the cache asks for the same key and lengths as the frame does.
  const EpochGuard guard;
  BlobPointer other = item.pointer;
  other.raw_length++;
  EXPECT_TRUE(file->Get(item.key, other, kMemoryOnly, &hit).Is(Code::kCorruption));
  EXPECT_TRUE(file->Get("other", item.pointer, kMemoryOnly, &hit).Is(Code::kCorruption));
}

// A value is one read of its frame, and nothing is kept of what a compaction reads.
TEST(BlobFile, ReadsPastTheCacheLeaveNothing) {
  TestRandom random;
  BlobEnv env;
  Items items = RandomItems(&random, 10, 3000);
  const Ref<BlobFile> file = env.MustOpen(env.Write(kReadNumber, &items, {}));
  const uint64_t reads = env.vfs.Count(FaultOp::kRead, PathClass::kBlob);
  for (const Item& item : items) {
    BlobHit hit;
    ASSERT_TRUE(file->Get(item.key, item.pointer, kBypass, &hit).ok());
  }
  EXPECT_EQ(env.vfs.Count(FaultOp::kRead, PathClass::kBlob), reads + items.size());
  EXPECT_EQ(env.cache->stats().size, 0u);
}

TEST(BlobFile, AValueOutlivesItsFile) {
  TestRandom random;
  BlobEnv env;
  Items items = RandomItems(&random, 10, 3000);
  Ref<BlobFile> file = env.MustOpen(env.Write(kReadNumber, &items, {}));
  BlobHit hit;
  ASSERT_TRUE(file->Get(items[0].key, items[0].pointer, kReadAny, &hit).ok());
  Ref<BlobFile> other = file;
  file->MarkObsolete();
  file.reset();
  EXPECT_TRUE(env.Exists(kReadNumber));
  other.reset();
  EXPECT_FALSE(env.Exists(kReadNumber));
  EXPECT_EQ(hit.value, Slice(items[0].value));
}

TEST(BlobFile, APointerMustFitItsFrame) {
  TestRandom random;
  BlobEnv env;
  Items items = RandomItems(&random, 10, 3000);
  const Ref<BlobFile> file = env.MustOpen(env.Write(kReadNumber, &items, {}));
  const Item& item = items[4];
  const auto read = [&](Slice key, const std::function<void(BlobPointer*)>& change) {
    BlobPointer pointer = item.pointer;
    change(&pointer);
    BlobHit hit;
    const Status s = file->Get(key, pointer, kReadAny, &hit);
    EXPECT_EQ(s.details()->path, env.Path(kReadNumber)) << s.ToString();
    EXPECT_EQ(s.details()->offset, pointer.offset) << s.ToString();
    BlobScanner scanner(file.get());
    BlobFrame frame;
    EXPECT_TRUE(scanner.Get(key, pointer, &frame).Is(Code::kCorruption));
    return s.code();
  };
  const auto nothing = [](BlobPointer*) {};
  EXPECT_EQ(read("kez100002", nothing), Code::kCorruption);  // a key of the same length
  EXPECT_EQ(read("key", nothing), Code::kCorruption);
  EXPECT_EQ(read(item.key, [](BlobPointer* p) { p->offset++; }), Code::kCorruption);
  EXPECT_EQ(read(item.key, [](BlobPointer* p) { p->offset = 31; }), Code::kCorruption);
  EXPECT_EQ(read(item.key, [](BlobPointer* p) { p->offset = kSeqnoMax; }), Code::kCorruption);
  EXPECT_EQ(read(item.key, [](BlobPointer* p) { p->stored_length++; }), Code::kCorruption);
  EXPECT_EQ(read(item.key, [](BlobPointer* p) { p->raw_length++; }), Code::kCorruption);
  EXPECT_EQ(read(item.key, [](BlobPointer* p) { p->stored_length = 1u << 30; }), Code::kCorruption);
  EXPECT_EQ(env.cache->stats().size, 0u);
}

// ---- damage ----

// Opens a file with these bytes, reads everything and verifies it; counts what was reported. What
// is read without an error must be true.
uint64_t TryAll(const std::string& bytes, const BlobFileMeta& meta, const Items& items) {
  BlobEnv env;
  env.WriteFile(kReadNumber, bytes);
  uint64_t reported = 0;
  const auto failed = [&](const Status& s) {
    if (s.ok()) return false;
    reported++;
    EXPECT_TRUE(s.Is(Code::kCorruption)) << s.ToString();
    EXPECT_EQ(s.details()->path, env.Path(kReadNumber)) << s.ToString();
    EXPECT_TRUE(s.details()->offset.has_value()) << s.ToString();
    return true;
  };
  Ref<BlobFile> file;
  if (failed(env.Open(meta, &file))) return reported;
  for (const Item& item : items) {
    BlobHit hit;
    if (failed(file->Get(item.key, item.pointer, kReadAny, &hit))) continue;
    EXPECT_EQ(hit.value, Slice(item.value));
  }
  failed(file->Verify());
  return reported;
}

struct Good {
  explicit Good(TestRandom* random, size_t count = 6) : items(RandomItems(random, count, 60)) {
    items[1].value.assign(80, 'c');  // one that compresses at least
    meta = env.Write(kReadNumber, &items, {});
    bytes = env.ReadFile(kReadNumber);
  }
  BlobEnv env;
  Items items;
  BlobFileMeta meta;
  std::string bytes;
};

TEST(BlobDamage, EveryByteFlipped) {
  TestRandom random;
  const Good good(&random);
  EXPECT_EQ(TryAll(good.bytes, good.meta, good.items), 0u);
  for (size_t i = 0; i < good.bytes.size(); i++) {
    std::string damaged = good.bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << random.Below(8)));
    ASSERT_GT(TryAll(damaged, good.meta, good.items), 0u) << "byte " << i;
  }
}

TEST(BlobDamage, EveryTruncation) {
  TestRandom random;
  const Good good(&random);
  for (size_t n = 0; n < good.bytes.size(); n++) {
    ASSERT_GT(TryAll(good.bytes.substr(0, n), good.meta, good.items), 0u) << n;
    // The same with zeros up to the right length, as after a lost write.
    std::string zeros = good.bytes.substr(0, n);
    zeros.resize(good.bytes.size(), '\0');
    if (zeros != good.bytes) {
      ASSERT_GT(TryAll(zeros, good.meta, good.items), 0u) << n;
    }
  }
  ASSERT_GT(TryAll(good.bytes + '\0', good.meta, good.items), 0u);
}

TEST(BlobDamage, AnotherFileThanTheManifestNames) {
  TestRandom random;
  const Good good(&random);
  for (int field = 0; field < 4; field++) {
    BlobFileMeta meta = good.meta;
    (field == 0   ? meta.size
     : field == 1 ? meta.item_count
     : field == 2 ? meta.frame_bytes
                  : meta.raw_bytes)++;
    ASSERT_GT(TryAll(good.bytes, meta, good.items), 0u) << field;
  }
  BlobEnv env;
  env.WriteFile(kReadNumber + 1, good.bytes);
  BlobFileMeta meta = good.meta;
  meta.number++;
  Ref<BlobFile> file;
  EXPECT_TRUE(env.Open(meta, &file).Is(Code::kCorruption));
}

// The file gets shorter while it is open.
TEST(BlobDamage, CutOffWhileOpen) {
  TestRandom random;
  Good good(&random);
  const Ref<BlobFile> file = good.env.MustOpen(good.meta);
  good.env.WriteFile(kReadNumber, good.bytes.substr(0, 60));
  BlobHit hit;
  const Item& last = good.items.back();
  EXPECT_TRUE(file->Get(last.key, last.pointer, kReadAny, &hit).Is(Code::kCorruption));
  BlobScanner scanner(file.get());
  BlobFrame frame;
  while (scanner.Next(&frame)) {
  }
  EXPECT_TRUE(scanner.status().Is(Code::kCorruption));
}

// Content that no writer makes, with right checksums.
TEST(BlobDamage, VerificationLooksBehindTheChecksums) {
  TestRandom random;
  const Good good(&random);
  const auto verify = [&](const std::function<void(std::string*)>& change) {
    std::string bytes = good.bytes;
    change(&bytes);
    BlobEnv env;
    env.WriteFile(kReadNumber, bytes);
    Ref<BlobFile> file;
    const Status opened = env.Open(good.meta, &file);
    return opened.ok() ? file->Verify().code() : opened.code();
  };
  const auto at = [&](size_t i) { return good.items[i].pointer.offset; };
  const auto size = [&](size_t i) {
    return good.items[i].pointer.FrameBytes(good.items[i].key.size());
  };
  EXPECT_EQ(verify([](std::string*) {}), Code::kOk);
  // The order of two frames.
  EXPECT_EQ(verify([&](std::string* b) {
              (*b)[at(2) + kBlobFrameHeaderBytes] = 'a';
              ResealFrame(b, kReadNumber, at(2), size(2));
            }),
            Code::kCorruption);
  EXPECT_EQ(verify([&](std::string* b) {
              StoreLe<uint64_t>(b->data() + at(1) + 16, good.items[0].seqno);
              ResealFrame(b, kReadNumber, at(1), size(1));
            }),
            Code::kCorruption);
  // A compressed value that does not decompress.
  EXPECT_EQ(verify([&](std::string* b) {
              const BlobPointer& pointer = good.items[1].pointer;
              ASSERT_LT(pointer.stored_length, pointer.raw_length);
              std::memset(b->data() + at(1) + size(1) - pointer.stored_length, 0xff,
                          pointer.stored_length);
              ResealFrame(b, kReadNumber, at(1), size(1));
            }),
            Code::kCorruption);
  // A frame that reaches beyond the frames.
  EXPECT_EQ(verify([&](std::string* b) {
              const size_t last = good.items.size() - 1;
              StoreLe<uint32_t>(b->data() + at(last) + 8, 1000);
              StoreLe<uint32_t>(b->data() + at(last) + 12, 1000);
              b->at(at(last) + 6) = 0;
              ResealFrame(b, kReadNumber, at(last), size(last));
            }),
            Code::kCorruption);
  // Nothing is allocated for what a length claims.
  EXPECT_EQ(verify([&](std::string* b) {
              StoreLe<uint32_t>(b->data() + at(0) + 8, kValueBytesMax);
              StoreLe<uint32_t>(b->data() + at(0) + 12, kValueBytesMax);
              ResealFrame(b, kReadNumber, at(0), size(0));
            }),
            Code::kCorruption);
}

TEST(BlobDamage, AMissingFile) {
  BlobEnv env;
  Ref<BlobFile> file;
  const Status s = env.Open({kReadNumber, 200, 1, 104, 5}, &file);
  EXPECT_TRUE(s.Is(Code::kCorruption)) << s.ToString();
  EXPECT_EQ(s.details()->path, env.Path(kReadNumber));
}

TEST(BlobDamage, TheFormatMayBeNewer) {
  TestRandom random;
  const Good good(&random);
  std::string bytes = good.bytes;
  bytes[8] = 2;
  StoreLe(bytes.data() + 28, Crc32cKeyed(kReadNumber, 0, Slice(bytes).Prefix(28)));
  BlobEnv env;
  env.WriteFile(kReadNumber, bytes);
  Ref<BlobFile> file;
  EXPECT_TRUE(env.Open(good.meta, &file).Is(Code::kFormatTooNew));
}

// Failed reads come out as they are, and the next one tries again.
TEST(BlobFile, AFailedReadIsNotRemembered) {
  TestRandom random;
  BlobEnv env;
  Items items = RandomItems(&random, 4, 100);
  const Ref<BlobFile> file = env.MustOpen(env.Write(kReadNumber, &items, {}));
  env.vfs.SetPlan({{FaultOp::kRead, PathClass::kBlob, 0, FaultKind::kEio, false}});
  BlobHit hit;
  EXPECT_TRUE(file->Get(items[0].key, items[0].pointer, kReadAny, &hit).Is(Code::kIoError));
  ASSERT_TRUE(file->Get(items[0].key, items[0].pointer, kReadAny, &hit).ok());
  EXPECT_EQ(hit.value, Slice(items[0].value));
}

// ---- files of both engines ----

// What the files of test/cases/blobs hold under key number i / 2: the engines wrote them once, 7
// (LZ4) and 8 (zstd) are of this one, 9 and 10 of the other.
std::string ValueOfCase(uint32_t i) {
  static const size_t kSizes[] = {1000, 600, 0, 300, 200000, 40};
  std::string value(kSizes[i], '\0');
  uint32_t noise = i;
  for (size_t at = 0; at < value.size(); at++) {
    noise = noise * 1664525 + 1013904223;
    value[at] = static_cast<char>(i % 2 == 0 ? i + at % 50 : noise >> 24);
  }
  return value;
}

TEST(BlobFile, FilesOfBothEnginesAreRead) {
  for (const uint64_t number : {7, 8, 9, 10}) {
    const std::string directory = SHALE_SOURCE_DIR "/test/cases/blobs";
    std::ifstream in(FileName(directory, FileKind::kBlob, number), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    ASSERT_GT(bytes.size(), kBlobFileOverhead) << number;
    BlobFooter footer;
    const uint64_t end = bytes.size() - kBlobFooterBytes;
    ASSERT_TRUE(DecodeBlobFooter(Slice(bytes).Skip(end), number, end, &footer).ok()) << number;
    BlobEnv env;
    env.WriteFile(number, bytes);
    const Ref<BlobFile> file = env.MustOpen(
        {number, bytes.size(), footer.item_count, footer.frame_bytes, footer.raw_bytes});
    EXPECT_TRUE(file->Verify().ok());
    BlobScanner scanner(file.get());
    BlobFrame frame;
    const Codec codec = number % 2 == 1 ? Codec::kLz4 : Codec::kZstd;
    for (uint32_t i = 0; i < 6; i++) {
      ASSERT_TRUE(scanner.Next(&frame)) << scanner.status().ToString();
      const std::string key = "key " + std::to_string(i / 2);
      EXPECT_EQ(frame.key, Slice(key));
      EXPECT_EQ(frame.seqno, 100 - i);
      const std::string value = ValueOfCase(i);
      EXPECT_EQ(frame.codec, i % 2 == 0 && i != 2 ? codec : Codec::kNone) << i;
      const BlobPointer pointer{number, scanner.offset(),
                                static_cast<uint32_t>(frame.stored.size()),
                                static_cast<uint32_t>(value.size())};
      BlobHit hit;
      ASSERT_TRUE(file->Get(key, pointer, kReadAny, &hit).ok()) << number << ": " << i;
      EXPECT_EQ(hit.value, Slice(value)) << number << ": " << i;
    }
    EXPECT_FALSE(scanner.Next(&frame));
  }
}

// ---- scanning and relocation ----

TEST(BlobScanner, AllFramesInOrderAlsoThoseLargerThanItsChunk) {
  TestRandom random;
  BlobEnv env;
  Items items = RandomItems(&random, 200, 4000);
  items[7].value.resize(BlobScanner::kChunkBytes * 2, '\1');
  items[8].value.resize(BlobScanner::kChunkBytes - 50, '\2');
  const Ref<BlobFile> file = env.MustOpen(env.Write(kReadNumber, &items, {Codec::kNone, 1000}));
  BlobScanner scanner(file.get());
  BlobFrame frame;
  for (const Item& item : items) {
    ASSERT_TRUE(scanner.Next(&frame)) << scanner.status().ToString();
    ASSERT_EQ(scanner.offset(), item.pointer.offset);
    ASSERT_EQ(frame.key, Slice(item.key));
    ASSERT_EQ(frame.seqno, item.seqno);
    ASSERT_EQ(frame.stored, Slice(item.value));
  }
  EXPECT_FALSE(scanner.Next(&frame));
  EXPECT_TRUE(scanner.status().ok());
  EXPECT_EQ(env.cache->stats().size, 0u);
}

TEST(BlobScanner, FramesMoveToAnotherFileAsTheyAreStored) {
  TestRandom random;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    BlobEnv env;
    Items items = RandomItems(&random, 300, 5000);
    const Ref<BlobFile> old_file = env.MustOpen(env.Write(kReadNumber, &items, {codec, 1000}));
    // Some of them, in their order, as an output meets them.
    Items kept;
    for (const Item& item : items) {
      if (random.OneIn(3)) kept.push_back(item);
    }
    std::unique_ptr<BlobWriter> writer;
    ASSERT_TRUE(
        BlobWriter::Create(&env.vfs, env.Path(kReadNumber + 1), kReadNumber + 1, {}, &writer).ok());
    BlobScanner scanner(old_file.get());
    for (Item& item : kept) {
      BlobFrame frame;
      const Status s = scanner.Get(item.key, item.pointer, &frame);
      ASSERT_TRUE(s.ok()) << s.ToString();
      const BlobPointer before = item.pointer;
      ASSERT_TRUE(writer->AddFrame(frame, &item.pointer).ok());
      ASSERT_EQ(item.pointer.stored_length, before.stored_length);
      ASSERT_EQ(item.pointer.raw_length, before.raw_length);
    }
    BlobFileMeta meta;
    ASSERT_TRUE(writer->Finish(&meta).ok());
    const Ref<BlobFile> file = env.MustOpen(meta);
    ASSERT_TRUE(file->Verify().ok());
    for (const Item& item : kept) {
      BlobHit hit;
      ASSERT_TRUE(file->Get(item.key, item.pointer, kReadAny, &hit).ok());
      ASSERT_EQ(hit.value, Slice(item.value));
    }
  }
}

}  // namespace
}  // namespace shale
