// AdamW (Loshchilov & Hutter 2019), the global norm and its clip factor (Pascanu et al. 2013).
// CPU twins: the host device's adamw, sumSquares and clip instructions.
#include "vector.cuh"

namespace gv {
namespace {

constexpr int kSumBlocks = 528;

template <typename T>
__global__ void __launch_bounds__(256)
    square_partials(const T* __restrict__ x, int64_t elements, double* __restrict__ partial, bool wide) {
  __shared__ double slots[8];
  double total = 0;
  const int64_t start = int64_t{blockIdx.x} * 256 + threadIdx.x, step = int64_t{gridDim.x} * 256;
  const int64_t packs = wide ? elements / 8 : 0;
#pragma unroll 2
  for (int64_t p = start; p < packs; p += step) {
    float v[8];
    load8(x + p * 8, v);
    // Eight squares of float32 values in float32 lose at most 4 ulp, then everything adds up in float64.
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 8; j++) sum += v[j] * v[j];
    total += sum;
  }
  for (int64_t i = packs * 8 + start; i < elements; i += step) {
    const double v = as_float(x[i]);
    total += v * v;
  }
  total = warp_sum(total);
  if ((threadIdx.x & 31) == 0) slots[threadIdx.x >> 5] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    total = 0;
    for (int i = 0; i < 8; i++) total += slots[i];
    partial[blockIdx.x] = total;
  }
}

__global__ void __launch_bounds__(1024)
    sum_partials(const double* __restrict__ partial, int64_t count, bool accumulate, double* out) {
  __shared__ double slots[32];
  double total = 0;
  for (int64_t i = threadIdx.x; i < count; i += 1024) total += partial[i];
  total = warp_sum(total);
  if ((threadIdx.x & 31) == 0) slots[threadIdx.x >> 5] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    total = accumulate ? *out : 0;
    for (int i = 0; i < 32; i++) total += slots[i];
    *out = total;
  }
}

__global__ void clip(const double* sum_squares, const float* hyper, float* out) {
  const double norm = sqrt(*sum_squares);
  const double most = hyper[7];
  const double factor = most > 0 ? most / (norm + 1e-6) : 1.0;
  out[0] = static_cast<float>(factor < 1.0 || factor != factor ? factor : 1.0);
  out[1] = static_cast<float>(norm);
}

struct Rates {
  float rate, beta1, beta2, epsilon, decay, correction1, correction2_root, factor;
};

__device__ __forceinline__ void update(const Rates& r, float gradient, float decay, float& p, float& m, float& v) {
  gradient *= r.factor;
  m = r.beta1 * m + (1.0f - r.beta1) * gradient;
  v = r.beta2 * v + (1.0f - r.beta2) * gradient * gradient;
  const float denominator = sqrtf(v) * r.correction2_root + r.epsilon;
  p -= r.rate * decay * p;
  p -= r.rate * (m * r.correction1) / denominator;
}

// What is read and written once only passes through the caches.
__device__ __forceinline__ void load4_streaming(const float* p, float (&v)[4]) {
  const float4 raw = __ldcs(reinterpret_cast<const float4*>(p));
  v[0] = raw.x, v[1] = raw.y, v[2] = raw.z, v[3] = raw.w;
}
__device__ __forceinline__ void load4_streaming(const bf16* p, float (&v)[4]) {
  const uint2 raw = __ldcs(reinterpret_cast<const uint2*>(p));
  v[0] = __uint_as_float(raw.x << 16), v[1] = __uint_as_float(raw.x & 0xffff0000u);
  v[2] = __uint_as_float(raw.y << 16), v[3] = __uint_as_float(raw.y & 0xffff0000u);
}
__device__ __forceinline__ void store4_streaming(float* p, const float (&v)[4]) {
  __stcs(reinterpret_cast<float4*>(p), make_float4(v[0], v[1], v[2], v[3]));
}
__device__ __forceinline__ void store4_streaming(bf16* p, const float (&v)[4]) {
  const __nv_bfloat162 low = __floats2bfloat162_rn(v[0], v[1]), high = __floats2bfloat162_rn(v[2], v[3]);
  __stcs(reinterpret_cast<uint2*>(p),
         make_uint2(*reinterpret_cast<const uint32_t*>(&low), *reinterpret_cast<const uint32_t*>(&high)));
}

