// GELU in its tanh and erf forms (Hendrycks & Gimpel 2016) with bias, SwiGLU (Shazeer 2020), and their gradients.
// CPU twins: Add, Mul, Pow, Tanh; Sigmoid, Mul (see kernels.h).
#include "column-sum.cuh"

namespace gv {
namespace {

// tanh-GELU as x * sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): exact in form, and accurate in the tails where
// 1 + tanh cancels.
constexpr float kScale = 0.7978845608028654f, kCubic = 0.044715f;

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
template <bool TANH>
__device__ __forceinline__ float gelu(float x) {
  if constexpr (!TANH) return 0.5f * x * erfcf(-0.7071067811865476f * x);
  const float u = kScale * x * (1.0f + kCubic * x * x);
  return x * sigmoid(2.0f * u);
}
template <bool TANH>
__device__ __forceinline__ float gelu_slope(float x) {
  // Phi(x) + x phi(x)
  if constexpr (!TANH) return 0.5f * erfcf(-0.7071067811865476f * x) + x * 0.3989422804014327f * __expf(-0.5f * x * x);
  const float square = x * x;
  const float s = sigmoid(2.0f * kScale * x * (1.0f + kCubic * square));
  return s + x * s * (1.0f - s) * 2.0f * kScale * (1.0f + 3.0f * kCubic * square);
}

template <typename T, bool TANH>
__global__ void __launch_bounds__(256)
    gelu_forward(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y, int64_t packs,
                 int64_t row_packs) {
  const int64_t step = int64_t{gridDim.x} * 256;
  for (int64_t p = int64_t{blockIdx.x} * 256 + threadIdx.x; p < packs; p += step) {
    float v[8];
    load8(x + p * 8, v);
    if (bias) {
      float b[8];
      load8(bias + (p % row_packs) * 8, b);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += b[j];
    }
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = gelu<TANH>(v[j]);
    store8(y + p * 8, v);
  }
}

template <typename T, bool TANH>
__global__ void gelu_forward_any(const T* x, const T* bias, T* y, int64_t count, int64_t columns) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) y[i] = from_float<T>(gelu<TANH>(as_float(x[i]) + (bias ? as_float(bias[i % columns]) : 0.0f)));
}

template <typename T, bool TANH>
struct GeluGradient {
  const T *dy, *x, *bias;
  T* dx;
  int64_t columns;
  __device__ __forceinline__ void pack(int64_t row, int64_t column, float (&v)[8]) const {
    float d[8];
    load8(x + row * columns + column, v);
    load8(dy + row * columns + column, d);
    if (bias) {
      float b[8];
      load8(bias + column, b);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += b[j];
    }
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = d[j] * gelu_slope<TANH>(v[j]);
    store8(dx + row * columns + column, v);
  }
  __device__ __forceinline__ float one(int64_t row, int64_t column) const {
    const int64_t i = row * columns + column;
    const float v = as_float(dy[i]) * gelu_slope<TANH>(as_float(x[i]) + (bias ? as_float(bias[column]) : 0.0f));
    dx[i] = from_float<T>(v);
    return v;
  }
};

template <typename T>
__global__ void __launch_bounds__(256)
    swiglu_forward(const T* __restrict__ gate, const T* __restrict__ up, int64_t stride, T* __restrict__ y,
                   int64_t packs, int64_t row_packs) {
  const int64_t step = int64_t{gridDim.x} * 256;
  for (int64_t p = int64_t{blockIdx.x} * 256 + threadIdx.x; p < packs; p += step) {
    const int64_t at = p / row_packs * stride + p % row_packs * 8;
    float g[8], u[8];
    load8(gate + at, g);
    load8(up + at, u);
#pragma unroll
    for (int j = 0; j < 8; j++) u[j] *= g[j] * sigmoid(g[j]);
    store8(y + p * 8, u);
  }
}

