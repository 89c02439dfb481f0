// The log on a machine that fails and crashes: what was acknowledged as durable is found, in order,
// and what a crash does is never called damage.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "journal/log_writer.h"
#include "journal/log_writer_support.h"
#include "support/seed.h"
#include "vfs/fault_vfs.h"
#include "vfs/mem_vfs.h"

namespace shale::test {
namespace {

using Tail = LogReader::Tail;

// A write that reported an error though all of it arrived: once a later record is acknowledged, no
// crash may bring the failed one back, neither alone nor behind the later one.
TEST(LogFault, NoCrashBringsAFailedAppendBack) {
  const std::string failing = Payload(66, 3000);
  for (uint64_t seed = 0; seed < Scaled(400); ++seed) {
    FlakyVfs vfs;
    const auto writer = NewLog(&vfs, seed % 2 == 0 ? kSmallReserve : 0);
    ASSERT_TRUE(AppendData(writer.get(), 1, "before").ok());
    ASSERT_TRUE(writer->Sync().ok());
    vfs.plan.write = 1;
    vfs.plan.partial = kLogRecordHeaderBytes + failing.size();
    ASSERT_FALSE(AppendData(writer.get(), 2, failing).ok());
    ASSERT_TRUE(AppendData(writer.get(), 2, Payload(2, seed % 3 == 0 ? 3000 : 20)).ok());
    for (const CrashPolicy& policy : {CrashPolicy::None(), CrashPolicy::Random(50)}) {
      const auto crashed = vfs.CrashClone(policy, TestSeed() + seed);
      const Reading got = ReadBack(crashed.get());
      ASSERT_TRUE(got.open.ok());
      ASSERT_NE(got.tail, Tail::kDamaged);
      for (const std::string& payload : Payloads(got)) ASSERT_NE(payload, failing) << seed;
    }
  }
}

// Every kind of fault of FaultVfs at every call of a workload: the file holds what was
// acknowledged, in order, up to a fault that nobody was told of.
TEST(LogFault, FaultAtEveryCall) {
  const auto run = [](FaultVfs* vfs, std::vector<std::string>* acknowledged, uint64_t* durable) {
    std::unique_ptr<LogWriter> writer;
    if (!vfs->MakeDir("/db").ok()) return;
    if (!LogWriter::Create(vfs, kLogPath, kJournalMagic, kLogNumber, kSmallReserve, &writer).ok())
      return;
    if (!vfs->SyncDir("/db").ok()) return;
    for (uint64_t i = 1; i <= 12; ++i) {
      const std::string payload = Payload(i, i == 7 ? 20000 : 300);
      if (AppendData(writer.get(), i, payload).ok()) acknowledged->push_back(payload);
      if (i % 3 == 0) static_cast<void>(writer->Sync());
      if (i % 4 == 0) static_cast<void>(writer->Witness());
      *durable = writer->synced_to();
    }
  };
  uint64_t cases = 0;
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kTruncate, FaultOp::kSync,
                           FaultOp::kPreallocate, FaultOp::kSyncDir}) {
    MemVfs counted;
    FaultVfs counter(&counted);
    std::vector<std::string> all;
    uint64_t ignored = 0;
    run(&counter, &all, &ignored);
    ASSERT_EQ(all.size(), 12u);
    for (size_t k = 0; k < kFaultKinds; ++k) {
      const auto kind = static_cast<FaultKind>(k);
      if (!FaultApplies(kind, op)) continue;
      for (uint64_t nth = 0; nth < counter.Count(op); ++nth) {
        for (const bool sticky : {false, true}) {
          MemVfs memory;
          FaultVfs vfs(&memory, nth + 1);
          const FaultPlan plan = {{.op = op, .nth = nth, .kind = kind, .sticky = sticky}};
          vfs.SetPlan(plan);
          std::vector<std::string> acknowledged;
          uint64_t durable = 0;
          run(&vfs, &acknowledged, &durable);
          vfs.SetPlan({});
          ++cases;
          const bool silent = kind == FaultKind::kLostWrite || kind == FaultKind::kBitFlipWrite ||
                              kind == FaultKind::kMisdirectedWrite;
          const Reading got = ReadBack(&vfs, durable);
          const std::vector<std::string> payloads = Payloads(got);
          if (!silent && kind != FaultKind::kSyncDropped) {
            ASSERT_EQ(payloads, acknowledged) << ToString(plan);
            ASSERT_NE(got.tail, Tail::kDamaged) << ToString(plan);
          } else {
            ASSERT_LE(payloads.size(), acknowledged.size()) << ToString(plan);
            for (size_t i = 0; i < payloads.size(); ++i) {
              ASSERT_EQ(payloads[i], acknowledged[i]) << ToString(plan);
            }
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 200u);
}

// Crash images before every operation of a workload: a prefix is found, at least what was synced,
// and what a crash did is never called damage.
TEST(LogFault, EveryCrashLeavesAPrefix) {
  const CrashPolicy policies[] = {CrashPolicy::None(),
                                  CrashPolicy::All(),
                                  CrashPolicy::Prefix(1),
                                  CrashPolicy::Random(10),
                                  CrashPolicy::Random(50),
                                  CrashPolicy::Random(90),
                                  CrashPolicy::SizeFirst(),
                                  CrashPolicy::MetaFirst(),
                                  CrashPolicy::DropOne(1),
                                  CrashPolicy::DropOne(2),
                                  CrashPolicy::Torn(0, 512, CrashPolicy::Fill::kZero),
                                  CrashPolicy::Torn(1, 512, CrashPolicy::Fill::kGarbage),
                                  CrashPolicy::Torn(1, 4096, CrashPolicy::Fill::kOld)};
  uint64_t images = 0;
  for (uint64_t seed = 1; seed <= Scaled(3); ++seed) {
    MemVfs vfs(seed);
    TestRandom random(seed);
    const auto writer = NewLog(&vfs, seed % 2 == 0 ? 16 << 10 : 0);
    std::vector<std::string> appended;
    std::vector<uint64_t> ends;
    vfs.SetHook([&](const MemVfs::Operation& op) {
      for (const CrashPolicy& policy : policies) {
        const auto crashed = vfs.CrashClone(policy, TestSeed() + op.index);
        const uint64_t durable = writer->synced_to();
        const Reading got = ReadBack(crashed.get(), durable);
        ++images;
        if (!got.open.ok()) {
          ASSERT_EQ(durable, 0u) << policy.ToString();
          continue;
        }
        ASSERT_NE(got.tail, Tail::kDamaged) << policy.ToString() << got.status.ToString();
        ASSERT_LE(got.data.size(), appended.size());
        for (size_t i = 0; i < got.data.size(); ++i) ASSERT_EQ(got.data[i].second, appended[i]);
        size_t must = 0;
        while (must < ends.size() && ends[must] <= durable) ++must;
        ASSERT_GE(got.data.size(), must) << policy.ToString();
      }
    });
    for (uint64_t i = 1; i <= 80 && !::testing::Test::HasFatalFailure(); ++i) {
      appended.push_back(
          Payload(i, random.Next() % 12 == 0 ? random.Next() % 9000 : random.Next() % 200));
      ASSERT_TRUE(AppendData(writer.get(), i, appended.back()).ok());
      ends.push_back(writer->size());
      if (random.Next() % 4 == 0) {
        ASSERT_TRUE(writer->Sync().ok());
      }
      if (random.Next() % 4 == 0) {
        ASSERT_TRUE(writer->Witness().ok());
      }
    }
    vfs.SetHook(nullptr);
    // What was witnessed as durable is known to be: every flip below that is called damage.
    const Reading whole = ReadBack(&vfs);
    ASSERT_GT(whole.synced_to, 0u);
    std::unique_ptr<File> file;
    ASSERT_TRUE(vfs.Open(kLogPath, OpenMode::kRead, &file).ok());
    std::string bytes(writer->size(), '\0');
    size_t got = 0;
    ASSERT_TRUE(file->Read(0, bytes.size(), bytes.data(), &got).ok());
    for (uint64_t at = kLogHeaderBytes; at < whole.synced_to; at += 1 + random.Next() % 400) {
      bytes[at] ^= 4;
      ASSERT_EQ(ReadLog(bytes, kLogNumber).tail, Tail::kDamaged) << at;
      bytes[at] ^= 4;
    }
  }
  EXPECT_GT(images, 1000 * Scaled(3));
}

}  // namespace
}  // namespace shale::test
