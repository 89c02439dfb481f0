#include "tree/manifest.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#include "base/coding.h"
#include "base/crc32c.h"
#include "journal/log_reader.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

// A generation is replaced when it has grown to this and to four times its snapshot.
constexpr uint64_t kGenerationBytes = uint64_t{1} << 20;
constexpr uint64_t kGenerationFactor = 4;
constexpr uint64_t kReserveBytes = uint64_t{64} << 10;

// What one manifest file says.
struct Generation {
  uint64_t number = 0;
  Status status;       // of the first thing that makes it unusable
  bool sound = false;  // header and snapshot are valid
  bool torn = false;   // not sound, and no more than a creation that a crash cut short
  ManifestState state;
  uint64_t snapshot_end = 0;
  uint64_t end = 0;
  uint64_t dropped_bytes = 0;
  uint64_t successor = 0;  // its number; 0 without one
  bool witnessed = true;   // the last record is known to be durable
};

Status ApplyRecord(const LogRecordHeader& header, Slice payload, bool first, Generation* g) {
  if (header.count != 0 || header.seqno != 0) {
    return Status::Corruption("a record has what only those of a journal have");
  }
  ManifestEdit edit;
  SHALE_RETURN_IF_ERROR(ManifestEdit::Decode(payload, &edit));
  if (edit.snapshot.has_value() != first) {
    return Status::Corruption(first ? "the first record is no snapshot" : "a second snapshot");
  }
  if (g->successor != 0) return Status::Corruption("a record behind the one of the successor");
  if (edit.successor) g->successor = *edit.successor;
  return edit.ApplyTo(&g->state);
}

// Whether one of the records that follow a missing header says that the file was synced before.
bool SomethingWasDurable(Slice bytes, uint64_t number) {
  uint64_t offset = kLogHeaderBytes;
  while (bytes.size() >= offset + kLogRecordHeaderBytes) {
    const char* p = bytes.data() + offset;
    LogRecordHeader h;
    if (!DecodeLogRecordHeader(p, offset, &h)) return false;
    const uint64_t end = offset + kLogRecordHeaderBytes + h.payload_length;
    if (end > bytes.size()) return false;
    const Slice covered(p + 4, static_cast<size_t>(end - offset - 4));
    if (Crc32cKeyed(number, offset, covered) != LoadLe<uint32_t>(p)) return false;
    if (h.synced_to != 0) return true;
    offset = end;
  }
  return false;
}

// Whether a file without a valid header is what a crash leaves of a creation: its header is cut
// off, missing, or torn with nothing behind it.
Status IsTornCreation(File* file, uint64_t number, bool* torn) {
  *torn = false;
  uint64_t size = 0;
  SHALE_RETURN_IF_ERROR(file->Size(&size));
  if (size > kReserveBytes) return Status::Ok();
  std::string bytes(static_cast<size_t>(size), '\0');
  size_t got = 0;
  SHALE_RETURN_IF_ERROR(file->Read(0, bytes.size(), bytes.data(), &got));
  if (got != size) {
    return Status::Corruption("the file became shorter while it was read", file->path(), got);
  }
  const size_t written = bytes.find_first_not_of('\0');
  if (size < kLogHeaderBytes) {
    *torn = written == bytes.npos || Slice(kManifestMagic).StartsWith(Slice(bytes).Prefix(8));
  } else if (written == bytes.npos || written >= kLogHeaderBytes) {
    *torn = !SomethingWasDurable(bytes, number);
  } else {
    *torn = bytes.find_first_not_of('\0', kLogHeaderBytes) == bytes.npos;
  }
  return Status::Ok();
}

