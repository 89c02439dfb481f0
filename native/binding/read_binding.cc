// Point reads. The newest state is read from memory under an epoch guard, without a lock or a
// shared write; a state that has to stay for longer is pinned by a count.

#include <algorithm>
#include <utility>

#include "base/epoch.h"
#include "binding/environment.h"
#include "binding/hand_out.h"
#include "binding/missed_reads.h"
#include "binding/open_core.h"
#include "binding/view.h"

namespace shale {
namespace {

// How a key is looked for: what is found is handed to `use` while it is there.
struct FindValue {
  using Found = Slice;
  static Status Find(const SuperVersion* sv, Slice key, Seqno seqno, ReadMode mode, TreeHit* hit,
                     Slice* value) {
    Status status = Tree::Get(sv, key, seqno, mode, hit);
    if (status.ok()) *value = hit->value;
    return status;
  }
};
struct FindSize {
  using Found = uint64_t;
  static Status Find(const SuperVersion* sv, Slice key, Seqno seqno, ReadMode mode, TreeHit*,
                     uint64_t* size) {
    return Tree::SizeOf(sv, key, seqno, mode, size);
  }
};

// Counts a lookup. Where memory answers some are timed, of those that may wait all are; those of
// getMany are not counted one by one.
class CountedLookup {
 public:
  CountedLookup(const ReadTarget& target, uint32_t flags) : target_(target) {
    if (target.gets() == nullptr) return;
    if ((flags & kReadMayBlock) == 0) {
      sampled_ = true;
      timed_ = target.gets()->Begin();
    } else {
      timed_ = (flags & kReadPinned) == 0;
    }
    if (timed_) [[unlikely]]
      begun_ = target.latencies()->Now();
  }
  // `status`: what kMetaStatus says. A value too large for the slab is asked for again, too.
  void End(uint32_t status) const {
    if (target_.gets() == nullptr) return;
    if (status >= kStatusMin && status != kStatusNotFound) [[unlikely]] {
      if (sampled_) target_.gets()->TakeBack();
    } else if (timed_) [[unlikely]] {
      Record();
    }
  }

 private:
  void Record() const {
    const uint64_t nanos = target_.latencies()->Now() - begun_;
    if (sampled_) {
      target_.gets()->Record(nanos, target_.gets()->Weight(Latencies::kGetDistance));
    } else {
      target_.latencies()->get.Record(nanos);
    }
  }

