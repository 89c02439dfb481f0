#include "journal/log_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/coding.h"
#include "base/crc32c.h"

namespace shale {

namespace {

constexpr size_t kChunkBytes = 512 * 1024;
constexpr size_t kScanChunkBytes = kChunkBytes + kLogRecordHeaderBytes;
// A scan may compute checksums over this many times the bytes it looks through.
constexpr uint64_t kScanFactor = 16;

bool AllZero(const char* p, size_t size) {
  return size == 0 || (*p == 0 && std::memcmp(p, p + 1, size - 1) == 0);
}

}  // namespace

Status LogReader::Open(File* file, const char* magic, uint64_t file_number, uint64_t known_durable,
                       std::unique_ptr<LogReader>* reader, uint64_t end) {
  uint64_t size = 0;
  SHALE_RETURN_IF_ERROR(file->Size(&size));
  char header[kLogHeaderBytes];
  size_t got = 0;
  SHALE_RETURN_IF_ERROR(file->Read(0, sizeof header, header, &got));
  Status s = DecodeFileHeader(Slice(header, got), magic, file_number);
  if (!s.ok()) return s.WithPath(file->path(), 0);
  const uint64_t readable = std::max<uint64_t>(std::min(size, end), kLogHeaderBytes);
  reader->reset(new LogReader(file, file_number, known_durable, readable));
  return Status::Ok();
}

const char* LogReader::Load(uint64_t offset, size_t size) {
  if (offset >= buffer_offset_ && offset - buffer_offset_ <= buffer_.size() &&
      size <= buffer_.size() - static_cast<size_t>(offset - buffer_offset_)) {
    return buffer_.data() + (offset - buffer_offset_);
  }
  const uint64_t left = file_size_ - offset;
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left, std::max(size, kChunkBytes)));
  if (buffer_.capacity() > 2 * kChunkBytes && wanted <= kChunkBytes) std::string().swap(buffer_);
  buffer_offset_ = offset;
  buffer_.resize(wanted);
  size_t got = 0;
  Status s = file_->Read(offset, wanted, buffer_.data(), &got);
  if (s.ok() && got != wanted) {
    s = Status::Corruption("the file became shorter while it was read", file_->path(), offset);
  }
  if (!s.ok()) {
    status_ = std::move(s);
    buffer_.clear();
    return nullptr;
  }
  if (left > wanted) file_->ReadAhead(offset + wanted, kChunkBytes);
  return buffer_.data();
}

bool LogReader::FindNonZero(uint64_t from, bool any, uint64_t* end) {
  *end = from;
  for (uint64_t p = from; p < file_size_;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(file_size_ - p, kChunkBytes));
    const char* bytes = Load(p, n);
    if (bytes == nullptr) return false;
    if (!AllZero(bytes, n)) {
      size_t last = n;
      while (bytes[last - 1] == 0) --last;
      *end = p + last;
      if (any) return true;
    }
    p += n;
  }
  return true;
}

LogReader::Verdict LogReader::Examine(uint64_t offset, LogRecordHeader* header, Slice* payload) {
  const uint64_t left = file_size_ - offset;
  if (left == 0) return Verdict::kEnd;
  const size_t head = static_cast<size_t>(std::min<uint64_t>(left, kLogRecordHeaderBytes));
  const char* p = Load(offset, head);
  if (p == nullptr) return Verdict::kError;
  if (AllZero(p, head)) {
    uint64_t end = 0;
    if (!FindNonZero(offset + head, /*any=*/true, &end)) return Verdict::kError;
    return end == offset + head ? Verdict::kEnd : Verdict::kBad;
  }
  if (left < kLogRecordHeaderBytes) return Verdict::kBad;
  const bool fields_hold = DecodeLogRecordHeader(p, offset, header);
  const uint64_t length = kLogRecordHeaderBytes + uint64_t{header->payload_length};
  if (length > left || header->payload_length > kLogPayloadBytesMax) return Verdict::kBad;
  p = Load(offset, static_cast<size_t>(length));
  if (p == nullptr) return Verdict::kError;
  const Slice covered(p + 4, static_cast<size_t>(length) - 4);
  if (LoadLe<uint32_t>(p) != Crc32cKeyed(file_number_, offset, covered)) return Verdict::kBad;
  if (!fields_hold) return Verdict::kImpossible;
  *payload = Slice(p + kLogRecordHeaderBytes, header->payload_length);
  return Verdict::kValid;
}

bool LogReader::Next(LogRecordHeader* header, Slice* payload, uint64_t* offset) {
  while (!finished_) {
    const uint64_t at = next_offset_;
    const Verdict verdict = Examine(at, header, payload);
    if (verdict != Verdict::kValid) {
      Finish(verdict);
      break;
    }
    next_offset_ = at + kLogRecordHeaderBytes + header->payload_length;
    end_offset_ = next_offset_;
    synced_to_ = std::max(synced_to_, header->synced_to);
    if (header->type == RecordType::kData) {
      *offset = at;
      return true;
    }
  }
  return false;
}

