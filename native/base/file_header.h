// File header: the 32 bytes that logs and blob files begin with, and what every file says of the
// format that it needs. docs/format.md, sections 4.1 and 10.
//
//    0  8  magic
//    8  2  format major (1)
//   10  2  format minor (0)
//   12  4  feature bits (unknown: FORMAT_TOO_NEW)
//   16  8  file number
//   24  4  reserved, zero
//   28  4  crc32c keyed (file number, 0) over bytes 0..27
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/slice.h"
#include "base/status.h"

namespace shale {

inline constexpr size_t kFileHeaderBytes = 32;
inline constexpr uint16_t kFormatMajor = 1;
inline constexpr uint16_t kFormatMinor = 0;
inline constexpr uint32_t kKnownFeatures = 0;

// Writes the header of file `file_number`; `magic` has 8 bytes.
void EncodeFileHeader(const char* magic, uint64_t file_number, char* dst);
// kCorruption (bad checksum, wrong number), kNotADatabase (wrong magic), kFormatTooNew.
Status DecodeFileHeader(Slice bytes, const char* magic, uint64_t file_number);

}  // namespace shale