// Reads a whole generation. The result tells what was wrong with it; only failures of the system
// are returned.
Status ReadGeneration(Vfs* vfs, const std::string& directory, uint64_t number, Generation* g) {
  g->number = number;
  const std::string path = FileName(directory, FileKind::kManifest, number);
  std::unique_ptr<File> file;
  SHALE_RETURN_IF_ERROR(vfs->Open(path, OpenMode::kRead, &file));
  std::unique_ptr<LogReader> reader;
  g->status = LogReader::Open(file.get(), kManifestMagic, number, 0, &reader);
  if (!g->status.ok()) {
    if (g->status.Is(Code::kFormatTooNew)) return Status::Ok();
    const bool judged = g->status.Is(Code::kCorruption) || g->status.Is(Code::kNotADatabase);
    return judged ? IsTornCreation(file.get(), number, &g->torn) : g->status;
  }
  LogRecordHeader header;
  Slice payload;
  uint64_t offset = 0;
  uint64_t last_record_end = 0;
  while (reader->Next(&header, &payload, &offset)) {
    const bool first = g->snapshot_end == 0;
    if (Status s = ApplyRecord(header, payload, first, g); !s.ok()) {
      g->status = s.WithPath(path, offset);
      return Status::Ok();
    }
    g->sound = true;
    const uint64_t record_end = offset + kLogRecordHeaderBytes + payload.size();
    if (first) g->snapshot_end = record_end;
    last_record_end = record_end;
  }
  g->witnessed = last_record_end <= reader->synced_to();
  g->end = reader->end_offset();
  g->dropped_bytes = reader->dropped_bytes();
  g->status = reader->status();
  if (!g->status.ok()) return g->status.Is(Code::kCorruption) ? Status::Ok() : g->status;
  if (!g->sound) {
    g->torn = true;
    g->status = Status::Corruption("no snapshot", path, g->end);
  }
  return Status::Ok();
}

struct Listing {
  std::vector<uint64_t> manifests;  // ascending
  uint64_t highest_number = 0;
  bool has_data = false;  // journals, tables or blob files
  bool has_foreign = false;
};

Status ListDirectory(Vfs* vfs, const std::string& directory, Listing* listing) {
  std::vector<std::string> names;
  if (Status s = vfs->List(directory, &names); !s.ok()) {
    if (!IsErrno(s, ENOENT)) return s;
    return Status(Code::kDbNotFound, "there is no such directory").WithPath(directory);
  }
  for (const std::string& name : names) {
    const ParsedName parsed = ParseFileName(name);
    switch (parsed.kind) {
      case FileKind::kManifest:
        listing->manifests.push_back(parsed.number);
        break;
      case FileKind::kJournal:
      case FileKind::kTable:
      case FileKind::kBlob:
        listing->has_data = true;
        break;
      case FileKind::kForeign:
        listing->has_foreign = true;
        break;
      case FileKind::kLock:
        break;
    }
    listing->highest_number = std::max(listing->highest_number, parsed.number);
  }
  std::sort(listing->manifests.begin(), listing->manifests.end());
  return Status::Ok();
}

Status NoManifest(const Listing& listing, const std::string& directory) {
  if (listing.has_data) {
    return Status::Corruption("there is no manifest, but journals, tables or blob files",
                              directory);
  }
  if (listing.has_foreign && listing.manifests.empty()) {
    return Status(Code::kNotADatabase, "the directory holds other files").WithPath(directory);
  }
  return Status(Code::kDbNotFound, "the directory is empty").WithPath(directory);
}

// The older one is to blame, for the newest may be a torn creation, unless that was durable or is
// of a format of tomorrow. What is not even a manifest is damage: there is another one.
Status NeitherHolds(const Generation& newest, const Generation& older) {
  const bool was_durable = older.status.ok();  // and names it as its successor
  const bool blames_newest = was_durable || newest.status.Is(Code::kFormatTooNew);
  const Status& status = blames_newest ? newest.status : older.status;
  if (!status.Is(Code::kNotADatabase)) return status;
  return Status::Corruption(status.message(), status.details()->path, status.details()->offset);
}

// Chooses as docs/format.md, 6.3 says. *torn is the number of a torn creation above it, or 0.
Status ChooseGeneration(Vfs* vfs, const std::string& directory, const Listing& listing,
                        Generation* live, uint64_t* torn) {
  *torn = 0;
  const auto& numbers = listing.manifests;
  Generation newest;
  SHALE_RETURN_IF_ERROR(ReadGeneration(vfs, directory, numbers.back(), &newest));
  if (!newest.sound) {
    if (numbers.size() == 1) {
      // Before the first manifest is durable there is no other file of ours.
      if (newest.torn && !listing.has_data) return NoManifest(listing, directory);
      return newest.status;
    }
    Generation older;
    const uint64_t number = numbers[numbers.size() - 2];
    SHALE_RETURN_IF_ERROR(ReadGeneration(vfs, directory, number, &older));
    if (!older.status.ok() || older.successor != 0) return NeitherHolds(newest, older);
    *torn = newest.number;
    *live = std::move(older);
    return Status::Ok();
  }
  SHALE_RETURN_IF_ERROR(newest.status);
  if (newest.successor != 0) {
    return Status::Corruption("a manifest is missing that another one names",
                              FileName(directory, FileKind::kManifest, newest.successor));
  }
  *live = std::move(newest);
  return Status::Ok();
}

}  // namespace

