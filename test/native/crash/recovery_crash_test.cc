// A crash in the middle of recovering from a crash, at every operation of the recovery.
#include <gtest/gtest.h>

#include <cstdio>

#include "base/hash.h"
#include "support/crash_workload.h"

namespace shale {
namespace {

class RecoveryCrashes {
 public:
  explicit RecoveryCrashes(const WorkloadOptions& options)
      : options_(options), vfs_(options.seed), workload_(&vfs_, &vfs_, options) {}

  // Every `every`-th operation of the workload is crashed; each recovery again, at each of its own.
  void Run(uint64_t every) {
    vfs_.SetHook([this, every](const MemVfs::Operation& operation) {
      if (problem.empty() && operation.index % every == 0) CrashAt(operation.index);
    });
    workload_.Run();
    vfs_.SetHook(nullptr);
  }

  uint64_t images = 0;
  std::string problem;

 private:
  void CrashAt(uint64_t index) {
    const uint64_t draw = MixBits(options_.seed * 7919 + index);
    const CrashPolicy first = draw % 3 == 0   ? CrashPolicy::Kill()
                              : draw % 3 == 1 ? CrashPolicy::None()
                                              : DrawPolicy(vfs_, draw);
    const std::unique_ptr<MemVfs> image = vfs_.CrashClone(first, draw);
    const size_t survivors = Survivors(workload_.history(), first);
    image->SetHook([&](const MemVfs::Operation& operation) {
      if (problem.empty()) CrashAgain(*image, index, operation.index, first, survivors);
    });
    Ref<Database> database;
    const Status status = OpenSmall(image.get(), draw, Workload::MakeOptions(options_), &database);
    image->SetHook(nullptr);
    if (!status.ok() && problem.empty()) problem = "does not open: " + status.ToString();
    if (database) DB_EXPECT_OK(database->Close());
  }

  void CrashAgain(const MemVfs& image, uint64_t index, uint64_t step, const CrashPolicy& first,
                  size_t survivors) {
    for (uint64_t i = 0; i < 2 && problem.empty(); ++i) {
      const uint64_t draw = MixBits(options_.seed + index * 131 + step * 17 + i);
      const CrashPolicy second = i == 0 ? CrashPolicy::None() : DrawPolicy(image, draw);
      const std::unique_ptr<MemVfs> again = image.CrashClone(second, draw);
      ImageCheck check;
      check.liveness_writes = 20;
      // The second crash is a power cut: what only the page cache held is gone.
      const size_t at_least = std::min(survivors, workload_.history().acked_sync);
      const std::string found =
          CheckImage(again.get(), workload_.history(), at_least, draw, check, options_);
      images++;
      if (found.empty()) continue;
      problem = "seed " + std::to_string(options_.seed) + ", operation " + std::to_string(index) +
                " (" + first.ToString() + "), operation " + std::to_string(step) +
                " of the recovery (" + second.ToString() + "): " + found;
    }
  }

  const WorkloadOptions options_;
  MemVfs vfs_;
  Workload workload_;
};

TEST(RecoveryCrashTest, RecoveringIsRepeatable) {
  const uint64_t wanted = Scaled(2000);
  uint64_t images = 0;
  for (uint64_t run = 0; images < wanted; ++run) {
    WorkloadOptions options;
    options.seed = TestSeed() * 1000 + 500 + run;
    options.steps = 80;
    RecoveryCrashes crashes(options);
    crashes.Run(11);
    images += crashes.images;
    ASSERT_EQ(crashes.problem, "");
  }
  std::printf("images of crashed recoveries: %llu\n", static_cast<unsigned long long>(images));
}

}  // namespace
}  // namespace shale
