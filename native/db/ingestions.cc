#include "db/ingestions.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/coding.h"

namespace shale {
namespace {

// After so many pieces other ingestions have their turn.
constexpr int kPiecesPerTurn = 16;

Status HasEnded() { return Status(Code::kInvalidArgument, "the ingestion has ended"); }

}  // namespace

// ---- the list ----

// Shares only what still has an owner.
std::vector<Ref<Ingestion>> OpenIngestions::All() const {
  std::vector<Ref<Ingestion>> all;
  std::lock_guard<std::mutex> lock(mutex_);
  all.reserve(all_.size());
  for (Ingestion* ingestion : all_) {
    if (ingestion->TryAddRef()) all.push_back(Ref<Ingestion>::Adopt(ingestion));
  }
  return all;
}

void OpenIngestions::Stop() {
  for (const Ref<Ingestion>& ingestion : All()) ingestion->Stop();
}

void OpenIngestions::RollBack() {
  for (const Ref<Ingestion>& ingestion : All()) ingestion->RollBack();
  // What has no owner any more may be removing its files on another thread.
  std::unique_lock<std::mutex> lock(mutex_);
  left_.wait(lock, [this] {
    return std::all_of(all_.begin(), all_.end(),
                       [](const Ingestion* one) { return one->ref_count() != 0; });
  });
}

// ---- life ----

Ingestion::Ingestion(std::unique_ptr<Host> host, std::unique_ptr<IngestedRun> run,
                     Executor* executor, std::shared_ptr<OpenIngestions> open)
    : host_(std::move(host)), executor_(executor), open_(std::move(open)), run_(std::move(run)) {
  std::lock_guard<std::mutex> lock(open_->mutex_);
  open_->all_.insert(this);
}

Ingestion::~Ingestion() {
  run_.reset();
  std::lock_guard<std::mutex> lock(open_->mutex_);
  open_->all_.erase(this);
  open_->left_.notify_all();
}

void Ingestion::Stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

void Ingestion::RollBack() {
  std::unique_ptr<IngestedRun> gone;  // outside of the lock
  std::lock_guard<std::mutex> lock(mutex_);
  state_ = State::kEnded;
  DropQueue();
  gone = std::move(run_);
}

void Ingestion::Abort() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (state_ == State::kOpen) EndWithoutRows();
}

void Ingestion::EndWithoutRows() {
  state_ = State::kEnded;
  DropQueue();
  changed_.notify_all();
  if (!building_) ScheduleBuild();  // which removes the files
}

void Ingestion::DropQueue() {
  queue_.clear();
  queued_bytes_ = 0;
}

// ---- rows ----

Status Ingestion::Write(Slice rows) {
  const std::shared_ptr<void> entered = host_->Enter();
  if (entered == nullptr) return Code::kDbClosed;
  SHALE_RETURN_IF_ERROR(host_->Check());
  std::string piece = rows.ToString();
  std::unique_lock<std::mutex> lock(mutex_);
  const auto has_room = [&] {
    return queue_.empty() || queued_bytes_ + piece.size() <= kIngestionQueueBytes;
  };
  while (state_ == State::kOpen && !stopped_ && failure_.ok() && !has_room()) {
    executor_->WaitFor(&changed_, &lock);
  }
  if (stopped_) return Code::kDbClosed;
  if (state_ != State::kOpen) return HasEnded();
  if (!failure_.ok()) return failure_;
  queued_bytes_ += piece.size();
  queue_.push_back(std::move(piece));
  if (!building_) ScheduleBuild();
  return Status::Ok();
}

void Ingestion::ScheduleBuild() {
  executor_->Submit(Lane::kIngest, [self = Ref<Ingestion>::Share(this)] { self->Build(); });
  building_ = true;
}

void Ingestion::Build() {
  std::unique_ptr<IngestedRun> gone;  // outside of the lock
  std::unique_lock<std::mutex> lock(mutex_);
  for (int i = 0; i < kPiecesPerTurn && !queue_.empty(); ++i) {
    // Its bytes count until it is built: they are what a writer runs ahead by.
    const std::string piece = std::move(queue_.front());
    lock.unlock();
    const Status status = AddRows(piece);
    lock.lock();
    if (!status.ok()) failure_ = status;
    if (!failure_.ok()) DropQueue();
    if (!queue_.empty()) {  // else it was dropped meanwhile
      queue_.pop_front();
      queued_bytes_ -= piece.size();
    }
    changed_.notify_all();
  }
  if (!queue_.empty()) return ScheduleBuild();
  if (!failure_.ok() || state_ == State::kEnded) gone = std::move(run_);
  building_ = false;
  changed_.notify_all();
}

Status Ingestion::AddRows(Slice rows) {
  static const Status malformed(Code::kInvalidArgument, "the rows of an ingestion are malformed");
  try {
    while (!rows.empty()) {
      if (rows.size() < kRowHeaderBytes) return malformed;
      const auto kind = static_cast<Kind>(rows[0]);
      const size_t key_length = LoadLe<uint16_t>(rows.data() + 2);
      const size_t value_length = LoadLe<uint32_t>(rows.data() + 4);
      const Slice body = rows.Skip(kRowHeaderBytes);
      if ((kind != Kind::kValue && !IsTombstone(kind)) || rows[1] != 0 ||
          key_length > body.size() || value_length > body.size() - key_length) {
        return malformed;
      }
      const Slice value(body.data() + key_length, value_length);
      SHALE_RETURN_IF_ERROR(run_->Add(kind, body.Prefix(key_length), value));
      rows = body.Skip(key_length + value_length);
    }
  } catch (const std::bad_alloc&) {
    return Code::kOutOfMemory;
  }
  return Status::Ok();
}

// ---- the end ----

Status Ingestion::Finish(uint64_t* count) {
  std::shared_ptr<Finishing> finishing;
  SHALE_RETURN_IF_ERROR(BeginFinish(&finishing));
  return finishing->Run(count);
}

Status Ingestion::BeginFinish(std::shared_ptr<Finishing>* finishing) {
  std::shared_ptr<void> entered = host_->Enter();
  if (entered == nullptr) return Code::kDbClosed;
  // Memory first: once it has begun it is ended by that object.
  std::shared_ptr<Finishing> made(new Finishing(std::move(entered)));
  std::lock_guard<std::mutex> lock(mutex_);
  if (state_ != State::kOpen) return HasEnded();
  state_ = State::kFinishing;
  made->ingestion_ = Ref<Ingestion>::Share(this);
  *finishing = std::move(made);
  return Status::Ok();
}

Status Ingestion::Finishing::Run(uint64_t* count) {
  const Ref<Ingestion> ingestion = std::move(ingestion_);
  try {
    return ingestion->RunFinish(count);
  } catch (const std::bad_alloc&) {
    return Code::kOutOfMemory;
  }
}

Ingestion::Finishing::~Finishing() {
  if (!ingestion_) return;
  std::lock_guard<std::mutex> lock(ingestion_->mutex_);
  ingestion_->EndWithoutRows();
}

Status Ingestion::RunFinish(uint64_t* count) {
  *count = 0;
  std::unique_ptr<IngestedRun> run;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    while (building_) executor_->WaitFor(&changed_, &lock);
    state_ = State::kEnded;
    if (!failure_.ok()) return failure_;
    run = std::move(run_);
  }
  const uint64_t rows = run->item_count();
  if (rows == 0) return Status::Ok();
  SHALE_RETURN_IF_ERROR(host_->Ingest(run.get()));
  *count = rows;
  return Status::Ok();
}

}  // namespace shale
