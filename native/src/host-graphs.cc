#include "host-graphs.h"

#include <malloc.h>

#include <algorithm>

#include "failure.h"

namespace galvatron {

namespace {

int elementType(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return kOrtFloat;
    case Dtype::float64:
      return kOrtDouble;
    case Dtype::bfloat16:
      return kOrtBfloat16;
    case Dtype::float16:
      return kOrtFloat16;
    case Dtype::int64:
      return kOrtInt64;
    case Dtype::int32:
      return kOrtInt32;
    case Dtype::uint8:
      return kOrtUint8;
    case Dtype::boolean:
      return kOrtBool;
  }
  return 0;
}

// In use, by malloc's count, of all threads.
size_t heapBytes() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const struct mallinfo2 heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
#else
  return 0;
#endif
}

}  // namespace

HostGraphs::HostGraphs(const std::string& onnxRuntimePath, int threads)
    : environment_(OrtEnvironment::acquire(onnxRuntimePath, threads)), ort_(environment_->ort()) {
  ort_.check(ort_.CreateRunOptions(&runOptions_), "run options");
}

HostGraphs::~HostGraphs() {
  clear();
  ort_.ReleaseRunOptions(runOptions_);
}

void HostGraphs::clear() {
  for (const Bound& bound : bound_) ort_.ReleaseIoBinding(bound.binding);
  for (OrtValue* value : values_) ort_.ReleaseValue(value);
  for (const auto& [id, session] : sessions_) ort_.ReleaseSession(session);
  bound_.clear();
  handles_.clear();
  values_.clear();
  sessions_.clear();
  compiled_.clear();
  environment_->pool().trim();
  environment_->pool().resetPeak();
}

void HostGraphs::compile(int index, const GraphRef& graph, const std::vector<uint8_t>& onnx) {
  OrtSession*& session = sessions_[graph.id];
  const size_t constantsBefore = environment_->pool().reservedBytes();
  const size_t heapBefore = heapBytes();
  if (session == nullptr) {
    OrtSessionOptions* options = nullptr;
    ort_.check(ort_.CreateSessionOptions(&options), "session options");
    const std::unique_ptr<OrtSessionOptions, decltype(ort_.ReleaseSessionOptions)> owned(
        options, ort_.ReleaseSessionOptions);
    ort_.check(ort_.DisablePerSessionThreads(options), "session options");
    ort_.check(ort_.AddSessionConfigEntry(options, "session.use_env_allocators", "1"), "session options");
    ort_.check(ort_.SetSessionGraphOptimizationLevel(options, kOrtEnableAll), "session options");
    // The pool packs as well as a pattern does, and is right from the first run on.
    ort_.check(ort_.DisableMemPattern(options), "session options");
    ort_.check(ort_.SetDeterministicCompute(options, true), "session options");
    ort_.check(ort_.CreateSessionFromArray(environment_->env(), onnx.data(), onnx.size(), options, &session),
               "graph " + graph.name);
    checkSession(graph, session);
  }
  GraphMemory bytes;
  bytes.constants = environment_->pool().reservedBytes() - constantsBefore;
  // Other threads may have freed meanwhile.
  bytes.session = std::max(heapBytes(), heapBefore + bytes.constants) - heapBefore - bytes.constants;
  compiled_.insert_or_assign(index, Compiled{graph, session, bytes});
}

// Bindings go by name, so names alone must agree; ONNX Runtime checks types and shapes itself at the first run.
void HostGraphs::checkSession(const GraphRef& graph, OrtSession* session) {
  size_t inputs = 0, outputs = 0;
  ort_.check(ort_.SessionGetInputCount(session, &inputs), graph.name);
  ort_.check(ort_.SessionGetOutputCount(session, &outputs), graph.name);
  if (inputs != graph.inputs.size() || outputs != graph.outputs.size()) {
    throw programInvalid("Graph " + graph.name + " has " + std::to_string(inputs) + " inputs and " +
                         std::to_string(outputs) + " outputs; its reference lists " +
                         std::to_string(graph.inputs.size()) + " and " + std::to_string(graph.outputs.size()) + ".");
  }
}

OrtValue* HostGraphs::valueOf(const Tensor& tensor, const GraphPort& port) {
  OrtValue* value = nullptr;
  ort_.check(ort_.CreateTensorWithDataAsOrtValue(environment_->cpuMemory(), reinterpret_cast<void*>(tensor.address),
                                                 tensor.sizeBytes(), port.shape.data(), port.shape.size(),
                                                 elementType(port.dtype), &value),
             "tensor " + tensor.view->name);
  values_.push_back(value);
  return value;
}

int HostGraphs::bind(int graph, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  std::vector<Address> addresses;
  for (const Tensor& tensor : inputs) addresses.push_back(tensor.address);
  for (const Tensor& tensor : outputs) addresses.push_back(tensor.address);
  const auto [known, isNew] = handles_.try_emplace({graph, addresses}, static_cast<int>(bound_.size()));
  if (!isNew) return known->second;

  const Compiled& compiled = compiled_.at(graph);
  OrtIoBinding* binding = nullptr;
  ort_.check(ort_.CreateIoBinding(compiled.session, &binding), "binding of " + compiled.ref.name);
  bound_.push_back({graph, std::move(addresses), binding});
  for (size_t i = 0; i < inputs.size(); i++) {
    const GraphPort& port = compiled.ref.inputs[i];
    ort_.check(ort_.BindInput(binding, port.name.c_str(), valueOf(inputs[i], port)),
               "input " + port.name + " of " + compiled.ref.name);
  }
  for (size_t i = 0; i < outputs.size(); i++) {
    const GraphPort& port = compiled.ref.outputs[i];
    ort_.check(ort_.BindOutput(binding, port.name.c_str(), valueOf(outputs[i], port)),
               "output " + port.name + " of " + compiled.ref.name);
  }
  return known->second;
}

void HostGraphs::run(int handle) {
  const Bound& bound = bound_[handle];
  Compiled& compiled = compiled_.at(bound.graph);
  environment_->pool().beginRun();
  ort_.check(ort_.RunWithBinding(compiled.session, runOptions_, bound.binding), "graph " + compiled.ref.name);
  compiled.bytes.run = std::max(compiled.bytes.run, environment_->pool().runPeakBytes());
}

void HostGraphs::cancel() {
  if (OrtStatus* status = ort_.RunOptionsSetTerminate(runOptions_)) ort_.ReleaseStatus(status);
}

std::vector<GraphMemory> HostGraphs::graphBytes() const {
  std::vector<GraphMemory> bytes;
  for (const auto& [index, compiled] : compiled_) bytes.push_back(compiled.bytes);
  return bytes;
}

size_t HostGraphs::peakBytes() const { return environment_->pool().peakBytes(); }

}  // namespace galvatron
