// Edits: how a fuzzer's input changes good bytes, so that most inputs get past the first check.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/coding.h"
#include "base/status.h"

namespace shale {

// Reads the input from its start; yields zeros at its end.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : reader_(Slice(data, size)) {}
  uint8_t U8() { return reader_.U8(); }
  uint16_t U16() { return reader_.U16(); }
  size_t remaining() const { return reader_.remaining(); }
  Slice Rest() { return reader_.Raw(reader_.remaining()); }

 private:
  Reader reader_;
};

// Applies what is left of the input to `bytes`: every four bytes are a place and what happens
// there.
inline void ApplyEdits(FuzzInput* input, std::string* bytes) {
  while (input->remaining() >= 4 && !bytes->empty()) {
    const size_t at = input->U16() % bytes->size();
    const uint8_t operation = input->U8();
    const uint8_t value = input->U8();
    switch (operation % 5) {
      case 0:
        (*bytes)[at] = static_cast<char>(value);
        break;
      case 1:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ value);
        break;
      case 2:
        (*bytes)[at] = static_cast<char>((*bytes)[at] + 1);
        break;
      case 3:
        bytes->insert(at, 1, static_cast<char>(value));
        break;
      default:
        bytes->erase(at, 1 + value % 8);
        break;
    }
  }
}

// Ends the process unless the condition holds.
inline void FuzzRequire(bool condition) {
  if (!condition) std::abort();
}

// Damage must be called damage.
inline void FuzzRequireCorruption(const Status& status) {
  FuzzRequire(status.Is(Code::kCorruption));
}

}  // namespace shale
