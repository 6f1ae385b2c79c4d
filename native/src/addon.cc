// The door: NativeAddon of src/device/addon.ts.

#include <malloc.h>
#include <napi.h>

#include "cuda-libraries.h"
#include "cuda-library.h"
#include "fill-normal.h"
#include "js-error.h"
#include "js-field.h"
#include "mapped-file.h"
#include "meeting-place.h"
#include "ort-environment.h"
#include "round-bfloat16.h"
#include "worker.h"

namespace galvatron {

namespace {

// Compared with the SDK's (src/device/load-addon.ts); counts changes of what crosses to JavaScript.
constexpr int kAddonAbi = 4;

Napi::Array textsToJs(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array array = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < texts.size(); i++) array.Set(i, Napi::String::New(env, texts[i]));
  return array;
}

std::vector<std::string> providersOf(const Ort& ort) {
  char** names = nullptr;
  int count = 0;
  ort.check(ort.GetAvailableProviders(&names, &count), "providers");
  const std::vector<std::string> providers(names, names + count);
  ort.check(ort.ReleaseAvailableProviders(names, count), "providers");
  return providers;
}

Napi::Value probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return atTheDoor(env, [&]() -> Napi::Value {
    const JsField options(info[0], "probe options", "ARGUMENT_INVALID");
    const Ort& ort = openOrt(options.at("onnxRuntimePath").text());
    DeviceProbe found;
    probeCuda(found);
    if (options.at("libraries").boolean()) {
      for (LibraryFound& library : cuda::findLibraries()) found.libraries.push_back(std::move(library));
    }

    const Napi::Object onnxRuntime = Napi::Object::New(env);
    onnxRuntime.Set("path", ort.path);
    onnxRuntime.Set("version", ort.version);
    onnxRuntime.Set("providers", textsToJs(env, providersOf(ort)));

    const Napi::Array libraries = Napi::Array::New(env);
    for (const LibraryFound& library : found.libraries) {
      const Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", library.name);
      entry.Set("found", library.found);
      entry.Set("version", library.version);
      entry.Set("searched", textsToJs(env, library.searched));
      libraries.Set(libraries.Length(), entry);
    }
    const Napi::Array devices = Napi::Array::New(env);
    for (const DeviceFound& device : found.devices) {
      const Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", device.name);
      entry.Set("memoryBytes", static_cast<double>(device.memoryBytes));
      devices.Set(devices.Length(), entry);
    }
    const Napi::Object result = Napi::Object::New(env);
    result.Set("onnxRuntime", onnxRuntime);
    result.Set("libraries", libraries);
    result.Set("devices", devices);
    return result;
  });
}

Napi::Value createSharedAtTheDoor(const Napi::CallbackInfo& info) {
  return atTheDoor(info.Env(), [&]() -> Napi::Value {
    const JsField options(info[0], "createShared options", "ARGUMENT_INVALID");
    createShared(options.at("name").text(), static_cast<int>(options.at("ranks").integer(1, 4096)),
                 options.at("bytesPerRank").size());
    return info.Env().Undefined();
  });
}

Napi::Value unlinkSharedAtTheDoor(const Napi::CallbackInfo& info) {
  return atTheDoor(info.Env(), [&]() -> Napi::Value {
    unlinkShared(JsField(info[0], "unlinkShared name", "ARGUMENT_INVALID").text());
    return info.Env().Undefined();
  });
}

Napi::Value fillNormalAtTheDoor(const Napi::CallbackInfo& info) {
  return atTheDoor(info.Env(), [&]() -> Napi::Value {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      throw Failure("ARGUMENT_INVALID", "fillNormal expected a Float32Array.");
    Napi::Float32Array target = info[0].As<Napi::Float32Array>();
    const JsField options(info[1], "fillNormal options", "ARGUMENT_INVALID");
    const StreamRuns runs{options.at("start").size(), options.at("run").size(), options.at("stride").size()};
    if (runs.run == 0) throw Failure("ARGUMENT_INVALID", "fillNormal: run is expected to be 1 or more, and is 0.");
    fillNormal(target.Data(), target.ElementLength(), static_cast<uint32_t>(options.at("key0").integer(0, 4294967295)),
               static_cast<uint32_t>(options.at("key1").integer(0, 4294967295)), runs,
               options.at("standardDeviation").number());
    return info.Env().Undefined();
  });
}

Napi::Value roundBfloat16AtTheDoor(const Napi::CallbackInfo& info) {
  return atTheDoor(info.Env(), [&]() -> Napi::Value {
    const auto typed = [&](size_t index, napi_typedarray_type type) {
      return info[index].IsTypedArray() && info[index].As<Napi::TypedArray>().TypedArrayType() == type;
    };
    if (!typed(0, napi_float32_array) || !typed(1, napi_uint16_array) ||
        info[0].As<Napi::TypedArray>().ElementLength() != info[1].As<Napi::TypedArray>().ElementLength())
      throw Failure("ARGUMENT_INVALID", "roundBfloat16 expected a Float32Array and a Uint16Array of the same length.");
    Napi::Float32Array source = info[0].As<Napi::Float32Array>();
    roundBfloat16(source.Data(), info[1].As<Napi::Uint16Array>().Data(), source.ElementLength());
    return info.Env().Undefined();
  });
}

Napi::Value trimHeap(const Napi::CallbackInfo& info) {
  malloc_trim(0);
  return info.Env().Undefined();
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", Napi::Number::New(env, kAddonAbi));
  exports.Set("probe", Napi::Function::New<probe>(env));
  exports.Set("openWorker", Napi::Function::New<Worker::open>(env));
  exports.Set("createShared", Napi::Function::New<createSharedAtTheDoor>(env));
  exports.Set("unlinkShared", Napi::Function::New<unlinkSharedAtTheDoor>(env));
  exports.Set("MappedFile", MappedFile::define(env));
  exports.Set("fillNormal", Napi::Function::New<fillNormalAtTheDoor>(env));
  exports.Set("roundBfloat16", Napi::Function::New<roundBfloat16AtTheDoor>(env));
  exports.Set("trimHeap", Napi::Function::New<trimHeap>(env));
  exports.Set("useErrorClass", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                useErrorClass(info.Env(), info[0].As<Napi::Function>());
              }));
  return exports;
}

}  // namespace

NODE_API_MODULE(galvatron, initialise)

}  // namespace galvatron
