// Errors, device facts and scratch memory of the kernels.
#include <cuda_runtime.h>
#include <stdarg.h>
#include <stdio.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "vector.cuh"

namespace gv {
namespace {
thread_local char last_error[1024] = "";
struct Block {
  void* memory = nullptr;
  size_t bytes = 0;
};
std::mutex mutex;
std::map<std::pair<int, gv_stream>, Block> blocks;
std::vector<std::pair<int, Block>> outgrown;
}  // namespace

int fail(cudaError_t error, const char* where) {
  snprintf(last_error, sizeof last_error, "%s: %s (%s)", where, cudaGetErrorName(error), cudaGetErrorString(error));
  return static_cast<int>(error);
}
int fail_message(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return -1;
}
int multiprocessors() {
  static thread_local int device_of = -1, count = 0;
  int device = 0;
  cudaGetDevice(&device);
  if (device != device_of) {
    cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
    device_of = device;
  }
  return count;
}
}  // namespace gv

extern "C" const char* gv_last_error(void) { return gv::last_error; }

extern "C" void* gv_scratch(gv_stream stream, size_t bytes) {
  using namespace gv;
  int device = 0;
  cudaGetDevice(&device);
  std::lock_guard<std::mutex> lock(mutex);
  Block& block = blocks[{device, stream}];
  if (block.bytes >= bytes) return block.memory;
  const size_t rounded = (bytes + (size_t{2} << 20) - 1) & ~((size_t{2} << 20) - 1);
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(stream, &capture);
  if (capture != cudaStreamCaptureStatusNone) {
    fail_message("scratch of %zu bytes was asked for during graph capture: run the same work once before capturing",
                 bytes);
    return nullptr;
  }
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, rounded);
  if (error != cudaSuccess) {
    fail(error, "scratch memory");
    return nullptr;
  }
  if (block.memory) outgrown.push_back({device, block});
  block = Block{memory, rounded};
  return memory;
}

extern "C" size_t gv_scratch_bytes(void) {
  std::lock_guard<std::mutex> lock(gv::mutex);
  size_t total = 0;
  for (const auto& entry : gv::blocks) total += entry.second.bytes;
  for (const auto& entry : gv::outgrown) total += entry.second.bytes;
  return total;
}

extern "C" void gv_release_outgrown_scratch(void) {
  std::lock_guard<std::mutex> lock(gv::mutex);
  for (auto& entry : gv::outgrown) cudaFree(entry.second.memory);
  gv::outgrown.clear();
}

extern "C" void gv_release_scratch(void) {
  std::lock_guard<std::mutex> lock(gv::mutex);
  for (auto& entry : gv::blocks) cudaFree(entry.second.memory);
  for (auto& entry : gv::outgrown) cudaFree(entry.second.memory);
  gv::blocks.clear();
  gv::outgrown.clear();
}
