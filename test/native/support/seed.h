// The one source of randomness and of size for tests.
//
// SEED=<number> repeats a run; SHALE_SCALE=<factor> multiplies the volume of tests that honour it.
// Every failure of a test that took a seed names it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace shale {

inline uint64_t TestSeed() {
  static const uint64_t seed = [] {
    const char* const set = std::getenv("SEED");
    const uint64_t chosen =
        set != nullptr ? std::strtoull(set, nullptr, 10) : std::random_device{}();
    std::printf("SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return seed;
}

// `volume` times SHALE_SCALE, at least 1.
inline uint64_t Scaled(uint64_t volume) {
  static const double scale = [] {
    const char* const set = std::getenv("SHALE_SCALE");
    return set != nullptr ? std::strtod(set, nullptr) : 1.0;
  }();
  const double scaled = static_cast<double>(volume) * scale;
  return scaled < 1 ? 1 : static_cast<uint64_t>(scaled);
}

// A generator whose seed is printed with every failure while it lives. `stream` tells apart several
// in one test.
class TestRandom {
 public:
  explicit TestRandom(uint64_t stream = 0)
      : trace_(__FILE__, __LINE__, "SEED=" + std::to_string(TestSeed())),
        engine_(TestSeed() * 0x9e3779b97f4a7c15 + stream) {}

  uint64_t Next() { return engine_(); }
  uint64_t Below(uint64_t bound) { return engine_() % bound; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  std::mt19937_64& engine() { return engine_; }

 private:
  testing::ScopedTrace trace_;
  std::mt19937_64 engine_;
};

}  // namespace shale