class Manifest::Impl {
 public:
  Impl(Vfs* v, std::string d) : vfs(v), directory(std::move(d)) {}

  std::string PathOf(uint64_t number) const {
    return FileName(directory, FileKind::kManifest, number);
  }

  // The functions below require commit_mutex or that nobody else knows this object.

  Status Commit(const ManifestEdit& wanted) {
    if (read_only) return Status(Code::kReadOnly, "the database was opened read-only");
    SHALE_RETURN_IF_ERROR(Failure());
    const std::string payload = Complete(wanted).Encode();
    ManifestEdit edit;
    SHALE_RETURN_IF_ERROR(ManifestEdit::Decode(payload, &edit));
    SHALE_RETURN_IF_ERROR(edit.Check(state));
    SHALE_RETURN_IF_ERROR(Write(writer.get(), payload));
    {
      std::lock_guard<std::mutex> lock(state_mutex);
      static_cast<void>(edit.ApplyTo(&state));  // checked above
    }
    if (writer->size() >= roll_at) static_cast<void>(Roll());
    return Status::Ok();
  }

  // Adds what the manifest itself contributes, and raises what never decreases.
  ManifestEdit Complete(const ManifestEdit& wanted) const {
    ManifestEdit edit = wanted;
    edit.next_file_number = next_file_number.load(std::memory_order_relaxed);
    // Not the id of a creation that is still under way: until it is committed here, the record in
    // the journal is what makes the keyspace, and recovery skips ids that were given before.
    uint32_t next_tree = state.next_tree_id;
    for (const TreeState& tree : edit.created_trees) next_tree = std::max(next_tree, tree.id + 1);
    edit.next_tree_id = next_tree;
    if (edit.last_seqno) edit.last_seqno = std::max(*edit.last_seqno, state.last_seqno);
    for (auto& change : edit.changes) {
      const auto it = state.trees.find(change.tree_id);
      if (it == state.trees.end()) continue;
      const auto raise = [](std::optional<Seqno>* value, Seqno holds) {
        if (*value) *value = std::max(**value, holds);
      };
      raise(&change.flushed_seqno, it->second.flushed_seqno);
      raise(&change.cleared_seqno, it->second.cleared_seqno);
      raise(&change.gc_seqno, it->second.gc_seqno);
    }
    std::vector<JournalState> unknown;
    for (const JournalState& j : edit.journals) {
      const auto same = [&](const JournalState& o) {
        return o.number == j.number && !o.final_length;
      };
      const bool added = std::any_of(edit.journals.begin(), edit.journals.end(), same);
      if (j.final_length && !added && state.journals.count(j.number) == 0) {
        unknown.push_back({j.number, std::nullopt});
      }
    }
    edit.journals.insert(edit.journals.begin(), unknown.begin(), unknown.end());
    return edit;
  }

  // One record and one sync. After a failed append either nothing of it is left, or the manifest is
  // poisoned.
  Status Write(LogWriter* log, const std::string& payload) {
    const uint64_t begin = log->size();
    uint64_t end = 0;
    if (Status s = log->Append(RecordType::kData, 0, 0, payload, &end); !s.ok()) {
      if (Status cut = log->Sync(); !cut.ok()) return Poison(cut);
      return s;
    }
    if (Status s = log->Sync(); !s.ok()) return Poison(s);
    // Without the witness only this one commit is less well guarded against damage.
    static_cast<void>(log->Witness());
    bytes.fetch_add(log->size() - begin, std::memory_order_relaxed);
    return Status::Ok();
  }

