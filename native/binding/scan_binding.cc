// Scans: rows of a range, packed, a batch per crossing.
//
// A scan pins one super version and one read seqno for both of its ends; each end is a cursor that
// fills buffers of JavaScript's (on its thread) or memory of its own (on a reader thread, handed
// over when it is done).

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "base/epoch.h"
#include "binding/environment.h"
#include "binding/hand_out.h"
#include "binding/missed_reads.h"
#include "binding/open_core.h"
#include "binding/view.h"
#include "tree/cursor.h"

namespace shale {
namespace {

enum class RowContent : uint8_t { kEntry = 0, kKey = 1, kValue = 2 };

struct FillLimits {
  RowContent content = RowContent::kEntry;
  ReadMode mode = ReadMode::kMemoryOnly;
  uint32_t bytes = 0;
  uint32_t rows = 0;
};

struct Filled {
  Code code = Code::kOk;  // why it stopped: kOk = limit reached, kNotFound = the end, ...
  uint32_t bytes = 0;
  uint32_t rows = 0;
  uint32_t needed = 0;  // bytes of the row that did not fit
};

// The state that both ends share. Shared with reader threads.
class Scan : public RefCounted {
 public:
  // `counts` is null for a bare tree.
  Scan(Ref<RefCounted> core, Ref<SuperVersion> pin, Seqno read_seqno, Bounds bounds,
       std::shared_ptr<HandleCounts> counts)
      : core_(std::move(core)),
        pin_(std::move(pin)),
        read_seqno_(read_seqno),
        bounds_(std::move(bounds)),
        counts_(std::move(counts)) {
    if (counts_ != nullptr) counts_->iterators_open.fetch_add(1, std::memory_order_relaxed);
  }
  ~Scan() override {
    if (counts_ != nullptr) counts_->iterators_open.fetch_sub(1, std::memory_order_relaxed);
  }
  void CountAbandoned() const {
    if (counts_ != nullptr) counts_->iterators_abandoned.fetch_add(1, std::memory_order_relaxed);
  }

  struct End {
    std::optional<Cursor> cursor;
    bool row_waits = false;  // the cursor stands on a row that no buffer has taken yet
    bool finished = false;
    std::atomic<bool> busy{false};  // a reader thread fills it
  };

  End& end(bool back) { return ends_[back ? 1 : 0]; }

  // Packs rows into dst, which is aligned to 4.
  Filled Fill(bool back, const FillLimits& limits, char* dst, uint32_t capacity) {
    End& e = PreparedEnd(back);
    e.cursor->BeginTurn();
    Filled filled;
    while (filled.rows < limits.rows) {
      if (!e.row_waits) {
        filled.code = e.finished ? Code::kNotFound : e.cursor->Next(limits.mode);
        if (filled.code != Code::kOk) {
          e.finished = filled.code == Code::kNotFound;
          return filled;
        }
        e.row_waits = true;
      }
      const uint32_t size = RowSize(*e.cursor, limits.content);
      const uint32_t room = filled.rows == 0 ? capacity : std::min(capacity, limits.bytes);
      if (room < filled.bytes || size > room - filled.bytes) {
        filled.needed = size;
        return filled;
      }
      if (limits.content != RowContent::kKey) {
        filled.code = e.cursor->LoadValue(limits.mode);
        if (filled.code != Code::kOk) return filled;
      }
      PutRow(*e.cursor, limits.content, dst + filled.bytes);
      filled.bytes += size;
      filled.rows++;
      e.row_waits = false;
    }
    return filled;
  }

  void SeekTo(bool back, Slice key) {
    End& e = PreparedEnd(back);
    e.cursor->SeekTo(key);
    e.row_waits = false;
    e.finished = false;
  }

  Status StatusOf(bool back) const { return ends_[back ? 1 : 0].cursor->status(); }
  const Ref<RefCounted>& core() const { return core_; }
  const Ref<SuperVersion>& pin() const { return pin_; }
  Seqno read_seqno() const { return read_seqno_; }

