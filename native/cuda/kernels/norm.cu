// Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019) with residual, forward and backward.
// CPU twin: the decomposition into Add, ReduceMean, Sub, Mul, Sqrt, Reciprocal in float32 (see kernels.h).
#include "vector.cuh"

namespace gv {
namespace {

constexpr int kForwardThreads = 128;

// WARPS warps share one row; each thread holds PACKS x 8 elements in registers, so the row is read once.
template <typename T, bool RMS, bool RESIDUAL, int WARPS, int PACKS>
__global__ void __launch_bounds__(kForwardThreads)
    norm_forward(const T* __restrict__ x, const T* __restrict__ residual, const T* __restrict__ gamma,
                 const T* __restrict__ beta, T* sum_out, T* __restrict__ y, float* __restrict__ mean_out,
                 float* __restrict__ rstd_out, int64_t rows, int columns, float epsilon) {
  constexpr int kLanes = WARPS * 32;
  __shared__ float2 slots[2][kForwardThreads / 32];
  const int group = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int64_t row = int64_t{blockIdx.x} * (kForwardThreads / kLanes) + group;
  if (WARPS == 1 && row >= rows) return;  // with four warps there is one row a block, never past the end
  const T* in = x + row * columns;
  Raw8<T> raw[PACKS];
  Raw8<T> extra[RESIDUAL ? PACKS : 1];
#pragma unroll
  for (int i = 0; i < PACKS; i++) {
    const int at = (lane + i * kLanes) * 8;
    if (at < columns) {
      raw[i].load(in + at);
      if constexpr (RESIDUAL) extra[i].load(residual + row * columns + at);
    }
  }
  float total = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < PACKS; i++) {
    const int at = (lane + i * kLanes) * 8;
    if (at < columns) {
      float v[8];
      raw[i].unpack(v);
      if constexpr (RESIDUAL) {
        float r[8];
        extra[i].unpack(r);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] += r[j];
        store8(sum_out + row * columns + at, v);
        // The rounded sum is what backward sees, so normalise exactly that.
        if constexpr (sizeof(T) == 2) {
          float rounded[8];
#pragma unroll
          for (int j = 0; j < 8; j++) rounded[j] = as_float(from_float<T>(v[j]));
#pragma unroll
          for (int j = 0; j < 8; j++) v[j] = rounded[j];
          uint32_t w[4];
#pragma unroll
          for (int j = 0; j < 4; j++)
            w[j] = (__float_as_uint(v[2 * j]) >> 16) | (__float_as_uint(v[2 * j + 1]) & 0xffff0000u);
          *reinterpret_cast<uint4*>(&raw[i]) = make_uint4(w[0], w[1], w[2], w[3]);
        } else {
          reinterpret_cast<float4*>(&raw[i])[0] = make_float4(v[0], v[1], v[2], v[3]);
          reinterpret_cast<float4*>(&raw[i])[1] = make_float4(v[4], v[5], v[6], v[7]);
        }
      }
#pragma unroll
      for (int j = 0; j < 8; j++) {
        total += v[j];
        if constexpr (RMS) squares += v[j] * v[j];
      }
    }
  }
  float mean = 0;
  if constexpr (!RMS) {
    mean = block_sum2<WARPS>(total, 0, slots[0]).x / columns;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      if ((lane + i * kLanes) * 8 < columns) {
        float v[8];
        raw[i].unpack(v);
#pragma unroll
        for (int j = 0; j < 8; j++) squares += (v[j] - mean) * (v[j] - mean);
      }
    }
  }
  const float variance = block_sum2<WARPS>(squares, 0, slots[1]).x / columns;
  const float rstd = rsqrtf(variance + epsilon);
  if (lane == 0) {
    if (!RMS && mean_out) mean_out[row] = mean;
    if (rstd_out) rstd_out[row] = rstd;
  }
#pragma unroll
  for (int i = 0; i < PACKS; i++) {
    const int at = (lane + i * kLanes) * 8;
    if (at < columns) {
      float v[8], g[8], b[8];
      raw[i].unpack(v);
      load8(gamma + at, g);
      if constexpr (!RMS) load8(beta + at, b);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] = RMS ? v[j] * rstd * g[j] : (v[j] - mean) * rstd * g[j] + b[j];
      store8(y + row * columns + at, v);
    }
  }
}

