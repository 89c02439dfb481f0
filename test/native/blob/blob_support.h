// What the tests of blob files share: values, files in memory, and a judge of damage.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/cache.h"
#include "base/crc32c.h"
#include "blob/blob_file.h"
#include "blob/blob_output.h"
#include "blob/blob_scanner.h"
#include "blob/blob_writer.h"
#include "support/seed.h"
#include "vfs/fault_vfs.h"
#include "vfs/file_cache.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
inline namespace blob_test {

// A value with its entry and, once it is written, its pointer.
struct Item {
  std::string key;
  Seqno seqno = 0;
  std::string value;
  BlobPointer pointer;
};
using Items = std::vector<Item>;

// In internal order: several versions of some keys, values that compress and values that do not.
inline Items RandomItems(TestRandom* random, size_t count, size_t value_max) {
  Items items;
  for (size_t i = 0; i < count; i++) {
    Item item;
    item.key = "key" + std::to_string(100000 + i / 2);
    item.seqno = 1000 - i;
    item.value.assign(random->Below(value_max + 1), 'v');
    if (random->OneIn(2)) {
      for (char& c : item.value) c = static_cast<char>(random->Next());
    }
    items.push_back(std::move(item));
  }
  return items;
}

inline constexpr ReadContext kReadAny{ReadMode::kMayBlock, true, 0};
inline constexpr ReadContext kMemoryOnly{ReadMode::kMemoryOnly, true, 0};
inline constexpr ReadContext kBypass{ReadMode::kMayBlock, false, 0};

// A directory of blob files in memory, with faults on request.
struct BlobEnv {
  explicit BlobEnv(uint64_t cache_bytes = 8 << 20)
      : cache(std::make_shared<Cache>(cache_bytes)), files(std::make_shared<FileCache>(&vfs, 16)) {
    EXPECT_TRUE(memory.MakeDir("/db").ok());
    context = {&vfs, "/db", cache, files};
  }

  std::string Path(uint64_t number) const { return FileName("/db", FileKind::kBlob, number); }

  BlobFileMeta Write(uint64_t number, Items* items, const BlobWriteOptions& options) {
    std::unique_ptr<BlobWriter> writer;
    BlobFileMeta meta;
    EXPECT_TRUE(BlobWriter::Create(&vfs, Path(number), number, options, &writer).ok());
    for (Item& item : *items) {
      const Status s = writer->Add(item.key, item.seqno, item.value, &item.pointer);
      EXPECT_TRUE(s.ok()) << s.ToString();
    }
    const uint64_t size = writer->size();
    const Status s = writer->Finish(&meta);
    EXPECT_TRUE(s.ok()) << s.ToString();
    EXPECT_EQ(meta.size, size);
    return meta;
  }
  Status Open(const BlobFileMeta& meta, Ref<BlobFile>* file) {
    return BlobFile::Open(context, meta, counters, file);
  }
  Ref<BlobFile> MustOpen(const BlobFileMeta& meta) {
    Ref<BlobFile> file;
    const Status s = Open(meta, &file);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return file;
  }

  bool Exists(uint64_t number) {
    FileInfo info;
    return memory.Stat(Path(number), &info).ok();
  }
  std::string ReadFile(uint64_t number) {
    std::unique_ptr<File> file;
    uint64_t size = 0;
    size_t got = 0;
    EXPECT_TRUE(memory.Open(Path(number), OpenMode::kRead, &file).ok());
    EXPECT_TRUE(file->Size(&size).ok());
    std::string bytes(size, '\0');
    EXPECT_TRUE(file->Read(0, size, bytes.data(), &got).ok());
    EXPECT_EQ(got, size);
    return bytes;
  }
  void WriteFile(uint64_t number, const std::string& bytes) {
    files->Evict(number);
    std::unique_ptr<File> file;
    static_cast<void>(memory.Remove(Path(number)));
    EXPECT_TRUE(memory.Open(Path(number), OpenMode::kCreateNew, &file).ok());
    EXPECT_TRUE(file->Write(0, bytes).ok());
  }

  MemVfs memory;
  FaultVfs vfs{&memory};
  std::shared_ptr<Cache> cache;
  std::shared_ptr<FileCache> files;
  BlobContext context;
  std::shared_ptr<BlobCounters> counters = std::make_shared<BlobCounters>();
};

// Makes the checksum of the frame at `offset` right again.
inline void ResealFrame(std::string* file, uint64_t number, uint64_t offset, uint64_t size) {
  char* frame = file->data() + offset;
  StoreLe(frame, Crc32cKeyed(number, offset, Slice(frame + 4, size - 4)));
}

// The same for the footer.
inline void ResealFooter(std::string* file, uint64_t number) {
  const uint64_t offset = file->size() - kBlobFooterBytes;
  char* footer = file->data() + offset;
  StoreLe(footer + 60, Crc32cKeyed(number, offset, Slice(footer, 60)));
}

}  // namespace blob_test
}  // namespace shale