  const ReadTarget& target_;
  bool sampled_ = false;
  bool timed_ = false;
  uint64_t begun_ = 0;
};

// Looks for the key in argument 0 and calls use(found) while that is there.
template <typename What = FindValue, size_t kArguments, typename Use>
inline napi_value Look(Call<kArguments>& call, Use use) {
  auto* target = call.template Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &call.environment->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  const double given = call.environment->Double(kMetaSeqno);
  if (const Code code = target->Readable(given); code != Code::kOk) {
    call.environment->Fail(code);
    return nullptr;
  }
  TreeHit hit;
  typename What::Found found{};
  const uint32_t flags = call.meta[kMetaFlags];
  const CountedLookup counted(*target, flags);
  // Gives what was found to `use`, or says why there is nothing.
  const auto answer = [&](Status status) {
    napi_value result = nullptr;
    if (status.ok()) {
      result = use(found);
    } else {
      call.environment->ReportRead(std::move(status));
    }
    counted.End(call.meta[kMetaStatus]);
    return result;
  };
  if ((flags & kReadMayBlock) == 0) {
    const EpochGuard guard;
    Seqno read_seqno = 0;
    const SuperVersion* current = target->Current(given, &read_seqno);
    return answer(
        What::Find(current, key.slice(), read_seqno, ReadMode::kMemoryOnly, &hit, &found));
  }
  const PinnedState& many = call.environment->many;
  const bool pinned = (flags & kReadPinned) != 0 && many.super_version;
  Seqno read_seqno = many.read_seqno;
  const Ref<SuperVersion> pin = pinned ? many.super_version : target->Pin(given, &read_seqno);
  return answer(What::Find(pin.get(), key.slice(), read_seqno, ReadMode::kMayBlock, &hit, &found));
}

napi_value Get(Call<1>& call) {
  return Look(call, [&call](Slice value) { return HandOut(call, value); });
}

// Returns the value as a string.
napi_value GetText(Call<1>& call) {
  return Look(call, [&call](Slice value) -> napi_value {
    napi_value text = nullptr;
    const napi_status made =
        IsAscii(value) ? napi_create_string_latin1(call.env, value.data(), value.size(), &text)
                       : napi_create_string_utf8(call.env, value.data(), value.size(), &text);
    if (made == napi_ok) {
      call.SetStatus(0);
    } else {
      call.environment->Fail({Code::kValueTooLarge, "the value is too long for a string"});
    }
    return text;
  });
}

// Copies the value into argument 1 at kMetaOffset if it fits; kMetaLength is its length anyway.
napi_value GetInto(Call<2>& call) {
  Slice target;
  if (!BorrowBytes(call.env, call.arguments[1], &target)) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  return Look(call, [&call, target](Slice value) -> napi_value {
    const size_t offset = call.meta[kMetaOffset];
    call.meta[kMetaLength] = static_cast<uint32_t>(value.size());
    if (offset <= target.size() && value.size() <= target.size() - offset) {
      std::memcpy(const_cast<char*>(target.data()) + offset, value.data(), value.size());
    }
    call.SetStatus(0);
    return nullptr;
  });
}

napi_value SizeOf(Call<1>& call) {
  return Look<FindSize>(call, [&call](uint64_t size) -> napi_value {
    call.SetStatus(static_cast<uint32_t>(size));
    return nullptr;
  });
}

// --- getMany -----------------------------------------------------------------------------------

// Answers keys kMetaCount.. of the array in argument 0, at most kManyMax of them, all from one
// state: the first call (kMetaCount = 0) pins it, endMany lets it go. kMetaCount: how many were
// answered. Each has two words from kMetaKeys on: offset in the slab, and length or status. A key
// that is kStatusTooBig or kStatusMin + kWouldBlock is to be asked for alone, with kReadPinned.
class ManyReads {
 public:
  ManyReads(Call<1>* call, ReadTarget* target) : call_(*call), target_(target) {}

  void Run() {
    Environment* e = call_.environment;
    const uint32_t first = call_.meta[kMetaCount];
    if (first == 0 || e->many.super_version.get() == nullptr) Pin();
    if (!ReadKeys(first)) return;
    slab_offset_ = std::min(call_.meta[kMetaOffset], e->slab_bytes());
    uint32_t answered = 0;
    while (answered < ends_.size()) {
      const uint32_t group =
          std::min<uint32_t>(kGroup, static_cast<uint32_t>(ends_.size()) - answered);
      for (uint32_t i = 0; i < group; ++i) Prefetch(Key(answered + i));
      for (uint32_t i = 0; i < group; ++i) {
        if (!Answer(answered + i)) return Finish(answered + i);
      }
      answered += group;
    }
    Finish(answered);
  }

 private:
  // Enough to overlap their cache misses, few enough for all of their lines to stay.
  static constexpr uint32_t kGroup = 16;

  void Pin() {
    PinnedState& many = call_.environment->many;
    many.Drop();
    many.core = target_->ShareCore();
    many.super_version = target_->Pin(call_.environment->Double(kMetaSeqno), &many.read_seqno);
  }

  bool ReadKeys(uint32_t first) {
    uint32_t length = 0;
    (void)napi_get_array_length(call_.env, call_.arguments[0], &length);
    const uint32_t end = first + std::min(kManyMax, length - std::min(first, length));
    keys_.reserve((end - first) * 24);
    for (uint32_t i = first; i < end; ++i) {
      napi_value element;
      KeyArgument key;
      if (napi_get_element(call_.env, call_.arguments[0], i, &element) != napi_ok ||
          !key.Read(call_.env, element, &call_.environment->key_scratch)) {
        call_.meta[kMetaLength] = i;
        call_.SetStatus(kStatusBadKey);
        return false;
      }
      keys_.append(key.slice().data(), key.slice().size());
      ends_.push_back(keys_.size());
    }
    return true;
  }

  Slice Key(uint32_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return Slice(keys_.data() + begin, ends_[i] - begin);
  }

