// Keyspace: a named tree of a database.
//
// Threads: any. Lifetime: shared by the database and every handle; outlives neither the core's
// files.
#pragma once

#include <atomic>
#include <string>

#include "base/ref.h"
#include "tree/tree.h"

namespace shale {

class Keyspace : public RefCounted {
 public:
  Keyspace(uint32_t id, std::string name, Ref<Tree> tree)
      : id_(id), name_(std::move(name)), tree_(std::move(tree)) {}

  uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  Tree* tree() const { return tree_.get(); }
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }
  void MarkDeleted() { deleted_.store(true, std::memory_order_release); }

 private:
  const uint32_t id_;
  const std::string name_;
  const Ref<Tree> tree_;
  std::atomic<bool> deleted_{false};
};

}  // namespace shale
