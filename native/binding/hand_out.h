// HandOut: how the value of a read gets to JavaScript.
#pragma once

#include <cstring>

#include "binding/environment.h"
#include "binding/js_object.h"

namespace shale {

// To the slab at kMetaOffset. One that is too large for that is kStatusTooBig, and with kReadOwn
// the result, in a Buffer of its own.
inline napi_value HandOut(const Call<1>& call, Slice value) {
  const Environment& e = *call.environment;
  const uint32_t offset = call.meta[kMetaOffset];
  const size_t size = value.size();
  call.meta[kMetaLength] = static_cast<uint32_t>(size);
  if (size < kOwnBufferMin && offset <= e.slab_bytes() && size <= e.slab_bytes() - offset) {
    std::memcpy(e.slab() + offset, value.data(), size);
    call.SetStatus(static_cast<uint32_t>(size));
    return nullptr;
  }
  if ((call.meta[kMetaFlags] & kReadOwn) == 0) {
    call.SetStatus(kStatusTooBig);
    return nullptr;
  }
  call.SetStatus(static_cast<uint32_t>(size));
  return JsBytes(call.env, value);
}

}  // namespace shale