  void Prefetch(Slice key) const {
    const SuperVersion& state = *call_.environment->many.super_version;
    state.active->Prefetch(key);
    for (const Ref<Memtable>& sealed : state.sealed) sealed->Prefetch(key);
  }

  // False if the slab has no room left for this one.
  bool Answer(uint32_t i) {
    const PinnedState& many = call_.environment->many;
    uint32_t* words = call_.meta + kMetaKeys + 2 * i;
    TreeHit hit;
    if ((call_.meta[kMetaFlags] & kReadMayBlock) == 0) {
      const EpochGuard guard;
      return Store(
          words,
          Tree::Get(many.super_version.get(), Key(i), many.read_seqno, ReadMode::kMemoryOnly, &hit),
          hit.value);
    }
    return Store(
        words,
        Tree::Get(many.super_version.get(), Key(i), many.read_seqno, ReadMode::kMayBlock, &hit),
        hit.value);
  }

  bool Store(uint32_t* words, Status status, Slice value) {
    Environment* e = call_.environment;
    if (!status.ok()) {
      words[1] = kStatusMin + static_cast<uint32_t>(status.code());
      if (status.Is(Code::kNotFound) || status.Is(Code::kWouldBlock)) return true;
      failure_ = std::move(status);
      return false;
    }
    if (value.size() >= kOwnBufferMin) {
      words[1] = kStatusTooBig;
      return true;
    }
    if (value.size() > e->slab_bytes() - slab_offset_) return false;
    std::memcpy(e->slab() + slab_offset_, value.data(), value.size());
    words[0] = slab_offset_;
    words[1] = static_cast<uint32_t>(value.size());
    slab_offset_ = std::min((slab_offset_ + words[1] + 7) & ~7u, e->slab_bytes());
    return true;
  }

  void Finish(uint32_t answered) {
    call_.meta[kMetaCount] = answered;
    call_.meta[kMetaOffset] = slab_offset_;
    call_.environment->Report(std::move(failure_));
  }