template <typename G>
__global__ void __launch_bounds__(256)
    adamw(float* __restrict__ parameter, const G* __restrict__ gradient, float* __restrict__ moment1,
          float* __restrict__ moment2, bf16* __restrict__ copy, int64_t elements, int64_t decay_elements,
          const float* __restrict__ hyper, const float* __restrict__ clip_factor, bool wide) {
  const Rates r{hyper[0],        hyper[1],        hyper[2], hyper[3], hyper[4], 1.0f / hyper[5], rsqrtf(hyper[6]),
                clip_factor ? clip_factor[0] : 1.0f};
  const int64_t place = int64_t{blockIdx.x} * 256 + threadIdx.x;
  // Four elements a load, so that a warp's lie side by side, and one pack a thread: blocks that come and go keep the memory
  // busier than fewer ones that loop (2,966 GB/s beside 2,775 on H100).
  const int64_t packs = wide ? elements / 4 : 0;
  if (place < packs) {
    const int64_t at = place * 4;
    float p[4], g[4], m[4], v[4];
    load4_streaming(parameter + at, p);
    load4_streaming(gradient + at, g);
    load4_streaming(moment1 + at, m);
    load4_streaming(moment2 + at, v);
#pragma unroll
    for (int j = 0; j < 4; j++) update(r, g[j], at + j < decay_elements ? r.decay : 0.0f, p[j], m[j], v[j]);
    store4_streaming(parameter + at, p);
    store4_streaming(moment1 + at, m);
    store4_streaming(moment2 + at, v);
    if (copy) store4_streaming(copy + at, p);
  }
  const int64_t i = packs * 4 + place;
  if (i < elements) {
    float p = parameter[i], m = moment1[i], v = moment2[i];
    update(r, as_float(gradient[i]), i < decay_elements ? r.decay : 0.0f, p, m, v);
    parameter[i] = p;
    moment1[i] = m;
    moment2[i] = v;
    if (copy) copy[i] = from_float<bf16>(p);
  }
}

}  // namespace
}  // namespace gv

extern "C" int gv_sum_squares(gv_stream stream, const int* types, const void* const* tensors, const int64_t* elements,
                              int count, int accumulate, double* out) {
  using namespace gv;
  double* partial = static_cast<double*>(gv_scratch(stream, static_cast<size_t>(count) * kSumBlocks * 8));
  if (!partial) return -1;
  int64_t used = 0;
  for (int i = 0; i < count; i++) {
    if (elements[i] == 0) continue;
    const int64_t needed = (elements[i] + 4095) / 4096;
    const unsigned grid = static_cast<unsigned>(needed < kSumBlocks ? needed : kSumBlocks);
    const bool wide = aligned16(tensors[i]);
    if (types[i] == GV_BFLOAT16)
      square_partials<<<grid, 256, 0, stream>>>(static_cast<const bf16*>(tensors[i]), elements[i], partial + used, wide);
    else
      square_partials<<<grid, 256, 0, stream>>>(static_cast<const float*>(tensors[i]), elements[i], partial + used,
                                                wide);
    used += grid;
  }
  sum_partials<<<1, 1024, 0, stream>>>(partial, used, accumulate != 0, out);
  return launched("sum of squares");
}

extern "C" int gv_clip(gv_stream stream, const double* sum_squares, const float* hyper, float* out) {
  gv::clip<<<1, 1, 0, stream>>>(sum_squares, hyper, out);
  return gv::launched("clip");
}

extern "C" int gv_adamw(gv_stream stream, int gradient_type, float* parameter, const void* gradient, float* moment1,
                        float* moment2, void* copy, int64_t elements, int64_t decay_elements, const float* hyper,
                        const float* clip) {
  using namespace gv;
  if (elements == 0) return 0;
  const bool wide = aligned16(parameter) && aligned16(gradient) && aligned16(moment1) && aligned16(moment2) &&
                    aligned16(copy);
  const int64_t packs = wide ? elements / 4 : 0, rest = elements - packs * 4;
  const unsigned grid = static_cast<unsigned>(((packs > rest ? packs : rest) + 255) / 256);
  if (gradient_type == GV_BFLOAT16)
    adamw<<<grid, 256, 0, stream>>>(parameter, static_cast<const bf16*>(gradient), moment1, moment2,
                                    static_cast<bf16*>(copy), elements, decay_elements, hyper, clip, wide);
  else
    adamw<<<grid, 256, 0, stream>>>(parameter, static_cast<const float*>(gradient), moment1, moment2,
                                    static_cast<bf16*>(copy), elements, decay_elements, hyper, clip, wide);
  return launched("adamw");
}
