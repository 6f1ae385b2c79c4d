// Loads, stores, conversions and reductions that the kernels share.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels.h"

namespace gv {

using bf16 = __nv_bfloat16;

int fail(cudaError_t error, const char* where);
int fail_message(const char* format, ...);
inline int launched(const char* where) {
  const cudaError_t error = cudaPeekAtLastError();
  return error == cudaSuccess ? 0 : fail(cudaGetLastError(), where);
}
int multiprocessors();

__device__ __forceinline__ float as_float(float v) { return v; }
__device__ __forceinline__ float as_float(bf16 v) { return __bfloat162float(v); }
template <typename T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) { return v; }
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float v) { return __float2bfloat16_rn(v); }

// Eight elements, kept as they lie in memory.
template <typename T>
struct Raw8;
template <>
struct Raw8<bf16> {
  uint4 a;
  __device__ __forceinline__ void load(const bf16* p) { a = *reinterpret_cast<const uint4*>(p); }
  __device__ __forceinline__ void unpack(float (&v)[8]) const {
    const uint32_t w[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      v[2 * i] = __uint_as_float(w[i] << 16);
      v[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    }
  }
};
template <>
struct Raw8<float> {
  float4 a, b;
  __device__ __forceinline__ void load(const float* p) {
    a = reinterpret_cast<const float4*>(p)[0];
    b = reinterpret_cast<const float4*>(p)[1];
  }
  __device__ __forceinline__ void unpack(float (&v)[8]) const {
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
  }
};

template <typename T>
__device__ __forceinline__ void load8(const T* p, float (&v)[8]) {
  Raw8<T> raw;
  raw.load(p);
  raw.unpack(v);
}
__device__ __forceinline__ void store8(float* p, const float (&v)[8]) {
  reinterpret_cast<float4*>(p)[0] = make_float4(v[0], v[1], v[2], v[3]);
  reinterpret_cast<float4*>(p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}
__device__ __forceinline__ void store8(bf16* p, const float (&v)[8]) {
  uint32_t w[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    w[i] = *reinterpret_cast<const uint32_t*>(&pair);
  }
  *reinterpret_cast<uint4*>(p) = make_uint4(w[0], w[1], w[2], w[3]);
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) v += __shfl_xor_sync(0xffffffffu, v, i);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, i));
  return v;
}
__device__ __forceinline__ double warp_sum(double v) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) v += __shfl_xor_sync(0xffffffffu, v, i);
  return v;
}

// Sum over the block's WARPS warps; every thread gets it. `slots` must not be reused before the next barrier, so
// callers in a loop alternate between two.
template <int WARPS>
__device__ __forceinline__ float2 block_sum2(float a, float b, float2* slots) {
  a = warp_sum(a);
  b = warp_sum(b);
  if constexpr (WARPS == 1) return make_float2(a, b);
  const int warp = threadIdx.x >> 5;
  if ((threadIdx.x & 31) == 0) slots[warp] = make_float2(a, b);
  __syncthreads();
  a = 0, b = 0;
#pragma unroll
  for (int i = 0; i < WARPS; i++) {
    a += slots[i].x;
    b += slots[i].y;
  }
  return make_float2(a, b);
}

inline bool aligned16(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15) == 0; }

// out[c] = (accumulate ? out[c] : 0) + sum over rows of partial[r, c], in the order of the rows.
int reduce_partials(gv_stream stream, int out_type, int accumulate, const float* partial, int64_t rows,
                    int64_t columns, int64_t partial_stride, void* out);

}  // namespace gv
