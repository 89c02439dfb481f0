// FaultPlan: which calls of a Vfs fail, and how.
//
// A plan is a list of faults; each names an operation, a class of paths, the number of the call
// among those that match (0 is the next one), and what happens to it.
// Threads: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shale {

enum class FaultOp : uint8_t {
  kOpen,    // of an existing file
  kCreate,  // OpenMode::kCreateNew
  kRead,
  kWrite,
  kTruncate,
  kPreallocate,
  kSync,
  kSize,
  kSyncDir,
  kStat,
  kMakeDir,
  kRemoveDir,
  kRemove,
  kRename,
  kLink,
  kList,
  kFreeBytes,
  kLock,
};
inline constexpr size_t kFaultOps = 18;

enum class PathClass : uint8_t {
  kAny,
  kManifest,
  kJournal,
  kTable,
  kBlob,
  kLock,
  kDirectory,
  kOther
};
inline constexpr size_t kPathClasses = 8;

enum class FaultKind : uint8_t {
  kEio,
  kEnospc,  // these three: of a write, a part may have been done
  kEdquot,
  kEfbig,
  kEmfile,
  kEacces,
  kErofs,
  kEnoent,
  kShortWrite,        // EIO after half of the bytes
  kLostWrite,         // reported done, but nothing is written
  kMisdirectedWrite,  // reported done, but 4096 bytes away
  kBitFlipWrite,      // one bit is stored inverted
  kShortRead,         // ends early, as if the file did
  kBitFlipRead,       // one bit is read inverted, this time
  kMisdirectedRead,   // reads what is 4096 bytes further
  kSyncKept,          // EIO; what was to be synced can still be read but is never made durable
  kSyncDropped,       // EIO; what was to be synced is gone
  kSyncLate,          // as kSyncKept, but the call is told done and the next sync of a file of the
                      // same class fails
};
inline constexpr size_t kFaultKinds = 18;

struct Fault {
  FaultOp op = FaultOp::kWrite;
  PathClass path_class = PathClass::kAny;
  uint64_t nth = 0;
  FaultKind kind = FaultKind::kEio;
  bool sticky = false;  // every matching call from the nth on
};
using FaultPlan = std::vector<Fault>;

const char* FaultOpName(FaultOp op);
const char* PathClassName(PathClass path_class);
const char* FaultKindName(FaultKind kind);
// Whether the kind can happen to the operation at all.
bool FaultApplies(FaultKind kind, FaultOp op);
// By the name of the file; what is not a file of ours is kOther.
PathClass ClassifyPath(const std::string& path);
// JSON, for the message of a failed test.
std::string ToString(const FaultPlan& plan);

}  // namespace shale
