// What the tests of tables share: a model of records, tables in memory, and files to damage.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/cache.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/internal_key.h"
#include "support/seed.h"
#include "table/table_format.h"
#include "table/table_reader.h"
#include "table/table_writer.h"
#include "vfs/fault_vfs.h"
#include "vfs/file_cache.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
inline namespace table_test {

// One version, owning its bytes.
struct Record {
  std::string key;
  Seqno seqno = 0;
  Kind kind = Kind::kValue;
  std::string value;

  Entry entry() const { return {key, value, MakeTag(seqno, kind)}; }
};

inline bool Before(const Record& a, Slice key, Seqno seqno) {
  const int c = Slice(a.key).Compare(key);
  return c != 0 ? c < 0 : a.seqno > seqno;
}
inline bool InOrder(const Record& a, const Record& b) { return Before(a, b.key, b.seqno); }
inline bool operator==(const Record& a, const Record& b) {
  return std::tie(a.key, a.seqno, a.kind, a.value) == std::tie(b.key, b.seqno, b.kind, b.value);
}
inline Record ToRecord(const Entry& e) {
  return {e.key.ToString(), e.seqno(), e.kind(), e.value.ToString()};
}
// Names a version in a failure without printing all of its bytes.
inline std::ostream& operator<<(std::ostream& out, const Record& v) {
  return out << testing::PrintToString(v.key.substr(0, 40)) << " @" << v.seqno << " kind "
             << static_cast<int>(v.kind) << ", " << v.value.size() << " bytes";
}

// Sorted records without duplicates of (key, seqno).
using Records = std::vector<Record>;
inline void Sort(Records* records) {
  std::sort(records->begin(), records->end(), InOrder);
  const auto equal = [](const Record& a, const Record& b) {
    return a.key == b.key && a.seqno == b.seqno;
  };
  records->erase(std::unique(records->begin(), records->end(), equal), records->end());
}
inline size_t LowerBound(const Records& records, Slice key, Seqno seqno) {
  const auto it = std::partition_point(records.begin(), records.end(),
                                       [&](const Record& v) { return Before(v, key, seqno); });
  return static_cast<size_t>(it - records.begin());
}
// What a read of `key` at `read_seqno` must find; null if nothing.
inline const Record* Visible(const Records& records, Slice key, Seqno read_seqno) {
  if (read_seqno == 0) return nullptr;
  const size_t i = LowerBound(records, key, read_seqno - 1);
  return i < records.size() && Slice(records[i].key) == key ? &records[i] : nullptr;
}

// Keys with shared prefixes, binary bytes, common lengths and a few long ones.
inline std::string RandomKey(TestRandom* random, uint64_t space) {
  static const char* const kPrefixes[] = {"", "user:", "user:000000000000", "\xff\xff", "a"};
  std::string key = kPrefixes[random->Below(5)];
  const uint64_t n = random->Below(space);
  switch (random->Below(5)) {
    case 0:
      key += std::to_string(n);
      break;
    case 1: {
      uint64_t big = __builtin_bswap64(n);
      key.append(reinterpret_cast<char*>(&big), 8);
      break;
    }
    case 2:
      key.append(n % 40, '\0');
      key.push_back(static_cast<char>(n));
      break;
    case 3:
      key.append(n % 300, static_cast<char>(n % 3));
      break;
    default:
      key += "key" + std::string(13 - std::to_string(n).size(), '0') + std::to_string(n);
  }
  return key.empty() ? std::string(1, static_cast<char>(n)) : key;
}

inline std::string RandomValue(TestRandom* random, size_t size_max) {
  std::string value(random->Below(size_max + 1), 'v');
  for (size_t i = 0; i < value.size() && i < 8; i++) value[i] = static_cast<char>(random->Next());
  return value;
}

inline Records RandomRecords(TestRandom* random, size_t count, uint64_t key_space,
                             size_t value_max) {
  Records records;
  for (size_t i = 0; i < count; i++) {
    Record v{RandomKey(random, key_space), random->Below(3 * count), Kind::kValue, ""};
    const uint64_t kind = random->Below(10);
    if (kind == 0) v.kind = Kind::kTombstone;
    if (kind == 1) v.kind = Kind::kWeakTombstone;
    if (v.kind == Kind::kValue) v.value = RandomValue(random, value_max);
    records.push_back(std::move(v));
  }
  Sort(&records);
  return records;
}

inline constexpr ReadContext kReadAny{ReadMode::kMayBlock, true, 0};
inline constexpr ReadContext kMemoryOnly{ReadMode::kMemoryOnly, true, 0};
inline constexpr ReadContext kBypass{ReadMode::kMayBlock, false, 0};

// A directory of tables in memory, with faults on request.
struct TableEnv {
  explicit TableEnv(uint64_t cache_bytes = 8 << 20)
      : cache(std::make_shared<Cache>(cache_bytes)), files(std::make_shared<FileCache>(&vfs, 16)) {
    EXPECT_TRUE(memory.MakeDir("/db").ok());
    context = {&vfs, "/db", cache, files};
  }

  std::string Path(uint64_t number) const { return FileName("/db", FileKind::kTable, number); }

  TableMeta Write(uint64_t number, const Records& records, const TableWriteOptions& options) {
    std::unique_ptr<TableWriter> writer;
    TableMeta meta;
    EXPECT_TRUE(TableWriter::Create(&vfs, Path(number), number, options, &writer).ok());
    for (const Record& v : records) {
      const Status status = writer->Add(v.entry());
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
    const Status status = writer->Finish(&meta);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return meta;
  }
  Status Open(const TableMeta& meta, const TableOpenOptions& options, Ref<TableReader>* reader) {
    return TableReader::Open(context, meta, options, counters, reader);
  }
  Ref<TableReader> MustOpen(const TableMeta& meta, const TableOpenOptions& options = {}) {
    Ref<TableReader> reader;
    const Status status = Open(meta, options, &reader);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return reader;
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
  TableContext context;
  std::shared_ptr<TableCounters> counters = std::make_shared<TableCounters>();
};

// All that an iterator yields, forward or backward, in forward order.
inline Status Collect(Iterator* it, bool backward, Records* out) {
  out->clear();
  if (backward) {
    for (it->SeekToLast(); it->valid(); it->Prev()) out->push_back(ToRecord(it->entry()));
    std::reverse(out->begin(), out->end());
  } else {
    for (it->SeekToFirst(); it->valid(); it->Next()) out->push_back(ToRecord(it->entry()));
  }
  return it->status();
}

// Makes the trailer of an uncompressed block match its bytes again.
inline void Reseal(std::string* file, BlockHandle handle, uint64_t file_number) {
  const SealedBlock sealed = SealBlock(Slice(file->data() + handle.offset, handle.length),
                                       Codec::kNone, file_number, handle.offset, nullptr);
  std::memcpy(file->data() + handle.offset + handle.length, sealed.trailer.data(),
              kBlockTrailerBytes);
}
inline TableFooter FooterOf(const std::string& file, uint64_t file_number) {
  TableFooter footer;
  const uint64_t offset = file.size() - kTableFooterBytes;
  EXPECT_TRUE(DecodeTableFooter(Slice(file).Skip(offset), file_number, offset, &footer).ok());
  return footer;
}

}  // namespace table_test
}  // namespace shale
