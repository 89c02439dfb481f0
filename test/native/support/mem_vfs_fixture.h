// A machine in memory for tests of what a crash leaves.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "support/seed.h"
#include "vfs/mem_vfs.h"

namespace shale {

using Strings = std::vector<std::string>;

inline std::string Content(Vfs* vfs, const std::string& path) {
  std::unique_ptr<File> file;
  if (!vfs->Open(path, OpenMode::kRead, &file).ok()) return "(none)";
  std::string bytes(1 << 20, '?');
  size_t got = 0;
  EXPECT_TRUE(file->Read(0, bytes.size(), bytes.data(), &got).ok());
  bytes.resize(got);
  return bytes;
}

class MemVfsTest : public testing::Test {
 protected:
  MemVfsTest() : vfs_(TestSeed()) {}

  void SetUp() override {
    ASSERT_TRUE(vfs_.MakeDir("/d").ok());
    ASSERT_TRUE(vfs_.SyncDir("/").ok());
  }

  std::unique_ptr<File> Create(const std::string& path) {
    std::unique_ptr<File> file;
    EXPECT_TRUE(vfs_.Open(path, OpenMode::kCreateNew, &file).ok());
    return file;
  }
  // A file whose first content and name are durable.
  std::unique_ptr<File> CreateDurable(const std::string& path, Slice content) {
    std::unique_ptr<File> file = Create(path);
    EXPECT_TRUE(file->Write(0, content).ok());
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_TRUE(vfs_.SyncDir("/d").ok());
    return file;
  }
  std::unique_ptr<MemVfs> Crash(const CrashPolicy& policy, uint64_t seed = 1) {
    return vfs_.CrashClone(policy, seed);
  }
  std::string After(const CrashPolicy& policy, const std::string& path, uint64_t seed = 1) {
    return Content(Crash(policy, seed).get(), path);
  }
  static Strings Names(Vfs* vfs) {
    Strings names;
    EXPECT_TRUE(vfs->List("/d", &names).ok());
    return names;
  }
  Strings NamesAfter(const CrashPolicy& policy, uint64_t seed = 1) {
    return Names(Crash(policy, seed).get());
  }

  MemVfs vfs_;
};

}  // namespace shale
