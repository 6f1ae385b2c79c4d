#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

#include "failure.h"
#include "ort-abi.h"

namespace galvatron {

void Ort::check(OrtStatus* status, const std::string& doing) const {
  if (status == nullptr) return;
  const std::string text = GetErrorMessage(status);
  ReleaseStatus(status);
  throw deviceFailed("ONNX Runtime: " + doing + ": " + text);
}

namespace {

std::unique_ptr<Ort> open(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    throw deviceUnavailable("ONNX Runtime's library cannot be opened: " + std::string(why ? why : path) +
                            ". It comes with the npm package onnxruntime-node: install the dependencies again.");
  }
  using GetBase = const OrtApiBase* (*)();
  auto getBase = reinterpret_cast<GetBase>(dlsym(library, "OrtGetApiBase"));
  if (getBase == nullptr) throw deviceUnavailable(path + " is not ONNX Runtime: it exports no OrtGetApiBase.");

  const OrtApiBase* base = getBase();
  const OrtApi* table = base->GetApi(kOrtApiVersion);
  if (table == nullptr) {
    throw deviceUnavailable("ONNX Runtime 1." + std::to_string(kOrtApiVersion) + " or newer is needed; " + path +
                            " is " + base->GetVersionString() + ".");
  }
  auto ort = std::make_unique<Ort>();
  ort->path = path;
  ort->version = base->GetVersionString();
  ort->table = table;
  void* const* entries = reinterpret_cast<void* const*>(table);
#define GALVATRON_ORT_LOAD(place, name, result, parameters) \
  ort->name = reinterpret_cast<decltype(ort->name)>(entries[place]);
  GALVATRON_ORT_FUNCTIONS(GALVATRON_ORT_LOAD)
#undef GALVATRON_ORT_LOAD
  return ort;
}

}  // namespace

const Ort& openOrt(const std::string& path) {
  static std::mutex mutex;
  // Never destroyed: threads of ONNX Runtime may outlive main().
  static auto* opened = new std::map<std::string, std::unique_ptr<Ort>>();
  const std::lock_guard lock(mutex);
  auto& ort = (*opened)[path];
  if (ort == nullptr) ort = open(path);
  return *ort;
}

}  // namespace galvatron
