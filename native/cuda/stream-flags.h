#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device.h"

namespace galvatron::cuda {

// Words by which streams of different ranks wait for each other without a kernel: a stream's queue itself waits
// (cuStreamWaitValue32), so no multiprocessor is taken meanwhile. Works inside captured graphs. The words lie in memory that
// the processes of a group share, for then the CPU can end a wait that no rank will, without asking the driver,
// which may be waiting for that very stream.
class StreamFlags {
 public:
  StreamFlags() = default;
  ~StreamFlags() { close(); }
  StreamFlags(const StreamFlags&) = delete;
  StreamFlags& operator=(const StreamFlags&) = delete;

  // Together with all ranks of the group: `words` for each of them, all lowered, and tried once. False for all where it does
  // not work for one of them.
  bool open(const std::vector<int>& ranks, size_t place, size_t words, Meeting& meeting);
  void close();

  // A word of the rank at a place; all that this stream did before is seen by who waits for it.
  void raise(cudaStream_t stream, size_t place, size_t word) const;
  // A word of this rank; lowers it again.
  void await(cudaStream_t stream, size_t word) const;
  // Raises all of this rank's words once, where a rank that would raise them is gone.
  void raiseAll() const;

 private:
  using Memory = CUresult (*)(CUstream, CUdeviceptr, cuuint32_t, unsigned int);

  bool map(const std::string& name, bool create);
  bool captures(cudaStream_t stream) const;
  bool raiseOthers() const;
  bool othersRaised() const;
  volatile uint32_t* onHost(size_t place, size_t word) const { return host_ + place * words_ + word; }
  CUdeviceptr onDevice(size_t place, size_t word) const { return device_ + (place * words_ + word) * sizeof(uint32_t); }

  Memory write_ = nullptr;
  Memory wait_ = nullptr;
  uint32_t* host_ = nullptr;
  CUdeviceptr device_ = 0;
  size_t bytes_ = 0;
  size_t ranks_ = 0;
  size_t place_ = 0;
  size_t words_ = 0;
};

}  // namespace galvatron::cuda
