#include "binding/open_core.h"

#include <algorithm>
#include <new>
#include <utility>

namespace shale {

Dependent::Dependent(HandleType type, std::shared_ptr<OpenCore> open)
    : Handle(type), open_(std::move(open)), place_(open_->dependents.size()) {
  open_->dependents.push_back(this);
}

// The last one takes its place.
Dependent::~Dependent() {
  std::vector<Dependent*>& all = open_->dependents;
  all[place_] = all.back();
  all[place_]->place_ = place_;
  all.pop_back();
}

ReadTarget::ReadTarget(std::shared_ptr<OpenCore> core, Ref<Keyspace> keyspace)
    : Dependent(kType, std::move(core)), keyspace_(std::move(keyspace)) {
  if (keyspace_.get() != nullptr) {
    id_ = keyspace_->id();
    name_ = keyspace_->name();
  }
  if (open()->closed()) {
    keyspace_.reset();
    return;
  }
  database_ = open()->database();
  tree_ = keyspace_.get() != nullptr ? keyspace_->tree() : open()->tree->tree();
  if (database_ == nullptr) return;
  latencies_ = database_->latencies();
  gets_ = &latencies_->get.own();
}

Ref<RefCounted> ReadTarget::ShareCore() const {
  if (database_ != nullptr) return Ref<Database>::Share(database_);
  return Ref<StandaloneTree>::Share(open()->tree.get());
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
  for (const auto& listener : listeners_) listener->PostEnd(DatabaseStatus::kClosed);
  listeners_.clear();
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

std::unique_ptr<EventsHandle> OpenCore::Listen(std::function<void()> wake) {
  std::erase_if(listeners, [](const std::weak_ptr<EventQueue>& queue) { return queue.expired(); });
  const std::shared_ptr<EventHub>& hub = database()->events();
  auto queue = std::make_shared<EventQueue>(std::move(wake));
  listeners.push_back(queue);
  auto handle = std::make_unique<EventsHandle>(hub, queue);
  hub->Add(std::move(queue));
  return handle;
}

void OpenCore::Stop(JobControl* job) const {
  job->stop.store(true);
  if (handle != nullptr) handle->database()->TellStoppedJobs();
  if (tree.get() != nullptr) tree->TellStoppedJobs();
}

void OpenCore::ReleaseCompactions() const {
  if (handle != nullptr && handle->is_first()) handle->database()->ReleaseCompactions();
}

void OpenCore::NoteStrategy(const Keyspace* keyspace, std::shared_ptr<UserStrategy> strategy) {
  if (strategy == nullptr) return;
  if (closed()) return strategy->Drop();
  std::shared_ptr<UserStrategy>& place = strategies[keyspace != nullptr ? keyspace->id() : 0];
  place.swap(strategy);
  if (strategy != nullptr) strategy->Drop();
}

// Those of other opens take their places, or the status says that they lack one.
void OpenCore::DropStrategies() {
  for (const auto& [id, strategy] : strategies) {
    strategy->Drop();
    if (database() == nullptr) continue;
    if (const Ref<Keyspace> keyspace = database()->FindKeyspaceById(id)) {
      database()->CheckStrategy(*keyspace);
    }
  }
  strategies.clear();
}

bool OpenCore::BeginClose() {
  if (closed()) return false;
  auto ending = std::make_shared<Closing>();
  Closing::Listeners listening;
  for (const std::weak_ptr<EventQueue>& listener : listeners) {
    if (std::shared_ptr<EventQueue> queue = listener.lock()) listening.push_back(std::move(queue));
  }
  for (const auto& listener : listening) listener->PostEnd(DatabaseStatus::kClosing);
  for (const std::weak_ptr<JobControl>& job : jobs) {
    if (const std::shared_ptr<JobControl> control = job.lock()) control->stop.store(true);
  }
  for (const std::shared_ptr<CompactionFilter>& filter : filters) filter->Drop();
  DropStrategies();
  for (const Seqno seqno : snapshots) database()->snapshots().Close(seqno);
  snapshots.clear();
  for (Dependent* dependent : dependents) dependent->Drop();
  ending->Take(std::move(handle), std::move(tree), std::move(listening));
  closing = std::move(ending);
  return true;
}

Status OpenCore::Close() {
  BeginClose();
  return closing->RunOrWait();
}

}  // namespace shale
