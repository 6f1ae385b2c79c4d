#pragma once

#include <memory>
#include <string>

#include "byte-pool.h"
#include "ort-abi.h"

namespace galvatron {

// ONNX Runtime's environment on the host: one per process, with one thread pool and one memory pool for all sessions.
// ONNX Runtime keeps a single environment per process anyway, so workers of one process share it.
class OrtEnvironment {
 public:
  // @throws Failure ARGUMENT_INVALID when an environment with another thread count is still in use.
  static std::shared_ptr<OrtEnvironment> acquire(const std::string& path, int threads);

  ~OrtEnvironment();
  OrtEnvironment(const OrtEnvironment&) = delete;
  OrtEnvironment& operator=(const OrtEnvironment&) = delete;

  const Ort& ort() const { return ort_; }
  OrtEnv* env() const { return env_; }
  const OrtMemoryInfo* cpuMemory() const { return cpuMemory_; }
  BytePool& pool() { return pool_; }

 private:
  OrtEnvironment(const std::string& path, int threads);

  // What ONNX Runtime calls: our pool behind its table of functions.
  struct Allocator : OrtAllocator {
    BytePool* pool = nullptr;
    const OrtMemoryInfo* info = nullptr;
  };

  const Ort& ort_;
  const int threads_;
  // Freed last: the environment's sessions give their memory back to it.
  BytePool pool_;
  Allocator allocator_;
  OrtMemoryInfo* cpuMemory_ = nullptr;
  OrtEnv* env_ = nullptr;
};

}  // namespace galvatron
