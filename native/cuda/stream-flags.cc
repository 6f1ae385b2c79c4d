#include "stream-flags.h"

#include <algorithm>
#include <string>

#include "cuda-check.h"

namespace galvatron::cuda {
namespace {

// A block of its own, so that opening it opens nothing else.
constexpr size_t kLeastBytes = 2 << 20;
// The version of the driver's interface whose waits may be captured.
constexpr unsigned int kInterface = 12000;

CUdeviceptr address(const uint32_t* word) { return reinterpret_cast<CUdeviceptr>(word); }

void* driverFunction(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  if (cudaGetDriverEntryPointByVersion(name, &found, kInterface, cudaEnableDefault, &result) != cudaSuccess) {
    (void)cudaGetLastError();
    return nullptr;
  }
  return result == cudaDriverEntryPointSuccess ? found : nullptr;
}

void checkDriver(CUresult result, const char* doing) {
  if (result == CUDA_SUCCESS) return;
  throw Failure("DEVICE_FAILED", std::string("CUDA: error ") + std::to_string(result) + " while " + doing + " a flag");
}

}  // namespace

bool StreamFlags::open(size_t words) {
  close();
  write_ = reinterpret_cast<Memory>(driverFunction("cuStreamWriteValue32"));
  wait_ = reinterpret_cast<Memory>(driverFunction("cuStreamWaitValue32"));
  const size_t bytes = std::max(words * sizeof(uint32_t), kLeastBytes);
  int least = 0, greatest = 0;
  (void)cudaDeviceGetStreamPriorityRange(&least, &greatest);
  // A priority that no other stream has, so that it shares no queue of the hardware with one that waits.
  const int apart = least - greatest > 1 ? greatest + 1 : greatest;
  if (!write_ || !wait_ || cudaStreamCreateWithPriority(&releasing_, cudaStreamNonBlocking, apart) != cudaSuccess ||
      cudaMalloc(&words_, bytes) != cudaSuccess || cudaMemset(words_, 0, bytes) != cudaSuccess ||
      cudaDeviceSynchronize() != cudaSuccess || !captures()) {
    (void)cudaGetLastError();
    close();
    return false;
  }
  count_ = words;
  return true;
}

bool StreamFlags::captures() const {
  if (cudaStreamBeginCapture(releasing_, cudaStreamCaptureModeRelaxed) != cudaSuccess) return false;
  const bool wrote = write_(releasing_, address(words_), 0, CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS;
  const bool waited = wait_(releasing_, address(words_), 0, CU_STREAM_WAIT_VALUE_GEQ) == CUDA_SUCCESS;
  cudaGraph_t graph = nullptr;
  const bool ended = cudaStreamEndCapture(releasing_, &graph) == cudaSuccess;
  if (graph) cudaGraphDestroy(graph);
  return wrote && waited && ended;
}

void StreamFlags::close() {
  if (words_) cudaFree(words_);
  if (releasing_) cudaStreamDestroy(releasing_);
  words_ = nullptr;
  releasing_ = nullptr;
  count_ = 0;
}

void StreamFlags::raise(cudaStream_t stream, uint32_t* word) const {
  checkDriver(write_(stream, address(word), 1, CU_STREAM_WRITE_VALUE_DEFAULT), "raising");
}

void StreamFlags::await(cudaStream_t stream, uint32_t* word) const {
  checkDriver(wait_(stream, address(word), 1, CU_STREAM_WAIT_VALUE_GEQ), "waiting for");
  checkDriver(write_(stream, address(word), 0, CU_STREAM_WRITE_VALUE_DEFAULT), "lowering");
}

bool StreamFlags::tryRaise(uint32_t* word) const {
  return write_(releasing_, address(word), 1, CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS &&
         cudaStreamSynchronize(releasing_) == cudaSuccess;
}

bool StreamFlags::isRaised(const uint32_t* word) const {
  uint32_t value = 0;
  return cudaMemcpy(&value, word, sizeof(value), cudaMemcpyDeviceToHost) == cudaSuccess && value != 0;
}

bool StreamFlags::lower(uint32_t* words, size_t count) const {
  return cudaMemset(words, 0, count * sizeof(uint32_t)) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess;
}

void StreamFlags::raiseAll() const {
  // Any value from 1 on is raised.
  if (words_ && cudaStreamQuery(releasing_) == cudaSuccess)
    (void)cudaMemsetAsync(words_, 1, count_ * sizeof(uint32_t), releasing_);
}

}  // namespace galvatron::cuda
