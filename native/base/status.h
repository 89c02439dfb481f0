// Status: the outcome of an operation, with what a caller needs to act on it.
//
// An ok Status is one null pointer: returning it costs nothing. Absence and "would block" are codes
// without details, so that they never allocate either.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace shale {

// The numbers are shared with lib/errors.ts (a test compares the two lists). The first three never
// reach a caller as an error.
enum class Code : uint8_t {
  kOk = 0,
  kNotFound = 1,
  kWouldBlock = 2,
  kInvalidArgument = 3,
  kInvalidOption = 4,
  kInvalidPath = 5,
  kInvalidName = 6,
  kInvalidKey = 7,
  kInvalidValue = 8,
  kInvalidRange = 9,
  kKeyTooLarge = 10,
  kValueTooLarge = 11,
  kBatchTooLarge = 12,
  kDbNotFound = 13,
  kDbExists = 14,
  kDbClosed = 15,
  kDbLocked = 16,
  kDbFailed = 17,
  kReadOnly = 18,
  kKeyspaceNotFound = 19,
  kKeyspaceDeleted = 20,
  kSnapshotClosed = 21,
  kIteratorClosed = 22,
  kIteratorBusy = 23,
  kTxClosed = 24,
  kTxConflict = 25,
  kIngestionOutOfOrder = 26,
  kAborted = 27,
  kCorruption = 28,
  kFormatTooNew = 29,
  kNotADatabase = 30,
  kIoError = 31,
  kSyncFailed = 32,
  kDiskFull = 33,
  kOutOfMemory = 34,
  kTooManyOpenFiles = 35,
  kPlanStale = 36,
  kStalled = 37,
  kNotSupported = 38,
};

class Status;

struct ErrorDetails {
  std::string message;                  // never holds key or value bytes
  std::string path;                     // file or directory, empty if none
  std::string keyspace;                 // empty if none
  std::string syscall;                  // "open", "fdatasync", ...; empty if none
  std::optional<uint64_t> offset;       // byte in `path`
  int error_number = 0;                 // errno
  bool indeterminate = false;           // it is unknown whether the write took effect
  bool same_process = false;            // DB_LOCKED: the holder is this process
  bool from_application = false;        // ABORTED: a filter or strategy failed, nobody stopped it
  uint64_t question = 0;                // ABORTED: what the application was asked; 0: nothing
  int64_t holder_pid = 0;               // DB_LOCKED
  std::shared_ptr<const Status> cause;  // the failure that this one follows from; null if none
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code) : code_(code) {}  // NOLINT: for codes without details
  Status(Code code, std::string message) : Status(code, WithMessage(std::move(message))) {}
  Status(Code code, ErrorDetails details)
      : code_(code), details_(std::make_shared<const ErrorDetails>(std::move(details))) {}

  static Status Ok() { return {}; }
  static Status Corruption(std::string message, std::string path = {},
                           std::optional<uint64_t> offset = std::nullopt);
  // Maps errno to the code that callers act on: ENOSPC/EDQUOT/EFBIG kDiskFull, EMFILE/ENFILE
  // kTooManyOpenFiles, ENOMEM kOutOfMemory, EROFS kReadOnly, else kIoError.
  static Status FromErrno(int error_number, std::string syscall, std::string path);

  bool ok() const { return code_ == Code::kOk; }
  bool Is(Code c) const { return code_ == c; }
  // What the application was asked has failed: unlike what was stopped.
  bool from_application() const { return details_ != nullptr && details_->from_application; }
  Code code() const { return code_; }
  const ErrorDetails* details() const { return details_.get(); }
  const std::string& message() const;
  // A copy with one detail added (path/offset keep a value that is already there).
  Status WithPath(std::string path, std::optional<uint64_t> offset = std::nullopt) const;
  Status WithKeyspace(std::string name) const;
  std::string ToString() const;

 private:
  static ErrorDetails WithMessage(std::string message) {
    ErrorDetails d;
    d.message = std::move(message);
    return d;
  }
  Code code_ = Code::kOk;
  std::shared_ptr<const ErrorDetails> details_;
};

// kAborted, and that it came from a filter or strategy. `question`: see ErrorDetails.
Status ApplicationFailure(std::string message, uint64_t question = 0);

const char* CodeName(Code code);  // "DISK_FULL"; "OK" for kOk

// The one macro that returns from its caller, and says so in its name.
#define SHALE_RETURN_IF_ERROR(expr)              \
  do {                                           \
    if (::shale::Status _s = (expr); !_s.ok()) { \
      return _s;                                 \
    }                                            \
  } while (0)

}  // namespace shale
