#include "stream-flags.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "agreement.h"
#include "cuda-check.h"

namespace galvatron::cuda {
namespace {

// The version of the driver's interface whose waits may be captured.
constexpr unsigned int kInterface = 12000;
constexpr size_t kNameBytes = 64;

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
  throw deviceFailed("CUDA: error " + std::to_string(result) + " while " + doing + " a flag");
}

}  // namespace

bool StreamFlags::open(const std::vector<int>& ranks, size_t place, size_t words, Meeting& meeting) {
  close();
  ranks_ = ranks.size();
  place_ = place;
  words_ = words;
  write_ = reinterpret_cast<Memory>(driverFunction("cuStreamWriteValue32"));
  wait_ = reinterpret_cast<Memory>(driverFunction("cuStreamWaitValue32"));
  static std::atomic<int> opened{0};
  char name[kNameBytes] = {};
  snprintf(name, sizeof name, "/galvatron-flags-%d-%d", static_cast<int>(getpid()), opened++);
  bool works = place != 0 || map(name, true);
  // The first rank's name reaches all; then it exists for them.
  meeting.broadcast(ranks, name, sizeof name);
  if (place != 0) works = map(name, false);
  works = agree(meeting, ranks, works && write_ && wait_);
  if (place == 0) shm_unlink(name);
  works = works && agree(meeting, ranks, raiseOthers());
  works = works && agree(meeting, ranks, othersRaised());
  if (!works) close();
  (void)cudaGetLastError();
  return works;
}

bool StreamFlags::map(const std::string& name, bool create) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  bytes_ = (ranks_ * words_ * sizeof(uint32_t) + page - 1) / page * page;
  const int file = shm_open(name.c_str(), O_RDWR | (create ? O_CREAT | O_EXCL : 0), 0600);
  if (file < 0) return false;
  void* mapped = MAP_FAILED;
  if (!create || ftruncate(file, static_cast<off_t>(bytes_)) == 0)
    mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (mapped == MAP_FAILED) return false;
  void* onDevice = nullptr;
  if (cudaHostRegister(mapped, bytes_, cudaHostRegisterMapped) != cudaSuccess ||
      cudaHostGetDevicePointer(&onDevice, mapped, 0) != cudaSuccess) {
    (void)cudaHostUnregister(mapped);
    munmap(mapped, bytes_);
    return false;
  }
  host_ = static_cast<uint32_t*>(mapped);
  device_ = reinterpret_cast<CUdeviceptr>(onDevice);
  return true;
}

bool StreamFlags::captures(cudaStream_t stream) const {
  if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) != cudaSuccess) return false;
  const bool wrote = write_(stream, onDevice(place_, 0), 0, CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS;
  const bool waited = wait_(stream, onDevice(place_, 0), 0, CU_STREAM_WAIT_VALUE_GEQ) == CUDA_SUCCESS;
  cudaGraph_t graph = nullptr;
  const bool ended = cudaStreamEndCapture(stream, &graph) == cudaSuccess;
  if (graph) cudaGraphDestroy(graph);
  return wrote && waited && ended;
}

bool StreamFlags::raiseOthers() const {
  cudaStream_t stream = nullptr;
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) return false;
  bool works = captures(stream);
  for (size_t place = 0; place < ranks_; place++) {
    if (place != place_)
      works = works && write_(stream, onDevice(place, place_), 1, CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS;
  }
  works = works && cudaStreamSynchronize(stream) == cudaSuccess;
  cudaStreamDestroy(stream);
  return works;
}

bool StreamFlags::othersRaised() const {
  bool raised = true;
  for (size_t place = 0; place < ranks_; place++) {
    if (place != place_) raised = raised && *onHost(place_, place) == 1;
    *onHost(place_, place) = 0;
  }
  return raised;
}

void StreamFlags::close() {
  if (host_) {
    (void)cudaHostUnregister(host_);
    munmap(host_, bytes_);
  }
  host_ = nullptr;
}

void StreamFlags::raise(cudaStream_t stream, size_t place, size_t word) const {
  checkDriver(write_(stream, onDevice(place, word), 1, CU_STREAM_WRITE_VALUE_DEFAULT), "raising");
}

void StreamFlags::await(cudaStream_t stream, size_t word) const {
  checkDriver(wait_(stream, onDevice(place_, word), 1, CU_STREAM_WAIT_VALUE_GEQ), "waiting for");
  checkDriver(write_(stream, onDevice(place_, word), 0, CU_STREAM_WRITE_VALUE_DEFAULT), "lowering");
}

void StreamFlags::raiseAll() const {
  for (size_t word = 0; host_ && word < words_; word++) *onHost(place_, word) = 1;
}

}  // namespace galvatron::cuda
