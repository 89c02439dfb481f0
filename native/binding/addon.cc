// The door: what Node loads. One function, bind(), makes everything else for the caller's
// environment.

#include "binding/environment.h"

NAPI_MODULE_INIT() {
  napi_value bind;
  napi_value version;
  if (napi_create_function(env, "bind", NAPI_AUTO_LENGTH, shale::Environment::Bind, nullptr,
                           &bind) != napi_ok ||
      napi_set_named_property(env, exports, "bind", bind) != napi_ok ||
      napi_create_uint32(env, shale::kProtocolVersion, &version) != napi_ok ||
      napi_set_named_property(env, exports, "protocolVersion", version) != napi_ok) {
    return nullptr;
  }
  return exports;
}
