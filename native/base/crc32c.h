// CRC32C (Castagnoli), in hardware where the processor has it (SSE4.2, ARMv8), else by tables.
//
// Everything that shale writes is covered by a checksum keyed with the number of its file and the
// offset of the covered bytes, so that a block read from the wrong place fails as well as a damaged
// one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/slice.h"

namespace shale {

// CRC of `data` continuing from `crc` (0 to start). Crc32c("123456789") == 0xe3069283.
uint32_t Crc32cExtend(uint32_t crc, const void* data, size_t size);
inline uint32_t Crc32c(Slice s) { return Crc32cExtend(0, s.data(), s.size()); }

// CRC over: file number (u64 LE), offset (u64 LE). Extend it with the bytes stored there.
uint32_t Crc32cKey(uint64_t file_number, uint64_t offset);
inline uint32_t Crc32cKeyed(uint64_t file_number, uint64_t offset, Slice bytes) {
  return Crc32cExtend(Crc32cKey(file_number, offset), bytes.data(), bytes.size());
}

// The table form, for tests and for comparison.
uint32_t Crc32cExtendPortable(uint32_t crc, const void* data, size_t size);

}  // namespace shale
