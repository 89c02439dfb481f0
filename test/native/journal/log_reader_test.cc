#include "journal/log_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "journal/log_support.h"
#include "support/seed.h"

namespace shale::test {
namespace {

using Tail = LogReader::Tail;

constexpr uint64_t kNumber = 7;

void ExpectSame(const Reading& got, const Reading& want, const std::string& what) {
  ASSERT_TRUE(got.open.ok()) << what << ": " << got.open.ToString();
  EXPECT_EQ(got.data, want.data) << what;
  EXPECT_EQ(got.tail, want.tail) << what;
  EXPECT_EQ(got.end_offset, want.end_offset) << what;
  EXPECT_EQ(got.dropped, want.dropped) << what;
  EXPECT_EQ(got.synced_to, want.synced_to) << what;
  if (want.tail == Tail::kDamaged) {
    EXPECT_TRUE(got.status.Is(Code::kCorruption)) << what;
    ASSERT_NE(got.status.details(), nullptr);
    EXPECT_EQ(got.status.details()->path, "/log");
    EXPECT_EQ(got.status.details()->offset, want.end_offset) << what;
  } else {
    EXPECT_TRUE(got.status.ok()) << what;
  }
}

// Records of both types, some that tell of a sync and some that do not; zeros behind them.
LogBuilder SmallLog() {
  LogBuilder log(kNumber);
  log.Data(1, "first", 0);
  log.Data(2, "the second one", 32);
  const uint64_t two = log.end();
  log.SyncedTo(two);
  log.Data(3, std::string(100, 'x'), two);
  log.Data(4, "", two);
  log.Data(5, "five", two);
  const uint64_t five = log.end();
  log.Data(6, "six", five);
  log.Data(7, "seven", five);
  log.Zeros(70);
  return log;
}

TEST(LogReader, ReadsWhatWasWritten) {
  const LogBuilder log = SmallLog();
  const Reading got = ReadLog(log.bytes(), kNumber);
  ExpectSame(got, Oracle(log, log.bytes()), "whole");
  EXPECT_EQ(got.data.size(), 7u);
  EXPECT_EQ(got.tail, Tail::kClean);
}

TEST(LogReader, EmptyLogs) {
  const LogBuilder log(kNumber);
  EXPECT_EQ(ReadLog(log.bytes(), kNumber).tail, Tail::kClean);
  EXPECT_EQ(ReadLog(log.bytes() + std::string(5000, '\0'), kNumber).tail, Tail::kClean);
  EXPECT_TRUE(ReadLog("", kNumber).open.Is(Code::kCorruption));
  EXPECT_TRUE(ReadLog(log.bytes().substr(0, 31), kNumber).open.Is(Code::kCorruption));
  const Reading other = ReadLog(log.bytes(), kNumber + 1);
  EXPECT_TRUE(other.open.Is(Code::kCorruption));
  EXPECT_EQ(other.open.details()->path, "/log");
}

// Sizes around the reader's chunks and several times as large, one after the other.
TEST(LogReader, RecordsOfAnySizeAcrossChunks) {
  constexpr size_t kChunk = 512 * 1024;  // of the reader
  LogBuilder log(kNumber);
  Seqno seqno = 1;
  for (size_t size : {size_t{0}, kChunk - 100, size_t{1}, kChunk - 33, kChunk - 32, kChunk - 31,
                      kChunk, kChunk + 1, 5 * kChunk + 3, size_t{17}, 2 * kChunk, size_t{40}}) {
    log.Data(seqno, std::string(size, static_cast<char>('a' + seqno)), log.end());
    ++seqno;
  }
  for (int i = 0; i < 15000; ++i) log.Data(seqno++, std::to_string(i), log.end());
  log.Zeros(3 * kChunk);
  ExpectSame(ReadLog(log.bytes(), kNumber), Oracle(log, log.bytes()), "whole");
}

TEST(LogReader, EveryFlippedBit) {
  const LogBuilder log = SmallLog();
  for (size_t bit = 0; bit < log.bytes().size() * 8; ++bit) {
    std::string bytes = log.bytes();
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    const std::string what = "bit " + std::to_string(bit);
    if (bit / 8 < kLogHeaderBytes) {
      EXPECT_FALSE(ReadLog(bytes, kNumber).open.ok()) << what;
      continue;
    }
    ExpectSame(ReadLog(bytes, kNumber), Oracle(log, bytes), what);
    const uint64_t end = log.records().back().end;
    ExpectSame(ReadLog(bytes, kNumber, end), Oracle(log, bytes, end), what + ", known durable");
  }
}

TEST(LogReader, TruncationAtEveryOffset) {
  const LogBuilder log = SmallLog();
  const uint64_t all = log.records().back().end;
  for (size_t n = kLogHeaderBytes; n <= log.bytes().size(); ++n) {
    const std::string what = "cut at " + std::to_string(n);
    const std::string cut = log.bytes().substr(0, n);
    ExpectSame(ReadLog(cut, kNumber), Oracle(log, cut), what);
    ExpectSame(ReadLog(cut, kNumber, all), Oracle(log, cut, all), what + ", known durable");
    const std::string zeros = cut + std::string(log.bytes().size() - n, '\0');
    ExpectSame(ReadLog(zeros, kNumber), Oracle(log, zeros), what + ", zeros behind");
    ExpectSame(ReadLog(zeros, kNumber, all), Oracle(log, zeros, all), what + ", both");
  }
}

// Zeros, garbage and copies of other parts over every range of the log.
TEST(LogReader, OverwrittenRanges) {
  const LogBuilder log = SmallLog();
  TestRandom random;
  const size_t size = log.bytes().size();
  for (size_t begin = kLogHeaderBytes; begin < size; begin += 3) {
    for (size_t length : {size_t{8}, size_t{32}, size_t{90}, size - begin}) {
      const size_t n = std::min(length, size - begin);
      std::string zeros = log.bytes();
      zeros.replace(begin, n, n, '\0');
      std::string garbage = log.bytes();
      for (size_t i = begin; i < begin + n; ++i) garbage[i] = static_cast<char>(random.Next() | 1);
      std::string moved = log.bytes();
      moved.replace(begin, n, log.bytes().substr(kLogHeaderBytes, n));
      for (const std::string& bytes : {zeros, garbage, moved}) {
        ExpectSame(ReadLog(bytes, kNumber), Oracle(log, bytes),
                   std::to_string(begin) + " + " + std::to_string(n));
      }
    }
  }
}

// Edge case 34: tails of zeros and garbage.
TEST(LogReader, TailsThatWereNeverWritten) {
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  log.Data(2, "two", 0);
  const std::string& good = log.bytes();
  LogBuilder other(kNumber + 1);
  other.Data(1, "one", 0);
  other.Data(2, "two", 0);
  other.Data(3, "three", 0);
  const std::string foreign = other.bytes().substr(good.size());
  for (const std::string& tail :
       {good.substr(32), good, std::string(1, '\1'), std::string(4000, '\xff'), foreign,
        good.substr(32, 40), std::string(600, '\0') + good}) {
    const Reading got = ReadLog(good + tail, kNumber);
    EXPECT_EQ(got.data.size(), 2u);
    EXPECT_EQ(got.tail, Tail::kTorn);
    EXPECT_EQ(got.end_offset, good.size());
    EXPECT_EQ(got.dropped, tail.size());
  }
}

// One record in the middle is lost; what the ones behind it say decides.
TEST(LogReader, TornOrDamagedTable) {
  struct Case {
    const char* name;
    uint64_t later_synced_to;  // relative to the lost record
    bool synced_to_record;
    uint64_t known_durable;
    Tail want;
  };
  const Case cases[] = {
      {"nothing was durable", 0, false, 0, Tail::kTorn},
      {"durable exactly up to it", 1, false, 0, Tail::kTorn},
      {"a data record says one byte of it was durable", 2, false, 0, Tail::kDamaged},
      {"a synced-to record says so", 2, true, 0, Tail::kDamaged},
      {"a synced-to record says up to it", 1, true, 0, Tail::kTorn},
      {"the caller knows up to it", 0, false, 1, Tail::kTorn},
      {"the caller knows more", 0, false, 2, Tail::kDamaged},
  };
  for (const Case& c : cases) {
    LogBuilder log(kNumber);
    log.Data(1, "kept", 0);
    const uint64_t lost = log.end();
    const auto relative = [&](uint64_t x) { return x == 0 ? 0 : lost + x - 1; };
    log.Data(2, "lost", 0);
    log.Data(3, "between", 0);
    if (c.synced_to_record) {
      log.SyncedTo(relative(c.later_synced_to));
    } else {
      log.Data(4, "behind", relative(c.later_synced_to));
    }
    std::string bytes = log.bytes();
    bytes.replace(lost, 36, 36, '\0');  // a hole, as unordered page writes leave it
    const Reading got = ReadLog(bytes, kNumber, relative(c.known_durable));
    EXPECT_EQ(got.tail, c.want) << c.name;
    EXPECT_EQ(got.data.size(), 1u) << c.name;
    EXPECT_EQ(got.status.Is(Code::kCorruption), c.want == Tail::kDamaged) << c.name;
  }
}

// A checksum may begin with zeros; the record is found all the same behind a hole of any length.
TEST(LogReader, FindsRecordsThatBeginWithZeros) {
  for (size_t hole = 33; hole < 50; ++hole) {
    for (uint32_t nonce = 0;; ++nonce) {
      LogBuilder log(kNumber);
      log.Data(1, std::string(hole - 32, 'x'), 0);
      log.Data(2, "behind " + std::to_string(nonce), log.end());
      std::string bytes = log.bytes();
      if (bytes[log.records()[1].offset] != 0) continue;
      bytes.replace(kLogHeaderBytes, hole, hole, '\0');
      EXPECT_EQ(ReadLog(bytes, kNumber).tail, Tail::kDamaged) << hole;
      break;
    }
  }
}

TEST(LogReader, SealedFilesEndWhereTheyMust) {
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  const uint64_t one = log.end();
  log.Data(2, "two", one);
  const uint64_t two = log.end();
  log.Data(3, "not part of it", two);
  const std::string& bytes = log.bytes();

  Reading got = ReadLog(bytes, kNumber, two, two);
  EXPECT_EQ(got.data.size(), 2u);
  EXPECT_EQ(got.tail, Tail::kClean);
  EXPECT_EQ(got.end_offset, two);
  // A final length inside a record, or behind the end of the file.
  for (uint64_t end : {two - 1, one + 1, one + 32, log.end() + 1, log.end() + 4096}) {
    got = ReadLog(bytes, kNumber, end, end);
    EXPECT_EQ(got.tail, Tail::kDamaged) << end;
  }
  // Damage behind the final length is not looked at.
  std::string behind = bytes;
  behind[two + 5] ^= 1;
  EXPECT_EQ(ReadLog(behind, kNumber, two, two).tail, Tail::kClean);
  // An end below the header is an empty log, not a wrap-around.
  EXPECT_EQ(ReadLog(bytes, kNumber, 0, 3).data.size(), 0u);
}

TEST(LogReader, RightChecksumOverImpossibleFieldsIsDamage) {
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  log.Data(2, "two", 0);
  const BuiltRecord& second = log.records()[1];
  const auto with = [&](size_t at, uint8_t value) {
    std::string bytes = log.bytes();
    bytes[second.offset + at] = static_cast<char>(value);
    LogBuilder::Reseal(&bytes, kNumber, second);
    return ReadLog(bytes, kNumber).tail;
  };
  EXPECT_EQ(with(8, 1), Tail::kClean);
  EXPECT_EQ(with(8, 0), Tail::kDamaged);
  EXPECT_EQ(with(8, 3), Tail::kDamaged);
  EXPECT_EQ(with(8, 2), Tail::kDamaged);  // a synced-to record with a payload
  EXPECT_EQ(with(9, 1), Tail::kDamaged);
  EXPECT_EQ(with(11, 1), Tail::kDamaged);
  EXPECT_EQ(with(17, 1), Tail::kDamaged);  // synced_to 256
  EXPECT_EQ(with(31, 1), Tail::kDamaged);  // seqno above 2^53
}

TEST(LogReader, LengthsThatLieAllocateNothing) {
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  log.Data(2, "two", 0);
  for (uint32_t length : {4u, 1000u, 0x40000000u, 0x41000000u, 0xffffffffu}) {
    std::string bytes = log.bytes();
    StoreLe<uint32_t>(bytes.data() + log.records()[1].offset + 4, length);
    const Reading got = ReadLog(bytes, kNumber);
    EXPECT_EQ(got.data.size(), 1u);
    EXPECT_EQ(got.tail, Tail::kTorn);
  }
}

TEST(LogReader, ReadErrorsAreReportedAsSuch) {
  const LogBuilder log = SmallLog();
  {
    BytesFile file(log.bytes());
    std::unique_ptr<LogReader> reader;
    ASSERT_TRUE(LogReader::Open(&file, kJournalMagic, kNumber, 0, &reader).ok());
    file.fail_reads_from = 33;
    Reading got;
    ReadRest(reader.get(), &got);
    EXPECT_TRUE(got.status.Is(Code::kIoError));
    EXPECT_TRUE(got.data.empty());
    EXPECT_FALSE(reader->SkipDamage());
  }
  // While looking behind a bad record: not a verdict of torn or damaged.
  std::string bytes = log.bytes();
  bytes[40] ^= 1;
  bytes.append(2 * 1024 * 1024, '\x7f');
  BytesFile file(bytes);
  std::unique_ptr<LogReader> reader;
  ASSERT_TRUE(LogReader::Open(&file, kJournalMagic, kNumber, 0, &reader).ok());
  file.fail_reads_from = 1024 * 1024;
  Reading got;
  ReadRest(reader.get(), &got);
  EXPECT_TRUE(got.status.Is(Code::kIoError));
}

TEST(LogReader, SalvageDeliversEveryIntactRecord) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(16); ++round) {
    LogBuilder log(kNumber);
    for (Seqno i = 1; i <= 200; ++i) {
      const size_t size = random.Next() % 60 == 0 ? random.Next() % 1000000 : random.Next() % 200;
      log.Data(i, std::string(size, static_cast<char>('a' + i % 26)), random.Next() % log.end());
    }
    log.Zeros(random.Next() % 5000);
    std::string bytes = log.bytes();
    std::vector<uint64_t> hit;
    for (uint64_t n = random.Next() % 12; n > 0; --n) {
      hit.push_back(random.Next() % log.records().size());
      const BuiltRecord& r = log.records()[hit.back()];
      bytes[r.offset + random.Next() % (r.end - r.offset)] ^= 0x10;
    }
    std::vector<std::pair<uint64_t, std::string>> want;
    uint64_t want_skipped = 0;
    const uint64_t last = bytes.find_last_not_of('\0') + 1;
    for (const BuiltRecord& r : log.records()) {
      if (bytes.compare(r.offset, r.end - r.offset, log.bytes(), r.offset, r.end - r.offset) == 0) {
        want.emplace_back(r.offset, r.payload);
      } else {
        want_skipped += std::min(r.end, last) - std::min(r.offset, last);
      }
    }
    BytesFile file(bytes);
    std::unique_ptr<LogReader> reader;
    ASSERT_TRUE(LogReader::Open(&file, kJournalMagic, kNumber, 0, &reader).ok());
    Reading got;
    uint64_t skipped = 0;
    do {
      ReadRest(reader.get(), &got);
      skipped += reader->skipped_bytes();
    } while (reader->SkipDamage());
    EXPECT_EQ(got.data == want, true) << "round " << round;
    EXPECT_EQ(skipped, want_skipped) << "round " << round;
    EXPECT_FALSE(reader->SkipDamage());
  }
}