 private:
  End& PreparedEnd(bool back) {
    End& e = end(back);
    if (!e.cursor) {
      e.cursor.emplace(pin_, read_seqno_, bounds_,
                       back ? Cursor::Direction::kReverse : Cursor::Direction::kForward);
      e.finished = read_seqno_ == 0;
    }
    return e;
  }

  // At most 8 + 65,535 + 2^30 + 3.
  static uint32_t RowSize(const Cursor& cursor, RowContent content) {
    size_t size = 8 + 3;
    if (content != RowContent::kValue) size += cursor.key().size();
    if (content != RowContent::kKey) size += cursor.value_size();
    return static_cast<uint32_t>(size) & ~3u;
  }

  static void PutRow(const Cursor& cursor, RowContent content, char* dst) {
    const Slice key = cursor.key();
    const Slice value = cursor.value();
    const uint32_t lengths[2] = {static_cast<uint32_t>(key.size()),
                                 static_cast<uint32_t>(cursor.value_size())};
    std::memcpy(dst, lengths, sizeof(lengths));
    dst += sizeof(lengths);
    if (content != RowContent::kValue) {
      std::memcpy(dst, key.data(), key.size());
      dst += key.size();
    }
    if (content != RowContent::kKey) std::memcpy(dst, value.data(), value.size());
  }

  const Ref<RefCounted> core_;  // outlives the pin
  const Ref<SuperVersion> pin_;
  const Seqno read_seqno_;
  const Bounds bounds_;
  const std::shared_ptr<HandleCounts> counts_;
  End ends_[2];
};

class ScanHandle : public Dependent {
 public:
  static constexpr HandleType kType = HandleType::kScan;
  ScanHandle(std::shared_ptr<OpenCore> open, Ref<Scan> scan, bool outlives_close)
      : Dependent(kType, std::move(open)),
        scan_(std::move(scan)),
        outlives_close_(outlives_close) {}

  // Null once the core is closing.
  const Ref<Scan>& scan() const { return scan_; }
  void Drop() override {
    if (!outlives_close_) scan_.reset();
  }
  void OnAbandoned() override {
    if (scan_) scan_->CountAbandoned();
  }

