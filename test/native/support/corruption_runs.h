// Directories with damaged bytes, and the oracle for what reading them may give.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/crash_workload.h"

namespace shale {

// A directory as a killed process leaves it, with files of every kind, and what it holds.
class Specimen {
 public:
  explicit Specimen(uint64_t seed);
  // With a table whose data blocks all have the same size.
  static Specimen WithEqualBlocks(uint64_t seed);

  struct NamedFile {
    std::string path;
    uint64_t size = 0;
    uint64_t needed = 0;  // bytes from the start that the directory depends on
  };
  const std::vector<NamedFile>& files() const { return files_; }
  const History& history() const { return history_; }
  std::unique_ptr<MemVfs> Clone() const;

  // Changes bytes of a file in a clone.
  using Change = std::function<void(std::string* bytes)>;
  std::unique_ptr<MemVfs> Damaged(const NamedFile& file, const Change& change) const;

  // Opens a damaged clone and reads everything. Empty if each answer was the truth or kCorruption,
  // and damage to needed bytes was told one way or another; else what was wrong.
  std::string Check(MemVfs* image, const NamedFile& file, bool needed) const;

 private:
  Specimen() = default;
  void FindFiles();
  std::string Compare(Database* database, bool* reported) const;

  WorkloadOptions options_;
  std::unique_ptr<MemVfs> vfs_;
  History history_;
  std::vector<NamedFile> files_;
};

// Flip bits, or exchange neighbouring pieces of tables, in up to `tries` specimens; the first
// problem, or empty.
std::string HuntWithFlips(uint64_t tries);
std::string HuntWithSwaps(uint64_t tries);

}  // namespace shale