// Any width and alignment, one element at a time: for odd shapes.
template <typename T, bool RMS>
__global__ void __launch_bounds__(256)
    norm_forward_any(const T* x, const T* residual, const T* gamma, const T* beta, T* sum_out, T* y, float* mean_out,
                     float* rstd_out, int64_t columns, float epsilon) {
  __shared__ float2 slots[2][8];
  const int64_t base = int64_t{blockIdx.x} * columns;
  float total = 0;
  for (int64_t c = threadIdx.x; c < columns; c += 256) {
    float v = as_float(x[base + c]);
    if (residual) {
      const T rounded = from_float<T>(v + as_float(residual[base + c]));
      sum_out[base + c] = rounded;
      v = as_float(rounded);
    }
    total += v;
  }
  const T* in = residual ? sum_out : x;  // each thread reads back only what it wrote
  const float mean = RMS ? 0 : block_sum2<8>(total, 0, slots[0]).x / columns;
  float squares = 0;
  for (int64_t c = threadIdx.x; c < columns; c += 256) {
    const float v = as_float(in[base + c]) - mean;
    squares += v * v;
  }
  const float rstd = rsqrtf(block_sum2<8>(squares, 0, slots[1]).x / columns + epsilon);
  if (threadIdx.x == 0) {
    if (!RMS && mean_out) mean_out[blockIdx.x] = mean;
    if (rstd_out) rstd_out[blockIdx.x] = rstd;
  }
  for (int64_t c = threadIdx.x; c < columns; c += 256) {
    const float v = (as_float(in[base + c]) - mean) * rstd * as_float(gamma[c]);
    y[base + c] = from_float<T>(RMS ? v : v + as_float(beta[c]));
  }
}

// One row at a time per block, next row's loads in flight; every thread keeps the sums of its own columns over the
// block's rows, which end in `partial` [blocks, RMS ? 1 : 2, columns].
template <typename T, bool RMS, bool RESIDUAL, int WARPS, int PACKS>
__global__ void __launch_bounds__(WARPS * 32, PACKS == 1 && sizeof(T) == 2 ? 32 / WARPS : 1)
    norm_backward(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ gamma,
                  const float* __restrict__ means, const float* __restrict__ rstds, const T* __restrict__ residual,
                  T* dx, float* __restrict__ partial, int64_t rows, int columns) {
  constexpr int kLanes = WARPS * 32;
  __shared__ float2 slots[2][WARPS];
  float gamma_sum[PACKS][8], beta_sum[PACKS][8];
  Raw8<T> gammas[PACKS];
#pragma unroll
  for (int i = 0; i < PACKS; i++) {
    const int at = (threadIdx.x + i * kLanes) * 8;
    if (at < columns) gammas[i].load(gamma + at);
#pragma unroll
    for (int j = 0; j < 8; j++) gamma_sum[i][j] = beta_sum[i][j] = 0;
  }
  Raw8<T> next_dy[PACKS], next_x[PACKS], next_residual[RESIDUAL ? PACKS : 1];
  const auto fetch = [&](int64_t row) {
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      const int at = (threadIdx.x + i * kLanes) * 8;
      if (at < columns) {
        next_dy[i].load(dy + row * columns + at);
        next_x[i].load(x + row * columns + at);
        if constexpr (RESIDUAL) next_residual[i].load(residual + row * columns + at);
      }
    }
  };
  int64_t row = blockIdx.x;
  if (row < rows) fetch(row);
  const float inverse = 1.0f / columns;
  for (int turn = 0; row < rows; turn ^= 1) {
    Raw8<T> this_dy[PACKS], this_x[PACKS], this_residual[RESIDUAL ? PACKS : 1];
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      this_dy[i] = next_dy[i];
      this_x[i] = next_x[i];
      if constexpr (RESIDUAL) this_residual[i] = next_residual[i];
    }
    const int64_t following = row + gridDim.x;
    if (following < rows) fetch(following);
    const float mean = RMS ? 0 : means[row], rstd = rstds[row];
    float sum_g = 0, sum_gx = 0;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      if ((threadIdx.x + i * kLanes) * 8 < columns) {
        float d[8], v[8], g[8];
        this_dy[i].unpack(d);
        this_x[i].unpack(v);
        gammas[i].unpack(g);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          const float normal = (v[j] - mean) * rstd;
          gamma_sum[i][j] += d[j] * normal;
          if constexpr (!RMS) beta_sum[i][j] += d[j];
          sum_g += d[j] * g[j];
          sum_gx += d[j] * g[j] * normal;
        }
      }
    }
    const float2 sums = block_sum2<WARPS>(sum_g, sum_gx, slots[turn]);
    const float mean_g = RMS ? 0 : sums.x * inverse, mean_gx = sums.y * inverse;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      const int at = (threadIdx.x + i * kLanes) * 8;
      if (at < columns) {
        float d[8], v[8], g[8];
        this_dy[i].unpack(d);
        this_x[i].unpack(v);
        gammas[i].unpack(g);
#pragma unroll
        for (int j = 0; j < 8; j++) d[j] = rstd * (d[j] * g[j] - mean_g - (v[j] - mean) * rstd * mean_gx);
        if constexpr (RESIDUAL) {
          float r[8];
          this_residual[i].unpack(r);
#pragma unroll
          for (int j = 0; j < 8; j++) d[j] += r[j];
        }
        store8(dx + row * columns + at, d);
      }
    }
    row = following;
  }
  float* out = partial + int64_t{blockIdx.x} * (RMS ? 1 : 2) * columns;
