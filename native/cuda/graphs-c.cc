// A plain C face of CudaGraphs for tests and benchmarks (test/gpu). Pointers are device addresses.
#include <string.h>

#include <string>

#include "cuda-graphs.h"
#include "failure.h"

namespace gv {
int fail_message(const char* format, ...);
}

using galvatron::cuda::BoundTensor;
using galvatron::cuda::CudaGraphs;

#define GV_EXPORT extern "C" __attribute__((visibility("default")))

struct gv_tensor {
  const char* name;
  void* address;
  int64_t bytes;
  int32_t element_type;
  int32_t axes;
  int64_t shape[6];
};

GV_EXPORT void* gv_graphs_open(const char* onnx_runtime_path, int device, void* stream) {
  try {
    return new CudaGraphs(onnx_runtime_path, device, static_cast<cudaStream_t>(stream));
  } catch (const std::exception& error) {
    gv::fail_message("%s", error.what());
    return nullptr;
  }
}

GV_EXPORT int gv_graphs_bind(void* graphs, const char* id, const void* onnx, int64_t bytes, const gv_tensor* inputs,
                             int input_count, const gv_tensor* outputs, int output_count) {
  try {
    auto& g = *static_cast<CudaGraphs*>(graphs);
    std::vector<std::string> names[2];
    std::vector<BoundTensor> tensors[2];
    for (int side = 0; side < 2; side++) {
      const gv_tensor* list = side == 0 ? inputs : outputs;
      for (int i = 0; i < (side == 0 ? input_count : output_count); i++) {
        names[side].push_back(list[i].name);
        tensors[side].push_back({list[i].address, list[i].element_type, static_cast<size_t>(list[i].bytes),
                                 std::vector<int64_t>(list[i].shape, list[i].shape + list[i].axes)});
      }
    }
    return g.bind(g.compile(id, onnx, static_cast<size_t>(bytes)), names[0], tensors[0], names[1], tensors[1]);
  } catch (const std::exception& error) {
    gv::fail_message("%s", error.what());
    return -1;
  }
}

GV_EXPORT int gv_graphs_run(void* graphs, int binding) {
  try {
    static_cast<CudaGraphs*>(graphs)->run(binding);
    return 0;
  } catch (const std::exception& error) {
    return gv::fail_message("%s", error.what());
  }
}

GV_EXPORT int64_t gv_graphs_peak_bytes(void* graphs) {
  return static_cast<int64_t>(static_cast<CudaGraphs*>(graphs)->peakBytes());
}

GV_EXPORT int gv_graphs_consolidate(void* graphs) {
  auto& pool = static_cast<CudaGraphs*>(graphs)->pool();
  return pool.measure() && pool.consolidate() ? 0 : -1;
}

GV_EXPORT void gv_graphs_close(void* graphs) { delete static_cast<CudaGraphs*>(graphs); }
