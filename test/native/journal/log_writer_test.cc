#include "journal/log_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "journal/log_writer_support.h"
#include "vfs/fault_vfs.h"
#include "vfs/mem_vfs.h"

namespace shale::test {
namespace {

using Tail = LogReader::Tail;

TEST(LogWriter, WhatIsAppendedIsReadBack) {
  MemVfs vfs;
  const auto writer = NewLog(&vfs);
  EXPECT_EQ(writer->size(), kLogHeaderBytes);
  EXPECT_EQ(writer->file_number(), kLogNumber);
  EXPECT_EQ(writer->path(), kLogPath);
  std::vector<std::string> want;
  for (uint64_t i = 1; i <= 100; ++i) {
    want.push_back(Payload(i, i * 37));
    ASSERT_TRUE(AppendData(writer.get(), i, want.back()).ok());
  }
  want.emplace_back();
  ASSERT_TRUE(AppendData(writer.get(), 101, "").ok());
  const Reading got = ReadBack(&vfs);
  EXPECT_EQ(Payloads(got), want);
  EXPECT_EQ(got.tail, Tail::kClean);
  EXPECT_EQ(got.end_offset, writer->size());
}

TEST(LogWriter, ReadsAreFullHeaders) {
  MemVfs vfs;
  const auto writer = NewLog(&vfs);
  uint64_t end = 0;
  ASSERT_TRUE(writer->Append(RecordType::kData, 77, 12345, Slice("p"), &end).ok());
  std::unique_ptr<File> file;
  ASSERT_TRUE(vfs.Open(kLogPath, OpenMode::kRead, &file).ok());
  std::unique_ptr<LogReader> reader;
  ASSERT_TRUE(LogReader::Open(file.get(), kJournalMagic, kLogNumber, 0, &reader).ok());
  LogRecordHeader h;
  Slice payload;
  uint64_t offset = 0;
  ASSERT_TRUE(reader->Next(&h, &payload, &offset));
  EXPECT_EQ(h.count, 77u);
  EXPECT_EQ(h.seqno, 12345u);
  EXPECT_EQ(h.type, RecordType::kData);
  EXPECT_EQ(offset, kLogHeaderBytes);
  EXPECT_FALSE(reader->Next(&h, &payload, &offset));
}

TEST(LogWriter, CreateRefusesAnExistingFileAndLeavesNoHalfFile) {
  MemVfs memory;
  FaultVfs vfs(&memory);
  NewLog(&vfs);
  std::unique_ptr<LogWriter> writer;
  Status s = LogWriter::Create(&vfs, kLogPath, kJournalMagic, kLogNumber, 0, &writer);
  EXPECT_TRUE(IsErrno(s, EEXIST));
  EXPECT_EQ(ReadBack(&vfs).tail, Tail::kClean);

  vfs.SetPlan({{.op = FaultOp::kWrite, .nth = 0, .kind = FaultKind::kEnospc}});
  s = LogWriter::Create(&vfs, "/db/000010.journal", kJournalMagic, 10, 0, &writer);
  EXPECT_TRUE(s.Is(Code::kDiskFull));
  EXPECT_EQ(writer, nullptr);
  std::vector<std::string> names;
  ASSERT_TRUE(vfs.List("/db", &names).ok());
  EXPECT_EQ(names, std::vector<std::string>{"000009.journal"});
}

// One write a record, and a reservation only where a step of reserved space ends.
TEST(LogWriter, OneCallAnAppend) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  EXPECT_EQ(vfs.plan.writes, 1);
  EXPECT_EQ(vfs.plan.preallocations, 1);
  for (uint64_t i = 1; i <= 1000; ++i) {
    ASSERT_TRUE(AppendData(writer.get(), i, Payload(i, 500)).ok());
  }
  EXPECT_EQ(vfs.plan.writes, 1001);
  EXPECT_EQ(vfs.plan.preallocations, 1);
  // A record larger than any step.
  ASSERT_TRUE(AppendData(writer.get(), 1001, Payload(1001, 20 << 20)).ok());
  ASSERT_TRUE(AppendData(writer.get(), 1002, Payload(1002, 10)).ok());
  EXPECT_EQ(vfs.plan.writes, 1003);
  EXPECT_EQ(vfs.plan.preallocations, 2);
  EXPECT_EQ(ReadBack(&vfs).data.size(), 1002u);
}

TEST(LogWriter, StepsGrowWithTheFileUpToTheLimitGiven) {
  struct Case {
    uint64_t expected;
    uint64_t first;
    uint64_t last_step;
    int reservations;
  };
  for (const Case& c : {Case{kReserve, 1 << 20, 8 << 20, 6},
                        Case{256 << 10, 256 << 10, 256 << 10, 81}, Case{0, 32, 0, 0}}) {
    FlakyVfs vfs;
    const auto writer = NewLog(&vfs, c.expected);
    std::unique_ptr<File> file;
    ASSERT_TRUE(vfs.Open(kLogPath, OpenMode::kRead, &file).ok());
    uint64_t size = 0;
    ASSERT_TRUE(file->Size(&size).ok());
    EXPECT_EQ(size, c.first);
    for (uint64_t i = 1; writer->size() < (uint64_t{20} << 20); ++i) {
      ASSERT_TRUE(AppendData(writer.get(), i, Payload(i, 100 << 10)).ok());
      ASSERT_TRUE(file->Size(&size).ok());
      ASSERT_GE(size, writer->size());
      ASSERT_LE(size - writer->size(), c.last_step);
    }
    EXPECT_LE(vfs.plan.preallocations, c.reservations);
  }
}

TEST(LogWriter, WithoutReservedSpaceAppendsGoOn) {
  FlakyVfs vfs;
  vfs.plan.preallocate = 1;
  vfs.plan.sticky = true;
  const auto writer = NewLog(&vfs);
  for (uint64_t i = 1; i <= 300; ++i) {
    ASSERT_TRUE(AppendData(writer.get(), i, Payload(i, 8 << 10)).ok());
  }
  EXPECT_LE(vfs.plan.preallocations, 4);  // not once an append
  EXPECT_EQ(ReadBack(&vfs).data.size(), 300u);
}

TEST(LogWriter, RecordsTooLargeAreRefusedUntouched) {
  MemVfs vfs;
  const auto writer = NewLog(&vfs, 0);
  static char byte = 'x';
  uint64_t end = 0;
  const Slice huge(&byte, kLogPayloadBytesMax + 1);
  EXPECT_TRUE(writer->Append(RecordType::kData, 1, 1, huge, &end).Is(Code::kBatchTooLarge));
  ASSERT_TRUE(AppendData(writer.get(), 1, "fits").ok());
  EXPECT_EQ(ReadBack(&vfs).data.size(), 1u);
}

TEST(LogWriter, SyncedToIsStatedAndWitnessedOnce) {
  MemVfs vfs;
  const auto writer = NewLog(&vfs);
  EXPECT_EQ(writer->synced_to(), 0u);
  ASSERT_TRUE(writer->Witness().ok());
  EXPECT_EQ(writer->size(), kLogHeaderBytes);  // nothing to tell
  ASSERT_TRUE(AppendData(writer.get(), 1, "one").ok());
  EXPECT_EQ(ReadBack(&vfs).synced_to, 0u);
  ASSERT_TRUE(writer->Sync().ok());
  const uint64_t one = writer->size();
  EXPECT_EQ(writer->synced_to(), one);
  EXPECT_EQ(ReadBack(&vfs).synced_to, 0u);  // known to the writer only
  ASSERT_TRUE(writer->Witness().ok());
  EXPECT_EQ(writer->size(), one + kLogRecordHeaderBytes);
  EXPECT_EQ(ReadBack(&vfs).synced_to, one);
  ASSERT_TRUE(writer->Witness().ok());
  EXPECT_EQ(writer->size(), one + kLogRecordHeaderBytes);
  ASSERT_TRUE(writer->Sync().ok());
  ASSERT_TRUE(AppendData(writer.get(), 2, "two").ok());  // tells of it on the way
  const uint64_t two = writer->size();
  ASSERT_TRUE(writer->Witness().ok());
  EXPECT_EQ(writer->size(), two);
}

TEST(LogWriter, SyncWithoutNewsCallsNothing) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(writer->Sync().ok());
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(vfs.plan.syncs, 1);
  ASSERT_TRUE(AppendData(writer.get(), 1, "one").ok());
  ASSERT_TRUE(writer->Sync().ok());
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(vfs.plan.syncs, 2);
}

