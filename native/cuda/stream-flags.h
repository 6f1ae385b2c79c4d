#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace galvatron::cuda {

// Words in this rank's device memory by which streams of different ranks wait for each other without a kernel: a stream's
// queue itself waits (cuStreamWaitValue32), so no multiprocessor is taken meanwhile. Works inside captured graphs.
class StreamFlags {
 public:
  StreamFlags() = default;
  ~StreamFlags() { close(); }
  StreamFlags(const StreamFlags&) = delete;
  StreamFlags& operator=(const StreamFlags&) = delete;

  // All lowered. False where driver or device cannot do it; then nothing is held.
  bool open(size_t words);
  void close();
  bool isOpen() const { return words_ != nullptr; }
  uint32_t* words() const { return words_; }

  // A word of any rank; all that this stream did before is seen by who waits for it.
  void raise(cudaStream_t stream, uint32_t* word) const;
  // A word of this rank; lowers it again.
  void await(cudaStream_t stream, uint32_t* word) const;
  // From the host: raises another rank's word, tells whether one of this rank's is raised, lowers some of this rank's.
  bool tryRaise(uint32_t* word) const;
  bool isRaised(const uint32_t* word) const;
  bool lower(uint32_t* words, size_t count) const;
  // Raises all of this rank's words once, where a rank that would raise them is gone. Does not wait for it.
  void raiseAll() const;

 private:
  using Memory = CUresult (*)(CUstream, CUdeviceptr, cuuint32_t, unsigned int);

  bool captures() const;

  Memory write_ = nullptr;
  Memory wait_ = nullptr;
  uint32_t* words_ = nullptr;
  size_t count_ = 0;
  cudaStream_t releasing_ = nullptr;
};

}  // namespace galvatron::cuda
