#include "tree/super_version.h"

#include <algorithm>

namespace shale {

SuperVersion::SuperVersion(Ref<Memtable> a, std::vector<Ref<Memtable>> s, Ref<Version> v, Seqno n,
                           std::shared_ptr<SuperVersionList> list, HeldVersions h)
    : active(std::move(a)),
      sealed(std::move(s)),
      version(std::move(v)),
      seqno(n),
      held(std::move(h)),
      list_(std::move(list)) {
  if (list_ == nullptr) return;
  std::lock_guard<std::mutex> lock(list_->mutex_);
  list_->living_.push_back(this);
}

SuperVersion::~SuperVersion() {
  if (list_ == nullptr) return;
  std::lock_guard<std::mutex> lock(list_->mutex_);
  list_->living_.erase(std::find(list_->living_.begin(), list_->living_.end(), this));
}

const SuperVersion* SuperVersion::Find(Seqno read_seqno) const {
  for (const HeldVersion& one : *held) {
    if (read_seqno <= one.until) return one.super_version.get();
  }
  return this;
}

std::vector<Ref<SuperVersion>> SuperVersionList::Living() const {
  std::vector<Ref<SuperVersion>> result;
  std::lock_guard<std::mutex> lock(mutex_);
  result.reserve(living_.size());
  for (size_t i = living_.size(); i-- > 0;) {
    if (living_[i]->TryAddRef()) result.push_back(Ref<SuperVersion>::Adopt(living_[i]));
  }
  return result;
}

}  // namespace shale
