// File names inside a database directory: numbers and fixed words, never anything a user wrote.
//
// One counter numbers all files of a directory; a number is never used twice.
#pragma once

#include <cstdint>
#include <string>

namespace shale {

enum class FileKind : uint8_t { kManifest, kJournal, kTable, kBlob, kLock, kForeign };

// "<directory>/<number, at least six digits>.<manifest|journal|table|blob>"; kLock is
// "<directory>/lock".
std::string FileName(const std::string& directory, FileKind kind, uint64_t number = 0);

// The directory that holds the name of `path`.
std::string ParentDirectory(const std::string& path);

inline constexpr uint64_t kFileNumberMax = (uint64_t{1} << 53) - 1;

struct ParsedName {
  FileKind kind = FileKind::kForeign;
  uint64_t number = 0;
};
// Accepts exactly what FileName makes, and as kLock also the files by which openers take the lock:
// lock.<16 hexadecimal digits>, with .claim or .new behind it. Everything else is kForeign.
ParsedName ParseFileName(const std::string& name);

}  // namespace shale
