// Codecs: what they decompress, from arbitrary bytes and from good ones that were edited, has the
// size that was asked for or is damage; what they compress comes back.
#include <string>

#include "base/compression.h"
#include "edits.h"

namespace shale {
namespace {

constexpr size_t kRawMax = size_t{1} << 16;

// With bytes behind the end, which must not be written: the sanitizer sees to that.
void Check(Codec codec, Slice stored, size_t raw_size) {
  std::string raw(raw_size, '\0');
  const Status status = Decompress(codec, stored, raw.data(), raw_size);
  if (!status.ok()) FuzzRequireCorruption(status);
}

// Repeats the input, so that there is something to save.
std::string Repetitive(Slice bytes, uint8_t times) {
  std::string raw;
  for (int i = 0; i <= times % 16; i++) raw.append(bytes.data(), bytes.size());
  return raw;
}

void CheckRoundTrip(Codec codec, const std::string& raw, FuzzInput* edits) {
  std::string stored;
  if (!Compress(codec, raw, &stored)) return;
  FuzzRequire(stored.size() < raw.size());
  std::string again(raw.size(), '\0');
  FuzzRequire(Decompress(codec, stored, again.data(), again.size()).ok());
  FuzzRequire(again == raw);
  // One byte more or less is another size.
  std::string other(raw.size() + 1, '\0');
  FuzzRequireCorruption(Decompress(codec, stored, other.data(), raw.size() + 1));
  FuzzRequireCorruption(Decompress(codec, stored, other.data(), raw.size() - 1));
  ApplyEdits(edits, &stored);
  Check(codec, stored, raw.size());
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  const uint8_t choice = input.U8();
  const auto codec = static_cast<shale::Codec>(choice % (shale::kCodecMax + 1));
  const uint16_t figure = input.U16();
  if (choice >= 128) {
    const size_t raw_size = figure % shale::kRawMax;
    shale::Check(codec, input.Rest(), raw_size);
    return 0;
  }
  // So many of the last bytes are edits.
  const shale::Slice rest = input.Rest();
  const size_t edits = figure % 32 * 4;
  if (rest.size() <= edits) return 0;
  const size_t length = rest.size() - edits;
  shale::FuzzInput editing(reinterpret_cast<const uint8_t*>(rest.data()) + length, edits);
  shale::CheckRoundTrip(codec, shale::Repetitive(rest.Prefix(length), choice), &editing);
  return 0;
}
