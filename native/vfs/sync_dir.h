// The sync of a directory that must not be tried again.
#pragma once

#include <cerrno>
#include <string>

#include "vfs/vfs.h"

namespace shale {

// Makes the names in a directory durable. The system may report a failure only once: a later sync
// would succeed although a name is missing on the disk. So a failure is kSyncFailed, indeterminate,
// unless the directory could not even be opened for want of descriptors or memory.
inline Status SyncDirectory(Vfs* vfs, const std::string& path) {
  Status status = vfs->SyncDir(path);
  if (status.ok() || IsErrno(status, EMFILE) || IsErrno(status, ENFILE) ||
      IsErrno(status, ENOMEM)) {
    return status;
  }
  ErrorDetails details;
  if (status.details() != nullptr) details = *status.details();
  details.indeterminate = true;
  return Status(Code::kSyncFailed, std::move(details));
}

}  // namespace shale
