#include "binding/handle.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "support/seed.h"

namespace shale {
namespace {

class Counted : public Handle {
 public:
  static constexpr HandleType kType = HandleType::kScan;
  explicit Counted(int* living) : Handle(kType), living_(living) { ++*living_; }
  ~Counted() override { --*living_; }

 private:
  int* const living_;
};

class Other : public Handle {
 public:
  static constexpr HandleType kType = HandleType::kJob;
  Other() : Handle(kType) {}
};

TEST(HandleTable, FindsWhatItHolds) {
  HandleTable table;
  int living = 0;
  const uint32_t a = table.Add(std::make_unique<Counted>(&living));
  const uint32_t b = table.Add(std::make_unique<Other>());
  EXPECT_NE(a, 0u);
  EXPECT_NE(a, b);
  EXPECT_NE(table.Find<Counted>(a), nullptr);
  EXPECT_EQ(table.Find<Other>(a), nullptr);
  EXPECT_EQ(table.Find<Counted>(b), nullptr);
  EXPECT_EQ(table.Find(0u), nullptr);
  EXPECT_EQ(table.Find(12345u), nullptr);
  EXPECT_EQ(table.Find(UINT32_MAX), nullptr);
  EXPECT_NE(table.Remove(a), nullptr);
  EXPECT_EQ(living, 0);
  EXPECT_EQ(table.Find(a), nullptr);
  EXPECT_EQ(table.Remove(a), nullptr);
}

TEST(HandleTable, StaleNumbersFindNothing) {
  HandleTable table;
  int living = 0;
  std::unordered_set<uint32_t> used;
  for (int i = 0; i < 100'000; ++i) {
    const uint32_t number = table.Add(std::make_unique<Counted>(&living));
    ASSERT_NE(number, 0u);
    ASSERT_TRUE(used.insert(number).second) << "a number came back after " << i << " uses";
    ASSERT_NE(table.Remove(number), nullptr);
    ASSERT_EQ(table.Find(number), nullptr);
  }
}

TEST(HandleTable, AgreesWithAMap) {
  std::mt19937_64 random(TestSeed());
  HandleTable table;
  int living = 0;
  std::unordered_map<uint32_t, Handle*> model;
  std::vector<uint32_t> gone;
  for (int i = 0; i < 50'000; ++i) {
    if (random() % 3 != 0 || model.empty()) {
      auto handle = std::make_unique<Counted>(&living);
      Handle* raw = handle.get();
      const uint32_t number = table.Add(std::move(handle));
      ASSERT_TRUE(model.emplace(number, raw).second);
    } else {
      const auto place = std::next(model.begin(), static_cast<long>(random() % 4 % model.size()));
      ASSERT_EQ(table.Remove(place->first).get(), place->second);
      gone.push_back(place->first);
      model.erase(place);
    }
    if (!gone.empty()) {
      const uint32_t stale = gone[random() % gone.size()];
      ASSERT_EQ(table.Find(stale), model.contains(stale) ? model[stale] : nullptr);
    }
  }
  ASSERT_EQ(static_cast<size_t>(living), model.size());
  for (const auto& [number, handle] : model) ASSERT_EQ(table.Find(number), handle);
  while (table.RemoveAny() != nullptr) continue;
  EXPECT_EQ(living, 0);
}

TEST(HandleTable, AMillionAtOnce) {
  HandleTable table;
  uint32_t last = 0;
  size_t added = 0;
  while (const uint32_t number = table.Add(std::make_unique<Other>())) {
    last = number;
    added++;
  }
  EXPECT_EQ(added, (1u << 20) - 1);
  EXPECT_NE(table.Remove(last), nullptr);
  const uint32_t again = table.Add(std::make_unique<Other>());
  EXPECT_NE(again, 0u);
  EXPECT_NE(again, last);
}

}  // namespace
}  // namespace shale
