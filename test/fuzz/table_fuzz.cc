// Whole table files: a good one that was edited, or arbitrary bytes, with all checksums made right
// again where there are blocks, so that what lies behind the checksums is reached. Reading may fail
// with CORRUPTION (or say that the format is too new or not supported); forward and backward agree;
// memory stays within what the file justifies.
#include <map>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/hash.h"
#include "edits.h"
#include "table/index_block.h"
#include "table/table_format.h"
#include "table/table_reader.h"
#include "table/table_writer.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

constexpr uint64_t kNumber = 3;

void Require(const Status& status) { FuzzRequire(status.ok()); }

std::string ReadFile(MemVfs* vfs, const std::string& path) {
  std::unique_ptr<File> file;
  uint64_t size = 0;
  size_t got = 0;
  Require(vfs->Open(path, OpenMode::kRead, &file));
  Require(file->Size(&size));
  std::string bytes(size, '\0');
  Require(file->Read(0, size, bytes.data(), &got));
  return bytes;
}

std::string GoodTable(uint8_t choice) {
  MemVfs vfs;
  Require(vfs.MakeDir("/db"));
  TableWriteOptions options;
  options.block_size = 64u << (choice % 4);
  options.restart_interval = 1 + choice % 5;
  options.hash_index_ratio = choice % 3 == 0 ? 1 : 0;
  options.codec = static_cast<Codec>(choice / 4 % 3);
  options.index_codec = static_cast<Codec>(choice / 12 % 3);
  options.partition_index = (choice & 64) != 0;
  options.partition_filter = (choice & 128) != 0;
  const std::string path = FileName("/db", FileKind::kTable, kNumber);
  std::unique_ptr<TableWriter> writer;
  TableMeta meta;
  Require(TableWriter::Create(&vfs, path, kNumber, options, &writer));
  if (choice % 5 == 0) {
    Require(writer->AddRange({"key1003", "key1004", 700}));
    Require(writer->AddRange({"key1003", "", 5}));
    Require(writer->AddRange({"a", "key2", 2000}));
  }
  // Range tombstones may be alone.
  for (uint64_t i = choice % 25 == 0 ? 90 : 0; i < 90; i++) {
    const std::string key = "key" + std::to_string(1000 + i / 2);
    const std::string value(i % 20, 'v');
    const auto pointer = BlobPointer{7 + i % 3, 32 + i, 5, 5}.Encode();
    const bool points = choice % 5 == 0 && i % 4 == 0;
    Require(writer->Add({key, points ? Slice(pointer.data(), pointer.size()) : Slice(value),
                         MakeTag(1000 - i, points ? Kind::kBlobPointer : Kind::kValue)}));
  }
  Require(writer->Finish(&meta));
  return ReadFile(&vfs, path);
}

// Gives the bytes at the handle, if it fits, a right checksum. The codec stays where it is
// possible.
bool ResealBlock(std::string* file, BlockHandle handle) {
  const uint64_t limit = file->size() - kTableFooterBytes;
  if (!HandleFits(handle, BlockType::kData, limit)) return false;
  char* trailer = file->data() + handle.offset + handle.length;
  if (trailer[0] == 0) StoreLe(trailer + 1, handle.length);
  const uint32_t crc = Crc32cKeyed(kNumber, handle.offset,
                                   Slice(file->data() + handle.offset, handle.length + size_t{5}));
  StoreLe(trailer + 5, crc);
  return true;
}

void ResealIndex(std::string* file, BlockHandle handle, bool leaf) {
  if (!ResealBlock(file, handle)) return;
  BlockBuffer buffer;
  Slice raw;
  Ref<IndexBlock> index;
  const uint64_t limit = file->size() - kTableFooterBytes;
  const Slice bytes = Slice(*file).Skip(handle.offset);
  if (!UnsealBlock(bytes, handle, BlockType::kIndex, kNumber, &buffer, &raw).ok()) return;
  if (!IndexBlock::Parse(raw, BlockType::kData, limit, &index).ok()) return;
  for (uint32_t i = 0; i < index->entry_count(); i++) {
    if (leaf) {
      ResealBlock(file, index->handle(i));
    } else {
      ResealIndex(file, index->handle(i), true);
    }
  }
}

// The block's references, if it can be read.
BlobReferences ReferencesAt(std::string* file, BlockHandle handle) {
  BlobReferences references;
  BlockBuffer buffer;
  Slice raw;
  if (handle.is_null() || !ResealBlock(file, handle)) return references;
  const Slice bytes = Slice(*file).Skip(handle.offset);
  if (UnsealBlock(bytes, handle, BlockType::kIndex, kNumber, &buffer, &raw).ok()) {
    static_cast<void>(DecodeBlobReferences(raw, &references));
  }
  return references;
}

