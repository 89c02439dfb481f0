// Which index structure should stand behind a memtable, and what does an entry cost in it?
//
// Both structures, filled in random and in ascending order, 100,000 and 1,000,000 entries with
// values of 100 bytes. Key shapes: decimal ("key" and 13 digits, the shape of the other
// benchmarks), binary (16 random bytes), place (a name, a country and a number: long shared
// prefixes of uneven length). A row reads <what>/<structure>/<shape>/<entries>; time is that of one
// item. Every read is checked.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "memtable/memtable.h"

namespace {

using shale::Entry;
using shale::Kind;
using shale::Memtable;
using shale::MemtableKind;
using shale::Ref;
using shale::Slice;

constexpr size_t kValueBytes = 100;

enum class Shape { kDecimal, kBinary, kPlace };
enum class Order { kRandom, kAscending };

std::string MakeKey(Shape shape, size_t i, std::mt19937_64* random) {
  static const char* const kStems[] = {"san ", "santa ", "saint-", "new ", "villa", "north ", "el ",
                                       "la ",  "bad ",   "port ",  "",     "",      "",       ""};
  static const char* const kEnds[] = {"ville", "ton", "burg", "field", " city", "o", "a", ""};
  char text[64];
  std::string key;
  switch (shape) {
    case Shape::kDecimal:
      std::snprintf(text, sizeof text, "key%013zu", i);
      return text;
    case Shape::kBinary:
      for (int word = 0; word < 2; ++word) {
        const uint64_t bits = (*random)();
        key.append(reinterpret_cast<const char*>(&bits), sizeof bits);
      }
      return key;
    case Shape::kPlace:
      key = kStems[(*random)() % std::size(kStems)];
      for (size_t n = 2 + (*random)() % 5; n > 0; --n) {
        key += "bcdfglmnprstvz"[(*random)() % 14];
        key += "aeiou"[(*random)() % 5];
      }
      key += kEnds[(*random)() % std::size(kEnds)];
      std::snprintf(text, sizeof text, "|%c%c|%zu", static_cast<char>('A' + (*random)() % 26),
                    static_cast<char>('A' + (*random)() % 26), i);
      return key + text;
  }
  return key;
}

// Keys in one buffer, so that producing the next one costs nothing worth mentioning.
struct KeySet {
  std::string bytes;
  std::vector<uint32_t> ends;

  explicit KeySet(const std::vector<std::string>& keys) {
    for (const std::string& key : keys) {
      bytes += key;
      ends.push_back(static_cast<uint32_t>(bytes.size()));
    }
  }
  size_t size() const { return ends.size(); }
  Slice operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return {bytes.data() + begin, ends[i] - begin};
  }
};

struct Keys {
  std::unique_ptr<KeySet> ascending;
  std::unique_ptr<KeySet> inserted;  // random order
  std::unique_ptr<KeySet> read;      // another random order
  std::unique_ptr<KeySet> absent;
};

const Keys& KeysOf(Shape shape, size_t count) {
  static Keys keys;
  static Shape present_shape;
  static size_t present_count = 0;
  if (present_count == count && present_shape == shape) return keys;
  std::mt19937_64 random(count);
  std::vector<std::string> all;
  for (size_t i = 0; i < count; ++i) all.push_back(MakeKey(shape, i, &random));
  std::sort(all.begin(), all.end());
  keys.ascending = std::make_unique<KeySet>(all);
  std::shuffle(all.begin(), all.end(), random);
  keys.inserted = std::make_unique<KeySet>(all);
  std::shuffle(all.begin(), all.end(), random);
  keys.read = std::make_unique<KeySet>(all);
  for (std::string& key : all) key += 'x';
  keys.absent = std::make_unique<KeySet>(all);
  present_shape = shape;
  present_count = count;
  return keys;
}

struct Case {
  MemtableKind kind;
  Shape shape;
  size_t count;
};

void Fill(Memtable* table, const KeySet& keys) {
  static const std::string value(kValueBytes, 'v');
  for (size_t i = 0; i < keys.size(); ++i) table->Add(keys[i], value, i + 1, Kind::kValue);
}

