// What every file system says alike.
#pragma once

#include <string>
#include <utility>

#include "base/status.h"

namespace shale {

inline Status LockedStatus(const std::string& path) {
  ErrorDetails d;
  d.message = "another open file description holds the lock";
  d.path = path;
  return {Code::kDbLocked, std::move(d)};
}

inline Status NotRegular(const std::string& path) {
  ErrorDetails d;
  d.message = "not a regular file";
  d.path = path;
  return {Code::kNotADatabase, std::move(d)};
}

}  // namespace shale
