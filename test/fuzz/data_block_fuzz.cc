// Data blocks from arbitrary bytes and from good blocks that were edited: a block that parses can
// be searched and walked in both directions, with one answer.
#include <string>
#include <vector>

#include "base/hash.h"
#include "edits.h"
#include "table/data_block.h"

namespace shale {
namespace {

std::string GoodBlock(uint8_t choice) {
  DataBlockBuilder builder(choice % 2 == 0 ? 1 + choice / 2 % 20 : 255, choice % 3 == 0 ? 1.5 : 0);
  std::string last;
  for (uint32_t i = 0; i < 1u + choice % 40; i++) {
    const std::string key = "key" + std::to_string(1000 + i / 3);
    const std::string value(i % 3 == 1 ? 0 : choice % 60, 'v');
    const Kind kind = i % 3 == 1 ? Kind::kTombstone : Kind::kValue;
    builder.Add({key, value, MakeTag(1000 - i, kind)}, key != last, Hash64(key));
    last = key;
  }
  return builder.Finish().ToString();
}

void Check(Slice raw) {
  BlockBuffer buffer;
  Ref<DataBlock> block;
  const Status status = DataBlock::Parse(raw, &buffer, &block);
  if (!status.ok()) return FuzzRequireCorruption(status);
  std::vector<std::string> keys;
  std::vector<uint64_t> tags;
  DataBlockCursor cursor;
  cursor.Attach(block.get());
  for (cursor.MoveTo(0); cursor.valid(); cursor.Next()) {
    const Entry& e = cursor.entry();
    FuzzRequire(!e.key.empty() && e.key.size() <= kKeyBytesMax);
    FuzzRequire(keys.empty() || CompareInternal(keys.back(), tags.back(), e.key, e.tag) < 0);
    keys.push_back(e.key.ToString());
    tags.push_back(e.tag);
  }
  FuzzRequire(keys.size() == block->entry_count());
  size_t i = keys.size();
  for (cursor.MoveTo(block->entry_count() - 1); cursor.valid(); cursor.Prev()) {
    i--;
    FuzzRequire(cursor.entry().key == Slice(keys[i]) && cursor.entry().tag == tags[i]);
  }
  FuzzRequire(i == 0);
  const bool honest = block->VerifyBuckets().ok();
  for (i = 0; i < keys.size(); i++) {
    const Needle needle{keys[i], static_cast<int64_t>(TagSeqno(tags[i]))};
    FuzzRequire(block->LowerBound(needle) == i);
    Entry entry;
    const bool found = block->Get(needle, Hash64(keys[i]), &entry);
    FuzzRequire(!honest || (found && entry.tag == tags[i]));
  }
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  if (input.U8() % 2 == 0) {
    shale::Check(input.Rest());
    return 0;
  }
  std::string raw = shale::GoodBlock(input.U8());
  shale::ApplyEdits(&input, &raw);
  shale::Check(raw);
  return 0;
}