template <typename T>
__global__ void swiglu_forward_any(const T* gate, const T* up, int64_t stride, T* y, int64_t count, int64_t columns) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t at = i / columns * stride + i % columns;
  const float g = as_float(gate[at]);
  y[i] = from_float<T>(g * sigmoid(g) * as_float(up[at]));
}

template <typename T>
__global__ void __launch_bounds__(256)
    swiglu_backward(const T* __restrict__ dy, const T* gate, const T* up, int64_t stride, T* gate_gradient,
                    T* up_gradient, int64_t gradient_stride, int64_t packs, int64_t row_packs) {
  const int64_t step = int64_t{gridDim.x} * 256;
  for (int64_t p = int64_t{blockIdx.x} * 256 + threadIdx.x; p < packs; p += step) {
    const int64_t row = p / row_packs, column = p % row_packs * 8;
    float d[8], g[8], u[8];
    load8(dy + p * 8, d);
    load8(gate + row * stride + column, g);
    load8(up + row * stride + column, u);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float s = sigmoid(g[j]), silu = g[j] * s;
      const float gate_slope = d[j] * u[j] * (s + silu * (1.0f - s));
      u[j] = d[j] * silu;
      g[j] = gate_slope;
    }
    store8(gate_gradient + row * gradient_stride + column, g);
    store8(up_gradient + row * gradient_stride + column, u);
  }
}

template <typename T>
__global__ void swiglu_backward_any(const T* dy, const T* gate, const T* up, int64_t stride, T* gate_gradient,
                                    T* up_gradient, int64_t gradient_stride, int64_t count, int64_t columns) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int64_t row = i / columns, column = i % columns;
  const float d = as_float(dy[i]), g = as_float(gate[row * stride + column]), u = as_float(up[row * stride + column]);
  const float s = sigmoid(g), silu = g * s;
  gate_gradient[row * gradient_stride + column] = from_float<T>(d * u * (s + silu * (1.0f - s)));
  up_gradient[row * gradient_stride + column] = from_float<T>(d * silu);
}

unsigned pack_grid(int64_t packs) { return static_cast<unsigned>((packs + 255) / 256); }
unsigned element_grid(int64_t count) { return static_cast<unsigned>((count + 255) / 256); }

template <typename T, bool TANH>
int gelu_forward_typed(cudaStream_t stream, const T* x, const T* bias, T* y, int64_t rows, int64_t columns) {
  const int64_t count = rows * columns;
  if ((bias ? columns : count) % 8 == 0 && aligned16(x) && aligned16(bias) && aligned16(y))
    gelu_forward<T, TANH><<<pack_grid(count / 8), 256, 0, stream>>>(x, bias, y, count / 8, bias ? columns / 8 : 1);
  else
    gelu_forward_any<T, TANH><<<element_grid(count), 256, 0, stream>>>(x, bias, y, count, columns);
  return launched("gelu forward");
}
template <typename T, bool TANH>
int gelu_backward_typed(cudaStream_t stream, int gradient_type, int accumulate, const void* dy, const void* x,
                        const void* bias, void* dx, void* bias_gradient, int64_t rows, int64_t columns) {
  const GeluGradient<T, TANH> source{static_cast<const T*>(dy), static_cast<const T*>(x),
                                     static_cast<const T*>(bias), static_cast<T*>(dx), columns};
  return column_sums(stream, gradient_type, accumulate, source, bias_gradient, rows, columns,
                     columns % 8 == 0 && aligned16(dy) && aligned16(x) && aligned16(bias) && aligned16(dx));
}
template <typename T>
int swiglu_forward_typed(cudaStream_t stream, const T* gate, const T* up, int64_t stride, T* y, int64_t rows,
                         int64_t columns) {
  const int64_t count = rows * columns;
  if (columns % 8 == 0 && stride % 8 == 0 && aligned16(gate) && aligned16(up) && aligned16(y))
    swiglu_forward<<<pack_grid(count / 8), 256, 0, stream>>>(gate, up, stride, y, count / 8, columns / 8);
  else
    swiglu_forward_any<<<element_grid(count), 256, 0, stream>>>(gate, up, stride, y, count, columns);
  return launched("swiglu forward");
}
template <typename T>
int swiglu_backward_typed(cudaStream_t stream, const T* dy, const T* gate, const T* up, int64_t stride, T* dgate,
                          T* dup, int64_t gradient_stride, int64_t rows, int64_t columns) {
  const int64_t count = rows * columns;
  if (columns % 8 == 0 && stride % 8 == 0 && gradient_stride % 8 == 0 && aligned16(dy) && aligned16(gate) &&
      aligned16(up) && aligned16(dgate) && aligned16(dup))
    swiglu_backward<<<pack_grid(count / 8), 256, 0, stream>>>(dy, gate, up, stride, dgate, dup, gradient_stride,
                                                             count / 8, columns / 8);
  else
    swiglu_backward_any<<<element_grid(count), 256, 0, stream>>>(dy, gate, up, stride, dgate, dup, gradient_stride,
                                                                 count, columns);
  return launched("swiglu backward");
}

}  // namespace
}  // namespace gv