// A value may hold a whole journal; its records are not ours, however they come to light.
TEST(LogReader, RecordsInsideAPayloadStayThere) {
  LogBuilder inner(kNumber);
  for (Seqno i = 1; i <= 50; ++i) inner.Data(i, "inner", inner.end());
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  log.Data(2, inner.bytes(), 0);
  log.Data(3, "three", 0);
  std::string bytes = log.bytes();
  bytes[log.records()[1].offset] ^= 1;
  BytesFile file(bytes);
  std::unique_ptr<LogReader> reader;
  ASSERT_TRUE(LogReader::Open(&file, kJournalMagic, kNumber, 0, &reader).ok());
  Reading got;
  ReadRest(reader.get(), &got);
  EXPECT_EQ(got.tail, Tail::kTorn);
  ASSERT_TRUE(reader->SkipDamage());
  ReadRest(reader.get(), &got);
  ASSERT_EQ(got.data.size(), 2u);
  EXPECT_EQ(got.data[1].second, "three");
}

// Headers that promise long payloads at every offset: the search ends after a bounded amount of
// work, and what it could not rule out counts as damage.
TEST(LogReader, SearchBehindABadRecordIsBounded) {
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  std::string bytes = log.bytes();
  const size_t begin = bytes.size();
  bytes.append(256 * 1024, '\0');
  for (size_t p = begin; p + 64 < bytes.size(); p += 32) {
    StoreLe<uint32_t>(bytes.data() + p, 0xdeadbeef);
    StoreLe<uint32_t>(bytes.data() + p + 4, static_cast<uint32_t>(bytes.size() - p - 32));
    bytes[p + 8] = 1;
  }
  BytesFile file(bytes);
  std::unique_ptr<LogReader> reader;
  ASSERT_TRUE(LogReader::Open(&file, kJournalMagic, kNumber, 0, &reader).ok());
  Reading got;
  ReadRest(reader.get(), &got);
  EXPECT_EQ(got.data.size(), 1u);
  EXPECT_EQ(got.tail, Tail::kDamaged);
  EXPECT_LT(file.reads, 100u);
  EXPECT_FALSE(reader->SkipDamage());
}