// One filled table is kept between the benchmarks that read it.
const Memtable& Filled(const Case& c, Order order) {
  static Ref<Memtable> table;
  static Case present{};
  static Order present_order;
  if (!table || present.kind != c.kind || present.shape != c.shape || present.count != c.count ||
      present_order != order) {
    table.reset();
    table = Memtable::Create(c.kind, 1);
    const Keys& keys = KeysOf(c.shape, c.count);
    Fill(table.get(), order == Order::kRandom ? *keys.inserted : *keys.ascending);
    present = c;
    present_order = order;
  }
  return *table;
}

void Report(benchmark::State& state, size_t items) {
  using benchmark::Counter;
  state.counters["per_item"] =
      Counter(static_cast<double>(items), Counter::kIsIterationInvariantRate | Counter::kInvert);
}

void Insert(benchmark::State& state, const Case& c, Order order) {
  const Keys& keys = KeysOf(c.shape, c.count);
  const KeySet& set = order == Order::kRandom ? *keys.inserted : *keys.ascending;
  double over = 0;
  double reserved = 0;
  for (auto _ : state) {
    Ref<Memtable> table = Memtable::Create(c.kind, 1);
    Fill(table.get(), set);
    state.PauseTiming();
    const double n = static_cast<double>(set.size());
    const double payload = static_cast<double>(set.bytes.size()) + n * kValueBytes;
    over = (static_cast<double>(table->used_bytes()) - payload) / n;
    reserved = (static_cast<double>(table->reserved_bytes()) - payload) / n;
    table.reset();
    state.ResumeTiming();
  }
  state.counters["used_over"] = over;
  state.counters["reserved_over"] = reserved;
  Report(state, set.size());
}

void Get(benchmark::State& state, const Case& c, const KeySet& set, bool present) {
  const Memtable& table = Filled(c, Order::kRandom);
  for (auto _ : state) {
    size_t found = 0;
    Entry entry;
    for (size_t i = 0; i < set.size(); ++i) {
      if (table.Get(set[i], shale::kReadAll, &entry)) found += entry.value.size();
    }
    if (found != (present ? set.size() * kValueBytes : 0)) state.SkipWithError("wrong result");
  }
  Report(state, set.size());
}

// The next key is known only once the last value has been read, as in a caller's loop.
void GetDependent(benchmark::State& state, const Case& c) {
  const KeySet& set = *KeysOf(c.shape, c.count).read;
  const Memtable& table = Filled(c, Order::kRandom);
  for (auto _ : state) {
    size_t wrong = 0;
    Entry entry;
    for (size_t i = 0; i < set.size(); ++i) {
      wrong += !table.Get(set[i + wrong], shale::kReadAll, &entry);
      wrong += entry.value[kValueBytes - 1] != 'v';
    }
    if (wrong != 0) state.SkipWithError("wrong result");
  }
  Report(state, set.size());
}

void GetMany(benchmark::State& state, const Case& c) {
  constexpr size_t kGroup = 16;
  const KeySet& set = *KeysOf(c.shape, c.count).read;
  const Memtable& table = Filled(c, Order::kRandom);
  for (auto _ : state) {
    size_t found = 0;
    Entry entry;
    for (size_t i = 0; i < set.size(); i += kGroup) {
      const size_t end = std::min(i + kGroup, set.size());
      for (size_t j = i; j < end; ++j) table.Prefetch(set[j]);
      for (size_t j = i; j < end; ++j) found += table.Get(set[j], shale::kReadAll, &entry);
    }
    if (found != set.size()) state.SkipWithError("wrong result");
  }
  Report(state, set.size());
}

