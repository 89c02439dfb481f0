// Ingestions of keyspaces: an ingestion is a commit whose rows are in tables already.
#include <optional>
#include <utility>

#include "db/database_impl.h"

namespace shale {

class Database::Impl::IngestionHost final : public Ingestion::Host {
 public:
  IngestionHost(Impl* impl, Keyspace* keyspace)
      : impl_(impl), keyspace_(Ref<Keyspace>::Share(keyspace)) {}

  std::shared_ptr<void> Enter() override {
    auto call = std::make_shared<Call>(impl_);
    return call->open() ? call : nullptr;
  }
  Status Check() override { return impl_->CheckIngestion(keyspace_.get()); }
  Status Ingest(IngestedRun* run) override { return impl_->Ingest(keyspace_.get(), run); }

 private:
  Impl* const impl_;
  const Ref<Keyspace> keyspace_;
};

Status Database::Impl::CheckIngestion(const Keyspace* keyspace) const {
  if (options_.read_only) return Status(Code::kReadOnly, "the database was opened read-only");
  if (keyspace->deleted()) {
    return Status(Code::kKeyspaceDeleted, "the keyspace was deleted")
        .WithKeyspace(keyspace->name());
  }
  return queue_->failed() ? queue_->DbFailed() : Status::Ok();
}

Status Database::Impl::StartIngestion(Keyspace* keyspace, Ref<Ingestion>* ingestion) {
  const Call call(this);
  if (!call.open()) return Code::kDbClosed;
  SHALE_RETURN_IF_ERROR(CheckIngestion(keyspace));
  *ingestion = MakeRef<Ingestion>(std::make_unique<IngestionHost>(this, keyspace),
                                  keyspace->tree()->StartIngestion(), executor_.get(), ingestions_);
  return Status::Ok();
}

// The run adds to level 0: as a write it waits for room there, however long, for it cannot be tried
// again.
Status Database::Impl::AwaitRoom() {
  if (control_->free()) return Status::Ok();
  Waiting waiting(executor_.get());
  control_->AdmitAsync(0, waiting.Callback());
  return waiting.Wait();
}

// What is slow comes before the commit takes its place: the sync of the files, and a flush, so that
// little is left to be flushed while others wait behind it.
Status Database::Impl::Ingest(Keyspace* keyspace, IngestedRun* run) {
  SHALE_RETURN_IF_ERROR(CheckIngestion(keyspace));
  SHALE_RETURN_IF_ERROR(AwaitRoom());
  Status status = run->Complete();
  if (status.ok()) {
    queue_->DrainAll();  // async writes that were called before it come before it
    {
      const CommitQueue::WriteLock lock(queue_.get());
      RotateTree(keyspace);
    }
    status = maintenance_->FlushNow(keyspace);
  }
  if (status.ok()) {
    status = CommitIngestion(keyspace, run);
    maintenance_->Ingested(keyspace, status);
  }
  if (status.Is(Code::kSyncFailed)) queue_->Fail(status);
  if (!status.ok() && keyspace->deleted()) return CheckIngestion(keyspace);
  return status;
}

Status Database::Impl::CommitIngestion(Keyspace* keyspace, IngestedRun* run) {
  struct Hold {
    CommitQueue* queue;
    Seqno seqno = 0;
    ~Hold() {  // whatever came of it: others wait
      if (seqno != 0) queue->Release(seqno);
    }
  } hold{queue_.get()};
  const auto take_seqno = [&](Seqno* seqno) { return HoldIngestion(keyspace, seqno, &hold.seqno); };
  const auto before_commit = [this](Seqno highest) { return BeforeFlushCommit(highest); };
  return keyspace->tree()->Ingest(run, take_seqno, before_commit, nullptr);
}

// From here to its release the commit is invisible, and so are those behind it: none of them is in
// a table before the run is.
Status Database::Impl::HoldIngestion(Keyspace* keyspace, Seqno* seqno, Seqno* held) {
  WriteBatch batch;
  batch.Add(kTablesChanged, keyspace->id(), Slice(), Slice());
  const CommitQueue::WriteLock lock(queue_.get());
  SHALE_RETURN_IF_ERROR(CheckIngestion(keyspace));
  SHALE_RETURN_IF_ERROR(AppendLocked(batch, seqno));
  *held = *seqno;
  queue_->HoldOne(*seqno);
  RotateTree(keyspace);
  return Status::Ok();
}

}  // namespace shale