// The same, with a record that is valid behind the nonsense: it is found while the budget lasts.
TEST(LogReader, SearchPassesOverSomeFalseCandidates) {
  LogBuilder log(kNumber);
  log.Data(1, "one", 0);
  std::string nonsense(4000, '\0');
  for (size_t p = 0; p + 64 < nonsense.size(); p += 400) {
    StoreLe<uint32_t>(nonsense.data() + p + 4, 3000);
    nonsense[p + 8] = 2 - (p / 400) % 2;
  }
  log.Data(2, nonsense, 0);
  log.Data(3, "three", log.end());
  std::string bytes = log.bytes();
  bytes[log.records()[1].offset + 1] ^= 1;
  ExpectSame(ReadLog(bytes, kNumber), Oracle(log, bytes), "nonsense");
  EXPECT_EQ(ReadLog(bytes, kNumber).tail, Tail::kDamaged);
}

TEST(LogReader, BuffersShrinkAfterALargeRecord) {
  LogBuilder log(kNumber);
  log.Data(1, std::string(5 * 1024 * 1024, 'L'), 0);
  for (Seqno i = 2; i < 20000; ++i) log.Data(i, "a small one", 0);
  const Reading got = ReadLog(log.bytes(), kNumber);
  EXPECT_EQ(got.data.size(), 19999u);
  EXPECT_EQ(got.tail, Tail::kClean);
}

}  // namespace
}  // namespace shale::test
