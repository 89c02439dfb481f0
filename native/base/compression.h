// Block codecs: none, LZ4 (block format) and zstd.
//
// The decompressed size is always known from outside and given as a bound: a decoder writes exactly
// that many bytes or fails, so a hostile block cannot make the process allocate beyond what was
// checked.
// Threads: any; contexts are per thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/slice.h"
#include "base/status.h"

namespace shale {

// Numbers are on disk.
enum class Codec : uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };
inline constexpr uint8_t kCodecMax = 2;

// Replaces *out with the compressed bytes. False when that would not save at least 1/8 of the
// input: the caller stores the input as it is (kNone).
bool Compress(Codec codec, Slice input, std::string* out);

// Writes exactly `raw_size` bytes to `dst`. kCorruption if the input does not decode to that.
Status Decompress(Codec codec, Slice input, char* dst, size_t raw_size);

}  // namespace shale
