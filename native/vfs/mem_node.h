// MemNode: a file or a directory of MemVfs, with what of it is durable and what is pending.
//
// Threads: under the lock of the MemVfs.
// Invariants:
//   I1  unless `diverged`, `durable` with `changes` applied in order is `current`; the same holds
//   for
//       the entries of a directory.
//   I2  changes are in order of sequence.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ref.h"
#include "vfs/mem_content.h"

namespace shale {

struct FileChange {
  enum class Kind : uint8_t { kWrite, kResize, kExtend } kind = Kind::kWrite;
  // A sync that should have covered it failed: no later one makes it durable.
  bool lost = false;
  uint64_t sequence = 0;
  uint64_t offset = 0;  // kWrite
  uint64_t size = 0;    // kResize, kExtend: the new size
  std::string data;     // kWrite

  void ApplyTo(MemContent* content) const {
    switch (kind) {
      case Kind::kWrite:
        content->Write(offset, data);
        break;
      case Kind::kResize:
        content->Resize(size);
        break;
      case Kind::kExtend:
        if (size > content->size()) content->Resize(size);
        break;
    }
  }
};

struct MemNode;
using MemEntries = std::map<std::string, Ref<MemNode>, std::less<>>;

struct DirChange {
  enum class Kind : uint8_t { kPut, kRemove, kMove } kind = Kind::kPut;
  uint64_t sequence = 0;
  std::string name;
  std::string new_name;  // kMove
  Ref<MemNode> node;     // kPut, kMove

  inline void ApplyTo(MemEntries* entries) const;
};

struct MemNode : RefCounted {
  MemNode(uint64_t number, bool directory) : inode(number), is_directory(directory) {}

  const uint64_t inode;
  const bool is_directory;

  // Files.
  MemContent current;
  MemContent durable;
  std::vector<FileChange> changes;
  bool diverged = false;  // a failed sync left changes in `current` that never become durable
  uint32_t links = 0;
  uint32_t handles = 0;
  uint64_t charged_bytes = 0;         // of the space of the file system
  const void* lock_holder = nullptr;  // the open file description

  // Directories.
  MemEntries entries;
  MemEntries durable_entries;
  std::vector<DirChange> dir_changes;
};

inline void DirChange::ApplyTo(MemEntries* entries) const {
  if (kind != Kind::kPut) entries->erase(name);
  if (kind == Kind::kPut) (*entries)[name] = node;
  if (kind == Kind::kMove) (*entries)[new_name] = node;
}

}  // namespace shale
