// What the tests of the database share: opening one in memory, reading it out, a model of it.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/epoch.h"
#include "db/database.h"
#include "support/seed.h"
#include "tree/cursor.h"
#include "vfs/mem_vfs.h"

namespace shale {

#define DB_ASSERT_OK(expr)                                         \
  do {                                                             \
    const ::shale::Status status_of_expr = (expr);                 \
    ASSERT_TRUE(status_of_expr.ok()) << status_of_expr.ToString(); \
  } while (0)
#define DB_EXPECT_OK(expr)                                         \
  do {                                                             \
    const ::shale::Status status_of_expr = (expr);                 \
    EXPECT_TRUE(status_of_expr.ok()) << status_of_expr.ToString(); \
  } while (0)

// What a keyspace, and a whole database, holds.
using Rows = std::map<std::string, std::string>;
using Contents = std::map<std::string, Rows>;

// Small enough that a few hundred writes rotate, flush and compact.
inline DatabaseOptions SmallOptions() {
  DatabaseOptions options;
  options.cache_size = 256 * 1024;
  options.max_open_files = 16;
  options.worker_threads = 1;
  options.max_journal_size = 64 * 1024;
  options.journal_compression = Codec::kLz4;
  return options;
}

inline TreeOptions SmallTreeOptions() {
  TreeOptions options;
  options.max_memtable_size = 8 * 1024;
  options.data_block_size = {512};
  options.strategy.target_size = 16 * 1024;
  options.strategy.level_ratio = {4};
  return options;
}

inline Status SmallTree(bool exists, TreeOptions* options) {
  if (!exists) *options = SmallTreeOptions();
  return Status::Ok();
}

inline Status OpenSmall(Vfs* vfs, uint64_t seed, const DatabaseOptions& options,
                        Ref<Database>* database, const std::string& path = "/db") {
  return Database::Open(vfs, MakeManualExecutor(vfs, seed), path, options, database);
}

inline Ref<Keyspace> MustOpenKeyspace(Database* database, const std::string& name) {
  Ref<Keyspace> keyspace;
  DB_EXPECT_OK(database->OpenKeyspace(name, SmallTree, &keyspace));
  return keyspace;
}

// All rows at `seqno`; a failure of the read is returned.
inline Status ReadRows(const Keyspace& keyspace, Ref<SuperVersion> pin, Seqno seqno, Rows* rows,
                       Cursor::Direction direction = Cursor::Direction::kForward) {
  Cursor cursor(std::move(pin), seqno, Bounds(), direction);
  static_cast<void>(keyspace);
  for (;;) {
    Code code = cursor.Next(ReadMode::kMayBlock);
    if (code == Code::kNotFound) return Status::Ok();
    if (code == Code::kOk) code = cursor.LoadValue(ReadMode::kMayBlock);
    if (code != Code::kOk) return cursor.status().ok() ? Status(code) : cursor.status();
    (*rows)[cursor.key().ToString()] = cursor.value().ToString();
  }
}

inline Status ReadAll(Database* database, Contents* contents) {
  for (const std::string& name : database->KeyspaceNames()) {
    const Ref<Keyspace> keyspace = database->FindKeyspace(name);
    const Ref<SuperVersion> pin = keyspace->tree()->Pin();
    Status status = ReadRows(*keyspace, pin, database->visible(), &(*contents)[name]);
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

// Point read at `seqno`: kNotFound, or the value.
inline Status ReadOne(const Keyspace& keyspace, Slice key, Seqno seqno, std::string* value) {
  const Ref<SuperVersion> pin = keyspace.tree()->Pin();
  TreeHit hit;
  Status status = keyspace.tree()->Get(pin.get(), key, seqno, ReadMode::kMayBlock, &hit);
  if (status.ok()) *value = hit.value.ToString();
  return status;
}

// Appends a row as an ingestion takes it.
inline void AppendRow(std::string* rows, Kind kind, Slice key, Slice value) {
  char header[kRowHeaderBytes] = {static_cast<char>(kind)};
  const auto key_length = static_cast<uint16_t>(key.size());
  const auto value_length = static_cast<uint32_t>(value.size());
  std::memcpy(header + 2, &key_length, sizeof key_length);
  std::memcpy(header + 4, &value_length, sizeof value_length);
  rows->append(header, sizeof header);
  rows->append(key.data(), key.size());
  rows->append(value.data(), value.size());
}

// A short account of how two contents differ, for the message of a failure.
inline std::string Difference(const Contents& expected, const Contents& actual) {
  std::string text;
  int shown = 0;
  const auto note = [&](const std::string& line) {
    if (shown++ < 5) text += line + "; ";
  };
  for (const auto& [name, rows] : expected) {
    const auto it = actual.find(name);
    if (it == actual.end()) {
      note("no keyspace " + name);
      continue;
    }
    for (const auto& [key, value] : rows) {
      const auto row = it->second.find(key);
      if (row == it->second.end()) {
        note(name + " lacks " + key);
      } else if (row->second != value) {
        note(name + " has another value at " + key);
      }
    }
    for (const auto& [key, value] : it->second) {
      if (rows.count(key) == 0) note(name + " has too many: " + key);
    }
  }
  for (const auto& [name, rows] : actual) {
    if (expected.count(name) == 0) note("unknown keyspace " + name);
  }
  return text + std::to_string(shown) + " differences";
}

inline void RunAll(Executor* executor) {
  while (executor->RunOne()) {
  }
}

// The same over so much time, a millisecond each.
inline void RunFor(uint64_t ms, Executor* executor, MemVfs* vfs) {
  for (uint64_t i = 0; i < ms; ++i) {
    RunAll(executor);
    vfs->AdvanceClock(1'000'000);
  }
  RunAll(executor);
}

}  // namespace shale
