#include "vfs/fault_plan.h"

#include <iterator>

#include "vfs/file_name.h"

namespace shale {

namespace {

constexpr const char* kOpNames[] = {
    "open",   "create", "read",    "write", "truncate",  "preallocate",
    "sync",   "size",   "syncDir", "stat",  "makeDir",   "removeDir",
    "remove", "rename", "link",    "list",  "freeBytes", "lock",
};
static_assert(std::size(kOpNames) == kFaultOps);

constexpr const char* kClassNames[] = {
    "any", "manifest", "journal", "table", "blob", "lock", "directory", "other",
};
static_assert(std::size(kClassNames) == kPathClasses);

constexpr const char* kKindNames[] = {
    "EIO",       "ENOSPC",      "EDQUOT",          "EFBIG",     "EMFILE",           "EACCES",
    "EROFS",     "ENOENT",      "shortWrite",      "lostWrite", "misdirectedWrite", "bitFlipWrite",
    "shortRead", "bitFlipRead", "misdirectedRead", "syncKept",  "syncDropped",      "syncLate",
};
static_assert(std::size(kKindNames) == kFaultKinds);

bool TakesDescriptor(FaultOp op) {
  return op == FaultOp::kOpen || op == FaultOp::kCreate || op == FaultOp::kSyncDir ||
         op == FaultOp::kList;
}

bool ChangesFiles(FaultOp op) {
  switch (op) {
    case FaultOp::kCreate:
    case FaultOp::kWrite:
    case FaultOp::kTruncate:
    case FaultOp::kPreallocate:
    case FaultOp::kMakeDir:
    case FaultOp::kRemoveDir:
    case FaultOp::kRemove:
    case FaultOp::kRename:
    case FaultOp::kLink:
      return true;
    default:
      return false;
  }
}

bool TakesSpace(FaultOp op) {
  return op == FaultOp::kCreate || op == FaultOp::kWrite || op == FaultOp::kPreallocate ||
         op == FaultOp::kMakeDir || op == FaultOp::kRename || op == FaultOp::kLink ||
         op == FaultOp::kSync || op == FaultOp::kSyncDir;
}

bool NamesPath(FaultOp op) {
  return op == FaultOp::kOpen || op == FaultOp::kStat || op == FaultOp::kRemove ||
         op == FaultOp::kRename || op == FaultOp::kList;
}

}  // namespace

const char* FaultOpName(FaultOp op) { return kOpNames[static_cast<size_t>(op)]; }
const char* PathClassName(PathClass c) { return kClassNames[static_cast<size_t>(c)]; }
const char* FaultKindName(FaultKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

bool FaultApplies(FaultKind kind, FaultOp op) {
  switch (kind) {
    case FaultKind::kEio:
      return true;
    case FaultKind::kEnospc:
    case FaultKind::kEdquot:
      return TakesSpace(op);
    case FaultKind::kEfbig:
      return op == FaultOp::kWrite || op == FaultOp::kPreallocate || op == FaultOp::kTruncate;
    case FaultKind::kEmfile:
      return TakesDescriptor(op);
    case FaultKind::kEacces:
      return NamesPath(op) || op == FaultOp::kCreate || op == FaultOp::kMakeDir;
    case FaultKind::kErofs:
      return ChangesFiles(op);
    case FaultKind::kEnoent:
      return NamesPath(op);
    case FaultKind::kShortWrite:
    case FaultKind::kLostWrite:
    case FaultKind::kMisdirectedWrite:
    case FaultKind::kBitFlipWrite:
      return op == FaultOp::kWrite;
    case FaultKind::kShortRead:
    case FaultKind::kBitFlipRead:
    case FaultKind::kMisdirectedRead:
      return op == FaultOp::kRead;
    case FaultKind::kSyncKept:
    case FaultKind::kSyncDropped:
    case FaultKind::kSyncLate:
      break;
  }
  return op == FaultOp::kSync;
}

PathClass ClassifyPath(const std::string& path) {
  switch (ParseFileName(path.substr(path.rfind('/') + 1)).kind) {
    case FileKind::kManifest:
      return PathClass::kManifest;
    case FileKind::kJournal:
      return PathClass::kJournal;
    case FileKind::kTable:
      return PathClass::kTable;
    case FileKind::kBlob:
      return PathClass::kBlob;
    case FileKind::kLock:
      return PathClass::kLock;
    case FileKind::kForeign:
      break;
  }
  return PathClass::kOther;
}

std::string ToString(const FaultPlan& plan) {
  std::string text = "[";
  for (const Fault& f : plan) {
    if (text.size() > 1) text += ", ";
    text += std::string("{\"op\": \"") + FaultOpName(f.op) + "\", \"pathClass\": \"" +
            PathClassName(f.path_class) + "\", \"nth\": " + std::to_string(f.nth) +
            ", \"kind\": \"" + FaultKindName(f.kind) +
            "\", \"sticky\": " + (f.sticky ? "true" : "false") + "}";
  }
  return text + "]";
}

}  // namespace shale
