#include "binding/js_object.h"

#include <algorithm>

namespace shale {

napi_value JsText(napi_env env, Slice text) {
  napi_value value = nullptr;
  (void)napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value JsNumber(napi_env env, double number) {
  napi_value value = nullptr;
  (void)napi_create_double(env, number, &value);
  return value;
}

napi_value JsBytes(napi_env env, Slice bytes) {
  napi_value value = nullptr;
  void* data = nullptr;
  (void)napi_create_buffer_copy(env, bytes.size(), bytes.data(), &data, &value);
  return value;
}

napi_value JsUndefined(napi_env env) {
  napi_value value = nullptr;
  (void)napi_get_undefined(env, &value);
  return value;
}

napi_value ErrorObject(napi_env env, const Status& status) {
  JsObject object(env);
  object.Number("code", static_cast<uint64_t>(status.code()));
  const ErrorDetails* details = status.details();
  if (details == nullptr) return object.value();
  object.Text("message", details->message).Bool("indeterminate", details->indeterminate);
  if (!details->path.empty()) object.Text("path", details->path);
  if (!details->keyspace.empty()) object.Text("keyspace", details->keyspace);
  if (!details->syscall.empty()) object.Text("syscall", details->syscall);
  if (details->offset) object.Number("offset", *details->offset);
  if (details->error_number != 0) object.Real("errno", details->error_number);
  if (details->holder_pid != 0) object.Real("pid", static_cast<double>(details->holder_pid));
  if (details->same_process) object.Bool("sameProcess", true);
  if (details->from_application) object.Bool("fromApplication", true);
  if (details->question != 0) object.Number("question", details->question);
  if (details->cause != nullptr) object.Set("cause", ErrorObject(env, *details->cause));
  return object.value();
}

bool JsReader::Get(const char* name, napi_value* value) {
  napi_value key;
  bool own = false;
  if (!Check(napi_create_string_latin1(env_, name, NAPI_AUTO_LENGTH, &key)) ||
      !Check(napi_has_own_property(env_, object_, key, &own)) || !own ||
      !Check(napi_get_property(env_, object_, key, value))) {
    return false;
  }
  napi_valuetype type = napi_undefined;
  return Check(napi_typeof(env_, *value, &type)) && type != napi_undefined;
}

size_t JsReader::ToIndex(napi_value value, std::initializer_list<const char*> names) {
  const std::string text = ToText(value);
  const auto at = std::find(names.begin(), names.end(), text);
  if (at == names.end()) {
    ok_ = false;
    return 0;
  }
  return static_cast<size_t>(at - names.begin());
}

std::string JsReader::ToText(napi_value value) {
  size_t length = 0;
  if (!Check(napi_get_value_string_utf8(env_, value, nullptr, 0, &length))) return {};
  std::string text(length, '\0');
  Check(napi_get_value_string_utf8(env_, value, text.data(), length + 1, &length));
  return text;
}

}  // namespace shale
