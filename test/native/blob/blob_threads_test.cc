// Readers of one file on several threads, with a cache that is too small for it.
#include <thread>
#include <vector>

#include "base/epoch.h"
#include "blob/blob_support.h"

namespace shale {
namespace {

constexpr uint64_t kSharedNumber = 9;

TEST(BlobThreads, ManyReadersOfOneFile) {
  TestRandom random;
  BlobEnv env(64 << 10);
  Items items = RandomItems(&random, 100, 3000);
  Ref<BlobFile> file = env.MustOpen(env.Write(kSharedNumber, &items, {}));
  const auto read = [&env, &items](const BlobFile& blobs, uint64_t seed) {
    for (uint64_t i = 0; i < Scaled(3000); i++) {
      seed = seed * 6364136223846793005 + 1442695040888963407;
      const Item& item = items[(seed >> 33) % items.size()];
      BlobHit hit;
      Status s;
      const EpochGuard guard;
      if (seed >> 60 != 0) s = blobs.Get(item.key, item.pointer, kMemoryOnly, &hit);
      if (seed >> 60 == 0 || s.Is(Code::kWouldBlock)) {
        s = blobs.Get(item.key, item.pointer, kReadAny, &hit);
      }
      if (!s.ok() || hit.value != Slice(item.value)) ADD_FAILURE() << s.ToString();
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; t++) {
    threads.emplace_back([&read, file, seed = random.Next()] { read(*file, seed); });
  }
  // The last of them removes it.
  file->MarkObsolete();
  file.reset();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  EXPECT_FALSE(env.Exists(kSharedNumber));
  EXPECT_GT(env.counters->loads_io(), 0u);
  EXPECT_GT(env.counters->loads_cached(), 0u);
}

}  // namespace
}  // namespace shale