#pragma unroll
  for (int i = 0; i < PACKS; i++) {
    const int at = (threadIdx.x + i * kLanes) * 8;
    if (at < columns) {
      store8(out + at, gamma_sum[i]);
      if constexpr (!RMS) store8(out + columns + at, beta_sum[i]);
    }
  }
}

template <typename T, bool RMS>
__global__ void __launch_bounds__(256)
    norm_backward_any(const T* dy, const T* x, const T* gamma, const float* means, const float* rstds,
                      const T* residual, T* dx, int64_t columns) {
  __shared__ float2 slots[8];
  const int64_t base = int64_t{blockIdx.x} * columns;
  const float mean = RMS ? 0 : means[blockIdx.x], rstd = rstds[blockIdx.x];
  float sum_g = 0, sum_gx = 0;
  for (int64_t c = threadIdx.x; c < columns; c += 256) {
    const float g = as_float(dy[base + c]) * as_float(gamma[c]);
    sum_g += g;
    sum_gx += g * (as_float(x[base + c]) - mean) * rstd;
  }
  const float2 sums = block_sum2<8>(sum_g, sum_gx, slots);
  const float mean_g = RMS ? 0 : sums.x / columns, mean_gx = sums.y / columns;
  for (int64_t c = threadIdx.x; c < columns; c += 256) {
    const float g = as_float(dy[base + c]) * as_float(gamma[c]);
    float d = rstd * (g - mean_g - (as_float(x[base + c]) - mean) * rstd * mean_gx);
    if (residual) d += as_float(residual[base + c]);
    dx[base + c] = from_float<T>(d);
  }
}

// Column sums of dy * normal and dy for a chunk of rows, one column a thread.
template <typename T, bool RMS>
__global__ void __launch_bounds__(128)
    norm_partials_any(const T* dy, const T* x, const float* means, const float* rstds, float* partial, int64_t rows,
                      int64_t columns) {
  const int64_t c = int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= columns) return;
  float gamma_sum = 0, beta_sum = 0;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const float d = as_float(dy[row * columns + c]);
    gamma_sum += d * (as_float(x[row * columns + c]) - (RMS ? 0 : means[row])) * rstds[row];
    beta_sum += d;
  }
  float* out = partial + int64_t{blockIdx.y} * (RMS ? 1 : 2) * columns;
  out[c] = gamma_sum;
  if (!RMS) out[columns + c] = beta_sum;
}

