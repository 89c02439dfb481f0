#include "db/registry.h"

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace shale {
namespace {

// What identifies a directory, whatever the path to it.
using Place = std::pair<uint64_t, uint64_t>;  // device, inode

struct Core {
  Ref<Database> database;  // null while it is being opened
  DatabaseOptions options;
  size_t handles = 0;
  bool busy = false;  // being opened or closed
};

struct CoreTable {
  int64_t process = 0;  // that the cores belong to
  std::mutex mutex;
  std::condition_variable changed;
  std::map<Place, Core> cores;
};

void HandOverAtExit();

// Never destroyed: handles may outlive every static object.
CoreTable& Table() {
  static auto* table = [] {
    auto* made = new CoreTable;
    made->process = Vfs::Real()->ProcessId();
    static_cast<void>(std::atexit(HandOverAtExit));
    return made;
  }();
  return *table;
}

// A core that is being opened or closed: leaves the table when this goes, whatever happened,
// unless it is said to stay.
class Busy {
 public:
  explicit Busy(const Place& place) : place_(place) {}
  void Stay() { stays_ = true; }
  ~Busy() {
    Ref<Database> last;  // outside the lock
    CoreTable& table = Table();
    std::lock_guard<std::mutex> lock(table.mutex);
    table.changed.notify_all();
    if (stays_) return;
    const auto it = table.cores.find(place_);
    last = std::move(it->second.database);
    table.cores.erase(it);
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  const Place place_;
  bool stays_ = false;
};

// process.exit() and an uncaught error end the process without the clean-up of its main
// environment. What was acknowledged as buffered then still is in this process alone.
void HandOverAtExit() {
  CoreTable& table = Table();
  // A forked child must not touch what its parent has open.
  if (Vfs::Real()->ProcessId() != table.process) return;
  std::lock_guard<std::mutex> lock(table.mutex);
  for (const auto& [place, core] : table.cores) {
    // Nobody is left to tell.
    if (core.database) static_cast<void>(core.database->HandOver());
  }
}

// Options that only say what the call itself may do.
DatabaseOptions Shared(DatabaseOptions options) {
  options.create_if_missing = true;
  options.error_if_exists = false;
  options.hold_compactions = false;
  return options;
}

// The options that differ, as the API spells them.
std::string Differing(const DatabaseOptions& a, const DatabaseOptions& b) {
  std::string names;
  const auto compare = [&names](const char* name, const auto& left, const auto& right) {
    if (left == right) return;
    if (!names.empty()) names += ", ";
    names += name;
  };
  compare("readOnly", a.read_only, b.read_only);
  compare("durability", a.durability, b.durability);
  compare("syncInterval", a.sync_interval_ms, b.sync_interval_ms);
  compare("cacheSize", a.cache_size, b.cache_size);
  compare("maxOpenFiles", a.max_open_files, b.max_open_files);
  compare("workerThreads", a.worker_threads, b.worker_threads);
  compare("maxWriteBufferSize", a.max_write_buffer_size, b.max_write_buffer_size);
  compare("maxStall", a.max_stall_ms, b.max_stall_ms);
  compare("maxValueSize", a.max_value_size, b.max_value_size);
  compare("compactionRateLimit", a.compaction_rate_limit, b.compaction_rate_limit);
  compare("maxJournalSize", a.max_journal_size, b.max_journal_size);
  compare("journalCompression", a.journal_compression, b.journal_compression);
  compare("recovery", a.recovery, b.recovery);
  return names;
}

Status HeldHere(const std::string& path, const std::string& differing) {
  ErrorDetails details;
  details.message = path + " is open already, in this process, with another " + differing;
  details.path = path;
  details.holder_pid = Vfs::Real()->ProcessId();
  details.same_process = true;
  return Status(Code::kDbLocked, std::move(details));
}

// False if there is no such directory yet and none can be made: Database::Open says why.
bool Locate(const std::string& path, const DatabaseOptions& options, Place* place) {
  Vfs* vfs = Vfs::Real();
  FileInfo info;
  Status status = vfs->StatTarget(path, &info);
  if (IsErrno(status, ENOENT) && options.create_if_missing && !options.read_only) {
    static_cast<void>(vfs->MakeDir(path));
    status = vfs->StatTarget(path, &info);
  }
  if (!status.ok() || info.type != FileInfo::Type::kDirectory) return false;
  *place = {info.device, info.inode};
  return true;
}

Status OpenCore(const std::string& path, const DatabaseOptions& options, Ref<Database>* database) {
  return Database::Open(Vfs::Real(), MakeThreadedExecutor(options.worker_threads), path, options,
                        database);
}

// Joins a core that is open, or makes one.
Status Join(const Place& place, const std::string& path, const DatabaseOptions& options,
            Ref<Database>* database, bool* is_first) {
  CoreTable& table = Table();
  std::unique_lock<std::mutex> lock(table.mutex);
  for (;;) {
    const auto it = table.cores.find(place);
    if (it == table.cores.end()) break;
    Core& core = it->second;
    if (core.busy) {
      table.changed.wait(lock);
      continue;
    }
    if (options.error_if_exists) {
      return Status(Code::kDbExists, "the folder holds a database").WithPath(path);
    }
    if (!(Shared(options) == core.options)) {
      return HeldHere(path, Differing(options, core.options));
    }
    core.handles++;
    *is_first = false;
    *database = core.database;
    return Status::Ok();
  }
  Core& core = table.cores[place];
  core.options = Shared(options);
  core.busy = true;
  lock.unlock();
  Busy busy(place);
  SHALE_RETURN_IF_ERROR(OpenCore(path, options, database));
  lock.lock();
  core.database = *database;
  core.handles = 1;
  core.busy = false;
  lock.unlock();
  busy.Stay();
  return Status::Ok();
}

// Takes one handle away. True if it was the last: then the core is marked busy.
bool Leave(const Database* database, Place* place) {
  CoreTable& table = Table();
  std::lock_guard<std::mutex> lock(table.mutex);
  for (auto& [at, core] : table.cores) {
    if (core.database.get() != database) continue;
    if (--core.handles > 0) return false;
    core.busy = true;
    *place = at;
    return true;
  }
  return false;
}

Status CloseCore(const Ref<Database>& database, const Place& place) {
  const Busy busy(place);
  return database->Close();
}

}  // namespace

Status DatabaseHandle::Open(const std::string& path, const DatabaseOptions& options,
                            std::unique_ptr<DatabaseHandle>* handle) {
  Place place;
  Ref<Database> database;
  bool is_first = true;
  SHALE_RETURN_IF_ERROR(Locate(path, options, &place)
                            ? Join(place, path, options, &database, &is_first)
                            : OpenCore(path, options, &database));
  handle->reset(new DatabaseHandle(std::move(database), is_first));
  return Status::Ok();
}

DatabaseHandle::~DatabaseHandle() {
  if (closed_.exchange(true)) return;
  Place place;
  if (!Leave(database_.get(), &place)) {
    Release();
    return;
  }
  // Its environment died; closing takes time and belongs on no thread of JavaScript. Where the
  // system has no thread to give it is closed here, late rather than never.
  const auto close = [database = std::move(database_), place] {
    static_cast<void>(CloseCore(database, place));  // nobody is left to tell
  };
  try {
    std::thread(close).detach();
  } catch (const std::system_error&) {
    close();
  }
}

Status DatabaseHandle::Close() {
  if (closed_.exchange(true)) return Status::Ok();
  Place place;
  if (Leave(database_.get(), &place)) return CloseCore(database_, place);
  Release();
  return Status::Ok();
}

void DatabaseHandle::Release() const {
  if (is_first_) database_->ReleaseCompactions();
}

}  // namespace shale
