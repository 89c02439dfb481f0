#include "journal/manager.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "journal/log_reader.h"
#include "support/mem_vfs_fixture.h"
#include "vfs/fault_vfs.h"

namespace shale {
namespace {

class JournalManagerTest : public MemVfsTest {
 protected:
  JournalManagerTest() : fault_(&vfs_) {}

  std::unique_ptr<LogWriter> NewWriter(uint64_t number) {
    std::unique_ptr<LogWriter> writer;
    EXPECT_TRUE(LogWriter::Create(&fault_, PathOf(number), kJournalMagic, number, 0, &writer).ok());
    return writer;
  }
  static std::string PathOf(uint64_t number) { return "/d/" + std::to_string(number); }
  void Stage(Seqno seqno, Slice payload) {
    std::memcpy(manager_.BeginRecord(payload.size()), payload.data(), payload.size());
    manager_.EndRecord(1, seqno);
  }
  // "1:payload 2:payload ..." of the data records.
  std::string Records(Vfs* vfs, uint64_t number) {
    std::unique_ptr<File> file;
    if (!vfs->Open(PathOf(number), OpenMode::kRead, &file).ok()) return "(none)";
    std::unique_ptr<LogReader> reader;
    EXPECT_TRUE(LogReader::Open(file.get(), kJournalMagic, number, 0, &reader).ok());
    LogRecordHeader header;
    Slice payload;
    uint64_t offset = 0;
    std::string text;
    while (reader->Next(&header, &payload, &offset)) {
      text += std::to_string(header.seqno) + ":" + payload.ToString() + " ";
    }
    EXPECT_TRUE(reader->status().ok()) << reader->status().ToString();
    return text;
  }
  // Highest offset that a record states to be durable.
  static uint64_t StatedDurable(Vfs* vfs, uint64_t number) {
    std::unique_ptr<File> file;
    EXPECT_TRUE(vfs->Open(PathOf(number), OpenMode::kRead, &file).ok());
    std::unique_ptr<LogReader> reader;
    EXPECT_TRUE(LogReader::Open(file.get(), kJournalMagic, number, 0, &reader).ok());
    LogRecordHeader header;
    Slice payload;
    uint64_t offset = 0;
    while (reader->Next(&header, &payload, &offset)) {
    }
    return std::max(reader->synced_to(), kLogHeaderBytes);
  }

  FaultVfs fault_;
  JournalManager manager_;
};

TEST_F(JournalManagerTest, StagedRecordsAreHandedOverInOneWrite) {
  manager_.Start(NewWriter(1));
  const uint64_t writes = fault_.Count(FaultOp::kWrite);
  Stage(1, "a");
  Stage(2, "b");
  EXPECT_EQ(manager_.handed_over(), 0u);
  EXPECT_EQ(Records(&vfs_, 1), "");
  ASSERT_TRUE(manager_.HandOver().ok());
  EXPECT_EQ(fault_.Count(FaultOp::kWrite), writes + 1);
  EXPECT_EQ(manager_.handed_over(), 2u);
  EXPECT_EQ(Records(&vfs_, 1), "1:a 2:b ");
  Stage(3, "c");
  ASSERT_TRUE(manager_.AppendDirect(1, 4, std::string(5, 'd')).ok());
  EXPECT_EQ(Records(&vfs_, 1), "1:a 2:b 3:c 4:ddddd ");
  EXPECT_EQ(manager_.handed_over(), 4u);
  EXPECT_GT(manager_.bytes_written(), 4 * kLogRecordHeaderBytes);
}

TEST_F(JournalManagerTest, AFailedHandOverLosesNothingThatWasStagedBefore) {
  manager_.Start(NewWriter(1));
  Stage(1, "a");
  const JournalManager::Mark mark = manager_.mark();
  Stage(2, "b");
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kAny, 0, FaultKind::kEnospc, false}});
  EXPECT_TRUE(manager_.HandOver().Is(Code::kDiskFull));
  manager_.CutBack(mark);
  EXPECT_EQ(Records(&vfs_, 1), "");
  ASSERT_TRUE(manager_.HandOver().ok());
  EXPECT_EQ(manager_.handed_over(), 1u);
  Stage(2, "c");
  ASSERT_TRUE(manager_.HandOver().ok());
  EXPECT_EQ(Records(&vfs_, 1), "1:a 2:c ");
}

TEST_F(JournalManagerTest, JournalsAreSyncedInOrder) {
  manager_.Start(NewWriter(1));
  Stage(1, "a");
  ASSERT_TRUE(manager_.HandOver().ok());
  manager_.SetNext(NewWriter(2));
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  manager_.Rotate({{7, 1}});
  Stage(2, "b");
  ASSERT_TRUE(manager_.HandOver().ok());
  EXPECT_TRUE(manager_.Unrecorded().empty());
  // The second one's sync fails: the first one is durable already.
  fault_.SetPlan({{FaultOp::kSync, PathClass::kAny, 1, FaultKind::kEio, false}});
  EXPECT_TRUE(manager_.Sync().Is(Code::kSyncFailed));
  const auto image = Crash(CrashPolicy::None());
  EXPECT_EQ(Records(image.get(), 1), "1:a ");
  EXPECT_EQ(manager_.Unrecorded().size(), 1u);
  EXPECT_TRUE(manager_.poisoned());
}