// Records that the caller encoded, several in one write; a failed write leaves none of them.
TEST(LogWriter, EncodedRecordsAreOneWrite) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(AppendData(writer.get(), 1, "one").ok());
  ASSERT_TRUE(writer->Sync().ok());
  const auto encode = [&](Seqno seqno, const std::string& payload, std::string* out) {
    char header[kLogRecordHeaderBytes];
    EncodeLogRecordHeader({.count = 1, .synced_to = writer->synced_to(), .seqno = seqno},
                          kLogNumber, writer->size() + out->size(), payload, header);
    out->append(header, sizeof header);
    out->append(payload);
  };
  std::string records;
  encode(2, "two", &records);
  encode(3, "three", &records);
  const int writes = vfs.plan.writes;
  vfs.plan.write = 1;
  vfs.plan.partial = records.size() - 1;
  EXPECT_TRUE(writer->AppendEncoded(records, writer->synced_to()).Is(Code::kIoError));
  EXPECT_EQ(Payloads(ReadBack(&vfs)), std::vector<std::string>{"one"});
  ASSERT_TRUE(writer->AppendEncoded(records, writer->synced_to()).ok());
  EXPECT_EQ(vfs.plan.writes, writes + 2);
  const Reading got = ReadBack(&vfs);
  EXPECT_EQ(Payloads(got), (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(got.end_offset, writer->size());
  const int syncs = vfs.plan.syncs;
  records.clear();
  encode(4, "four", &records);
  ASSERT_TRUE(writer->AppendEncoded(records, writer->synced_to()).ok());
  EXPECT_EQ(vfs.plan.syncs, syncs);  // the cut was synced once
}

// What is appended while a sync runs is not called durable by it.
TEST(LogWriter, SyncCoversWhatWasThereWhenItBegan) {
  MemVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(AppendData(writer.get(), 1, "one").ok());
  const uint64_t before = writer->size();
  vfs.SetHook([&](const MemVfs::Operation& op) {
    if (op.kind == MemVfs::Mutation::kSync) {
      ASSERT_TRUE(AppendData(writer.get(), 2, "two").ok());
    }
  });
  ASSERT_TRUE(writer->Sync().ok());
  vfs.SetHook(nullptr);
  EXPECT_GT(writer->size(), before);
  EXPECT_EQ(writer->synced_to(), before);
}

// Every kind of failing write, with every number of bytes left behind: no trace, and it goes on.
TEST(LogWriter, FailedAppendLeavesNoTrace) {
  const std::string failing = Payload(99, 40);
  const uint64_t length = kLogRecordHeaderBytes + failing.size();
  for (int error : {EIO, ENOSPC, EDQUOT, EFBIG}) {
    for (uint64_t partial = 0; partial <= length; ++partial) {
      for (const bool cut_fails : {false, true}) {
        FlakyVfs vfs;
        const auto writer = NewLog(&vfs, kSmallReserve);
        ASSERT_TRUE(AppendData(writer.get(), 1, "before").ok());
        vfs.plan.write = 1;
        vfs.plan.error = error;
        vfs.plan.partial = partial;
        vfs.plan.truncate = cut_fails ? 1 : 0;  // then zeros do it
        const Status s = AppendData(writer.get(), 2, failing);
        ASSERT_TRUE(s.Is(error == EIO ? Code::kIoError : Code::kDiskFull)) << s.ToString();
        Reading got = ReadBack(&vfs);
        ASSERT_EQ(Payloads(got), std::vector<std::string>{"before"});
        ASSERT_EQ(got.tail, Tail::kClean) << partial;
        ASSERT_TRUE(AppendData(writer.get(), 2, "x").ok());
        ASSERT_TRUE(writer->Sync().ok());
        got = ReadBack(&vfs, writer->size());
        ASSERT_EQ(Payloads(got), (std::vector<std::string>{"before", "x"}));
        ASSERT_EQ(got.tail, Tail::kClean);
      }
    }
  }
}

TEST(LogWriter, AppendThatCannotBeCutBackPoisons) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(AppendData(writer.get(), 1, "before").ok());
  vfs.plan.write = 1;
  vfs.plan.truncate = 1;
  vfs.plan.sticky = true;
  vfs.plan.error = ENOSPC;
  vfs.plan.partial = 10;
  const Status first = AppendData(writer.get(), 2, "lost");
  EXPECT_TRUE(first.Is(Code::kDiskFull));
  vfs.plan = FlakyPlan();
  EXPECT_TRUE(AppendData(writer.get(), 2, "again").Is(Code::kDiskFull));
  EXPECT_TRUE(writer->Sync().Is(Code::kDiskFull));
  EXPECT_EQ(vfs.plan.writes, 0);
  EXPECT_EQ(vfs.plan.syncs, 0);
  const Reading got = ReadBack(&vfs);
  EXPECT_EQ(Payloads(got), std::vector<std::string>{"before"});
  EXPECT_NE(got.tail, Tail::kDamaged);
}

