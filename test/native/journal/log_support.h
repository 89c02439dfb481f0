// Support for tests of the log: a file in a string, a machine whose files fail on demand, and an
// oracle that says what a reader must find in a mutated log.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "journal/log_format.h"
#include "journal/log_reader.h"
#include "vfs/mem_vfs.h"
#include "vfs/vfs.h"

namespace shale::test {

// A file over a string; reads only.
class BytesFile : public File {
 public:
  explicit BytesFile(std::string bytes) : File("/log"), bytes_(std::move(bytes)) {}

  Status Read(uint64_t offset, size_t n, char* dst, size_t* got) override {
    ++reads;
    if (fail_reads_from <= offset + n) return Status::FromErrno(EIO, "pread", path());
    *got = 0;
    if (offset >= bytes_.size()) return Status::Ok();
    *got = std::min<size_t>(n, bytes_.size() - static_cast<size_t>(offset));
    std::memcpy(dst, bytes_.data() + offset, *got);
    return Status::Ok();
  }
  Status Write(uint64_t, Slice) override { return Refuse(); }
  Status Write2(uint64_t, Slice, Slice) override { return Refuse(); }
  Status Truncate(uint64_t) override { return Refuse(); }
  Status Preallocate(uint64_t) override { return Refuse(); }
  Status Sync() override { return Refuse(); }
  Status Size(uint64_t* size) override {
    *size = bytes_.size();
    return Status::Ok();
  }
  void ReadAhead(uint64_t, uint64_t) override {}

  uint64_t reads = 0;
  uint64_t fail_reads_from = UINT64_MAX;  // reads that touch this offset or a later one fail

 private:
  Status Refuse() { return Status::FromErrno(EBADF, "write", path()); }
  std::string bytes_;
};

// What the files of a FlakyVfs do. A countdown of n fails the n-th call from now (1 is the next);
// 0 fails none. `sticky` goes on failing from there.
struct FlakyPlan {
  int write = 0;
  int truncate = 0;
  int sync = 0;
  int preallocate = 0;
  bool sticky = false;
  int error = EIO;
  uint64_t partial = 0;  // bytes that a failing write leaves
  int syncs = 0;         // calls seen
  int writes = 0;
  int preallocations = 0;

  bool Fails(int* countdown) {
    if (*countdown == 0) return false;
    if (*countdown > 1) {
      --*countdown;
      return false;
    }
    if (!sticky) *countdown = 0;
    return true;
  }
};

class FlakyFile : public File {
 public:
  FlakyFile(std::unique_ptr<File> base, FlakyPlan* plan)
      : File(base->path()), base_(std::move(base)), plan_(plan) {}

  Status Read(uint64_t offset, size_t n, char* dst, size_t* got) override {
    return base_->Read(offset, n, dst, got);
  }
  Status Write(uint64_t offset, Slice data) override { return Write2(offset, data, Slice()); }
  Status Write2(uint64_t offset, Slice a, Slice b) override {
    ++plan_->writes;
    if (!plan_->Fails(&plan_->write)) return base_->Write2(offset, a, b);
    const std::string whole = a.ToString() + b.ToString();
    const Slice part = Slice(whole).Prefix(static_cast<size_t>(plan_->partial));
    if (!part.empty()) SHALE_RETURN_IF_ERROR(base_->Write(offset, part));
    return Status::FromErrno(plan_->error, "pwritev", path());
  }
  Status Truncate(uint64_t size) override {
    if (plan_->Fails(&plan_->truncate)) return Status::FromErrno(EIO, "ftruncate", path());
    return base_->Truncate(size);
  }
  Status Preallocate(uint64_t size) override {
    ++plan_->preallocations;
    if (plan_->Fails(&plan_->preallocate)) return Status::FromErrno(ENOSPC, "fallocate", path());
    return base_->Preallocate(size);
  }
  Status Sync() override {
    ++plan_->syncs;
    if (plan_->Fails(&plan_->sync)) return Status::FromErrno(EIO, "fdatasync", path());
    return base_->Sync();
  }
  Status Size(uint64_t* size) override { return base_->Size(size); }
  void ReadAhead(uint64_t offset, uint64_t n) override { base_->ReadAhead(offset, n); }