using gv::bf16;

extern "C" int gv_gelu_forward(gv_stream stream, int type, int tanh_form, const void* x, const void* bias, void* y,
                               int64_t rows, int64_t columns) {
  if (rows * columns == 0) return 0;
#define GV_CALL(T, TANH)                                                                                        \
  gv::gelu_forward_typed<T, TANH>(stream, static_cast<const T*>(x), static_cast<const T*>(bias), static_cast<T*>(y), \
                                  rows, columns)
  if (type == GV_BFLOAT16) return tanh_form ? GV_CALL(bf16, true) : GV_CALL(bf16, false);
  return tanh_form ? GV_CALL(float, true) : GV_CALL(float, false);
#undef GV_CALL
}

extern "C" int gv_gelu_backward(gv_stream stream, int type, int gradient_type, int tanh_form, int accumulate,
                                const void* dy, const void* x, const void* bias, void* dx, void* bias_gradient,
                                int64_t rows, int64_t columns) {
#define GV_CALL(T, TANH) \
  gv::gelu_backward_typed<T, TANH>(stream, gradient_type, accumulate, dy, x, bias, dx, bias_gradient, rows, columns)
  if (type == GV_BFLOAT16) return tanh_form ? GV_CALL(bf16, true) : GV_CALL(bf16, false);
  return tanh_form ? GV_CALL(float, true) : GV_CALL(float, false);
#undef GV_CALL
}

extern "C" int gv_swiglu_forward(gv_stream stream, int type, const void* gate, const void* up, int64_t input_stride,
                                 void* y, int64_t rows, int64_t columns) {
  if (rows * columns == 0) return 0;
  if (type == GV_BFLOAT16)
    return gv::swiglu_forward_typed(stream, static_cast<const bf16*>(gate), static_cast<const bf16*>(up), input_stride,
                                    static_cast<bf16*>(y), rows, columns);
  return gv::swiglu_forward_typed(stream, static_cast<const float*>(gate), static_cast<const float*>(up), input_stride,
                                  static_cast<float*>(y), rows, columns);
}

extern "C" int gv_swiglu_backward(gv_stream stream, int type, const void* dy, const void* gate, const void* up,
                                  int64_t input_stride, void* gate_gradient, void* up_gradient,
                                  int64_t gradient_stride, int64_t rows, int64_t columns) {
  if (rows * columns == 0) return 0;
  if (type == GV_BFLOAT16)
    return gv::swiglu_backward_typed(stream, static_cast<const bf16*>(dy), static_cast<const bf16*>(gate),
                                     static_cast<const bf16*>(up), input_stride, static_cast<bf16*>(gate_gradient),
                                     static_cast<bf16*>(up_gradient), gradient_stride, rows, columns);
  return gv::swiglu_backward_typed(stream, static_cast<const float*>(dy), static_cast<const float*>(gate),
                                   static_cast<const float*>(up), input_stride, static_cast<float*>(gate_gradient),
                                   static_cast<float*>(up_gradient), gradient_stride, rows, columns);
}