TEST(LogWriter, FailedSyncPoisonsAndIsNotRepeated) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(AppendData(writer.get(), 1, "one").ok());
  ASSERT_TRUE(writer->Sync().ok());
  const uint64_t durable = writer->synced_to();
  ASSERT_TRUE(AppendData(writer.get(), 2, "two").ok());
  vfs.plan.sync = 1;
  const int syncs = vfs.plan.syncs;
  const int writes = vfs.plan.writes;
  const Status first = writer->Sync();
  EXPECT_TRUE(first.Is(Code::kSyncFailed));
  ASSERT_NE(first.details(), nullptr);
  EXPECT_TRUE(first.details()->indeterminate);
  EXPECT_EQ(first.details()->error_number, EIO);
  EXPECT_EQ(first.details()->path, kLogPath);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(writer->Sync().Is(Code::kSyncFailed));
    EXPECT_TRUE(AppendData(writer.get(), 3, "three").Is(Code::kSyncFailed));
    EXPECT_TRUE(writer->Witness().Is(Code::kSyncFailed));
  }
  EXPECT_EQ(writer->synced_to(), durable);
  EXPECT_EQ(vfs.plan.syncs, syncs + 1);
  EXPECT_EQ(vfs.plan.writes, writes);
}

// The sync that has to follow a cut-back counts like any other.
TEST(LogWriter, FailedSyncOfACutPoisons) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(writer->Sync().ok());
  vfs.plan.write = 1;
  EXPECT_TRUE(AppendData(writer.get(), 1, "lost").Is(Code::kIoError));
  vfs.plan.sync = 1;
  EXPECT_TRUE(AppendData(writer.get(), 1, "x").Is(Code::kSyncFailed));
  EXPECT_TRUE(AppendData(writer.get(), 1, "x").Is(Code::kSyncFailed));
  EXPECT_TRUE(ReadBack(&vfs).data.empty());
}

