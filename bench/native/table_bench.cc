// What a table costs when everything it needs is in memory, and what loading a block costs.
//
// Keys are "key" and 13 digits, values 100 bytes of which about half compress, in a permuted order;
// every hit is checked. One table holds all entries, so these are figures of the table alone.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/hash.h"
#include "table/data_block.h"
#include "table/table_reader.h"
#include "table/table_writer.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

std::string KeyOf(uint64_t i) {
  char key[32];
  std::snprintf(key, sizeof key, "key%013llu", static_cast<unsigned long long>(i));
  return key;
}

std::string ValueOf(uint64_t i) {
  std::string value(100, 'x');
  std::mt19937_64 random(i);
  for (size_t n = 0; n < 48; n++) value[n] = static_cast<char>(random());
  std::memcpy(value.data(), &i, sizeof i);
  return value;
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "table_bench: %s\n", what);
  std::abort();
}

// A table of the even numbers below 2 * count.
struct Fixture {
  Fixture(uint64_t entries, const TableWriteOptions& options, uint64_t cache_bytes)
      : count(entries),
        cache(std::make_shared<Cache>(cache_bytes)),
        files(std::make_shared<FileCache>(&vfs, 8)) {
    Require(vfs.MakeDir("/db").ok(), "MakeDir");
    std::unique_ptr<TableWriter> writer;
    Require(
        TableWriter::Create(&vfs, FileName("/db", FileKind::kTable, 1), 1, options, &writer).ok(),
        "Create");
    for (uint64_t i = 0; i < count; i++) {
      const std::string key = KeyOf(2 * i);
      const std::string value = ValueOf(2 * i);
      Require(writer->Add({key, value, MakeTag(i + 1, Kind::kValue)}).ok(), "Add");
    }
    Require(writer->Finish(&meta).ok(), "Finish");
    const TableContext context{&vfs, "/db", cache, files};
    Require(TableReader::Open(context, meta, {}, std::make_shared<TableCounters>(), &table).ok(),
            "Open");
    for (uint64_t i = 0; i < count; i++) {
      const uint64_t n = (i * 2654435761u + 12345) % count;
      present.push_back(KeyOf(2 * n));
      absent.push_back(KeyOf(2 * n + 1));
    }
    // Three passes, so that the cache promotes everything to its main queue.
    for (int pass = 0; pass < 3; pass++) {
      auto it = table->NewIterator(&warm);
      for (it->SeekToFirst(); it->valid(); it->Next()) {
      }
    }
  }

  const uint64_t count;
  MemVfs vfs;
  std::shared_ptr<Cache> cache;
  std::shared_ptr<FileCache> files;
  TableMeta meta;
  Ref<TableReader> table;
  const ReadContext warm;
  std::vector<std::string> present;
  std::vector<std::string> absent;
};

Fixture& Cached(uint64_t count) {
  static std::map<uint64_t, std::unique_ptr<Fixture>> fixtures;
  std::unique_ptr<Fixture>& fixture = fixtures[count];
  if (!fixture) {
    fixture = std::make_unique<Fixture>(count, TableWriteOptions(), uint64_t{1} << 30);
  }
  return *fixture;
}

constexpr ReadContext kMemory{ReadMode::kMemoryOnly, true, 0};

