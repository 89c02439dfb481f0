// Whole blob files: a good one that was edited, or arbitrary bytes, with all checksums made right
// again, so that what lies behind them is reached. Reading may fail with CORRUPTION (or say that
// the format is too new); what the scanner hands out, a pointer finds; memory stays within what the
// file justifies.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "blob/blob_file.h"
#include "blob/blob_scanner.h"
#include "blob/blob_writer.h"
#include "edits.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

constexpr uint64_t kNumber = 3;

void Require(const Status& status) { FuzzRequire(status.ok()); }

std::string GoodFile(Codec codec) {
  MemVfs vfs;
  Require(vfs.MakeDir("/db"));
  const std::string path = FileName("/db", FileKind::kBlob, kNumber);
  std::unique_ptr<BlobWriter> writer;
  Require(BlobWriter::Create(&vfs, path, kNumber, {codec}, &writer));
  BlobPointer pointer;
  for (uint64_t i = 0; i < 20; i++) {
    const std::string key = "key" + std::to_string(1000 + i / 2);
    Require(writer->Add(key, 100 - i, std::string(3 * i, 'v'), &pointer));
  }
  BlobFileMeta meta;
  Require(writer->Finish(&meta));
  std::unique_ptr<File> file;
  Require(vfs.Open(path, OpenMode::kRead, &file));
  std::string bytes(meta.size, '\0');
  size_t got = 0;
  Require(file->Read(0, bytes.size(), bytes.data(), &got));
  return bytes;
}

// Makes every checksum right that can be found from the start, and the footer that of this file.
void Reseal(std::string* file) {
  std::memcpy(file->data(), kBlobMagic, 8);
  StoreLe(file->data() + 16, kNumber);
  StoreLe(file->data() + 28, Crc32cKeyed(kNumber, 0, Slice(*file).Prefix(28)));
  const uint64_t end = file->size() - kBlobFooterBytes;
  for (uint64_t at = kFileHeaderBytes; end - at >= kBlobFrameHeaderBytes;) {
    char* frame = file->data() + at;
    BlobFrameHeader header;
    static_cast<void>(DecodeBlobFrameHeader(frame, &header));
    const uint64_t size = std::min(header.frame_bytes(), end - at);
    StoreLe(frame, Crc32cKeyed(kNumber, at, Slice(frame + 4, size - 4)));
    at += size;
  }
  char* footer = file->data() + end;
  std::memcpy(footer, kBlobFooterMagic, 8);
  StoreLe(footer + 16, kNumber);
  StoreLe(footer + 32, end - kFileHeaderBytes);
  StoreLe(footer + 60, Crc32cKeyed(kNumber, end, Slice(footer, 60)));
}

bool Acceptable(const Status& status) {
  return status.Is(Code::kCorruption) || status.Is(Code::kFormatTooNew);
}

void Check(std::string bytes, bool resealed) {
  if (bytes.size() < kBlobFileOverhead) return;
  if (resealed) Reseal(&bytes);
  const uint64_t end = bytes.size() - kBlobFooterBytes;
  BlobFooter footer;
  static_cast<void>(DecodeBlobFooter(Slice(bytes).Skip(end), kNumber, end, &footer));
  MemVfs vfs;
  Require(vfs.MakeDir("/db"));
  std::unique_ptr<File> out;
  Require(vfs.Open(FileName("/db", FileKind::kBlob, kNumber), OpenMode::kCreateNew, &out));
  Require(out->Write(0, bytes));
  out.reset();
  const BlobContext context{&vfs, "/db", std::make_shared<Cache>(1 << 20),
                            std::make_shared<FileCache>(&vfs, 4)};
  const BlobFileMeta meta{kNumber, bytes.size(), footer.item_count, footer.frame_bytes,
                          footer.raw_bytes};
  Ref<BlobFile> file;
  const Status opened = BlobFile::Open(context, meta, std::make_shared<BlobCounters>(), &file);
  if (!opened.ok()) return FuzzRequire(Acceptable(opened));
  BlobScanner scanner(file.get());
  BlobFrame frame;
  bool whole = true;
  while (scanner.Next(&frame)) {
    const BlobPointer pointer{kNumber, scanner.offset(), static_cast<uint32_t>(frame.stored.size()),
                              frame.raw_length};
    const std::string key = frame.key.ToString();
    BlobHit hit;
    const Status status = file->Get(key, pointer, ReadContext(), &hit);
    FuzzRequire(status.ok() || Acceptable(status));
    whole = whole && status.ok();
    if (status.ok()) FuzzRequire(hit.value.size() == pointer.raw_length);
    FuzzRequire(!file->Get(key + "x", pointer, ReadContext(), &hit).ok());
  }
  whole = whole && scanner.status().ok();
  FuzzRequire(scanner.status().ok() || Acceptable(scanner.status()));
  const Status verified = file->Verify();
  FuzzRequire(verified.ok() ? whole : Acceptable(verified));
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  const uint8_t choice = input.U8();
  if (choice % 8 == 0) {
    shale::Check(input.Rest().ToString(), choice % 16 == 0);
    return 0;
  }
  static std::map<uint8_t, std::string> good;
  const uint8_t codec = choice / 8 % 3;
  if (good.count(codec) == 0) good[codec] = shale::GoodFile(static_cast<shale::Codec>(codec));
  std::string file = good[codec];
  shale::ApplyEdits(&input, &file);
  shale::Check(std::move(file), choice % 4 != 1);
  return 0;
}
