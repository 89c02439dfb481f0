// Keyspace: a named tree of a database.
//
// Threads: any. Lifetime: shared by the database and every handle.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/ref.h"
#include "tree/tree.h"

namespace shale {

// What a plan does whose tables are busy.
enum class WhenBusy : uint8_t { kWait, kFail };

class Keyspace : public RefCounted {
 public:
  Keyspace(uint32_t id, std::string name, Ref<Tree> tree)
      : id_(id), name_(std::move(name)), tree_(std::move(tree)) {}

  uint32_t id() const { return id_; }
  const std::string& name() const { return name_; }
  Tree* tree() const { return tree_.get(); }
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }
  void MarkDeleted() { deleted_.store(true, std::memory_order_release); }

  // What the database keeps with a keyspace; each field with what guards it.
  struct Upkeep {
    std::atomic<uint64_t> max_memtable_size{0};
    uint64_t counted_active = 0;       // write lock: bytes of the active memtable in the total
    bool touched = false;              // write lock: the running group wrote to it
    uint64_t counted_sealed = 0;       // maintenance: bytes of sealed memtables in the total
    size_t counted_level0 = 0;         // maintenance: its debt of level 0 that is in the books
    size_t left_level0 = 0;            // maintenance: runs there when the strategy wanted nothing
    bool flush_queued = false;         // maintenance
    bool flush_held = false;           // maintenance: waits until level 0 has room
    bool flush_now = false;            // maintenance: must not wait for level 0
    bool compaction_queued = false;    // maintenance
    uint32_t compactions = 0;          // maintenance: running ones
    bool awaits_age = false;           // maintenance: a timer waits for tables to become too old
    uint32_t wanted = 0;               // maintenance: plans that wait for a claim
    uint32_t flush_retry_ms = 0;       // maintenance: the last pause after a failed flush
    bool flush_retry_armed = false;    // maintenance: a timer ends that pause
    uint32_t compaction_retry_ms = 0;  // maintenance: the last pause after a failed compaction
    bool awaits_retry = false;         // maintenance: that pause lasts
    bool retry_armed = false;          // maintenance: a timer ends it
    uint32_t strategy_retry_ms = 0;    // maintenance: the last pause after its strategy failed
    bool strategy_pausing = false;     // maintenance: that pause lasts
  };
  Upkeep upkeep;

 private:
  const uint32_t id_;
  const std::string name_;
  const Ref<Tree> tree_;
  std::atomic<bool> deleted_{false};
};

}  // namespace shale
