// Handle: an object of the core that JavaScript knows by a number.
//
// Numbers instead of closures or wrapped objects: the functions of an environment are made once,
// calls to them stay monomorphic however many keyspaces there are, and what is left of a stale
// number is one failed lookup. A number holds the slot in its low 20 bits and a count of the slot's
// uses above.
//
// Threads: the environment's own.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace shale {

enum class HandleType : uint8_t { kDatabase, kReads, kScan, kJob, kMany, kEvents, kIngestion };

class Handle {
 public:
  virtual ~Handle() = default;
  HandleType type() const { return type_; }
  // Nobody closed it, the collector found it: called before it goes.
  virtual void OnAbandoned() {}

 protected:
  explicit Handle(HandleType type) : type_(type) {}

 private:
  const HandleType type_;
};

class HandleTable {
 public:
  // 0 when a million handles are open.
  uint32_t Add(std::unique_ptr<Handle> handle) {
    uint32_t slot;
    if (!free_.empty() && (slots_.size() >= kSlots || free_.size() > kFreeMin)) {
      slot = free_.front();
      free_.pop_front();
    } else if (slots_.size() < kSlots) {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      return 0;
    }
    slots_[slot].handle = std::move(handle);
    return slots_[slot].uses << kSlotBits | slot;
  }

  // Null for a number that is not, or no longer, one of `T`.
  template <typename T>
  T* Find(uint32_t number) const {
    Handle* handle = Find(number);
    return handle != nullptr && handle->type() == T::kType ? static_cast<T*>(handle) : nullptr;
  }
  Handle* Find(uint32_t number) const {
    const uint32_t slot = number & (kSlots - 1);
    if (slot >= slots_.size() || slots_[slot].uses != number >> kSlotBits) return nullptr;
    return slots_[slot].handle.get();
  }

  std::unique_ptr<Handle> Remove(uint32_t number) {
    if (Find(number) == nullptr) return nullptr;
    Slot& slot = slots_[number & (kSlots - 1)];
    std::unique_ptr<Handle> handle = std::move(slot.handle);
    slot.uses = (slot.uses + 1) & (UINT32_MAX >> kSlotBits);
    free_.push_back(number & (kSlots - 1));
    return handle;
  }

  // Takes out any one; null when empty.
  std::unique_ptr<Handle> RemoveAny() {
    while (!slots_.empty()) {
      std::unique_ptr<Handle> handle = std::move(slots_.back().handle);
      slots_.pop_back();
      if (handle != nullptr) return handle;
    }
    return nullptr;
  }

 private:
  struct Slot {
    std::unique_ptr<Handle> handle;
    uint32_t uses = 0;
  };
  static constexpr uint32_t kSlotBits = 20;
  static constexpr uint32_t kSlots = 1u << kSlotBits;
  // So many slots rest before one is used again: a stale number meets its slot late.
  static constexpr size_t kFreeMin = 64;

  std::vector<Slot> slots_ = std::vector<Slot>(1);  // slot 0 stays empty: number 0 is none
  std::deque<uint32_t> free_;
};

}  // namespace shale
