#include "table/blob_references.h"

#include <gtest/gtest.h>

#include "base/coding.h"
#include "support/seed.h"

namespace shale {
namespace {

TEST(BlobReferences, AddUpByFile) {
  BlobReferenceCounter counter;
  EXPECT_TRUE(counter.Sum().empty());
  counter.Add({80, 32, 100, 400}, 1);
  counter.Add({70, 99, 10, 10}, 2);
  counter.Add({80, 500, 1, 1}, 3);
  const BlobReferences expected = {{70, 1, 36}, {80, 2, 24 + 1 + 100 + 24 + 3 + 1}};
  EXPECT_EQ(counter.Sum(), expected);
  BlobReferences back;
  ASSERT_TRUE(DecodeBlobReferences(EncodeBlobReferences(expected), &back).ok());
  EXPECT_EQ(back, expected);
}

TEST(BlobReferences, HostileBlocksAreDamage) {
  const std::string good = EncodeBlobReferences({{70, 1, 36}, {80, 2, 150}});
  BlobReferences out;
  for (size_t n = 0; n < good.size(); n++) {
    EXPECT_TRUE(DecodeBlobReferences(Slice(good).Prefix(n), &out).Is(Code::kCorruption)) << n;
  }
  EXPECT_TRUE(DecodeBlobReferences(good + '\0', &out).Is(Code::kCorruption));
  const auto decode = [&](size_t at, uint64_t value, size_t size) {
    std::string bad = good;
    std::memcpy(bad.data() + at, &value, size);
    return DecodeBlobReferences(bad, &out).code();
  };
  EXPECT_EQ(decode(0, 0, 4), Code::kCorruption);
  EXPECT_EQ(decode(0, 0xffffffff, 4), Code::kCorruption);
  EXPECT_EQ(decode(4, 80, 8), Code::kCorruption);   // twice
  EXPECT_EQ(decode(4, 0, 8), Code::kCorruption);    // no file
  EXPECT_EQ(decode(28, 69, 8), Code::kCorruption);  // descending
  EXPECT_EQ(decode(28, kSeqnoMax + 1, 8), Code::kCorruption);
  EXPECT_EQ(decode(12, 0, 8), Code::kCorruption);  // no item
  EXPECT_EQ(decode(12, 9, 8), Code::kOk);
}

}  // namespace
}  // namespace shale
