// The memory orders by short names, for code that states one at every access.
#pragma once

#include <atomic>

namespace shale {

inline constexpr auto kRelaxed = std::memory_order_relaxed;
inline constexpr auto kAcquire = std::memory_order_acquire;
inline constexpr auto kRelease = std::memory_order_release;

}  // namespace shale
