// JsObject: cold helpers that make plain JavaScript objects, and read the ones lib/native passes
// in.
//
// A failure of Node here means that an exception is pending (the environment is being stopped): the
// result is of no interest then, so results are not checked one by one.
#pragma once

#include <node_api.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"

namespace shale {

napi_value JsText(napi_env env, Slice text);
napi_value JsNumber(napi_env env, double number);
napi_value JsBytes(napi_env env, Slice bytes);
napi_value JsUndefined(napi_env env);
// {code, message, path, keyspace, syscall, offset, errno, pid, sameProcess, indeterminate,
// fromFilter, filterQuestion, cause}
napi_value ErrorObject(napi_env env, const Status& status);

class JsObject {
 public:
  explicit JsObject(napi_env env) : env_(env) { (void)napi_create_object(env, &object_); }
  JsObject& Set(const char* name, napi_value value) {
    (void)napi_set_named_property(env_, object_, name, value);
    return *this;
  }
  JsObject& Number(const char* name, uint64_t number) {
    return Set(name, JsNumber(env_, static_cast<double>(number)));
  }
  JsObject& Real(const char* name, double number) { return Set(name, JsNumber(env_, number)); }
  JsObject& Text(const char* name, Slice text) { return Set(name, JsText(env_, text)); }
  JsObject& Bool(const char* name, bool value) {
    napi_value result = nullptr;
    (void)napi_get_boolean(env_, value, &result);
    return Set(name, result);
  }
  napi_value value() const { return object_; }

 private:
  const napi_env env_;
  napi_value object_ = nullptr;
};

// An array of make(item) for each item.
template <typename Items, typename Make>
napi_value JsArray(napi_env env, const Items& items, Make make) {
  napi_value array = nullptr;
  (void)napi_create_array_with_length(env, items.size(), &array);
  uint32_t i = 0;
  for (const auto& item : items) (void)napi_set_element(env, array, i++, make(item));
  return array;
}

// Reads own properties; the first thing that is not as expected sticks in ok(). What the properties
// may hold was checked in TypeScript; here it must only be impossible to break memory with them.
class JsReader {
 public:
  JsReader(napi_env env, napi_value object) : env_(env), object_(object) {}

  bool ok() const { return ok_; }
  // The own property; false if it is absent or undefined.
  bool Get(const char* name, napi_value* value);
  bool Has(const char* name) {
    napi_value value;
    return Get(name, &value);
  }
  template <typename T>
  void Number(const char* name, T* out) {
    napi_value value;
    if (Get(name, &value)) *out = ToNumber<T>(value);
  }
  void Bool(const char* name, bool* out) {
    napi_value value;
    if (Get(name, &value)) *out = ToBool(value);
  }
  // The index of the property's text in `names`.
  template <typename T>
  void Enum(const char* name, std::initializer_list<const char*> names, T* out) {
    napi_value value;
    if (Get(name, &value)) *out = static_cast<T>(ToIndex(value, names));
  }
  void Text(const char* name, std::string* out) {
    napi_value value;
    if (Get(name, &value)) *out = ToText(value);
  }
  // Replaces *out with one item per element, unless there are none.
  template <typename T, typename Convert>
  void List(const char* name, std::vector<T>* out, Convert convert) {
    napi_value array;
    if (!Get(name, &array)) return;
    uint32_t length = 0;
    if (!Check(napi_get_array_length(env_, array, &length)) || length > kListMax) {
      ok_ = false;
      return;
    }
    std::vector<T> items;
    for (uint32_t i = 0; i < length; ++i) {
      napi_value item;
      if (Check(napi_get_element(env_, array, i, &item))) items.push_back(convert(item));
    }
    if (ok_ && !items.empty()) *out = std::move(items);
  }

  template <typename T>
  T ToNumber(napi_value value) {
    double number = 0;
    Check(napi_get_value_double(env_, value, &number));
    if constexpr (std::is_floating_point_v<T>) {
      return std::isfinite(number) ? number : 0;
    } else {
      if (!(number >= 0)) return 0;
      constexpr T kMax = std::numeric_limits<T>::max();
      return number >= static_cast<double>(kMax) ? kMax : static_cast<T>(number);
    }
  }
  bool ToBool(napi_value value) {
    bool result = false;
    Check(napi_get_value_bool(env_, value, &result));
    return result;
  }
  size_t ToIndex(napi_value value, std::initializer_list<const char*> names);
  std::string ToText(napi_value value);

 private:
  bool Check(napi_status status) { return ok_ = ok_ && status == napi_ok; }

  // No list of options is longer: tables of a plan.
  static constexpr uint32_t kListMax = 1u << 20;
  const napi_env env_;
  const napi_value object_;
  bool ok_ = true;
};

}  // namespace shale
