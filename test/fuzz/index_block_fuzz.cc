// Index blocks from arbitrary bytes and from good blocks that were edited: in a block that parses
// every separator is found at its place and every handle lies inside the file.
#include <string>

#include "edits.h"
#include "table/index_block.h"

namespace shale {
namespace {

constexpr uint64_t kLimit = 1 << 20;

std::string GoodBlock(uint8_t choice) {
  IndexBlockBuilder builder;
  uint64_t offset = choice;
  for (uint32_t i = 0; i < 1u + choice % 50; i++) {
    const std::string key = "separator" + std::to_string(1000 + i / 2);
    const BlockHandle handle{offset, 1u + choice * i};
    builder.Add(key, i % 2 == 0 ? 10 : 0, handle);
    offset = handle.end();
  }
  return builder.Finish().ToString();
}

void Check(Slice raw, BlockType target) {
  Ref<IndexBlock> block;
  const Status status = IndexBlock::Parse(raw, target, kLimit, &block);
  if (!status.ok()) return FuzzRequireCorruption(status);
  std::string key;
  for (uint32_t i = 0; i < block->entry_count(); i++) {
    block->AssignKey(i, &key);
    FuzzRequire(!key.empty() && key.size() <= kKeyBytesMax);
    FuzzRequire(HandleFits(block->handle(i), target, kLimit));
    FuzzRequire(i == 0 || block->handle(i - 1).end() <= block->handle(i).offset);
    FuzzRequire(block->LowerBound({key, static_cast<int64_t>(block->seqno(i))}) == i);
    FuzzRequire(block->LowerBound({key, static_cast<int64_t>(block->seqno(i)) - 1}) == i + 1);
  }
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  const uint8_t choice = input.U8();
  const auto target = static_cast<shale::BlockType>(choice / 2 % 3);
  if (choice % 2 == 0) {
    shale::Check(input.Rest(), target);
    return 0;
  }
  std::string raw = shale::GoodBlock(input.U8());
  shale::ApplyEdits(&input, &raw);
  shale::Check(raw, target);
  return 0;
}
