#include "base/status.h"

#include <cerrno>
#include <iterator>
#include <system_error>

namespace shale {

namespace {

// In the order of the numbers.
constexpr const char* kCodeNames[] = {
    "OK",
    "NOT_FOUND",
    "WOULD_BLOCK",
    "INVALID_ARGUMENT",
    "INVALID_OPTION",
    "INVALID_PATH",
    "INVALID_NAME",
    "INVALID_KEY",
    "INVALID_VALUE",
    "INVALID_RANGE",
    "KEY_TOO_LARGE",
    "VALUE_TOO_LARGE",
    "BATCH_TOO_LARGE",
    "DB_NOT_FOUND",
    "DB_EXISTS",
    "DB_CLOSED",
    "DB_LOCKED",
    "DB_FAILED",
    "READ_ONLY",
    "KEYSPACE_NOT_FOUND",
    "KEYSPACE_DELETED",
    "SNAPSHOT_CLOSED",
    "ITERATOR_CLOSED",
    "ITERATOR_BUSY",
    "TX_CLOSED",
    "TX_CONFLICT",
    "INGESTION_OUT_OF_ORDER",
    "ABORTED",
    "CORRUPTION",
    "FORMAT_TOO_NEW",
    "NOT_A_DATABASE",
    "IO_ERROR",
    "SYNC_FAILED",
    "DISK_FULL",
    "OUT_OF_MEMORY",
    "TOO_MANY_OPEN_FILES",
    "PLAN_STALE",
    "STALLED",
    "NOT_SUPPORTED",
};
static_assert(std::size(kCodeNames) == static_cast<size_t>(Code::kNotSupported) + 1);

Code CodeOfErrno(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Code::kDiskFull;
    case EMFILE:
    case ENFILE:
      return Code::kTooManyOpenFiles;
    case ENOMEM:
      return Code::kOutOfMemory;
    case EROFS:
      return Code::kReadOnly;
    default:
      return Code::kIoError;
  }
}

ErrorDetails CopyDetails(const ErrorDetails* details) {
  return details != nullptr ? *details : ErrorDetails();
}

}  // namespace

Status Status::Corruption(std::string message, std::string path, std::optional<uint64_t> offset) {
  ErrorDetails d;
  d.message = std::move(message);
  d.path = std::move(path);
  d.offset = offset;
  return {Code::kCorruption, std::move(d)};
}

Status Status::FromErrno(int error_number, std::string syscall, std::string path) {
  ErrorDetails d;
  d.message = syscall + ": " + std::generic_category().message(error_number);
  d.path = std::move(path);
  d.syscall = std::move(syscall);
  d.error_number = error_number;
  return {CodeOfErrno(error_number), std::move(d)};
}

const std::string& Status::message() const {
  static const std::string none;
  return details_ != nullptr ? details_->message : none;
}

Status Status::WithPath(std::string path, std::optional<uint64_t> offset) const {
  if (ok()) return {};
  ErrorDetails d = CopyDetails(details_.get());
  if (d.path.empty()) d.path = std::move(path);
  if (!d.offset.has_value()) d.offset = offset;
  return {code_, std::move(d)};
}

Status Status::WithKeyspace(std::string name) const {
  if (ok()) return {};
  ErrorDetails d = CopyDetails(details_.get());
  d.keyspace = std::move(name);
  return {code_, std::move(d)};
}

std::string Status::ToString() const {
  std::string text = CodeName(code_);
  if (details_ == nullptr) return text;
  if (!details_->message.empty()) text += ": " + details_->message;
  if (!details_->path.empty()) text += ", path " + details_->path;
  if (details_->offset.has_value()) text += ", offset " + std::to_string(*details_->offset);
  if (!details_->keyspace.empty()) text += ", keyspace " + details_->keyspace;
  if (details_->error_number != 0) text += ", errno " + std::to_string(details_->error_number);
  if (details_->indeterminate) text += ", indeterminate";
  return text;
}

Status ApplicationFailure(std::string message, uint64_t question) {
  ErrorDetails details;
  details.message = std::move(message);
  details.from_application = true;
  details.question = question;
  return {Code::kAborted, std::move(details)};
}

const char* CodeName(Code code) {
  const auto index = static_cast<size_t>(code);
  return index < std::size(kCodeNames) ? kCodeNames[index] : "UNKNOWN";
}

}  // namespace shale