// The cut-back of a failed append is synced before the next record, which says nothing of the
// journal before: no record may state as durable what stands behind a loss.
TEST_F(JournalManagerTest, TheSyncOfACutStatesNothing) {
  manager_.Start(NewWriter(1));
  Stage(1, "a");
  ASSERT_TRUE(manager_.HandOver().ok());
  manager_.SetNext(NewWriter(2));
  ASSERT_TRUE(vfs_.SyncDir("/d").ok());
  manager_.Rotate({{7, 1}});
  Stage(2, "b");
  ASSERT_TRUE(manager_.HandOver().ok());
  fault_.SetPlan({{FaultOp::kWrite, PathClass::kAny, 0, FaultKind::kEnospc, false}});
  const JournalManager::Mark mark = manager_.mark();
  Stage(3, "lost");
  EXPECT_TRUE(manager_.HandOver().Is(Code::kDiskFull));
  manager_.CutBack(mark);
  for (Seqno seqno = 3; seqno <= 4; ++seqno) {
    Stage(seqno, "c");
    ASSERT_TRUE(manager_.HandOver().ok());
  }
  ASSERT_TRUE(manager_.Witness().ok());
  const auto image = Crash(CrashPolicy::All());
  EXPECT_EQ(StatedDurable(image.get(), 2), kLogHeaderBytes);
  ASSERT_TRUE(manager_.Sync().ok());
  ASSERT_TRUE(manager_.Witness().ok());
  EXPECT_GT(StatedDurable(&vfs_, 2), kLogHeaderBytes);
}

TEST_F(JournalManagerTest, SealedJournalsGoInOrderWhenTheirTreesAreFlushed) {
  manager_.Start(NewWriter(1));
  for (uint64_t number = 2; number <= 4; ++number) {
    Stage(number - 1, "x");
    ASSERT_TRUE(manager_.HandOver().ok());
    manager_.SetNext(NewWriter(number));
    // Tree 5 writes to the second journal only.
    manager_.Rotate(number == 3 ? Watermarks{{5, 2}, {6, 2}} : Watermarks{{6, number - 1}});
  }
  EXPECT_EQ(manager_.journal_count(), 4u);
  EXPECT_EQ(manager_.numbers(), (std::vector<uint64_t>{1, 2, 3, 4}));
  Seqno last = 0;
  const auto nothing_pins = [](uint32_t) { return std::optional<Seqno>(); };
  EXPECT_TRUE(manager_.Evictable(nothing_pins, &last).empty()) << "not synced yet";
  ASSERT_TRUE(manager_.Sync().ok());
  EXPECT_EQ(manager_.Evictable(nothing_pins, &last), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(last, 3u);
  const auto five_is_late = [](uint32_t tree) { return std::optional<Seqno>(tree == 5 ? 2 : 100); };
  EXPECT_EQ(manager_.Evictable(five_is_late, &last), std::vector<uint64_t>{1});
  EXPECT_EQ(last, 1u);
  EXPECT_TRUE(manager_.Pinning(five_is_late).empty());
  manager_.MarkRecorded(1);
  EXPECT_EQ(manager_.Unrecorded().size(), 2u);
  manager_.Drop({1});
  EXPECT_EQ(manager_.Pinning(five_is_late), std::vector<uint32_t>{5});
  EXPECT_TRUE(manager_.Evictable(five_is_late, &last).empty());
  EXPECT_EQ(manager_.numbers(), (std::vector<uint64_t>{2, 3, 4}));
}

TEST_F(JournalManagerTest, ASyncIsWitnessedOnce) {
  manager_.Start(NewWriter(1));
  Stage(1, "a");
  ASSERT_TRUE(manager_.HandOver().ok());
  ASSERT_TRUE(manager_.Sync().ok());
  const uint64_t before = manager_.active_bytes();
  ASSERT_TRUE(manager_.Witness().ok());
  EXPECT_EQ(manager_.active_bytes(), before + kLogRecordHeaderBytes);
  ASSERT_TRUE(manager_.Witness().ok());
  EXPECT_EQ(manager_.active_bytes(), before + kLogRecordHeaderBytes);
  // The next record states it itself.
  ASSERT_TRUE(manager_.Sync().ok());
  Stage(2, "b");
  ASSERT_TRUE(manager_.HandOver().ok());
  const uint64_t size = manager_.active_bytes();
  ASSERT_TRUE(manager_.Witness().ok());
  EXPECT_EQ(manager_.active_bytes(), size);
}

}  // namespace
}  // namespace shale