 private:
  Ref<Scan> scan_;
  const bool outlives_close_;
};

// kMetaHandle: a ReadTarget; kMetaFlags: kScanOutlivesClose; arguments: lower and upper, Uint8Array
// or undefined. Out: the scan.
napi_value OpenScan(Call<2>& call) {
  Environment* e = call.environment;
  auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  const double given = e->Double(kMetaSeqno);
  if (const Code code = target->Readable(given); code != Code::kOk) {
    e->Fail(code);
    return nullptr;
  }
  Seqno read_seqno = 0;
  Ref<SuperVersion> pin = target->Pin(given, &read_seqno);
  if (const SuperVersion* held = pin->For(read_seqno); held != pin.get()) {
    pin = Ref<SuperVersion>::Share(const_cast<SuperVersion*>(held));
  }
  const Database* const database = target->database();
  Ref<Scan> scan = MakeRef<Scan>(target->ShareCore(), std::move(pin), read_seqno,
                                 ReadBounds(call.env, call.arguments[0], call.arguments[1]),
                                 database != nullptr ? database->handle_counts() : nullptr);
  const bool outlives_close = (call.meta[kMetaFlags] & kScanOutlivesClose) != 0;
  const uint32_t handle = e->handles().Add(
      std::make_unique<ScanHandle>(target->open(), std::move(scan), outlives_close));
  call.meta[kMetaHandle] = handle;
  e->Report(handle == 0 ? Status(Code::kOutOfMemory, "a million handles are open") : Status());
  return nullptr;
}

FillLimits LimitsOf(const uint32_t* meta) {
  const uint32_t flags = meta[kMetaFlags];
  FillLimits limits;
  limits.content = static_cast<RowContent>(std::min((flags >> kFillContentShift) & 3u, 2u));
  limits.mode = (flags & kFillMayBlock) != 0 ? ReadMode::kMayBlock : ReadMode::kMemoryOnly;
  limits.bytes = meta[kMetaByteLimit];
  limits.rows = std::max(meta[kMetaCount], 1u);
  return limits;
}

// The scan in kMetaHandle, if its core is open.
template <size_t kArguments>
ScanHandle* FindOpen(const Call<kArguments>& call) {
  auto* handle = call.template Find<ScanHandle>();
  if (handle == nullptr || handle->scan()) return handle;
  call.environment->Fail(Code::kDbClosed);
  return nullptr;
}

// The same, if the end that the flags name is free.
template <size_t kArguments>
ScanHandle* FindFree(const Call<kArguments>& call) {
  ScanHandle* handle = FindOpen(call);
  if (handle == nullptr) return nullptr;
  const bool back = (call.meta[kMetaFlags] & kFillBack) != 0;
  if (handle->scan()->end(back).busy.load(std::memory_order_acquire)) {
    call.SetStatus(kStatusBusy);
    return nullptr;
  }
  return handle;
}

// kMetaStatus: bytes filled; kMetaCount: rows; kMetaFlags: kFillEnd if nothing comes after them. No
// row fits: kStatusTooBig, and kMetaLength is what it needs.
void FillHere(Environment* e, Scan* scan, char* dst, uint32_t capacity) {
  uint32_t* meta = e->meta();
  const bool back = (meta[kMetaFlags] & kFillBack) != 0;
  const Filled filled = scan->Fill(back, LimitsOf(meta), dst, capacity);
  const bool failed = filled.code != Code::kOk && filled.code != Code::kNotFound;
  // Rows that were filled before a failure are handed out; the next fill meets it again.
  if (failed && filled.rows == 0) {
    if (filled.code == Code::kWouldBlock) {
      meta[kMetaStatus] = kStatusMin + static_cast<uint32_t>(Code::kWouldBlock);
    } else {
      e->Fail(scan->StatusOf(back));
    }
    return;
  }
  meta[kMetaCount] = filled.rows;
  meta[kMetaLength] = filled.needed;
  meta[kMetaFlags] = filled.code == Code::kNotFound ? kFillEnd : 0;
  meta[kMetaStatus] = filled.rows == 0 && filled.needed != 0 ? kStatusTooBig : filled.bytes;
}

// Fills the slab from kMetaOffset (a multiple of 4) on. The first row may go beyond the limit, as
// far as a small value would.
napi_value FillSlab(Call<0>& call) {
  ScanHandle* handle = FindFree(call);
  if (handle == nullptr) return nullptr;
  Environment* e = call.environment;
  const uint32_t offset = (std::min(call.meta[kMetaOffset], e->slab_bytes()) + 3) & ~3u;
  const uint32_t room = offset < e->slab_bytes() ? e->slab_bytes() - offset : 0;
  FillHere(e, handle->scan().get(), e->slab() + offset,
           std::min(room, std::max(call.meta[kMetaByteLimit], kOwnBufferMin)));
  return nullptr;
}

// Fills argument 0, whose memory is aligned to 4.
napi_value FillBuffer(Call<1>& call) {
  ScanHandle* handle = FindFree(call);
  if (handle == nullptr) return nullptr;
  Slice target;
  if (!BorrowBytes(call.env, call.arguments[0], &target)) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  FillHere(call.environment, handle->scan().get(), const_cast<char*>(target.data()),
           static_cast<uint32_t>(std::min<size_t>(target.size(), kStatusMin - 1)));
  return nullptr;
}

// A fill on a reader thread. However it goes, run or dropped, the end is free again before the
// answer is on its way.
struct FillWork {
  FillWork(Ref<Scan> s, bool b, const FillLimits& l, std::shared_ptr<Reply> r)
      : scan(std::move(s)), back(b), limits(l), reply(std::move(r)) {
    scan->end(back).busy.store(true, std::memory_order_relaxed);
  }
  ~FillWork() { Free(); }
  FillWork(const FillWork&) = delete;
  FillWork& operator=(const FillWork&) = delete;

  void Run() {
    Status status;
    try {
      status = Fill(&reply->answer());
    } catch (const std::bad_alloc&) {
      status = Code::kOutOfMemory;
    }
    Free();
    reply->Send(std::move(status));
  }

  // Once: after the answer the end may be filled by somebody else.
  void Free() {
    if (std::exchange(holds, false)) scan->end(back).busy.store(false, std::memory_order_release);
  }

