// Fuzzer of LogReader: any bytes behind a valid header, and logs of which records were changed and
// sealed again, so that what lies behind the checksum is reached too.
//
// The first byte chooses: bit 0 seals records, bit 1 gives a known durable length, bit 2 a final
// length. What must hold whatever the bytes are is checked below.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "../native/journal/log_support.h"

namespace {

using shale::LogReader;
using shale::LogRecordHeader;
using shale::Slice;
using shale::Status;
using shale::test::BytesFile;
using shale::test::Reading;

constexpr uint64_t kNumber = 3;

void Check(bool ok) {
  if (!ok) std::abort();
}

// Reads the input as a list of {length u8, header bytes 4..31, payload}: each becomes a record with
// a right checksum, whatever its fields are. A length of 255 leaves a hole instead.
std::string Sealed(const uint8_t* data, size_t size) {
  std::string bytes(shale::kLogHeaderBytes, '\0');
  shale::EncodeFileHeader(shale::kJournalMagic, kNumber, bytes.data());
  for (size_t p = 0; p + 29 <= size;) {
    const size_t length = data[p];
    if (length == 255) {
      bytes.append(data[p + 1], '\0');
      p += 2;
      continue;
    }
    const size_t payload = std::min(length, size - p - 29);
    std::string record(4, '\0');
    record.append(reinterpret_cast<const char*>(data + p + 1), 28 + payload);
    // Mostly the true length; the low bit of the stated one keeps what the input says.
    if ((data[p + 1] & 1) == 0) {
      shale::StoreLe<uint32_t>(record.data() + 4, static_cast<uint32_t>(payload));
    }
    const Slice covered(record.data() + 4, record.size() - 4);
    shale::StoreLe<uint32_t>(record.data(), shale::Crc32cKeyed(kNumber, bytes.size(), covered));
    bytes += record;
    p += 29 + payload;
  }
  return bytes;
}

std::string Raw(const uint8_t* data, size_t size) {
  std::string bytes(shale::kLogHeaderBytes, '\0');
  shale::EncodeFileHeader(shale::kJournalMagic, kNumber, bytes.data());
  return bytes.append(reinterpret_cast<const char*>(data), size);
}

void CheckReading(const std::string& bytes, uint64_t end, const Reading& r) {
  uint64_t last = shale::kLogHeaderBytes;
  for (const auto& [offset, payload] : r.data) {
    Check(offset >= last);
    last = offset + shale::kLogRecordHeaderBytes + payload.size();
    Check(last <= bytes.size() && last <= std::max<uint64_t>(end, shale::kLogHeaderBytes));
    Check(bytes.compare(offset + shale::kLogRecordHeaderBytes, payload.size(), payload) == 0);
  }
  Check(r.end_offset >= last && r.end_offset <= bytes.size());
  Check(r.end_offset + r.dropped <= bytes.size());
  Check(r.tail == LogReader::Tail::kDamaged ? r.status.Is(shale::Code::kCorruption)
                                            : r.status.ok());
  if (r.tail == LogReader::Tail::kClean) Check(r.dropped == 0);
  if (r.tail == LogReader::Tail::kTorn) Check(r.dropped > 0 && r.synced_to <= r.end_offset);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const uint8_t mode = data[0];
  const uint64_t figure = data[1] | uint64_t{data[2]} << 8;
  const std::string bytes = (mode & 1) != 0 ? Sealed(data + 3, size - 3) : Raw(data + 3, size - 3);
  const uint64_t known = (mode & 2) != 0 ? figure : 0;
  const uint64_t end = (mode & 4) != 0 ? figure : UINT64_MAX;

  BytesFile file(bytes);
  std::unique_ptr<LogReader> reader;
  Check(LogReader::Open(&file, shale::kJournalMagic, kNumber, known, &reader, end).ok());
  Reading r;
  shale::test::ReadRest(reader.get(), &r);
  CheckReading(bytes, end, r);
  if (r.tail != LogReader::Tail::kDamaged) Check(known <= r.end_offset);

  // What was found good is good on its own, and sealed at its end.
  const Reading cut =
      shale::test::ReadLog(bytes.substr(0, r.end_offset), kNumber, r.end_offset, r.end_offset);
  Check(cut.open.ok() && cut.tail == LogReader::Tail::kClean && cut.data == r.data);

  // Salvage ends, goes forward, and finds nothing twice.
  size_t rounds = 0;
  size_t records = r.data.size();
  while (reader->SkipDamage()) {
    shale::test::ReadRest(reader.get(), &r);
    Check(++rounds <= bytes.size() / shale::kLogRecordHeaderBytes);
    Check(r.data.size() >= records);
    records = r.data.size();
  }
  uint64_t last = shale::kLogHeaderBytes;
  for (const auto& [offset, payload] : r.data) {
    Check(offset >= last);
    last = offset + shale::kLogRecordHeaderBytes + payload.size();
  }
  return 0;
}