// Makes all checksums right that can be found from the footer. False if there is no footer.
bool Reseal(std::string* file, TableProperties* properties, BlobReferences* blobs) {
  if (file->size() <= kTableFooterBytes) return false;
  const uint64_t offset = file->size() - kTableFooterBytes;
  char* footer_bytes = file->data() + offset;
  std::memcpy(footer_bytes, kTableMagic, 8);
  StoreLe(footer_bytes + 16, kNumber);
  StoreLe(footer_bytes + 60, Crc32cKeyed(kNumber, offset, Slice(footer_bytes, 60)));
  TableFooter footer;
  if (!DecodeTableFooter(Slice(footer_bytes, kTableFooterBytes), kNumber, offset, &footer).ok()) {
    return true;
  }
  ResealBlock(file, footer.properties);
  BlockBuffer buffer;
  Slice raw;
  const Slice bytes = Slice(*file).Skip(footer.properties.offset);
  if (UnsealBlock(bytes, footer.properties, BlockType::kIndex, kNumber, &buffer, &raw).ok()) {
    static_cast<void>(DecodeTableProperties(raw, properties));
  }
  ResealBlock(file, properties->range_tombstones);
  *blobs = ReferencesAt(file, properties->blob_references);
  ResealIndex(file, footer.index, properties->index_kind == IndexKind::kWhole);
  if (properties->filter_kind == FilterKind::kPartitioned) {
    ResealIndex(file, footer.filter, true);
  } else if (!footer.filter.is_null()) {
    ResealBlock(file, footer.filter);
  }
  return true;
}

bool Acceptable(const Status& status) {
  return status.Is(Code::kCorruption) || status.Is(Code::kFormatTooNew) ||
         status.Is(Code::kNotSupported);
}

void ReadAll(const TableReader& table) {
  const ReadContext context;
  const auto it = table.NewIterator(&context);
  std::vector<std::string> keys;
  std::vector<uint64_t> tags;
  for (it->SeekToFirst(); it->valid(); it->Next()) {
    keys.push_back(it->entry().key.ToString());
    tags.push_back(it->entry().tag);
  }
  const bool whole = it->status().ok();
  FuzzRequire(whole || Acceptable(it->status()));
  size_t i = keys.size();
  for (it->SeekToLast(); it->valid(); it->Prev()) {
    if (!whole) continue;
    FuzzRequire(i-- != 0);
    FuzzRequire(it->entry().key == Slice(keys[i]) && it->entry().tag == tags[i]);
  }
  FuzzRequire(it->status().ok() ? (!whole || i == 0) : Acceptable(it->status()));
  for (i = 0; i < keys.size(); i++) {
    TableHit hit;
    const Status status = table.Get(keys[i], Hash64(keys[i]), TagSeqno(tags[i]) + 1, context, &hit);
    FuzzRequire(status.ok() || status.Is(Code::kNotFound) || Acceptable(status));
    it->SeekBefore(keys[i], tags[i]);
    FuzzRequire(it->status().ok() || Acceptable(it->status()));
  }
  if (const RangeIndex* ranges = table.ranges()) {
    for (const RangeTombstone& range : ranges->items()) {
      const RangeTombstone* found = ranges->FindNewest(range.start, kSeqnoMax + 1, 0);
      FuzzRequire(range.seqno == 0 || (found != nullptr && found->seqno >= range.seqno));
      FuzzRequire(range.EndsBehind(range.start));
      FuzzRequire(!(range.start < Slice(table.meta().first_key)));
    }
  }
  const Status verified = table.Verify();
  FuzzRequire(verified.ok() || Acceptable(verified));
}

void Check(std::string file, bool pinned) {
  TableProperties properties;
  BlobReferences blobs;
  if (!Reseal(&file, &properties, &blobs)) return;
  MemVfs vfs;
  Require(vfs.MakeDir("/db"));
  std::unique_ptr<File> out;
  Require(vfs.Open(FileName("/db", FileKind::kTable, kNumber), OpenMode::kCreateNew, &out));
  Require(out->Write(0, file));
  out.reset();
  const TableContext context{&vfs, "/db", std::make_shared<Cache>(1 << 20),
                             std::make_shared<FileCache>(&vfs, 4)};
  TableMeta meta;
  meta.number = kNumber;
  meta.size = file.size();
  meta.item_count = properties.item_count;
  meta.tombstone_count = properties.tombstone_count;
  meta.weak_tombstone_count = properties.weak_tombstone_count;
  meta.range_tombstone_count = properties.range_tombstone_count;
  meta.block_count = properties.block_count;
  meta.first_key = properties.first_key;
  meta.last_key = properties.last_key;
  meta.last_key_bound = properties.last_key_bound;
  meta.lowest_seqno = properties.lowest_seqno;
  meta.highest_seqno = properties.highest_seqno;
  meta.blobs = blobs;
  Ref<TableReader> table;
  const Status status =
      TableReader::Open(context, meta, {pinned, pinned}, std::make_shared<TableCounters>(), &table);
  if (!status.ok()) return FuzzRequire(Acceptable(status));
  ReadAll(*table);
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
  const uint8_t options = input.U8();
  if (good.count(options) == 0) good[options] = shale::GoodTable(options);
  std::string file = good[options];
  shale::ApplyEdits(&input, &file);
  shale::Check(std::move(file), choice % 2 == 0);
  return 0;
}