  // Writes `state` as a new file, whole and durable.
  Status WriteGeneration(uint64_t number, std::unique_ptr<LogWriter>* log) {
    {
      std::lock_guard<std::mutex> lock(state_mutex);
      state.next_file_number = next_file_number.load(std::memory_order_relaxed);
    }
    const std::string payload = ManifestEdit::SnapshotOf(state).Encode();
    SHALE_RETURN_IF_ERROR(
        LogWriter::Create(vfs, PathOf(number), kManifestMagic, number, kReserveBytes, log));
    // A crash must not leave the record without the header: that would not look like a torn
    // creation.
    SHALE_RETURN_IF_ERROR((*log)->Sync());
    uint64_t end = 0;
    SHALE_RETURN_IF_ERROR((*log)->Append(RecordType::kData, 0, 0, payload, &end));
    SHALE_RETURN_IF_ERROR((*log)->Sync());
    SHALE_RETURN_IF_ERROR(vfs->SyncDir(directory));
    SHALE_RETURN_IF_ERROR((*log)->Witness());
    bytes.fetch_add((*log)->size(), std::memory_order_relaxed);
    roll_at = std::max(kGenerationBytes, kGenerationFactor * end);
    return Status::Ok();
  }

  // Goes over to a new generation. A failure is no failure of the commit before it: the old one
  // goes on, if the new one can be removed for good.
  Status Roll() {
    const uint64_t number = next_file_number.fetch_add(1, std::memory_order_relaxed);
    std::unique_ptr<LogWriter> next;
    const uint64_t old_roll_at = roll_at;
    const uint64_t old_bytes = bytes.load(std::memory_order_relaxed);
    ManifestEdit edit;
    edit.successor = number;
    Status s = WriteGeneration(number, &next);
    if (s.ok()) s = Write(writer.get(), edit.Encode());
    // It is unknown whether the old one names its successor: both must stay.
    if (!Failure().ok()) return Failure();
    if (!s.ok()) {
      bytes.store(old_bytes, std::memory_order_relaxed);
      next.reset();
      roll_at = old_roll_at + kGenerationBytes;
      Status removed = vfs->Remove(PathOf(number));
      if (removed.ok() || IsErrno(removed, ENOENT)) removed = vfs->SyncDir(directory);
      if (!removed.ok()) static_cast<void>(Poison(removed));
      return s;
    }
    std::lock_guard<std::mutex> lock(state_mutex);
    older.push_back(writer->file_number());
    writer = std::move(next);
    live = number;
    return Status::Ok();
  }

  // After the live generation was read: takes it over for writing and removes the others. A last
  // record that nothing says to be durable may be what a failed sync left in memory alone, which no
  // later sync writes: then the state goes to a new file.
  Status TakeOver(const Generation& read, const Listing& listing, uint64_t torn) {
    SHALE_RETURN_IF_ERROR(LogWriter::Reopen(vfs, PathOf(live), live, read.end, &writer));
    if (!read.witnessed) SHALE_RETURN_IF_ERROR(Roll());
    const bool numbers_grew = listing.highest_number >= state.next_file_number;
    const bool others = listing.manifests.size() > 1;
    if (!numbers_grew && !others) return Status::Ok();
    // The numbers of what is removed now must never come back. A full disk need not keep a
    // directory closed: everything may stay until the next open.
    Status s = Commit(ManifestEdit());
    if (s.Is(Code::kDiskFull) && torn == 0) return Status::Ok();
    SHALE_RETURN_IF_ERROR(s);
    for (uint64_t number : listing.manifests) {
      if (number == live || number == read.number) continue;
      s = vfs->Remove(PathOf(number));
      if (!s.ok() && number == torn) return s;  // it would hide this one from the next open
    }
    return torn != 0 ? vfs->SyncDir(directory) : Status::Ok();
  }

  Status Failure() const {
    std::lock_guard<std::mutex> lock(state_mutex);
    return failure;
  }
  Status Poison(const Status& cause) {
    std::lock_guard<std::mutex> lock(state_mutex);
    if (failure.ok()) failure = cause;
    return failure;
  }

  Vfs* const vfs;
  const std::string directory;
  bool read_only = false;
  uint64_t dropped_bytes = 0;

  std::mutex commit_mutex;  // held across I/O
  std::unique_ptr<LogWriter> writer;
  uint64_t roll_at = kGenerationBytes;

  mutable std::mutex state_mutex;  // never held across I/O; changes of `state` need both
  ManifestState state;
  Status failure;
  uint64_t live = 0;
  std::vector<uint64_t> older;

  std::atomic<uint64_t> next_file_number{1};
  std::atomic<uint32_t> next_tree_id{1};
  std::atomic<uint64_t> bytes{0};  // of all generations that are there
};