 private:
  std::unique_ptr<File> base_;
  FlakyPlan* plan_;
};

class FlakyVfs : public MemVfs {
 public:
  Status Open(const std::string& path, OpenMode mode, std::unique_ptr<File>* file) override {
    std::unique_ptr<File> base;
    SHALE_RETURN_IF_ERROR(MemVfs::Open(path, mode, &base));
    *file = std::make_unique<FlakyFile>(std::move(base), &plan);
    return Status::Ok();
  }
  FlakyPlan plan;
};

// ---- a log under construction, byte by byte ----

struct BuiltRecord {
  uint64_t offset = 0;
  uint64_t end = 0;
  RecordType type = RecordType::kData;
  uint64_t synced_to = 0;
  Seqno seqno = 0;
  std::string payload;
};

class LogBuilder {
 public:
  explicit LogBuilder(uint64_t file_number, const char* magic = kJournalMagic)
      : number_(file_number) {
    bytes_.resize(kLogHeaderBytes);
    EncodeFileHeader(magic, number_, bytes_.data());
  }
  void Data(Seqno seqno, const std::string& payload, uint64_t synced_to) {
    Add({.type = RecordType::kData, .count = 1, .synced_to = synced_to, .seqno = seqno}, payload);
  }
  void SyncedTo(uint64_t synced_to) {
    Add({.type = RecordType::kSyncedTo, .synced_to = synced_to}, "");
  }
  void Add(LogRecordHeader h, const std::string& payload) {
    BuiltRecord r;
    r.offset = bytes_.size();
    r.type = h.type;
    r.synced_to = h.synced_to;
    r.seqno = h.seqno;
    r.payload = payload;
    char header[kLogRecordHeaderBytes];
    EncodeLogRecordHeader(h, number_, r.offset, payload, header);
    bytes_.append(header, sizeof header);
    bytes_.append(payload);
    r.end = bytes_.size();
    records_.push_back(std::move(r));
  }
  void Zeros(size_t n) { bytes_.append(n, '\0'); }
  // Makes the checksum of the record at `offset` right again after its bytes were changed.
  static void Reseal(std::string* bytes, uint64_t file_number, const BuiltRecord& r) {
    const Slice covered(bytes->data() + r.offset + 4, r.end - r.offset - 4);
    StoreLe<uint32_t>(bytes->data() + r.offset, Crc32cKeyed(file_number, r.offset, covered));
  }

  uint64_t end() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }
  const std::vector<BuiltRecord>& records() const { return records_; }

 private:
  uint64_t number_;
  std::string bytes_;
  std::vector<BuiltRecord> records_;
};

// ---- what a reader finds, and what it must find ----

struct Reading {
  Status open;
  std::vector<std::pair<uint64_t, std::string>> data;  // offset, payload
  LogReader::Tail tail = LogReader::Tail::kClean;
  uint64_t end_offset = 0;
  uint64_t dropped = 0;
  uint64_t synced_to = 0;
  Status status;
};

inline void ReadRest(LogReader* reader, Reading* out) {
  LogRecordHeader h;
  Slice payload;
  uint64_t offset = 0;
  while (reader->Next(&h, &payload, &offset)) out->data.emplace_back(offset, payload.ToString());
  out->tail = reader->tail();
  out->end_offset = reader->end_offset();
  out->dropped = reader->dropped_bytes();
  out->synced_to = reader->synced_to();
  out->status = reader->status();
}

inline Reading ReadLog(const std::string& bytes, uint64_t file_number, uint64_t known_durable = 0,
                       uint64_t end = UINT64_MAX, const char* magic = kJournalMagic) {
  BytesFile file(bytes);
  std::unique_ptr<LogReader> reader;
  Reading out;
  out.open = LogReader::Open(&file, magic, file_number, known_durable, &reader, end);
  if (out.open.ok()) ReadRest(reader.get(), &out);
  return out;
}

// Section 4.4 of docs/format.md, said in another way: a record is valid exactly if its bytes are
// those that were written.
inline Reading Oracle(const LogBuilder& log, const std::string& mutated,
                      uint64_t known_durable = 0) {
  Reading want;
  const std::string& original = log.bytes();
  const auto intact = [&](const BuiltRecord& r) {
    return r.end <= mutated.size() &&
           mutated.compare(r.offset, r.end - r.offset, original, r.offset, r.end - r.offset) == 0;
  };
  uint64_t at = kLogHeaderBytes;
  for (const BuiltRecord& r : log.records()) {
    if (!intact(r)) break;
    at = r.end;
    if (r.type == RecordType::kData) want.data.emplace_back(r.offset, r.payload);
  }
  want.end_offset = at;
  uint64_t last = mutated.size();
  while (last > at && mutated[last - 1] == 0) --last;
  uint64_t durable = known_durable;
  for (const BuiltRecord& r : log.records()) {
    if (intact(r)) {
      durable = std::max(durable, r.synced_to);
      want.synced_to = std::max(want.synced_to, r.synced_to);
    }
  }
  const bool bad = last > at;
  want.dropped = bad ? last - at : 0;
  want.tail = durable > at ? LogReader::Tail::kDamaged
              : bad        ? LogReader::Tail::kTorn
                           : LogReader::Tail::kClean;
  return want;
}

}  // namespace shale::test