void LogReader::Finish(Verdict verdict) {
  finished_ = true;
  if (verdict == Verdict::kError) return;
  tail_ = Tail::kClean;
  if (verdict != Verdict::kEnd) {
    tail_ = Tail::kTorn;
    uint64_t last = 0;
    if (!FindNonZero(next_offset_, /*any=*/false, &last)) return;
    dropped_bytes_ = last - next_offset_;
    const bool complete = ScanBehind(next_offset_);
    if (!status_.ok()) return;
    if (verdict == Verdict::kImpossible) return Damaged("a record is not what a writer makes");
    if (!complete) return Damaged("too much lies behind a bad record to tell how it came about");
  }
  if (std::max(known_durable_, synced_to_) > next_offset_) {
    Damaged(verdict == Verdict::kEnd ? "records that were durable are missing"
                                     : "a record that was durable is damaged");
  }
}

void LogReader::Damaged(std::string message) {
  tail_ = Tail::kDamaged;
  status_ = Status::Corruption(std::move(message), file_->path(), next_offset_);
}

bool LogReader::ScanBehind(uint64_t bad) {
  resume_offset_ = 0;
  if (!scanned_) scan_budget_ = (file_size_ - bad) * kScanFactor;
  for (uint64_t p = bad + 1; p + kLogRecordHeaderBytes <= file_size_;) {
    const uint64_t left = file_size_ - p;
    const size_t size = static_cast<size_t>(std::min<uint64_t>(left, kScanChunkBytes));
    const char* bytes = Load(p, size);
    if (bytes == nullptr || !ScanChunk(bytes, size, &p)) break;
  }
  std::string().swap(scan_buffer_);
  scanned_ = true;
  return status_.ok() && scan_budget_ != 0;
}

// Looks at every offset at which a record header lies inside the chunk at *offset, and moves
// *offset to the first one that it did not look at. False: stop.
bool LogReader::ScanChunk(const char* bytes, size_t size, uint64_t* offset) {
  const uint64_t begin = *offset;
  const size_t offsets = size - kLogRecordHeaderBytes + 1;
  for (size_t i = 0; i < offsets;) {
    // The type byte is 1 or 2, so eight zeros from there on rule out eight offsets.
    if (LoadLe<uint64_t>(bytes + i + 8) == 0) {
      i += 8;
      continue;
    }
    const uint32_t type = LoadLe<uint32_t>(bytes + i + 8);  // with the reserved bytes
    LogRecordHeader h;
    if (type - 1 < 2 && DecodeLogRecordHeader(bytes + i, begin + i, &h) &&
        ChecksumHolds(begin + i, Slice(bytes + i, size - i), h)) {
      synced_to_ = std::max(synced_to_, h.synced_to);
      if (resume_offset_ == 0) resume_offset_ = begin + i;
      if (scanned_) return false;  // only the next valid record was wanted
      *offset = begin + i + kLogRecordHeaderBytes + h.payload_length;
      if (*offset - begin >= offsets) return true;
      i = static_cast<size_t>(*offset - begin);
      continue;
    }
    if (scan_budget_ == 0 || !status_.ok()) return false;
    ++i;
  }
  *offset = begin + offsets;
  return true;
}

bool LogReader::ChecksumHolds(uint64_t offset, Slice chunk, const LogRecordHeader& header) {
  const uint64_t begin = offset + kLogRecordHeaderBytes;
  if (header.payload_length > file_size_ - begin) return false;
  const uint64_t length = kLogRecordHeaderBytes + uint64_t{header.payload_length};
  if (length > scan_budget_) {
    scan_budget_ = 0;
    return false;
  }
  scan_budget_ -= length;
  const size_t here = static_cast<size_t>(std::min<uint64_t>(length, chunk.size()));
  uint32_t crc = Crc32cKeyed(file_number_, offset, Slice(chunk.data() + 4, here - 4));
  const uint64_t end = offset + length;
  for (uint64_t p = offset + here; p < end;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(end - p, kChunkBytes));
    scan_buffer_.resize(kChunkBytes);
    size_t got = 0;
    Status s = file_->Read(p, n, scan_buffer_.data(), &got);
    if (s.ok() && got != n) {
      s = Status::Corruption("the file became shorter while it was read", file_->path(), p);
    }
    if (!s.ok()) {
      status_ = std::move(s);
      return false;
    }
    crc = Crc32cExtend(crc, scan_buffer_.data(), n);
    p += n;
  }
  return crc == LoadLe<uint32_t>(chunk.data());
}

bool LogReader::SkipDamage() {
  if (!finished_ || resume_offset_ == 0) return false;
  next_offset_ = resume_offset_;
  resume_offset_ = 0;
  dropped_bytes_ = 0;
  finished_ = false;
  tail_ = Tail::kClean;
  status_ = Status::Ok();
  return true;
}

}  // namespace shale
