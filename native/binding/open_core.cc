#include "binding/open_core.h"

#include <algorithm>
#include <new>
#include <utility>

namespace shale {

ReadTarget::ReadTarget(std::shared_ptr<OpenCore> open, Ref<Keyspace> keyspace)
    : Handle(kType), open_(std::move(open)), keyspace_(std::move(keyspace)) {
  if (keyspace_.get() != nullptr) {
    id_ = keyspace_->id();
    name_ = keyspace_->name();
  }
  if (open_->closed()) {
    keyspace_.reset();
    return;
  }
  database_ = open_->database();
  tree_ = keyspace_.get() != nullptr ? keyspace_->tree() : open_->tree->tree();
  open_->targets.insert(this);
}

ReadTarget::~ReadTarget() { open_->targets.erase(this); }

Ref<RefCounted> ReadTarget::ShareCore() const {
  if (database_ != nullptr) return Ref<Database>::Share(database_);
  return Ref<StandaloneTree>::Share(open_->tree.get());
}

void ReadTarget::Drop() {
  tree_ = nullptr;
  database_ = nullptr;
  keyspace_.reset();
}

Status Closing::RunOrWait() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (begun_) {
    ended_.wait(lock, [this] { return done_; });
    return outcome_;
  }
  begun_ = true;
  lock.unlock();
  Status outcome;
  try {
    outcome = handle_ != nullptr ? handle_->Close() : tree_->Close();
  } catch (const std::bad_alloc&) {
    outcome = Code::kOutOfMemory;
  }
  handle_.reset();
  tree_.reset();
  lock.lock();
  outcome_ = std::move(outcome);
  done_ = true;
  ended_.notify_all();
  return outcome_;
}

OpenCore::~OpenCore() {
  if (!closed() && (handle != nullptr || tree.get() != nullptr)) (void)Close();
}

bool OpenCore::SubmitRead(std::function<void()> work) const {
  if (closed()) return false;
  return handle != nullptr ? handle->database()->SubmitRead(std::move(work))
                           : tree->Submit(Lane::kReader, std::move(work));
}

std::shared_ptr<JobControl> OpenCore::NewJob() {
  std::erase_if(jobs, [](const std::weak_ptr<JobControl>& job) { return job.expired(); });
  auto control = std::make_shared<JobControl>();
  jobs.push_back(control);
  return control;
}

bool OpenCore::BeginClose() {
  if (closed()) return false;
  auto ending = std::make_shared<Closing>();
  for (const std::weak_ptr<JobControl>& job : jobs) {
    if (const std::shared_ptr<JobControl> control = job.lock()) control->stop.store(true);
  }
  for (const Seqno seqno : snapshots) database()->snapshots().Close(seqno);
  snapshots.clear();
  for (ReadTarget* target : targets) target->Drop();
  ending->Take(std::move(handle), std::move(tree));
  closing = std::move(ending);
  return true;
}

Status OpenCore::Close() {
  BeginClose();
  return closing->RunOrWait();
}

}  // namespace shale