// Key and value are copied out, as the door does it.
void Scan(benchmark::State& state, const Case& c, Order order, bool forward) {
  const Memtable& table = Filled(c, order);
  std::vector<char> out(64 << 10);
  for (auto _ : state) {
    const auto it = table.NewIterator();
    size_t count = 0;
    size_t at = 0;
    for (forward ? it->SeekToFirst() : it->SeekToLast(); it->valid();
         forward ? it->Next() : it->Prev()) {
      const Entry& entry = it->entry();
      if (at + entry.key.size() + entry.value.size() > out.size()) at = 0;
      std::copy(entry.key.begin(), entry.key.end(), out.data() + at);
      at += entry.key.size();
      std::copy(entry.value.begin(), entry.value.end(), out.data() + at);
      at += entry.value.size();
      ++count;
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
    if (count != c.count) state.SkipWithError("wrong count");
  }
  Report(state, c.count);
}

// A seek to a random key and `length` steps; time is that of one item.
void ShortScan(benchmark::State& state, const Case& c, size_t length) {
  const KeySet& set = *KeysOf(c.shape, c.count).read;
  const Memtable& table = Filled(c, Order::kRandom);
  const size_t scans = set.size() / length;
  for (auto _ : state) {
    const auto it = table.NewIterator();
    size_t bytes = 0;
    for (size_t i = 0; i < scans; ++i) {
      it->Seek(set[i], shale::kTagNewest);
      for (size_t n = 0; n < length && it->valid(); ++n, it->Next()) {
        bytes += it->entry().value.size();
      }
    }
    benchmark::DoNotOptimize(bytes);
  }
  Report(state, scans * length);
}

// Old versions under one key with half a million of them; seqnos added in ascending or random
// order.
void Versions(benchmark::State& state, MemtableKind kind, Order order) {
  constexpr size_t kVersions = 500'000;
  std::vector<shale::Seqno> seqnos(kVersions);
  for (size_t i = 0; i < kVersions; ++i) seqnos[i] = i + 1;
  std::mt19937_64 random(1);
  if (order == Order::kRandom) std::shuffle(seqnos.begin(), seqnos.end(), random);
  for (auto _ : state) {
    const Ref<Memtable> table = Memtable::Create(kind, 1);
    for (const shale::Seqno seqno : seqnos) table->Add("key", "value", seqno, Kind::kValue);
    Entry entry;
    for (const shale::Seqno seqno : seqnos) {
      if (!table->Get("key", seqno + 1, &entry) || entry.seqno() != seqno) {
        state.SkipWithError("wrong version");
      }
    }
  }
  Report(state, kVersions);
}

// On a shared machine the least of several runs (--benchmark_repetitions) says most.
double Least(const std::vector<double>& runs) {
  return *std::min_element(runs.begin(), runs.end());
}

void Register(MemtableKind kind, Shape shape, size_t count) {
  const Case c{kind, shape, count};
  const std::string tail = std::string(kind == MemtableKind::kRadix ? "/radix" : "/skiplist") +
                           (shape == Shape::kDecimal  ? "/decimal/"
                            : shape == Shape::kBinary ? "/binary/"
                                                      : "/place/") +
                           std::to_string(count);
  auto add = [&](const char* name, std::function<void(benchmark::State&)> run) {
    benchmark::RegisterBenchmark((name + tail).c_str(), run)
        ->Unit(benchmark::kMillisecond)
        ->ComputeStatistics("min", Least);
  };
  add("insert_random", [c](auto& s) { Insert(s, c, Order::kRandom); });
  add("insert_ascending", [c](auto& s) { Insert(s, c, Order::kAscending); });
  add("get_random", [c](auto& s) { Get(s, c, *KeysOf(c.shape, c.count).read, true); });
  add("get_dependent", [c](auto& s) { GetDependent(s, c); });
  add("get_ascending", [c](auto& s) { Get(s, c, *KeysOf(c.shape, c.count).ascending, true); });
  add("get_absent", [c](auto& s) { Get(s, c, *KeysOf(c.shape, c.count).absent, false); });
  add("get_many_16", [c](auto& s) { GetMany(s, c); });
  add("seek_1", [c](auto& s) { ShortScan(s, c, 1); });
  add("scan_100", [c](auto& s) { ShortScan(s, c, 100); });
  add("scan_forward", [c](auto& s) { Scan(s, c, Order::kRandom, true); });
  add("scan_backward", [c](auto& s) { Scan(s, c, Order::kRandom, false); });
  add("scan_built_ascending", [c](auto& s) { Scan(s, c, Order::kAscending, true); });
}

[[maybe_unused]] const bool registered = [] {
  for (const MemtableKind kind : {MemtableKind::kRadix, MemtableKind::kSkiplist}) {
    for (const Shape shape : {Shape::kDecimal, Shape::kBinary, Shape::kPlace}) {
      for (const size_t count : {size_t{100'000}, size_t{1'000'000}}) Register(kind, shape, count);
    }
    const char* const name = kind == MemtableKind::kRadix ? "/radix" : "/skiplist";
    for (const Order order : {Order::kAscending, Order::kRandom}) {
      const char* const how = order == Order::kRandom ? "versions_random" : "versions_ascending";
      benchmark::RegisterBenchmark((std::string(how) + name).c_str(), [kind, order](auto& s) {
        Versions(s, kind, order);
      })->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
