#include "ort-environment.h"

#include <mutex>

#include "failure.h"
#include "flush-denormals.h"

namespace galvatron {

namespace {

std::mutex sharedMutex;
std::weak_ptr<OrtEnvironment> shared;

}  // namespace

std::shared_ptr<OrtEnvironment> OrtEnvironment::acquire(const std::string& path, int threads) {
  const std::lock_guard lock(sharedMutex);
  if (auto existing = shared.lock()) {
    if (existing->threads_ != threads) {
      throw argumentInvalid("A worker of this process already uses ONNX Runtime with " +
                            std::to_string(existing->threads_) + " threads; " + std::to_string(threads) +
                            " were asked for. Close it first, or ask for as many.");
    }
    return existing;
  }
  std::shared_ptr<OrtEnvironment> created(new OrtEnvironment(path, threads));
  shared = created;
  return created;
}

OrtEnvironment::OrtEnvironment(const std::string& path, int threads) : ort_(openOrt(path)), threads_(threads) {
  OrtThreadingOptions* options = nullptr;
  ort_.check(ort_.CreateThreadingOptions(&options), "thread options");
  const std::unique_ptr<OrtThreadingOptions, decltype(ort_.ReleaseThreadingOptions)> owned(
      options, ort_.ReleaseThreadingOptions);
  ort_.check(ort_.SetGlobalIntraOpNumThreads(options, threads), "threads");
  ort_.check(ort_.SetGlobalInterOpNumThreads(options, 1), "threads");
  // There may be more ranks than cores: a thread that spins takes the core of one that works.
  ort_.check(ort_.SetGlobalSpinControl(options, 0), "threads");
  // The pool's threads inherit it.
  const FlushDenormals flush;
  ort_.check(ort_.CreateEnvWithGlobalThreadPools(kOrtError, "galvatron", options, &env_), "environment");
  ort_.check(ort_.DisableTelemetryEvents(env_), "telemetry");
  ort_.check(ort_.CreateCpuMemoryInfo(kOrtDeviceAllocator, kOrtMemoryDefault, &cpuMemory_), "memory info");

  allocator_.version = kOrtApiVersion;
  allocator_.pool = &pool_;
  allocator_.info = cpuMemory_;
  allocator_.Alloc = [](OrtAllocator* self, size_t size) {
    return size == 0 ? nullptr : static_cast<Allocator*>(self)->pool->allocate(size);
  };
  allocator_.Reserve = [](OrtAllocator* self, size_t size) {
    return size == 0 ? nullptr : static_cast<Allocator*>(self)->pool->reserve(size);
  };
  allocator_.Free = [](OrtAllocator* self, void* pointer) { static_cast<Allocator*>(self)->pool->free(pointer); };
  allocator_.Info = [](const OrtAllocator* self) { return static_cast<const Allocator*>(self)->info; };
  allocator_.GetStats = nullptr;
  allocator_.AllocOnStream = nullptr;
  allocator_.Shrink = nullptr;
  ort_.check(ort_.RegisterAllocator(env_, &allocator_), "allocator");
}

OrtEnvironment::~OrtEnvironment() {
  const std::lock_guard lock(sharedMutex);
  if (env_ != nullptr) {
    if (OrtStatus* status = ort_.UnregisterAllocator(env_, cpuMemory_)) ort_.ReleaseStatus(status);
    ort_.ReleaseEnv(env_);
  }
  if (cpuMemory_ != nullptr) ort_.ReleaseMemoryInfo(cpuMemory_);
}

}  // namespace galvatron