Manifest::Manifest(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Manifest::~Manifest() = default;

Status Manifest::Create(Vfs* vfs, const std::string& directory, DirectoryKind kind,
                        std::unique_ptr<Manifest>* manifest) {
  Listing listing;
  SHALE_RETURN_IF_ERROR(ListDirectory(vfs, directory, &listing));
  auto impl = std::make_unique<Impl>(vfs, directory);
  impl->state.kind = kind;
  impl->live = listing.highest_number + 1;
  impl->next_file_number = impl->live + 1;
  // Only what is left of a creation that a crash cut short gives way.
  if (!listing.manifests.empty()) {
    Generation present;
    uint64_t torn = 0;
    const Status s = ChooseGeneration(vfs, directory, listing, &present, &torn);
    if (s.ok()) return Status(Code::kDbExists, "there is a manifest").WithPath(directory);
    if (!s.Is(Code::kDbNotFound)) return s;
  } else if (listing.has_data) {
    return NoManifest(listing, directory);
  }
  for (uint64_t number : listing.manifests) {
    SHALE_RETURN_IF_ERROR(vfs->Remove(impl->PathOf(number)));
  }
  if (!listing.manifests.empty()) SHALE_RETURN_IF_ERROR(vfs->SyncDir(directory));
  if (Status s = impl->WriteGeneration(impl->live, &impl->writer); !s.ok()) {
    impl->writer.reset();
    // The first error is what matters; what stays behind is a torn creation.
    static_cast<void>(vfs->Remove(impl->PathOf(impl->live)));
    return s;
  }
  manifest->reset(new Manifest(std::move(impl)));
  return Status::Ok();
}

Status Manifest::Load(Vfs* vfs, const std::string& directory, bool read_only,
                      std::unique_ptr<Manifest>* manifest) {
  Listing listing;
  SHALE_RETURN_IF_ERROR(ListDirectory(vfs, directory, &listing));
  if (listing.manifests.empty()) return NoManifest(listing, directory);
  Generation generation;
  uint64_t torn = 0;
  SHALE_RETURN_IF_ERROR(ChooseGeneration(vfs, directory, listing, &generation, &torn));

  auto impl = std::make_unique<Impl>(vfs, directory);
  impl->read_only = read_only;
  impl->state = std::move(generation.state);
  impl->live = generation.number;
  impl->bytes = generation.end;
  impl->dropped_bytes = generation.dropped_bytes;
  impl->next_file_number = std::max(impl->state.next_file_number, listing.highest_number + 1);
  impl->next_tree_id = impl->state.next_tree_id;
  impl->roll_at = std::max(kGenerationBytes, kGenerationFactor * generation.snapshot_end);
  if (!read_only) SHALE_RETURN_IF_ERROR(impl->TakeOver(generation, listing, torn));
  manifest->reset(new Manifest(std::move(impl)));
  return Status::Ok();
}

Status Manifest::Commit(const ManifestEdit& edit) {
  std::lock_guard<std::mutex> lock(impl_->commit_mutex);
  return impl_->Commit(edit);
}

Status Manifest::failure() const { return impl_->Failure(); }
Status Manifest::Fail(const Status& cause) { return impl_->Poison(cause); }

ManifestState Manifest::state() const {
  std::lock_guard<std::mutex> lock(impl_->state_mutex);
  return impl_->state;
}

uint64_t Manifest::NewFileNumber() {
  return impl_->next_file_number.fetch_add(1, std::memory_order_relaxed);
}
uint32_t Manifest::NewTreeId() {
  return impl_->next_tree_id.fetch_add(1, std::memory_order_relaxed);
}
const std::string& Manifest::directory() const { return impl_->directory; }

uint64_t Manifest::file_number() const {
  std::lock_guard<std::mutex> lock(impl_->state_mutex);
  return impl_->live;
}

std::vector<uint64_t> Manifest::live_generations() const {
  std::lock_guard<std::mutex> lock(impl_->state_mutex);
  std::vector<uint64_t> numbers = impl_->older;
  numbers.push_back(impl_->live);
  return numbers;
}

uint64_t Manifest::bytes() const { return impl_->bytes.load(std::memory_order_relaxed); }
uint64_t Manifest::dropped_bytes() const { return impl_->dropped_bytes; }

}  // namespace shale
