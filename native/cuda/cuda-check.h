#pragma once

#include <cuda_runtime.h>

#include <string>

#include "failure.h"
#include "kernels/kernels.h"

namespace galvatron::cuda {

inline void check(cudaError_t error, const std::string& doing) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();
  throw deviceFailed("CUDA: " + doing + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")");
}

// Of our own kernels.
inline void checkKernel(int code, const char* doing) {
  if (code != 0) throw deviceFailed(std::string("CUDA: ") + doing + ": " + gv_last_error());
}

}  // namespace galvatron::cuda