  Status Fill(Answer* answer) {
    answer->bytes.resize(limits.bytes);
    Filled filled = scan->Fill(back, limits, answer->bytes.data(), limits.bytes);
    if (filled.code == Code::kOk && filled.rows == 0) {
      answer->bytes.resize(filled.needed);
      filled = scan->Fill(back, limits, answer->bytes.data(), filled.needed);
    }
    answer->bytes.resize(filled.bytes);
    answer->number = filled.rows;
    answer->flags = filled.code == Code::kNotFound ? kFillEnd : 0;
    const bool failed = filled.code != Code::kOk && filled.code != Code::kNotFound;
    return failed && filled.rows == 0 ? scan->StatusOf(back) : Status();
  }

  const Ref<Scan> scan;
  const bool back;
  const FillLimits limits;
  std::shared_ptr<Reply> reply;
  bool holds = true;
};

// Fills on a reader thread; the answer carries the rows, their number and kFillEnd.
napi_value FillLater(Call<0>& call) {
  ScanHandle* handle = FindFree(call);
  if (handle == nullptr) return nullptr;
  const bool back = (call.meta[kMetaFlags] & kFillBack) != 0;
  FillLimits limits = LimitsOf(call.meta);
  limits.mode = ReadMode::kMayBlock;
  std::shared_ptr<Reply> reply = call.environment->PrepareReply();
  auto work = std::make_shared<FillWork>(handle->scan(), back, limits, reply);
  const bool taken = handle->open()->SubmitRead([work] { work->Run(); });
  call.environment->ReportAsync(taken ? Code::kWouldBlock : Code::kDbClosed, std::move(reply));
  return nullptr;
}

// The end that the flags name goes on at the key in argument 0.
napi_value SeekScan(Call<1>& call) {
  ScanHandle* handle = FindFree(call);
  if (handle == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &call.environment->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  handle->scan()->SeekTo((call.meta[kMetaFlags] & kFillBack) != 0, key.slice());
  call.SetStatus(0);
  return nullptr;
}

// --- single values of the state that a scan has pinned -----------------------------------------

// As `get` of a tree.
napi_value ScanValue(Call<1>& call) {
  ScanHandle* handle = FindOpen(call);
  if (handle == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &call.environment->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  const Scan& scan = *handle->scan();
  TreeHit hit;
  Status status;
  if ((call.meta[kMetaFlags] & kReadMayBlock) == 0) {
    const EpochGuard guard;
    status =
        Tree::Get(scan.pin().get(), key.slice(), scan.read_seqno(), ReadMode::kMemoryOnly, &hit);
    if (status.ok()) return HandOut(call, hit.value);
  } else {
    status = Tree::Get(scan.pin().get(), key.slice(), scan.read_seqno(), ReadMode::kMayBlock, &hit);
    if (status.ok()) return HandOut(call, hit.value);
  }
  call.environment->ReportRead(std::move(status));
  return nullptr;
}

// As `getLater` of a tree.
napi_value ScanValueLater(Call<1>& call) {
  Environment* e = call.environment;
  ScanHandle* handle = FindOpen(call);
  if (handle == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &e->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  MissedRead read;
  read.super_version = handle->scan()->pin();
  read.read_seqno = handle->scan()->read_seqno();
  read.key = key.slice().ToString();
  std::shared_ptr<Reply> reply = e->PrepareReply();
  read.reply = reply;
  e->missed->Add(handle->open(), handle->scan()->core(), std::move(read));
  e->ReportAsync(Code::kWouldBlock, std::move(reply));
  return nullptr;
}

constexpr Export kExports[] = {
    {"openScan", Enter<2, OpenScan>},
    {"fillSlab", Enter<0, FillSlab>},
    {"fillBuffer", Enter<1, FillBuffer>},
    {"fillLater", Enter<0, FillLater>},
    {"seekScan", Enter<1, SeekScan>},
    {"scanValue", Enter<1, ScanValue>},
    {"scanValueLater", Enter<1, ScanValueLater>},
};

}  // namespace

Exports ScanExports() { return kExports; }

}  // namespace shale
