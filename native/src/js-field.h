#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "failure.h"

namespace galvatron {

// A JavaScript value with its place, so that a refusal can name it: "program.tensors[3].shape[0]".
class JsField {
 public:
  JsField(Napi::Value value, std::string place, const char* code)
      : value_(value), place_(std::move(place)), code_(code) {}

  JsField at(const char* name) const {
    requireObject();
    return JsField(value_.As<Napi::Object>().Get(name), place_ + "." + name, code_);
  }

  bool has(const char* name) const {
    requireObject();
    const Napi::Value field = value_.As<Napi::Object>().Get(name);
    return !field.IsUndefined() && !field.IsNull();
  }

  uint32_t length() const {
    if (!value_.IsArray()) refuse("an array was expected");
    return value_.As<Napi::Array>().Length();
  }

  JsField at(uint32_t index) const {
    return JsField(value_.As<Napi::Array>().Get(index), place_ + "[" + std::to_string(index) + "]", code_);
  }

  std::string text() const {
    if (!value_.IsString()) refuse("a string was expected");
    return value_.As<Napi::String>().Utf8Value();
  }

  bool boolean() const {
    if (!value_.IsBoolean()) refuse("true or false was expected");
    return value_.As<Napi::Boolean>().Value();
  }

  double number() const {
    if (!value_.IsNumber()) refuse("a number was expected");
    return value_.As<Napi::Number>().DoubleValue();
  }

  // A whole number in [least, most].
  int64_t integer(int64_t least, int64_t most) const {
    const double value = number();
    if (!(value >= static_cast<double>(least) && value <= static_cast<double>(most)) || value != std::floor(value)) {
      refuse("a whole number from " + std::to_string(least) + " to " + std::to_string(most) + " was expected, not " +
             shown(value));
    }
    return static_cast<int64_t>(value);
  }

  int index() const { return static_cast<int>(integer(-1, INT32_MAX)); }
  size_t size() const { return static_cast<size_t>(integer(0, int64_t{1} << 53)); }

  std::vector<int> indices() const {
    std::vector<int> result(length());
    for (uint32_t i = 0; i < result.size(); i++) result[i] = at(i).index();
    return result;
  }

  std::vector<int64_t> sizes() const {
    std::vector<int64_t> result(length());
    for (uint32_t i = 0; i < result.size(); i++) result[i] = static_cast<int64_t>(at(i).size());
    return result;
  }

  // The place of a text in a list of names.
  template <size_t count>
  int oneOf(const char* const (&names)[count]) const {
    const std::string name = text();
    std::string all;
    for (size_t i = 0; i < count; i++) {
      if (name == names[i]) return static_cast<int>(i);
      all += (i == 0 ? "" : ", ") + std::string(names[i]);
    }
    refuse("one of " + all + " was expected, not \"" + name + "\"");
  }

  const Napi::Value& value() const { return value_; }

  [[noreturn]] void refuse(const std::string& why) const { throw Failure(code_, place_ + ": " + why + "."); }

 private:
  void requireObject() const {
    if (!value_.IsObject()) refuse("an object was expected");
  }

  static std::string shown(double value) {
    if (value == std::floor(value) && std::abs(value) < 1e15) return std::to_string(static_cast<int64_t>(value));
    return std::to_string(value);
  }

  Napi::Value value_;
  std::string place_;
  const char* code_;
};

}  // namespace galvatron
