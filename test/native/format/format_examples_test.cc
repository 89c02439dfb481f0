// The examples of docs/format.md, read by the code that reads files: what the document shows as
// bytes is what the core takes them for, and where the core writes such a thing it writes the same.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "blob/blob_file.h"
#include "blob/blob_writer.h"
#include "db/directory_lock.h"
#include "db/write_batch.h"
#include "journal/log_reader.h"
#include "table/data_block.h"
#include "table/filter_block.h"
#include "table/index_block.h"
#include "table/table_format.h"
#include "tree/manifest_edit.h"
#include "tree/options.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {
namespace {

// An example: where it begins, and its bytes.
struct Example {
  uint64_t offset = 0;
  std::string bytes;
};

const std::map<std::string, Example>& Examples() {
  static const auto* examples = [] {
    auto* result = new std::map<std::string, Example>();
    std::ifstream in(std::string(SHALE_SOURCE_DIR) + "/docs/format.md");
    const std::string marker = "<!-- example: ";
    std::string name;
    bool inside = false;
    for (std::string line; std::getline(in, line);) {
      if (line.compare(0, marker.size(), marker) == 0) {
        name = line.substr(marker.size(), line.find(" -->") - marker.size());
      } else if (line == "```hex") {
        inside = true;
      } else if (line == "```") {
        inside = false;
      } else if (inside) {
        Example& example = (*result)[name];
        if (example.bytes.empty()) example.offset = std::stoull(line.substr(0, 4), nullptr, 16);
        std::istringstream words(line.substr(6, 47));
        for (std::string word; words >> word;) {
          example.bytes.push_back(static_cast<char>(std::stoi(word, nullptr, 16)));
        }
      }
    }
    return result;
  }();
  return *examples;
}

const Example& Get(const std::string& name) {
  static const Example none;
  const auto it = Examples().find(name);
  EXPECT_NE(it, Examples().end()) << name;
  return it == Examples().end() ? none : it->second;
}

// The raw content of a block of the example table, which is file 12.
std::string RawBlock(const std::string& name, BlockType type, BlockHandle handle) {
  const Example& example = Get(name);
  EXPECT_EQ(example.offset, handle.offset) << name;
  EXPECT_EQ(example.bytes.size(), handle.length + kBlockTrailerBytes) << name;
  BlockBuffer buffer;
  Slice raw;
  const Status s = UnsealBlock(example.bytes, handle, type, 12, &buffer, &raw);
  EXPECT_TRUE(s.ok()) << name << ": " << s.ToString();
  return raw.ToString();
}

TableFooter Footer() {
  TableFooter footer;
  const Example& example = Get("table-footer");
  const Status s = DecodeTableFooter(example.bytes, 12, example.offset, &footer);
  EXPECT_TRUE(s.ok()) << s.ToString();
  return footer;
}

TEST(FormatExamples, TableFooterAndProperties) {
  const TableFooter footer = Footer();
  const Example& example = Get("table-footer");
  EXPECT_EQ(EncodeTableFooter(footer, 12, example.offset), example.bytes);
  TableProperties p;
  const std::string raw = RawBlock("table-properties", BlockType::kIndex, footer.properties);
  ASSERT_TRUE(DecodeTableProperties(raw, &p).ok());
  EXPECT_EQ(p.item_count, 4u);
  EXPECT_EQ(p.tombstone_count, 1u);
  EXPECT_EQ(p.weak_tombstone_count, 0u);
  EXPECT_EQ(p.range_tombstone_count, 1u);
  EXPECT_EQ(p.key_count, 3u);
  EXPECT_EQ(p.first_key, "apple");
  EXPECT_EQ(p.last_key, "c");
  EXPECT_EQ(p.last_key_bound, KeyBound::kExclusive);
  EXPECT_EQ(p.lowest_seqno, 3u);
  EXPECT_EQ(p.highest_seqno, 7u);
  EXPECT_EQ(p.created_at_ms, 1700000000000u);
  EXPECT_EQ(p.range_tombstones.offset, Get("table-range-tombstones").offset);
  EXPECT_EQ(EncodeTableProperties(p), raw);
}

TEST(FormatExamples, TableBlocks) {
  const TableFooter footer = Footer();
  Ref<IndexBlock> index;
  const std::string index_raw = RawBlock("table-index", BlockType::kIndex, footer.index);
  const uint64_t limit = Get("table-footer").offset;
  ASSERT_TRUE(IndexBlock::Parse(index_raw, BlockType::kData, limit, &index).ok());
  ASSERT_EQ(index->entry_count(), 1u);

  Ref<DataBlock> data;
  const std::string raw = RawBlock("table-data", BlockType::kData, index->handle(0));
  BlockBuffer unused;
  ASSERT_TRUE(DataBlock::Parse(raw, &unused, &data).ok());
  EXPECT_EQ(data->entry_count(), 4u);
  // By hand as in 8.2: apple twice, a tombstone, banana.
  DataBlockBuilder builder(2, 1.25);
  const Entry entries[] = {{"apple", "red", MakeTag(7, Kind::kValue)},
                           {"apple", "green", MakeTag(3, Kind::kValue)},
                           {"apricot", "", MakeTag(5, Kind::kTombstone)},
                           {"banana", "yellow", MakeTag(6, Kind::kValue)}};
  Slice last;
  for (const Entry& e : entries) {
    builder.Add(e, e.key != last, Hash64(e.key));
    last = e.key;
  }
  EXPECT_EQ(builder.Finish().ToString(), raw);

  Ref<FilterBlock> filter;
  const std::string filter_raw = RawBlock("table-filter", BlockType::kFilter, footer.filter);
  ASSERT_TRUE(FilterBlock::Parse(filter_raw, &filter).ok());
  for (const char* key : {"apple", "apricot", "banana"}) {
    EXPECT_TRUE(filter->MayContain(Hash64(key))) << key;
  }
  EXPECT_FALSE(filter->MayContain(Hash64("cherry")));
}

// Header, frame and footer are one whole file.
TEST(FormatExamples, BlobFile) {
  MemVfs vfs;
  ASSERT_TRUE(vfs.MakeDir("/db").ok());
  const std::string path = FileName("/db", FileKind::kBlob, 15);
  std::unique_ptr<BlobWriter> writer;
  ASSERT_TRUE(BlobWriter::Create(&vfs, path, 15, {Codec::kNone}, &writer).ok());
  BlobPointer pointer;
  ASSERT_TRUE(writer->Add("photo", 9, "a large value", &pointer).ok());
  const auto bytes = pointer.Encode();
  EXPECT_EQ(std::string(bytes.data(), bytes.size()), Get("blob-pointer").bytes);
  BlobFileMeta meta;
  ASSERT_TRUE(writer->Finish(&meta).ok());
  // What is written is the example but for the time of its creation.
  std::unique_ptr<File> file;
  ASSERT_TRUE(vfs.Open(path, OpenMode::kReadWrite, &file).ok());
  std::string written(meta.size, '\0');
  size_t got = 0;
  ASSERT_TRUE(file->Read(0, written.size(), written.data(), &got).ok());
  std::string example;
  for (const char* name : {"blob-header", "blob-frame", "blob-footer"}) {
    EXPECT_EQ(Get(name).offset, example.size());
    example += Get(name).bytes;
  }
  const uint64_t footer = Get("blob-footer").offset;
  EXPECT_EQ(Slice(written).Prefix(footer + 48), Slice(example).Prefix(footer + 48));
  BlobFooter stated;
  ASSERT_TRUE(DecodeBlobFooter(Get("blob-footer").bytes, 15, footer, &stated).ok());
  EXPECT_EQ(stated.created_at_ms, 1700000000000u);
  EncodeBlobFooter(stated, 15, footer, written.data() + footer);
  EXPECT_EQ(written, example);
  // And read as the document says.
  ASSERT_TRUE(file->Write(0, example).ok());
  const BlobContext context{&vfs, "/db", std::make_shared<Cache>(1 << 20),
                            std::make_shared<FileCache>(&vfs, 4)};
  Ref<BlobFile> blob;
  ASSERT_TRUE(BlobFile::Open(context, meta, std::make_shared<BlobCounters>(), &blob).ok());
  BlobHit hit;
  ASSERT_TRUE(
      blob->Get("photo", BlobPointer::Decode(Get("blob-pointer").bytes.data()), ReadContext(), &hit)
          .ok());
  EXPECT_EQ(hit.value.ToString(), "a large value");
  EXPECT_TRUE(blob->Verify().ok());
}

TEST(FormatExamples, Journal) {
  MemVfs vfs;
  std::unique_ptr<File> file;
  ASSERT_TRUE(vfs.Open("/000013.journal", OpenMode::kCreateNew, &file).ok());
  for (const char* name : {"log-header", "log-record", "log-synced-to"}) {
    ASSERT_TRUE(file->Write(Get(name).offset, Get(name).bytes).ok());
  }
  std::unique_ptr<LogReader> reader;
  ASSERT_TRUE(LogReader::Open(file.get(), kJournalMagic, 13, 0, &reader).ok());
  LogRecordHeader header;
  Slice payload;
  uint64_t offset = 0;
  ASSERT_TRUE(reader->Next(&header, &payload, &offset));
  EXPECT_EQ(header.seqno, 8u);
  EXPECT_EQ(header.count, 2u);
  EXPECT_EQ(header.synced_to, 32u);
  BatchReader entries(payload);
  BatchEntry entry;
  ASSERT_TRUE(entries.Next(&entry));
  EXPECT_EQ(entry.kind, Kind::kValue);
  EXPECT_EQ(entry.keyspace, 1u);
  EXPECT_EQ(entry.key.ToString(), "k1");
  EXPECT_EQ(entry.value.ToString(), "red");
  ASSERT_TRUE(entries.Next(&entry));
  EXPECT_EQ(entry.kind, Kind::kWeakTombstone);
  EXPECT_EQ(entry.keyspace, 2u);
  EXPECT_EQ(entry.key.ToString(), "q");
  EXPECT_FALSE(entries.Next(&entry));
  EXPECT_TRUE(entries.status().ok());
  EXPECT_FALSE(reader->Next(&header, &payload, &offset));
  EXPECT_EQ(reader->tail(), LogReader::Tail::kClean);
  EXPECT_EQ(reader->synced_to(), Get("log-synced-to").offset);
}

TEST(FormatExamples, BatchEntries) {
  BatchReader entries{Slice(Get("batch-entries").bytes)};
  BatchEntry entry;
  ASSERT_TRUE(entries.Next(&entry)) << entries.status().ToString();
  EXPECT_EQ(entry.kind, Kind::kRangeTombstone);
  EXPECT_EQ(entry.key.ToString(), "b");
  EXPECT_EQ(entry.value.ToString(), std::string("\0c", 2));
  ASSERT_TRUE(entries.Next(&entry)) << entries.status().ToString();
  EXPECT_EQ(entry.codec, Codec::kLz4);
  std::string scratch;
  Slice value;
  ASSERT_TRUE(DecodeValue(entry, &scratch, &value).ok());
  EXPECT_EQ(value.ToString(), std::string(4096, 'a'));
  EXPECT_FALSE(entries.Next(&entry));
  EXPECT_TRUE(entries.status().ok());

  BatchReader record{Slice(Get("keyspace-record").bytes)};
  ASSERT_TRUE(record.Next(&entry)) << record.status().ToString();
  EXPECT_EQ(entry.kind, kKeyspaceCreate);
  EXPECT_EQ(entry.keyspace, 2u);
  EXPECT_EQ(entry.key.ToString(), "queue");
  TreeOptions options;
  ASSERT_TRUE(TreeOptions::Decode(entry.value, &options).ok());
  EXPECT_FALSE(record.Next(&entry));
}

TEST(FormatExamples, Manifest) {
  MemVfs vfs;
  std::unique_ptr<File> file;
  ASSERT_TRUE(vfs.Open("/000014.manifest", OpenMode::kCreateNew, &file).ok());
  for (const char* name : {"manifest-header", "manifest-record"}) {
    ASSERT_TRUE(file->Write(Get(name).offset, Get(name).bytes).ok());
  }
  std::unique_ptr<LogReader> reader;
  ASSERT_TRUE(LogReader::Open(file.get(), kManifestMagic, 14, 0, &reader).ok());
  LogRecordHeader header;
  Slice payload;
  uint64_t offset = 0;
  ASSERT_TRUE(reader->Next(&header, &payload, &offset));
  ManifestEdit edit;
  ASSERT_TRUE(ManifestEdit::Decode(payload, &edit).ok());
  EXPECT_EQ(edit.Encode(), payload.ToString());
  ManifestState state;
  const Status s = edit.ApplyTo(&state);
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_EQ(state.kind, DirectoryKind::kDatabase);
  EXPECT_EQ(state.next_file_number, 21u);
  EXPECT_EQ(state.next_tree_id, 2u);
  EXPECT_EQ(state.last_seqno, 9u);
  EXPECT_FALSE(state.clean_shutdown);
  ASSERT_EQ(state.journals.count(13), 1u);
  EXPECT_FALSE(state.journals.at(13).final_length.has_value());
  ASSERT_EQ(state.trees.count(1), 1u);
  const TreeState& tree = state.trees.at(1);
  EXPECT_EQ(tree.name, "places");
  EXPECT_EQ(tree.created_seqno, 1u);
  EXPECT_EQ(tree.flushed_seqno, 8u);
  ASSERT_EQ(tree.tables.count(12), 1u);
  const TableMeta& meta = tree.tables.at(12).meta;
  EXPECT_EQ(meta.size, Get("table-footer").offset + kTableFooterBytes);
  EXPECT_EQ(meta.item_count, 4u);
  EXPECT_EQ(meta.range_tombstone_count, 1u);
  EXPECT_EQ(meta.last_key, "c");
  EXPECT_EQ(meta.created_at_ms, 1700000000000u);
}

TEST(FormatExamples, OptionsAreTheDefaults) {
  const std::string& bytes = Get("options").bytes;
  TreeOptions options;
  ASSERT_TRUE(TreeOptions::Decode(bytes, &options).ok());
  EXPECT_EQ(options.Encode(), bytes);
  EXPECT_EQ(TreeOptions().Encode(), bytes);
}

// The lock's example is checked byte by byte in TypeScript; here, that what is written is laid out
// as the table says.
TEST(FormatExamples, LockFile) {
  MemVfs vfs;
  ASSERT_TRUE(vfs.MakeDir("/db").ok());
  std::unique_ptr<DirectoryLock> lock;
  ASSERT_TRUE(DirectoryLock::Acquire(&vfs, "/db", &lock).ok());
  std::unique_ptr<File> file;
  ASSERT_TRUE(vfs.Open("/db/lock", OpenMode::kRead, &file).ok());
  char bytes[200];
  size_t got = 0;
  ASSERT_TRUE(file->Read(0, sizeof bytes, bytes, &got).ok());
  const std::string& example = Get("lock").bytes;
  ASSERT_EQ(got, example.size());
  EXPECT_EQ(Slice(bytes, 16), Slice(example).Prefix(16));
  const auto token = LoadLe<uint64_t>(bytes + 16);
  EXPECT_NE(token, 0u);
  EXPECT_EQ(LoadLe<int64_t>(bytes + 24), vfs.ProcessId());
  EXPECT_EQ(LoadLe<uint64_t>(bytes + 32), vfs.ProcessStartTime(vfs.ProcessId()));
  EXPECT_EQ(bytes[40], example[40]);
  const std::string boot = vfs.BootId();
  EXPECT_EQ(static_cast<size_t>(bytes[41]), boot.size());
  EXPECT_EQ(std::string(bytes + 44, 48), boot + std::string(48 - boot.size(), '\0'));
  EXPECT_EQ(LoadLe<uint32_t>(bytes + 92), Crc32cKeyed(token, 0, Slice(bytes, 92)));
}

}  // namespace
}  // namespace shale