TEST(LogWriter, SyncThatCoversACutIsNotRepeated) {
  FlakyVfs vfs;
  const auto writer = NewLog(&vfs);
  ASSERT_TRUE(writer->Sync().ok());
  vfs.plan.write = 1;
  EXPECT_FALSE(AppendData(writer.get(), 1, "lost").ok());
  ASSERT_TRUE(writer->Sync().ok());
  const int syncs = vfs.plan.syncs;
  EXPECT_EQ(syncs, 2);
  for (uint64_t i = 1; i < 5; ++i) ASSERT_TRUE(AppendData(writer.get(), i, "x").ok());
  EXPECT_EQ(vfs.plan.syncs, syncs);
}

TEST(LogWriter, ReopenGoesOnBehindTheLastRecord) {
  MemVfs vfs;
  std::vector<std::string> want;
  uint64_t end = 0;
  {
    const auto writer = NewLog(&vfs);
    for (uint64_t i = 1; i <= 5; ++i) {
      want.push_back(Payload(i, 50));
      ASSERT_TRUE(AppendData(writer.get(), i, want.back()).ok());
    }
    end = writer->size();
  }
  std::unique_ptr<File> file;
  ASSERT_TRUE(vfs.Open(kLogPath, OpenMode::kReadWrite, &file).ok());
  ASSERT_TRUE(file->Write(end, Slice("garbage of a torn record, longer than what follows")).ok());
  std::unique_ptr<LogWriter> writer;
  EXPECT_TRUE(LogWriter::Reopen(&vfs, kLogPath, kLogNumber, uint64_t{1} << 40, &writer)
                  .Is(Code::kCorruption));
  ASSERT_TRUE(LogWriter::Reopen(&vfs, kLogPath, kLogNumber, end, &writer).ok());
  EXPECT_EQ(writer->size(), end);
  EXPECT_EQ(writer->synced_to(), end);
  want.push_back("s");
  ASSERT_TRUE(AppendData(writer.get(), 6, "s").ok());
  const Reading got = ReadBack(&vfs);
  EXPECT_EQ(Payloads(got), want);
  EXPECT_EQ(got.tail, Tail::kClean);
  EXPECT_EQ(got.synced_to, end);
  // Nothing of the torn record survives a crash either.
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Reading after = ReadBack(vfs.CrashClone(CrashPolicy::Random(50), seed).get(), end);
    EXPECT_NE(after.tail, Tail::kDamaged);
    EXPECT_GE(after.data.size(), 5u);
  }
}

