// One damaged byte anywhere: the truth or kCorruption, never a wrong value.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "support/corruption_runs.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

// The kinds of files in turn, so that small ones get their share.
TEST(CorruptionTest, EveryFlippedBitIsNoticedOrHarmless) {
  const uint64_t wanted = Scaled(20500);
  TestRandom random(5);
  uint64_t flips = 0;
  std::map<FileKind, uint64_t> by_kind;
  for (uint64_t round = 0; flips < wanted; ++round) {
    const Specimen specimen(TestSeed() * 100 + round);
    std::map<FileKind, std::vector<Specimen::NamedFile>> files;
    for (const Specimen::NamedFile& file : specimen.files()) {
      const FileKind kind = ParseFileName(file.path.substr(file.path.rfind('/') + 1)).kind;
      if (file.size > 0) files[kind].push_back(file);
    }
    for (uint64_t i = 0; i < 2500 && flips < wanted; ++i, ++flips) {
      auto kind = files.begin();
      std::advance(kind, static_cast<std::ptrdiff_t>(i % files.size()));
      const Specimen::NamedFile& file = kind->second[random.Below(kind->second.size())];
      // Mostly where something is written; the zeros behind it are long and all alike.
      const uint64_t span = random.OneIn(4) ? file.size : std::min<uint64_t>(file.size, 2048);
      const uint64_t offset = random.Below(span);
      const auto mask =
          static_cast<char>(random.OneIn(2) ? 1 << random.Below(8) : 1 + random.Below(255));
      const auto image = specimen.Damaged(file, [&](std::string* bytes) {
        (*bytes)[offset] = static_cast<char>((*bytes)[offset] ^ mask);
      });
      ASSERT_EQ(specimen.Check(image.get(), file, offset < file.needed), "")
          << file.path << " at " << offset << ", mask " << static_cast<int>(mask) << ", specimen "
          << round;
      by_kind[kind->first]++;
    }
  }
  EXPECT_GE(by_kind.size(), 3u);
  std::printf("flips: %llu over %zu kinds of files\n", static_cast<unsigned long long>(flips),
              by_kind.size());
}

TEST(CorruptionTest, PiecesOfATableInTheWrongPlaceAreNoticed) { EXPECT_EQ(HuntWithSwaps(1), ""); }

}  // namespace
}  // namespace shale
