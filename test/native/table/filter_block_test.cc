#include "table/filter_block.h"

#include <cmath>

#include "table/table_support.h"

namespace shale {
namespace {

uint64_t HashOf(uint64_t i) {
  const std::string key = "key" + std::to_string(i);
  return Hash64(key);
}

Ref<FilterBlock> Build(uint64_t keys, double bits_per_key) {
  FilterBlockBuilder builder(bits_per_key);
  for (uint64_t i = 0; i < keys; i++) builder.Add(HashOf(i));
  const size_t estimate = builder.EstimatedSize();
  const std::string raw = builder.Finish().ToString();
  EXPECT_EQ(raw.size(), estimate);
  Ref<FilterBlock> filter;
  EXPECT_TRUE(FilterBlock::Parse(raw, &filter).ok());
  return filter;
}

// The share of wrong answers that a filter of independent probes into one of `lines` 512-bit lines
// has: the mean over the number of keys in a line.
double TheoreticalRate(double keys, double lines, double probes) {
  const double mean = keys / lines;
  double rate = 0;
  for (int n = 0; n < 20 * (mean + 10); n++) {
    const double log_poisson = n * std::log(mean) - mean - std::lgamma(n + 1.0);
    const double set = 1 - std::pow(1 - 1.0 / 512, n * probes);
    rate += std::exp(log_poisson) * std::pow(set, probes);
  }
  return rate;
}

// Edge case 25: filters of less than a bit a key hold every key all the same.
TEST(FilterBlock, HoldsEveryKey) {
  for (const uint64_t keys : {1, 2, 50, 51, 52, 1000, 20000}) {
    for (const double bits : {0.5, 1.0, 3.3, 10.0, 20.0, 60.0}) {
      const Ref<FilterBlock> filter = Build(keys, bits);
      ASSERT_TRUE(filter);
      EXPECT_EQ(filter->key_count(), keys);
      for (uint64_t i = 0; i < keys; i++) ASSERT_TRUE(filter->MayContain(HashOf(i)));
    }
  }
}

TEST(FilterBlock, WrongAnswersAreAsRareAsTheoryAllows) {
  constexpr uint64_t kKeys = 50000;
  const uint64_t probes = Scaled(400000);
  for (const double bits : {2.0, 4.5, 7.3, 10.0, 10.4, 14.0, 20.0}) {
    const Ref<FilterBlock> filter = Build(kKeys, bits);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < probes; i++) wrong += filter->MayContain(HashOf(kKeys + i)) ? 1 : 0;
    const double lines = std::ceil(kKeys * bits / 512);
    const double theory = TheoreticalRate(kKeys, lines, std::floor(bits * 0.69 + 0.5));
    const double measured = static_cast<double>(wrong) / static_cast<double>(probes);
    // Three standard deviations of the count, so that rare events do not fail the test by chance.
    const double noise = 3 * std::sqrt(theory / static_cast<double>(probes));
    EXPECT_LE(measured, 1.3 * theory + noise) << bits << " bits a key";
    EXPECT_GE(measured, theory / 1.3 - noise) << bits << " bits a key";
  }
}

TEST(FilterBlock, FractionsOfABitCount) {
  uint64_t size_before = 0;
  for (const double bits : {10.0, 10.2, 10.4, 10.6}) {
    FilterBlockBuilder builder(bits);
    for (uint64_t i = 0; i < 100000; i++) builder.Add(HashOf(i));
    EXPECT_GT(builder.EstimatedSize(), size_before + 1000);
    size_before = builder.EstimatedSize();
  }
}

TEST(FilterBlock, RefusesWhatTheFormatForbids) {
  FilterBlockBuilder builder(10);
  for (uint64_t i = 0; i < 100; i++) builder.Add(HashOf(i));
  const std::string good = builder.Finish().ToString();
  const auto parse = [](const std::string& raw) {
    Ref<FilterBlock> filter;
    return FilterBlock::Parse(raw, &filter);
  };
  EXPECT_TRUE(parse(good).ok());
  for (size_t n = 0; n < good.size(); n++)
    EXPECT_TRUE(parse(good.substr(0, n)).Is(Code::kCorruption));
  EXPECT_TRUE(parse(std::string(64, '\0') + good).Is(Code::kCorruption));
  const size_t footer = good.size() - kFilterFooterBytes;
  const auto with = [&](size_t at, char byte) {
    std::string raw = good;
    raw[footer + at] = byte;
    return raw;
  };
  EXPECT_TRUE(parse(with(0, 3)).Is(Code::kCorruption));   // line count
  EXPECT_TRUE(parse(with(3, 1)).Is(Code::kCorruption));   // ... far too large
  EXPECT_TRUE(parse(with(8, 2)).Is(Code::kCorruption));   // algorithm
  EXPECT_TRUE(parse(with(9, 0)).Is(Code::kCorruption));   // probes
  EXPECT_TRUE(parse(with(9, 25)).Is(Code::kCorruption));  // probes
  EXPECT_TRUE(parse(with(10, 1)).Is(Code::kCorruption));  // reserved
  EXPECT_TRUE(parse(with(9, 24)).ok());
}

}  // namespace
}  // namespace shale
