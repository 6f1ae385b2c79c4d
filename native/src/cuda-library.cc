#include "cuda-library.h"

#include <dlfcn.h>

#include <string>

namespace galvatron {

namespace {

std::string besideTheAddon() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&openCudaDevice), &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string self = info.dli_fname;
  return self.substr(0, self.rfind('/') + 1) + "libgalvatron_cuda.so";
}

// Opened once and kept: CUDA does not survive being unloaded.
void* library(std::string* why) {
  static std::string error;
  static void* opened = [] {
    void* handle = dlopen(besideTheAddon().c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* text = dlerror();
      error = text == nullptr ? "unknown error" : text;
    }
    return handle;
  }();
  *why = error;
  return opened;
}

}  // namespace

std::unique_ptr<Device> openCudaDevice(const DeviceOptions& options, Meeting& meeting) {
  std::string why;
  void* handle = library(&why);
  if (handle == nullptr) {
    throw deviceUnavailable("The CUDA device is not there (" + why +
                            "). Build it with `npm run build:cuda` on a machine with nvcc.");
  }
  auto open = reinterpret_cast<GalvatronOpenDevice>(dlsym(handle, "galvatronOpenDevice"));
  if (open == nullptr) throw deviceUnavailable(besideTheAddon() + " exports no galvatronOpenDevice; build it again.");
  return std::unique_ptr<Device>(open(kDeviceAbi, &options, &meeting));
}

void probeCuda(DeviceProbe& probe) {
  std::string why;
  void* handle = library(&why);
  LibraryFound self;
  self.name = "libgalvatron_cuda.so";
  self.found = handle != nullptr;
  self.searched = {besideTheAddon()};
  probe.libraries.push_back(self);
  if (handle == nullptr) return;
  auto ask = reinterpret_cast<GalvatronProbe>(dlsym(handle, "galvatronProbe"));
  if (ask == nullptr) return;
  const size_t place = probe.libraries.size() - 1;
  try {
    ask(kDeviceAbi, &probe);
  } catch (const Failure& failure) {
    // Built for another version of the addon: as good as not there, and no reason for a probe to fail.
    probe.libraries[place].found = false;
    probe.libraries[place].searched[0] += ": " + std::string(failure.what());
  }
}

}  // namespace galvatron