TEST(LogWriter, ReopenReportsAFailedSyncAsSuch) {
  FlakyVfs vfs;
  uint64_t end = 0;
  {
    const auto writer = NewLog(&vfs);
    ASSERT_TRUE(AppendData(writer.get(), 1, "one").ok());
    end = writer->size();
  }
  vfs.plan.sync = 1;
  std::unique_ptr<LogWriter> writer;
  EXPECT_TRUE(LogWriter::Reopen(&vfs, kLogPath, kLogNumber, end, &writer).Is(Code::kSyncFailed));
  EXPECT_EQ(writer, nullptr);
}

// One thread appends, two sync; what is called synced was whole records, and in the end everything.
TEST(LogWriter, SyncsBesideAppends) {
  MemVfs vfs;
  const auto writer = NewLog(&vfs);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> bad{0};
  std::vector<std::thread> syncers;
  for (int i = 0; i < 2; ++i) {
    syncers.emplace_back([&] {
      while (!done.load()) {
        const uint64_t before = writer->size();
        if (!writer->Sync().ok() || writer->synced_to() < before) bad.fetch_add(1);
        if (writer->synced_to() > writer->size()) bad.fetch_add(1);
        std::this_thread::yield();
      }
    });
  }
  for (uint64_t i = 1; i <= 3000; ++i) {
    ASSERT_TRUE(AppendData(writer.get(), i, Payload(i, i % 300)).ok());
    if (i % 7 == 0) {
      ASSERT_TRUE(writer->Witness().ok());
    }
  }
  done.store(true);
  for (std::thread& t : syncers) t.join();
  EXPECT_EQ(bad.load(), 0u);
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(writer->synced_to(), writer->size());
  const Reading got = ReadBack(vfs.CrashClone(CrashPolicy::None(), 1).get(), writer->size());
  EXPECT_EQ(got.data.size(), 3000u);
  EXPECT_EQ(got.tail, Tail::kClean);
}

}  // namespace
}  // namespace shale::test
