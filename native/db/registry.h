// Registry: one core per directory per process, shared by every environment that opens it.
//
// Keyed by device and inode, so that two paths to one directory meet. Opening again with other
// options is kDbLocked with `same_process`. The last handle to close closes the core; a handle may
// be dropped without closing (its environment died): then the core is closed on a thread of the
// registry. When the process exits, whatever is still open hands its buffered commits over.
// Threads: any; opening one directory does not hold up another.
#pragma once

#include <memory>
#include <string>

#include "db/database.h"

namespace shale {

class DatabaseHandle {
 public:
  static Status Open(const std::string& path, const DatabaseOptions& options,
                     std::unique_ptr<DatabaseHandle>* handle);
  ~DatabaseHandle();
  Database* database() const { return database_.get(); }
  // Whether opening it made the core, with its options; else it was open before.
  bool is_first() const { return is_first_; }
  // Gives the handle back; the last one closes the core and returns its outcome. Before others the
  // first one releases what its options held.
  Status Close();

 private:
  DatabaseHandle(Ref<Database> database, bool is_first)
      : database_(std::move(database)), is_first_(is_first) {}
  void Release() const;
  Ref<Database> database_;
  const bool is_first_;
  std::atomic<bool> closed_{false};
};

}  // namespace shale
