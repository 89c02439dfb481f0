// UserStrategy: a compaction strategy of the application. Its name is stored, nothing else: whoever
// opens the tree again gives it again.
//
// Threads: Choose from one compaction thread of its tree at a time.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "tree/strategy.h"
#include "tree/super_version.h"

namespace shale {

class UserStrategy {
 public:
  explicit UserStrategy(std::string name) : name_(std::move(name)) {}
  virtual ~UserStrategy() = default;
  const std::string& name() const { return name_; }

  // nullopt: it wants nothing. An ApplicationFailure: it has no answer; another failure: nobody
  // could ask it. `may_wait` is asked again and again while it waits.
  virtual Status Choose(const Ref<SuperVersion>& tree, const StrategyContext& context,
                        const std::function<Status()>& may_wait,
                        std::optional<CompactionPlan>* plan) = 0;

  bool alive() const { return alive_.load(std::memory_order_acquire); }
  // Whoever gave it is gone.
  virtual void Drop() { alive_.store(false, std::memory_order_release); }

 private:
  const std::string name_;
  std::atomic<bool> alive_{true};
};

}  // namespace shale