template <typename T, bool RMS, bool RESIDUAL, int WARPS, int PACKS>
void launch_forward(cudaStream_t stream, const T* x, const T* residual, const T* gamma, const T* beta, T* sum, T* y,
                    float* mean, float* rstd, int64_t rows, int columns, float epsilon) {
  constexpr int kRows = kForwardThreads / (WARPS * 32);
  norm_forward<T, RMS, RESIDUAL, WARPS, PACKS><<<static_cast<unsigned>((rows + kRows - 1) / kRows), kForwardThreads, 0,
                                                 stream>>>(x, residual, gamma, beta, sum, y, mean, rstd, rows, columns,
                                                           epsilon);
}

template <typename T, bool RMS, bool RESIDUAL>
int forward(cudaStream_t stream, const T* x, const T* residual, const T* gamma, const T* beta, T* sum, T* y,
            float* mean, float* rstd, int64_t rows, int64_t columns, float epsilon) {
  const bool wide = columns % 8 == 0 && columns <= 8192 && aligned16(x) && aligned16(residual) && aligned16(gamma) &&
                    aligned16(beta) && aligned16(sum) && aligned16(y);
#define GV_FORWARD(W, P) \
  launch_forward<T, RMS, RESIDUAL, W, P>(stream, x, residual, gamma, beta, sum, y, mean, rstd, rows, int(columns), \
                                         epsilon)
  if (!wide) {
    norm_forward_any<T, RMS><<<static_cast<unsigned>(rows), 256, 0, stream>>>(x, residual, gamma, beta, sum, y, mean,
                                                                              rstd, columns, epsilon);
  } else if (columns <= 256) {
    GV_FORWARD(1, 1);
  } else if (columns <= 512) {
    GV_FORWARD(1, 2);
  } else if (columns <= 1024) {
    GV_FORWARD(1, 4);
  } else if (columns <= 2048) {
    GV_FORWARD(4, 2);
  } else if (columns <= 4096) {
    GV_FORWARD(4, 4);
  } else {
    GV_FORWARD(4, 8);
  }
#undef GV_FORWARD
  return launched("norm forward");
}

template <typename T>
int forward_typed(cudaStream_t stream, int rms, const void* x, const void* residual, const void* gamma,
                  const void* beta, void* sum, void* y, float* mean, float* rstd, int64_t rows, int64_t columns,
                  float epsilon) {
#define GV_CALL(RMS, RES) \
  forward<T, RMS, RES>(stream, static_cast<const T*>(x), static_cast<const T*>(residual), \
                       static_cast<const T*>(gamma), static_cast<const T*>(beta), static_cast<T*>(sum), \
                       static_cast<T*>(y), mean, rstd, rows, columns, epsilon)
  if (rms) return residual ? GV_CALL(true, true) : GV_CALL(true, false);
  return residual ? GV_CALL(false, true) : GV_CALL(false, false);
#undef GV_CALL
}

