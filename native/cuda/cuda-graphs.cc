#include "cuda-graphs.h"

#include <stdlib.h>

#include "custom-ops.h"
#include "failure.h"
#include "cuda-libraries.h"

namespace galvatron::cuda {
namespace {

struct ProviderOptions {
  explicit ProviderOptions(const Ort& ort) : ort(ort) {
    ort.check(ort.CreateCUDAProviderOptions(&options), "CUDA provider options");
  }
  ~ProviderOptions() { ort.ReleaseCUDAProviderOptions(options); }
  const Ort& ort;
  OrtCUDAProviderOptionsV2* options = nullptr;
};

}  // namespace

CudaGraphs::CudaGraphs(const std::string& onnxRuntimePath, int device, cudaStream_t compute)
    : ort_(openOrt(onnxRuntimePath)), device_(device), pool_(device) {
  openProviderDependencies();
  // Every session of the provider has a handle of cuBLAS, with 64 MiB of workspace on Hopper unless told otherwise; the
  // products of our graphs go through cuBLASLt and a workspace of their own.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8", 0);
  ort_.check(ort_.CreateEnv(kOrtError, "galvatron", &env_), "environment");
  ort_.check(ort_.DisableTelemetryEvents(env_), "telemetry");
  ort_.check(ort_.CreateMemoryInfo("Cuda", kOrtDeviceAllocator, device, kOrtMemoryDefault, &memory_), "memory info");

  // One pool for all sessions of the worker; without it every session would keep an arena of its own.
  const char* own = getenv("GALVATRON_ORT_ARENA");
  if (!own || *own != '1') {
    allocator_.version = kOrtApiVersion;
    allocator_.pool = &pool_;
    allocator_.info = memory_;
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
    sharedAllocator_ = true;
  }

  ort_.check(ort_.CreateSessionOptions(&options_), "session options");
  ort_.check(ort_.SetIntraOpNumThreads(options_, 1), "threads");
  ort_.check(ort_.SetSessionExecutionMode(options_, 0), "sequential execution");
  // With a pattern the second run of a graph asks for one block beside the pieces that the first one left.
  ort_.check(ort_.DisableMemPattern(options_), "memory pattern");
  ort_.check(ort_.SetSessionGraphOptimizationLevel(options_, kOrtEnableExtended), "optimisation level");
  ort_.check(ort_.AddSessionConfigEntry(options_, "session.intra_op.allow_spinning", "0"), "spinning");
  if (sharedAllocator_)
    ort_.check(ort_.AddSessionConfigEntry(options_, "session.use_env_allocators", "1"), "shared allocator");
  ort_.check(ort_.AddCustomOpDomain(options_, customOpDomain(ort_)), "custom ops");

  ProviderOptions cuda(ort_);
  const std::string device_id = std::to_string(device);
  // TF32 off: a float32 Program means float32.
  const char* keys[] = {"device_id", "arena_extend_strategy", "do_copy_in_default_stream", "use_tf32",
                        "cudnn_conv_algo_search"};
  const char* values[] = {device_id.c_str(), "kSameAsRequested", "1", "0", "HEURISTIC"};
  ort_.check(ort_.UpdateCUDAProviderOptions(cuda.options, keys, values, 5), "CUDA provider options");
  ort_.check(ort_.UpdateCUDAProviderOptionsWithValue(cuda.options, "user_compute_stream", compute), "compute stream");
  if (OrtStatus* status = ort_.SessionOptionsAppendExecutionProvider_CUDA_V2(options_, cuda.options)) {
    const std::string text = ort_.GetErrorMessage(status);
    ort_.ReleaseStatus(status);
    throw deviceUnavailable("ONNX Runtime's CUDA provider does not load: " + text +
                            " libonnxruntime_providers_cuda.so and libonnxruntime_providers_shared.so of release " +
                            ort_.version + " for CUDA 13 belong beside " + onnxRuntimePath + "; see docs/gpu.md.");
  }
  ort_.check(ort_.CreateRunOptions(&runOptions_), "run options");
  ort_.check(ort_.AddRunConfigEntry(runOptions_, "disable_synchronize_execution_providers", "1"), "run options");
}

CudaGraphs::~CudaGraphs() {
  clear();
  if (runOptions_) ort_.ReleaseRunOptions(runOptions_);
  if (options_) ort_.ReleaseSessionOptions(options_);
  if (env_) {
    if (sharedAllocator_) {
      if (OrtStatus* status = ort_.UnregisterAllocator(env_, memory_)) ort_.ReleaseStatus(status);
    }
    ort_.ReleaseEnv(env_);
  }
  if (memory_) ort_.ReleaseMemoryInfo(memory_);
}

void CudaGraphs::clear() {
  for (auto& binding : bindings_) {
    ort_.ReleaseIoBinding(binding->binding);
    for (OrtValue* value : binding->values) ort_.ReleaseValue(value);
  }
  bindings_.clear();
  for (OrtSession* session : sessions_) ort_.ReleaseSession(session);
  sessions_.clear();
  names_.clear();
  byId_.clear();
}

int CudaGraphs::compile(const std::string& id, const void* onnx, size_t bytes) {
  if (const auto found = byId_.find(id); found != byId_.end()) return found->second;
  OrtSession* session = nullptr;
  pool_.sessionBegins();
  OrtStatus* status = ort_.CreateSessionFromArray(env_, onnx, bytes, options_, &session);
  pool_.sessionIsMade();
  ort_.check(status, "graph " + id);
  sessions_.push_back(session);
  names_.push_back(id);
  return byId_[id] = static_cast<int>(sessions_.size()) - 1;
}

void CudaGraphs::bindOne(Binding& binding, const std::string& name, const BoundTensor& tensor, bool input) {
  OrtValue* value = nullptr;
  ort_.check(ort_.CreateTensorWithDataAsOrtValue(memory_, tensor.address, tensor.bytes, tensor.shape.data(),
                                                 tensor.shape.size(), tensor.elementType, &value),
             "tensor " + name);
  binding.values.push_back(value);
  ort_.check(input ? ort_.BindInput(binding.binding, name.c_str(), value)
                   : ort_.BindOutput(binding.binding, name.c_str(), value),
             "binding " + name);
}

int CudaGraphs::bind(int session, const std::vector<std::string>& inputNames, const std::vector<BoundTensor>& inputs,
                     const std::vector<std::string>& outputNames, const std::vector<BoundTensor>& outputs) {
  auto binding = std::make_unique<Binding>();
  binding->session = sessions_[static_cast<size_t>(session)];
  binding->name = names_[static_cast<size_t>(session)];
  ort_.check(ort_.CreateIoBinding(binding->session, &binding->binding), "binding");
  for (size_t i = 0; i < inputs.size(); i++) bindOne(*binding, inputNames[i], inputs[i], true);
  for (size_t i = 0; i < outputs.size(); i++) bindOne(*binding, outputNames[i], outputs[i], false);
  bindings_.push_back(std::move(binding));
  return static_cast<int>(bindings_.size()) - 1;
}

void CudaGraphs::run(int binding) {
  const Binding& b = *bindings_[static_cast<size_t>(binding)];
  ort_.check(ort_.RunWithBinding(b.session, runOptions_, b.binding), "graph " + b.name);
}

}  // namespace galvatron::cuda
