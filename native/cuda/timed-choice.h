// Choosing by the clock between ways to the same result.
#pragma once
#include <cuda_runtime.h>
#include <stdlib.h>

namespace gv {

// Whether `stream` may be used for trials: never while it is captured, nor where GALVATRON_MATMUL_TUNE=0 forbids them.
inline bool may_time(cudaStream_t stream) {
  const char* tune = getenv("GALVATRON_MATMUL_TUNE");
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(stream, &capture);
  return !(tune && *tune == '0') && capture == cudaStreamCaptureStatusNone;
}

// The fastest of `count` ways, all of which overwrite one result. `run(i)` is 0 where way i works; the first time it is
// not timed, for it may have choices of its own. A later way must take less than `clearly` of the best before it: a cool
// GPU tells little of one at its power limit.
template <typename Run>
int fastest_of(cudaStream_t stream, int count, float clearly, Run run) {
  constexpr int kRounds = 3;
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  int best = 0;
  float best_ms = 1e30f;
  for (int i = 0; i < count; i++) {
    if (run(i) != 0) continue;
    cudaEventRecord(begin, stream);
    for (int round = 0; round < kRounds; round++) (void)run(i);
    cudaEventRecord(end, stream);
    cudaEventSynchronize(end);
    float ms = 1e30f;
    cudaEventElapsedTime(&ms, begin, end);
    if (ms < best_ms * clearly) {
      best_ms = ms;
      best = i;
    }
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return best;
}

}  // namespace gv
