#pragma once

#include "ort-abi.h"

namespace galvatron::cuda {

// ONNX Runtime's interface of a custom op, as of release 1.29 (it is only ever appended to; `version` says how far
// ONNX Runtime reads).
struct CustomOpInterface {
  uint32_t version;
  void* (*CreateKernel)(const CustomOpInterface* op, const OrtApi* api, const OrtKernelInfo* info);
  const char* (*GetName)(const CustomOpInterface* op);
  const char* (*GetExecutionProviderType)(const CustomOpInterface* op);
  int (*GetInputType)(const CustomOpInterface* op, size_t index);
  size_t (*GetInputTypeCount)(const CustomOpInterface* op);
  int (*GetOutputType)(const CustomOpInterface* op, size_t index);
  size_t (*GetOutputTypeCount)(const CustomOpInterface* op);
  void (*KernelCompute)(void* kernel, OrtKernelContext* context);
  void (*KernelDestroy)(void* kernel);
  int (*GetInputCharacteristic)(const CustomOpInterface* op, size_t index);
  int (*GetOutputCharacteristic)(const CustomOpInterface* op, size_t index);
  int (*GetInputMemoryType)(const CustomOpInterface* op, size_t index);
  int (*GetVariadicInputMinArity)(const CustomOpInterface* op);
  int (*GetVariadicInputHomogeneity)(const CustomOpInterface* op);
  int (*GetVariadicOutputMinArity)(const CustomOpInterface* op);
  int (*GetVariadicOutputHomogeneity)(const CustomOpInterface* op);
  OrtStatus* (*CreateKernelV2)(const CustomOpInterface* op, const OrtApi* api, const OrtKernelInfo* info,
                               void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext* context);
  OrtStatus* (*InferOutputShapeFn)(const CustomOpInterface* op, void* context);
  int (*GetStartVersion)(const CustomOpInterface* op);
  int (*GetEndVersion)(const CustomOpInterface* op);
  size_t (*GetMayInplace)(int** inputs, int** outputs);
  void (*ReleaseMayInplace)(int* inputs, int* outputs);
  size_t (*GetAliasMap)(int** inputs, int** outputs);
  void (*ReleaseAliasMap)(int* inputs, int* outputs);
};

// The domain "galvatron" with an op for each row of COMPOSITE_OPS (src/graph/composite-ops.ts), in float32 and
// bfloat16, for the provider named (CUDAExecutionProvider; another one only to check declarations without a GPU).
// Lives as long as the process; sessions' options may share it.
OrtCustomOpDomain* customOpDomain(const Ort& ort, const char* provider = "CUDAExecutionProvider");

}  // namespace galvatron::cuda
