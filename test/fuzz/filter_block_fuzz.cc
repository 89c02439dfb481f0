// Filters from arbitrary bytes and from good ones that were edited: one that parses answers for any
// hash, and a good one holds its keys.
#include <string>

#include "base/hash.h"
#include "edits.h"
#include "table/filter_block.h"

namespace shale {
namespace {

void Check(Slice raw, bool good) {
  Ref<FilterBlock> filter;
  const Status status = FilterBlock::Parse(raw, &filter);
  if (!status.ok()) {
    FuzzRequireCorruption(status);
    FuzzRequire(!good);
    return;
  }
  uint64_t hash = Hash64(raw);
  for (int i = 0; i < 100; i++) {
    filter->Prefetch(hash);
    static_cast<void>(filter->MayContain(hash));
    hash = MixBits(hash + 1);
  }
  static_cast<void>(filter->MayContain(0));
  static_cast<void>(filter->MayContain(UINT64_MAX));
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  if (input.U8() % 2 == 0) {
    shale::Check(input.Rest(), false);
    return 0;
  }
  const uint8_t keys = input.U8();
  shale::FilterBlockBuilder builder((1 + input.U8()) / 10.0);
  for (uint32_t i = 0; i <= keys; i++) builder.Add(shale::MixBits(i));
  std::string raw = builder.Finish().ToString();
  const bool edited = input.remaining() >= 4;
  shale::ApplyEdits(&input, &raw);
  shale::Check(raw, !edited);
  return 0;
}
