// Ingestions of keyspaces and bare trees.

#include <utility>

#include "binding/environment.h"
#include "binding/open_core.h"

namespace shale {
namespace {

// What was not finished when this goes is rolled back.
class IngestionHandle : public Dependent {
 public:
  static constexpr HandleType kType = HandleType::kIngestion;
  IngestionHandle(std::shared_ptr<OpenCore> open, Ref<RefCounted> core, Ref<Ingestion> ingestion)
      : Dependent(kType, std::move(open)),
        core_(std::move(core)),
        ingestion_(std::move(ingestion)) {}
  ~IngestionHandle() override { IngestionHandle::Drop(); }

  void Drop() override {
    if (ingestion_) ingestion_->Abort();
    ingestion_.reset();
    core_.reset();
  }
  // Null once the core is closing.
  Ingestion* ingestion() const { return ingestion_.get(); }
  const Ref<RefCounted>& core() const { return core_; }

 private:
  Ref<RefCounted> core_;  // outlives the ingestion
  Ref<Ingestion> ingestion_;
};

void Made(Environment* e, std::unique_ptr<IngestionHandle> made) {
  const uint32_t handle = e->handles().Add(std::move(made));
  e->meta()[kMetaHandle] = handle;
  e->Report(handle == 0 ? Status(Code::kOutOfMemory, "a million handles are open") : Status());
}

// kMetaHandle: a ReadTarget of a keyspace. Out: the ingestion.
napi_value StartIngestion(Call<0>& call) {
  Environment* e = call.environment;
  auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  if (target->keyspace() == nullptr) {
    e->Fail(Code::kDbClosed);
    return nullptr;
  }
  Ref<Ingestion> ingestion;
  if (Status status = target->database()->StartIngestion(target->keyspace(), &ingestion);
      !status.ok()) {
    e->Fail(std::move(status));
    return nullptr;
  }
  Made(e, std::make_unique<IngestionHandle>(target->open(), target->ShareCore(),
                                            std::move(ingestion)));
  return nullptr;
}

// kMetaHandle: the core of a bare tree; kMetaSeqno: of the rows. Out: the ingestion.
napi_value StartTreeIngestion(Call<0>& call) {
  Environment* e = call.environment;
  auto* core = call.Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  Ref<StandaloneTree> tree = core->open->tree;
  if (!tree) {
    e->Fail(Code::kDbClosed);
    return nullptr;
  }
  const double given = e->Double(kMetaSeqno);
  if (!(given >= 0 && given <= static_cast<double>(kSeqnoMax))) {
    e->Fail({Code::kInvalidArgument, "seqno must be a safe integer"});
    return nullptr;
  }
  Ref<Ingestion> ingestion;
  if (Status status = tree->StartIngestion(static_cast<Seqno>(given), &ingestion); !status.ok()) {
    e->Fail(std::move(status));
    return nullptr;
  }
  Made(e, std::make_unique<IngestionHandle>(core->open, std::move(tree), std::move(ingestion)));
  return nullptr;
}

template <size_t kArguments>
IngestionHandle* FindIngestion(const Call<kArguments>& call) {
  auto* handle = call.template Find<IngestionHandle>();
  if (handle == nullptr || handle->ingestion() != nullptr) return handle;
  call.environment->Fail(Code::kDbClosed);
  return nullptr;
}

// Packed rows in argument 0.
napi_value IngestRows(Call<1>& call) {
  IngestionHandle* handle = FindIngestion(call);
  if (handle == nullptr) return nullptr;
  Slice rows;
  if (!BorrowBytes(call.env, call.arguments[0], &rows)) {
    call.SetStatus(kStatusBadArgument);
    return nullptr;
  }
  call.environment->Report(handle->ingestion()->Write(rows));
  return nullptr;
}

// kMetaNumber, or the number of the answer: how many rows it has taken.
template <bool kAsync>
napi_value FinishIngestion(Call<0>& call) {
  Environment* e = call.environment;
  IngestionHandle* handle = FindIngestion(call);
  if (handle == nullptr) return nullptr;
  if constexpr (kAsync) {
    // From here on it runs: a close that is called now waits for it.
    std::shared_ptr<Ingestion::Finishing> finishing;
    if (Status status = handle->ingestion()->BeginFinish(&finishing); !status.ok()) {
      e->Fail(std::move(status));
      return nullptr;
    }
    e->RunAsync([core = handle->core(), finishing](Answer* answer) {
      uint64_t count = 0;
      Status status = finishing->Run(&count);
      answer->number = static_cast<double>(count);
      return status;
    });
  } else {
    uint64_t count = 0;
    Status status = handle->ingestion()->Finish(&count);
    e->SetDouble(kMetaNumber, static_cast<double>(count));
    e->Report(std::move(status));
  }
  return nullptr;
}

constexpr Export kExports[] = {
    {"startIngestion", Enter<0, StartIngestion>},
    {"startTreeIngestion", Enter<0, StartTreeIngestion>},
    {"ingestRows", Enter<1, IngestRows>},
    {"finishIngestion", Enter<0, FinishIngestion<true>>},
    {"finishIngestionSync", Enter<0, FinishIngestion<false>>},
};

}  // namespace

Exports IngestionExports() { return kExports; }

}  // namespace shale