void GetRandom(benchmark::State& state) {
  Fixture& f = Cached(static_cast<uint64_t>(state.range(0)));
  size_t i = 0;
  uint64_t sum = 0;
  for (auto _ : state) {
    const std::string& key = f.present[i];
    const EpochGuard guard;
    TableHit hit;
    const Status status = f.table->Get(key, Hash64(key), kReadAll, kMemory, &hit);
    if (!status.ok()) state.SkipWithError("a key is missing");
    sum += LoadLe<uint64_t>(hit.entry.value.data());
    if (++i == f.present.size()) i = 0;
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(GetRandom)->Arg(100000)->Arg(1000000);

// The next key is known only when the value of the one before has been read.
void GetRandomDependent(benchmark::State& state) {
  Fixture& f = Cached(static_cast<uint64_t>(state.range(0)));
  size_t i = 0;
  for (auto _ : state) {
    const std::string& key = f.present[i];
    const EpochGuard guard;
    TableHit hit;
    const Status status = f.table->Get(key, Hash64(key), kReadAll, kMemory, &hit);
    if (!status.ok()) state.SkipWithError("a key is missing");
    const auto value = LoadLe<uint64_t>(hit.entry.value.data());
    i = i + 1 + (value & 1);  // always one, but the processor does not know
    if (i >= f.present.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(GetRandomDependent)->Arg(100000)->Arg(1000000);

void GetAbsent(benchmark::State& state) {
  Fixture& f = Cached(static_cast<uint64_t>(state.range(0)));
  size_t i = 0;
  for (auto _ : state) {
    const std::string& key = f.absent[i];
    const EpochGuard guard;
    TableHit hit;
    const Status status = f.table->Get(key, Hash64(key), kReadAll, kMemory, &hit);
    if (!status.Is(Code::kNotFound)) state.SkipWithError("a key is there");
    if (++i == f.absent.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(GetAbsent)->Arg(100000)->Arg(1000000);

void ScanForward(benchmark::State& state) {
  Fixture& f = Cached(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) {
    auto it = f.table->NewIterator(&kMemory);
    uint64_t n = 0;
    uint64_t sum = 0;
    for (it->SeekToFirst(); it->valid(); it->Next()) {
      n++;
      sum += it->entry().key.size() + static_cast<uint8_t>(it->entry().value.data()[0]);
    }
    if (n != f.count || !it->status().ok()) state.SkipWithError("entries are missing");
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(ScanForward)->Arg(100000)->Arg(1000000);

void ScanBackward(benchmark::State& state) {
  Fixture& f = Cached(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) {
    auto it = f.table->NewIterator(&kMemory);
    uint64_t n = 0;
    uint64_t sum = 0;
    for (it->SeekToLast(); it->valid(); it->Prev()) {
      n++;
      sum += it->entry().key.size() + static_cast<uint8_t>(it->entry().value.data()[0]);
    }
    if (n != f.count || !it->status().ok()) state.SkipWithError("entries are missing");
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(ScanBackward)->Arg(100000)->Arg(1000000);

void SeekRandom(benchmark::State& state) {
  Fixture& f = Cached(static_cast<uint64_t>(state.range(0)));
  auto it = f.table->NewIterator(&kMemory);
  size_t i = 0;
  for (auto _ : state) {
    it->Seek(f.absent[i], kTagNewest);
    benchmark::DoNotOptimize(it->valid());
    if (++i == f.absent.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(SeekRandom)->Arg(100000);

// Nothing cached: one block is read, checked and parsed for every key. Argument: the codec.
void GetUncached(benchmark::State& state) {
  TableWriteOptions options;
  options.codec = static_cast<Codec>(state.range(0));
  Fixture f(20000, options, 0);
  size_t i = 0;
  for (auto _ : state) {
    const std::string& key = f.present[i];
    TableHit hit;
    const Status status = f.table->Get(key, Hash64(key), kReadAll, ReadContext(), &hit);
    if (!status.ok()) state.SkipWithError("a key is missing");
    if (++i == f.present.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(GetUncached)->Arg(0)->Arg(1)->Arg(2);

// A scan as compaction does it: past the cache.
void ScanPastCache(benchmark::State& state) {
  Fixture f(100000, TableWriteOptions(), 0);
  const ReadContext context{ReadMode::kMayBlock, false, 0};
  for (auto _ : state) {
    auto it = f.table->NewIterator(&context);
    uint64_t n = 0;
    for (it->SeekToFirst(); it->valid(); it->Next()) n++;
    if (n != f.count || !it->status().ok()) state.SkipWithError("entries are missing");
  }
  state.SetItemsProcessed(state.iterations() * 100000);
}
BENCHMARK(ScanPastCache);

void ParseDataBlock(benchmark::State& state) {
  DataBlockBuilder builder(16, 0);
  for (uint64_t i = 0; builder.entry_bytes() < 4096; i++) {
    const std::string key = KeyOf(i);
    const std::string value = ValueOf(i);
    builder.Add({key, value, MakeTag(i + 1, Kind::kValue)}, true, Hash64(key));
  }
  const Slice raw = builder.Finish();
  BlockBuffer buffer;
  for (auto _ : state) {
    Ref<DataBlock> block;
    if (!DataBlock::Parse(raw, &buffer, &block).ok()) state.SkipWithError("does not parse");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(raw.size()));
}
BENCHMARK(ParseDataBlock);

void WriteTable(benchmark::State& state) {
  TableWriteOptions options;
  options.codec = static_cast<Codec>(state.range(0));
  MemVfs vfs;
  Require(vfs.MakeDir("/db").ok(), "MakeDir");
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (uint64_t i = 0; i < 100000; i++) {
    keys.push_back(KeyOf(i));
    values.push_back(ValueOf(i));
  }
  uint64_t number = 0;
  for (auto _ : state) {
    const std::string path = FileName("/db", FileKind::kTable, ++number);
    std::unique_ptr<TableWriter> writer;
    TableMeta meta;
    Require(TableWriter::Create(&vfs, path, number, options, &writer).ok(), "Create");
    for (size_t i = 0; i < keys.size(); i++) {
      Require(writer->Add({keys[i], values[i], MakeTag(i + 1, Kind::kValue)}).ok(), "Add");
    }
    Require(writer->Finish(&meta).ok(), "Finish");
    Require(vfs.Remove(path).ok(), "Remove");
  }
  state.SetItemsProcessed(state.iterations() * 100000);
}
BENCHMARK(WriteTable)->Arg(0)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace shale
