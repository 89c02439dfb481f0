#include "base/utf8.h"

namespace shale {
namespace {

// How a sequence begins: how long it is, and what may come second. Shorter forms exist for what is
// below `low`; what is above `high` is a surrogate or no code point.
struct Lead {
  size_t length = 0;  // 0: nothing begins so
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xc2) return {};
  if (byte < 0xe0) return {2};
  if (byte == 0xe0) return {3, 0xa0};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3};
  if (byte == 0xf0) return {4, 0x90};
  if (byte < 0xf4) return {4};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {};
}

}  // namespace

bool IsUtf8(Slice bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const Lead lead = LeadOf(bytes[at]);
    if (lead.length == 0 || lead.length > bytes.size() - at) return false;
    if (lead.length > 1 && (bytes[at + 1] < lead.low || bytes[at + 1] > lead.high)) return false;
    for (size_t i = 2; i < lead.length; i++) {
      if ((bytes[at + i] & 0xc0) != 0x80) return false;
    }
    at += lead.length;
  }
  return true;
}

}  // namespace shale
