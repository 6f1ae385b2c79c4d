#pragma once

#include <napi.h>

#include "failure.h"

namespace galvatron {

// The SDK's error class, handed in at load, so that native failures are GalvatronErrors with a code.
void useErrorClass(Napi::Env env, const Napi::Function& errorClass);

Napi::Value errorToJs(Napi::Env env, const Failure& failure);

// Runs `body` and turns its failures into exceptions of JavaScript.
template <typename Body>
auto atTheDoor(Napi::Env env, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Failure& failure) {
    throw Napi::Error(env, errorToJs(env, failure));
  }
}

}  // namespace galvatron