template <typename T, bool RMS, bool RESIDUAL>
int backward(cudaStream_t stream, int gradient_type, int accumulate, const T* dy, const T* x, const T* gamma,
             const float* mean, const float* rstd, const T* residual, T* dx, void* gamma_gradient,
             void* beta_gradient, int64_t rows, int64_t columns) {
  const bool wide = columns % 8 == 0 && columns <= 8192 && aligned16(dy) && aligned16(x) && aligned16(gamma) &&
                    aligned16(residual) && aligned16(dx);
  const int kinds = RMS ? 1 : 2;
  int64_t blocks = 0;
  float* partial = nullptr;
  const auto room_for = [&](int64_t most) {
    blocks = rows < most ? rows : most;
    partial = static_cast<float*>(gv_scratch(stream, static_cast<size_t>(blocks * kinds * columns) * 4));
    return partial != nullptr;
  };
  // As many blocks as run at once: each keeps sums of its own, and none waits for another to end.
  const auto launch = [&](auto* kernel, int warps) {
    int resident = 1;
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, warps * 32, 0);
    if (room_for(int64_t{resident} * multiprocessors()))
      kernel<<<static_cast<unsigned>(blocks), warps * 32, 0, stream>>>(dy, x, gamma, mean, rstd, residual, dx, partial,
                                                                       rows, int(columns));
  };
  if (!wide) {
    if (!room_for(64)) return -1;
    norm_backward_any<T, RMS><<<static_cast<unsigned>(rows), 256, 0, stream>>>(dy, x, gamma, mean, rstd, residual, dx,
                                                                               columns);
    const dim3 grid(static_cast<unsigned>((columns + 127) / 128), static_cast<unsigned>(blocks));
    norm_partials_any<T, RMS><<<grid, 128, 0, stream>>>(dy, x, mean, rstd, partial, rows, columns);
  } else if (columns <= 1024) {
    launch(norm_backward<T, RMS, RESIDUAL, 4, 1>, 4);
  } else if (columns <= 2048) {
    launch(norm_backward<T, RMS, RESIDUAL, 8, 1>, 8);
  } else if (columns <= 4096) {
    launch(norm_backward<T, RMS, RESIDUAL, 16, 1>, 16);
  } else {
    launch(norm_backward<T, RMS, RESIDUAL, 16, 2>, 16);
  }
  if (!partial) return -1;
  if (const int code = launched("norm backward")) return code;
  if (gamma_gradient) {
    if (const int code = reduce_partials(stream, gradient_type, accumulate, partial, blocks, columns, kinds * columns,
                                         gamma_gradient))
      return code;
  }
  if (!RMS && beta_gradient)
    return reduce_partials(stream, gradient_type, accumulate, partial + columns, blocks, columns, kinds * columns,
                           beta_gradient);
  return 0;
}

template <typename T>
int backward_typed(cudaStream_t stream, int gradient_type, int rms, int accumulate, const void* dy, const void* x,
                   const void* gamma, const float* mean, const float* rstd, const void* residual, void* dx,
                   void* gamma_gradient, void* beta_gradient, int64_t rows, int64_t columns) {
#define GV_CALL(RMS, RES) \
  backward<T, RMS, RES>(stream, gradient_type, accumulate, static_cast<const T*>(dy), static_cast<const T*>(x), \
                        static_cast<const T*>(gamma), mean, rstd, static_cast<const T*>(residual), \
                        static_cast<T*>(dx), gamma_gradient, beta_gradient, rows, columns)
  if (rms) return residual ? GV_CALL(true, true) : GV_CALL(true, false);
  return residual ? GV_CALL(false, true) : GV_CALL(false, false);
#undef GV_CALL
}

}  // namespace
}  // namespace gv

extern "C" int gv_norm_forward(gv_stream stream, int type, int rms, const void* x, const void* residual,
                               const void* gamma, const void* beta, void* sum, void* y, float* mean, float* rstd,
                               int64_t rows, int64_t columns, float epsilon) {
  if (rows == 0) return 0;
  return type == GV_BFLOAT16 ? gv::forward_typed<gv::bf16>(stream, rms, x, residual, gamma, beta, sum, y, mean, rstd,
                                                           rows, columns, epsilon)
                             : gv::forward_typed<float>(stream, rms, x, residual, gamma, beta, sum, y, mean, rstd,
                                                        rows, columns, epsilon);
}

extern "C" int gv_norm_backward(gv_stream stream, int type, int gradient_type, int rms, int accumulate,
                                const void* dy, const void* sum, const void* gamma, const float* mean,
                                const float* rstd, const void* residual_gradient, void* dx, void* gamma_gradient,
                                void* beta_gradient, int64_t rows, int64_t columns) {
  if (rows == 0) return 0;
  return type == GV_BFLOAT16
             ? gv::backward_typed<gv::bf16>(stream, gradient_type, rms, accumulate, dy, sum, gamma, mean, rstd,
                                            residual_gradient, dx, gamma_gradient, beta_gradient, rows, columns)
             : gv::backward_typed<float>(stream, gradient_type, rms, accumulate, dy, sum, gamma, mean, rstd,
                                         residual_gradient, dx, gamma_gradient, beta_gradient, rows, columns);
}