  Call<1>& call_;
  ReadTarget* const target_;
  std::string keys_;          // one after the other
  std::vector<size_t> ends_;  // where each of them ends
  uint32_t slab_offset_ = 0;
  Status failure_;
};

napi_value GetMany(Call<1>& call) {
  auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  const double given = call.environment->Double(kMetaSeqno);
  if (const Code code = target->Readable(given); code != Code::kOk) {
    call.environment->Fail(code);
    return nullptr;
  }
  ManyReads(&call, target).Run();
  return nullptr;
}

napi_value EndMany(Call<0>& call) {
  call.environment->many.Drop();
  call.SetStatus(0);
  return nullptr;
}

// The state of a getMany that goes on in a later turn of the event loop.
class ManyHandle : public Handle {
 public:
  static constexpr HandleType kType = HandleType::kMany;
  explicit ManyHandle(PinnedState s) : Handle(kType), state(std::move(s)) {}
  PinnedState state;
};

// Instead of endMany; kMetaHandle: what resumeMany takes.
napi_value HoldMany(Call<0>& call) {
  Environment* e = call.environment;
  auto held = std::make_unique<ManyHandle>(std::move(e->many));
  const uint32_t handle = e->handles().Add(std::move(held));
  call.meta[kMetaHandle] = handle;
  e->Report(handle == 0 ? Status(Code::kOutOfMemory, "a million handles are open") : Status());
  return nullptr;
}

napi_value ResumeMany(Call<0>& call) {
  auto* held = call.Find<ManyHandle>();
  if (held == nullptr) return nullptr;
  call.environment->many.Drop();
  call.environment->many = std::move(held->state);
  call.environment->handles().Remove(call.meta[kMetaHandle]);
  call.SetStatus(0);
  return nullptr;
}

// --- reads that wait for the disk --------------------------------------------------------------

// Leaves the key for submitReads; the answer is filed under kMetaOperation. kReadSize: only the
// length; kReadPinned: of the state that getMany has pinned.
napi_value GetLater(Call<1>& call) {
  Environment* e = call.environment;
  auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  KeyArgument key;
  if (!key.Read(call.env, call.arguments[0], &e->key_scratch)) {
    call.SetStatus(kStatusBadKey);
    return nullptr;
  }
  const double given = e->Double(kMetaSeqno);
  if (const Code code = target->Readable(given); code != Code::kOk) {
    e->Fail(code);
    return nullptr;
  }
  const uint32_t flags = call.meta[kMetaFlags];
  const bool pinned = (flags & kReadPinned) != 0 && e->many.super_version.get() != nullptr;
  MissedRead read;
  read.read_seqno = e->many.read_seqno;
  read.super_version = pinned ? e->many.super_version : target->Pin(given, &read.read_seqno);
  read.key = key.slice().ToString();
  read.size_only = (flags & kReadSize) != 0;
  if (!pinned && target->latencies() != nullptr) {
    read.latencies = target->latencies();
    read.begun = read.latencies->Now();
  }
  std::shared_ptr<Reply> reply = e->PrepareReply();
  read.reply = reply;
  e->missed->Add(target->open(), target->ShareCore(), std::move(read));
  e->ReportAsync(Code::kWouldBlock, std::move(reply));
  return nullptr;
}

napi_value SubmitReads(Call<0>& call) {
  call.environment->missed->Submit();
  call.SetStatus(0);
  return nullptr;
}

// --- views -------------------------------------------------------------------------------------

ReadTarget* FindOpen(const Call<0>& call) {
  auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  if (target->tree() == nullptr) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  call.SetStatus(0);
  return target;
}

napi_value TreeFigures(Call<0>& call) {
  ReadTarget* target = FindOpen(call);
  return target == nullptr ? nullptr : TreeFiguresObject(call.env, *target);
}

napi_value CurrentVersion(Call<0>& call) {
  ReadTarget* target = FindOpen(call);
  if (target == nullptr) return nullptr;
  const Ref<SuperVersion> pin = target->tree()->Pin();
  return VersionObject(call.env, *pin->version);
}

napi_value SuperVersions(Call<0>& call) {
  ReadTarget* target = FindOpen(call);
  if (target == nullptr) return nullptr;
  return JsArray(call.env, target->tree()->history(), [&call](const Ref<SuperVersion>& version) {
    return SuperVersionObject(call.env, *version);
  });
}

// kMetaSeqno: of the read.
napi_value SuperVersionFor(Call<0>& call) {
  ReadTarget* target = FindOpen(call);
  if (target == nullptr) return nullptr;
  const Seqno read_seqno = target->ReadSeqno(call.environment->Double(kMetaSeqno));
  return SuperVersionObject(call.env, *target->tree()->PinFor(read_seqno));
}

napi_value Settings(Call<0>& call) {
  ReadTarget* target = FindOpen(call);
  return target == nullptr ? nullptr : TreeSettingsObject(call.env, target->tree()->options());
}

// Arguments: lower and upper, Uint8Array or undefined. kMetaNumber: bytes of tables in between.
napi_value ApproximateSize(Call<2>& call) {
  auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  if (target->tree() == nullptr) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  uint64_t bytes = 0;
  Status status = target->tree()->ApproximateSize(
      ReadBounds(call.env, call.arguments[0], call.arguments[1]), ReadMode::kMayBlock, &bytes);
  call.environment->SetDouble(kMetaNumber, static_cast<double>(bytes));
  call.environment->Report(std::move(status));
  return nullptr;
}

constexpr Export kExports[] = {
    {"get", Enter<1, Get>},
    {"getText", Enter<1, GetText>},
    {"getInto", Enter<2, GetInto>},
    {"sizeOf", Enter<1, SizeOf>},
    {"getMany", Enter<1, GetMany>},
    {"endMany", Enter<0, EndMany>},
    {"holdMany", Enter<0, HoldMany>},
    {"resumeMany", Enter<0, ResumeMany>},
    {"getLater", Enter<1, GetLater>},
    {"submitReads", Enter<0, SubmitReads>},
    {"treeFigures", Enter<0, TreeFigures>},
    {"version", Enter<0, CurrentVersion>},
    {"superVersions", Enter<0, SuperVersions>},
    {"superVersionFor", Enter<0, SuperVersionFor>},
    {"settings", Enter<0, Settings>},
    {"approximateSize", Enter<2, ApproximateSize>},
};

}  // namespace

Exports ReadExports() { return kExports; }

}  // namespace shale
