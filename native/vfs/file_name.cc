#include "vfs/file_name.h"

#include <charconv>
#include <string_view>

namespace shale {

namespace {

constexpr std::string_view kLockName = "lock";
constexpr size_t kNumberDigitsMin = 6;

std::string_view Suffix(FileKind kind) {
  switch (kind) {
    case FileKind::kManifest:
      return ".manifest";
    case FileKind::kJournal:
      return ".journal";
    case FileKind::kTable:
      return ".table";
    case FileKind::kBlob:
      return ".blob";
    case FileKind::kLock:
    case FileKind::kForeign:
      break;
  }
  return "";
}

// A file by which an opener takes the lock.
bool IsLockHelper(std::string_view name) {
  constexpr size_t kTokenBegin = kLockName.size() + 1;
  constexpr size_t kTokenEnd = kTokenBegin + 16;
  if (name.size() < kTokenEnd || !name.starts_with(kLockName)) return false;
  if (name[kLockName.size()] != '.') return false;
  const std::string_view token = name.substr(kTokenBegin, kTokenEnd - kTokenBegin);
  if (token.find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
  const std::string_view rest = name.substr(kTokenEnd);
  return rest.empty() || rest == ".claim" || rest == ".new";
}

}  // namespace

std::string FileName(const std::string& directory, FileKind kind, uint64_t number) {
  std::string name = directory;
  name += '/';
  if (kind == FileKind::kLock) return name.append(kLockName);
  const std::string digits = std::to_string(number);
  if (digits.size() < kNumberDigitsMin) name.append(kNumberDigitsMin - digits.size(), '0');
  name += digits;
  return name.append(Suffix(kind));
}

ParsedName ParseFileName(const std::string& name) {
  if (name == kLockName || IsLockHelper(name)) return {FileKind::kLock, 0};
  const std::string_view text = name;
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos || dot < kNumberDigitsMin) return {};
  if (dot > kNumberDigitsMin && text[0] == '0') return {};
  uint64_t number = 0;
  const char* const end = text.data() + dot;
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) return {};
  if (number == 0 || number > kFileNumberMax) return {};
  constexpr FileKind kNumbered[] = {FileKind::kManifest, FileKind::kJournal, FileKind::kTable,
                                    FileKind::kBlob};
  for (const FileKind kind : kNumbered) {
    if (text.substr(dot) == Suffix(kind)) return {kind, number};
  }
  return {};
}

std::string ParentDirectory(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace shale
