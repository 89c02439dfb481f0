// Support for tests of LogWriter: one log on a machine in memory.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "journal/log_support.h"
#include "journal/log_writer.h"

namespace shale::test {

inline constexpr uint64_t kLogNumber = 9;
inline constexpr char kLogPath[] = "/db/000009.journal";
inline constexpr uint64_t kReserve = uint64_t{64} << 20;  // as a journal
inline constexpr uint64_t kSmallReserve = 8 << 10;        // readers of many images pass over less

inline std::string Payload(uint64_t i, size_t size) {
  std::string out = "record " + std::to_string(i) + " ";
  out.resize(std::max(size, out.size()), static_cast<char>('a' + i % 26));
  return out;
}

inline std::unique_ptr<LogWriter> NewLog(Vfs* vfs, uint64_t reserve = kReserve) {
  EXPECT_TRUE(vfs->MakeDir("/db").ok());
  EXPECT_TRUE(vfs->SyncDir("/").ok());
  std::unique_ptr<LogWriter> writer;
  EXPECT_TRUE(LogWriter::Create(vfs, kLogPath, kJournalMagic, kLogNumber, reserve, &writer).ok());
  EXPECT_TRUE(vfs->SyncDir("/db").ok());
  return writer;
}

inline Status AppendData(LogWriter* writer, Seqno seqno, const std::string& payload) {
  uint64_t end = 0;
  const uint64_t before = writer->size();
  Status s = writer->Append(RecordType::kData, 1, seqno, payload, &end);
  if (s.ok()) {
    EXPECT_EQ(end, before + kLogRecordHeaderBytes + payload.size());
    EXPECT_EQ(writer->size(), end);
  } else {
    EXPECT_EQ(writer->size(), before);
  }
  return s;
}

inline Reading ReadBack(Vfs* vfs, uint64_t known_durable = 0) {
  Reading out;
  std::unique_ptr<File> file;
  out.open = vfs->Open(kLogPath, OpenMode::kRead, &file);
  if (!out.open.ok()) return out;
  std::unique_ptr<LogReader> reader;
  out.open = LogReader::Open(file.get(), kJournalMagic, kLogNumber, known_durable, &reader);
  if (out.open.ok()) ReadRest(reader.get(), &out);
  return out;
}

inline std::vector<std::string> Payloads(const Reading& reading) {
  std::vector<std::string> out;
  for (const auto& [offset, payload] : reading.data) out.push_back(payload);
  return out;
}

}  // namespace shale::test
