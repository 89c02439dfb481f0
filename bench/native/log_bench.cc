// How fast framing is: replay of a journal from the page cache, and appends to one. The bar is a
// gigabyte per second for replay at records of 116 bytes, so that recovery costs what its inserts
// cost.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "journal/log_reader.h"
#include "journal/log_writer.h"
#include "vfs/vfs.h"

namespace shale {
namespace {

constexpr uint64_t kNumber = 1;
constexpr uint64_t kBytes = uint64_t{64} << 20;

void Require(const Status& status) {
  if (status.ok()) return;
  fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

// A directory of its own that goes with the object.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/shale-log-bench-XXXXXX";
    if (mkdtemp(name) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    static_cast<void>(Vfs::Real()->Remove(journal()));
    static_cast<void>(Vfs::Real()->RemoveDir(path_));
  }
  std::string journal() const { return path_ + "/000001.journal"; }

 private:
  std::string path_;
};

uint64_t WriteLog(const std::string& path, size_t payload_bytes) {
  std::unique_ptr<LogWriter> writer;
  Require(LogWriter::Create(Vfs::Real(), path, kJournalMagic, kNumber, kBytes, &writer));
  const std::string payload(payload_bytes, 'v');
  for (uint64_t seqno = 1; writer->size() < kBytes; ++seqno) {
    uint64_t end = 0;
    Require(writer->Append(RecordType::kData, 1, seqno, payload, &end));
  }
  return writer->size();
}

void Replay(benchmark::State& state) {
  const TempDir dir;
  const uint64_t written = WriteLog(dir.journal(), static_cast<size_t>(state.range(0)));
  uint64_t records = 0;
  for (auto _ : state) {
    std::unique_ptr<File> file;
    std::unique_ptr<LogReader> reader;
    Require(Vfs::Real()->Open(dir.journal(), OpenMode::kRead, &file));
    Require(LogReader::Open(file.get(), kJournalMagic, kNumber, 0, &reader));
    LogRecordHeader header;
    Slice payload;
    uint64_t offset = 0;
    records = 0;
    while (reader->Next(&header, &payload, &offset)) ++records;
    Require(reader->status());
    if (reader->end_offset() != written) std::abort();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * written));
  state.counters["records"] = static_cast<double>(records);
}
BENCHMARK(Replay)->Arg(84)->Arg(1024)->Arg(65536)->Unit(benchmark::kMillisecond);

// A bad record at the start: everything behind it is searched.
void SearchBehindDamage(benchmark::State& state) {
  const TempDir dir;
  const uint64_t written = WriteLog(dir.journal(), static_cast<size_t>(state.range(0)));
  std::unique_ptr<File> file;
  Require(Vfs::Real()->Open(dir.journal(), OpenMode::kReadWrite, &file));
  Require(file->Write(kLogHeaderBytes + 40, Slice("damaged")));
  for (auto _ : state) {
    std::unique_ptr<LogReader> reader;
    Require(LogReader::Open(file.get(), kJournalMagic, kNumber, 0, &reader));
    LogRecordHeader header;
    Slice payload;
    uint64_t offset = 0;
    if (reader->Next(&header, &payload, &offset) || reader->dropped_bytes() == 0) std::abort();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * written));
}
BENCHMARK(SearchBehindDamage)->Arg(84)->Arg(1024)->Unit(benchmark::kMillisecond);

void Append(benchmark::State& state) {
  const TempDir dir;
  std::unique_ptr<LogWriter> writer;
  const std::string payload(static_cast<size_t>(state.range(0)), 'v');
  uint64_t seqno = 0;
  for (auto _ : state) {
    if (writer == nullptr || writer->size() >= kBytes) {
      state.PauseTiming();
      writer.reset();
      static_cast<void>(Vfs::Real()->Remove(dir.journal()));
      Require(
          LogWriter::Create(Vfs::Real(), dir.journal(), kJournalMagic, kNumber, kBytes, &writer));
      state.ResumeTiming();
    }
    uint64_t end = 0;
    Require(writer->Append(RecordType::kData, 1, ++seqno, payload, &end));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * (state.range(0) + 32));
}
BENCHMARK(Append)->Arg(84)->Arg(1024)->Arg(65536);

}  // namespace
}  // namespace shale
