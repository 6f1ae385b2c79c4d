#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device-pool.h"
#include "ort-abi.h"
#include "program.h"

namespace galvatron::cuda {

// A tensor to bind: device address, ONNX element type, shape.
struct BoundTensor {
  void* address;
  int elementType;
  size_t bytes;
  std::vector<int64_t> shape;
};

// Graphs as ONNX Runtime sessions whose CUDA provider runs on our compute stream, with our custom ops. Equal ids share
// a session; each binding fixes the addresses of one use.
class CudaGraphs {
 public:
  // @throws Failure DEVICE_UNAVAILABLE when the provider does not load: the message says what it needs.
  CudaGraphs(const std::string& onnxRuntimePath, int device, cudaStream_t compute);
  ~CudaGraphs();
  CudaGraphs(const CudaGraphs&) = delete;
  CudaGraphs& operator=(const CudaGraphs&) = delete;

  // Returns the handle of the session.
  int compile(const std::string& id, const void* onnx, size_t bytes);
  int bind(int session, const std::vector<std::string>& inputNames, const std::vector<BoundTensor>& inputs,
           const std::vector<std::string>& outputNames, const std::vector<BoundTensor>& outputs);
  // Enqueues; returns before the device is done.
  void run(int binding);
  void clear();

  DevicePool& pool() { return pool_; }
  const Ort& ort() const { return ort_; }
  // Peak of ONNX Runtime's intermediates.
  size_t peakBytes() const { return pool_.peakBytes(); }

 private:
  struct Allocator : OrtAllocator {
    DevicePool* pool = nullptr;
    const OrtMemoryInfo* info = nullptr;
  };
  struct Binding {
    OrtSession* session = nullptr;
    OrtIoBinding* binding = nullptr;
    std::vector<OrtValue*> values;
    std::string name;
  };

  void bindOne(Binding& binding, const std::string& name, const BoundTensor& tensor, bool input);

  const Ort& ort_;
  const int device_;
  DevicePool pool_;
  Allocator allocator_;
  OrtEnv* env_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  OrtSessionOptions* options_ = nullptr;
  OrtRunOptions* runOptions_ = nullptr;
  bool sharedAllocator_ = false;
  std::map<std::string, int> byId_;
  std::vector<OrtSession*> sessions_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Binding>> bindings_;
};

}  // namespace galvatron::cuda
