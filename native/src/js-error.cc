#include "js-error.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace galvatron {

namespace {

struct ErrorClass {
  Napi::FunctionReference constructor;
};

bool isNumber(const std::string& text) {
  return !text.empty() && text.size() < 16 && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

}  // namespace

void useErrorClass(Napi::Env env, const Napi::Function& errorClass) {
  auto* data = env.GetInstanceData<ErrorClass>();
  if (data == nullptr) {
    data = new ErrorClass();
    env.SetInstanceData<ErrorClass>(data);
  }
  data->constructor = Napi::Persistent(errorClass);
}

Napi::Value errorToJs(Napi::Env env, const Failure& failure) {
  const Napi::Object context = Napi::Object::New(env);
  for (const auto& [name, value] : failure.context()) {
    if (isNumber(value)) {
      context.Set(name, Napi::Number::New(env, std::stod(value)));
    } else {
      context.Set(name, Napi::String::New(env, value));
    }
  }
  const auto* data = env.GetInstanceData<ErrorClass>();
  if (data != nullptr) {
    return data->constructor.New(
        {Napi::String::New(env, failure.code()), Napi::String::New(env, failure.what()), context});
  }
  Napi::Error error = Napi::Error::New(env, failure.what());
  error.Set("code", Napi::String::New(env, failure.code()));
  error.Set("context", context);
  return error.Value();
}

}  // namespace galvatron
