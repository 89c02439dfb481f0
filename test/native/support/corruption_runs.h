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
  void FindFiles();
  std::string Compare(Database* database, bool* reported) const;

  WorkloadOptions options_;
  std::unique_ptr<MemVfs> vfs_;
  History history_;
  std::vector<NamedFile> files_;
};

// For seeded bugs: flips bits, or exchanges neighbouring pieces of tables; the first problem.
std::string HuntWithFlips(uint64_t flips);
std::string HuntWithSwaps();

}  // namespace shale
