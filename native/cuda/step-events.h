#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace galvatron::cuda {

// Events of a step: when instructions start and end (to read times), and that they have ended (to order streams).
// Times inside a captured graph need events that are recorded as nodes of it ("external"); ordering inside a capture
// needs the other kind.
class StepEvents {
 public:
  StepEvents() = default;
  ~StepEvents() { clear(); }
  StepEvents(const StepEvents&) = delete;
  StepEvents& operator=(const StepEvents&) = delete;

  void open(size_t instructions, bool timed);
  void clear();

  void recordStart(size_t instruction, cudaStream_t stream, bool capturing);
  void recordEnd(size_t instruction, cudaStream_t stream, bool capturing);
  void wait(size_t instruction, cudaStream_t stream) const;
  void stepBegins(cudaStream_t stream, bool capturing);
  void stepEnds(cudaStream_t stream, bool capturing);
  cudaEvent_t lastOfStep() const { return stepEnd_; }

  double stepMs() const;
  // [start0, end0, …] from the start of the step; zeros where times are not taken.
  void read(std::vector<double>& times) const;
  // False only when the instruction's end was recorded and has not been reached.
  bool reached(size_t instruction) const;

 private:
  bool timed_ = false;
  cudaEvent_t stepBegin_ = nullptr, stepEnd_ = nullptr;
  std::vector<cudaEvent_t> starts_, ends_, order_;
};

}  // namespace galvatron::cuda
