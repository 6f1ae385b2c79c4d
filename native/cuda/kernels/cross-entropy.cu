// Softmax cross entropy and its gradient, without float32 logits, for a whole vocabulary or a rank's slice of one.
// CPU twin: Cast, ReduceMax, Exp, ReduceSum, Log, GatherElements; Softmax - OneHot (see kernels.h).
#include "vector.cuh"

namespace gv {
namespace {

constexpr int kThreads = 512;

// Maximum and sum of exp(v - maximum), merged pairwise.
struct Statistics {
  float maximum, sum;
};
__device__ __forceinline__ Statistics merge(Statistics a, Statistics b) {
  const float maximum = fmaxf(a.maximum, b.maximum);
  if (maximum == -INFINITY) return {maximum, 0};
  return {maximum, a.sum * __expf(a.maximum - maximum) + b.sum * __expf(b.maximum - maximum)};
}
__device__ __forceinline__ Statistics block_merge(Statistics mine, Statistics* slots) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1)
    mine = merge(mine, {__shfl_xor_sync(0xffffffffu, mine.maximum, i), __shfl_xor_sync(0xffffffffu, mine.sum, i)});
  if ((threadIdx.x & 31) == 0) slots[threadIdx.x >> 5] = mine;
  __syncthreads();
  mine = slots[0];
#pragma unroll
  for (int i = 1; i < kThreads / 32; i++) mine = merge(mine, slots[i]);
  return mine;
}

// Statistics of a row; with `keep`, the row is left in shared memory for a second pass.
template <typename T>
__device__ __forceinline__ Statistics row_statistics(const T* row, int64_t columns, int64_t valid, bool wide,
                                                     T* keep, Statistics* slots) {
  Statistics mine{-INFINITY, 0};
  if (wide) {
    const int64_t packs = columns / 8;
#pragma unroll 4
    for (int64_t p = threadIdx.x; p < packs; p += kThreads) {
      Raw8<T> raw;
      raw.load(row + p * 8);
      if (keep) *reinterpret_cast<Raw8<T>*>(keep + p * 8) = raw;
      float v[8];
      raw.unpack(v);
      if (p * 8 + 8 > valid) {
#pragma unroll
        for (int j = 0; j < 8; j++)
          if (p * 8 + j >= valid) v[j] = -INFINITY;
      }
      float largest = v[0];
#pragma unroll
      for (int j = 1; j < 8; j++) largest = fmaxf(largest, v[j]);
      if (largest > mine.maximum) {
        mine.sum *= __expf(mine.maximum - largest);
        mine.maximum = largest;
      }
      if (mine.maximum != -INFINITY) {
#pragma unroll
        for (int j = 0; j < 8; j++) mine.sum += __expf(v[j] - mine.maximum);
      }
    }
  } else {
    for (int64_t c = threadIdx.x; c < columns; c += kThreads) {
      const float v = c < valid ? as_float(row[c]) : -INFINITY;
      if (keep) keep[c] = row[c];
      mine = merge(mine, {v, v == -INFINITY ? 0.0f : 1.0f});
    }
  }
  return block_merge(mine, slots);
}

template <typename T>
__device__ __forceinline__ void write_gradient(const T* row, T* gradient, int64_t columns, int64_t valid, bool wide,
                                               float log_sum, float scale, int64_t label, bool counts) {
  if (!counts) scale = 0.0f;
  if (wide) {
    const int64_t packs = columns / 8;
#pragma unroll 4
    for (int64_t p = threadIdx.x; p < packs; p += kThreads) {
      float v[8];
      load8(row + p * 8, v);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] = __expf(v[j] - log_sum) * scale;
      if (label >= p * 8 && label < p * 8 + 8) {
#pragma unroll
        for (int j = 0; j < 8; j++)
          if (p * 8 + j == label) v[j] -= scale;
      }
      if (p * 8 + 8 > valid) {
#pragma unroll
        for (int j = 0; j < 8; j++)
          if (p * 8 + j >= valid) v[j] = 0.0f;
      }
      store8(gradient + p * 8, v);
    }
  } else {
    for (int64_t c = threadIdx.x; c < columns; c += kThreads)
      gradient[c] = from_float<T>(
          c < valid ? __expf(as_float(row[c]) - log_sum) * scale - (c == label ? scale : 0.0f) : 0.0f);
  }
}

// Columns of the slice that are no padding.
__device__ __forceinline__ int64_t valid_columns(int64_t columns, int64_t offset, int64_t vocabulary) {
  const int64_t left = vocabulary - offset;
  return left < 0 ? 0 : left < columns ? left : columns;
}

template <typename T, typename Label>
__global__ void __launch_bounds__(kThreads)
    cross_entropy(const T* logits, const Label* __restrict__ labels, float scale, float* __restrict__ row_loss,
                  float* __restrict__ log_sum_exp, T* gradient, int64_t columns, int64_t vocabulary, int64_t stride,
                  int64_t gradient_stride, bool wide, bool keep_row) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ Statistics slots[kThreads / 32];
  const int64_t r = blockIdx.x;
  const T* row = logits + r * stride;
  const int64_t label = static_cast<int64_t>(labels[r]);
  const int64_t valid = valid_columns(columns, 0, vocabulary);
  const bool counts = label >= 0;
  const float target = counts && label < columns ? as_float(row[label]) : 0.0f;
  T* keep = keep_row ? reinterpret_cast<T*>(shared) : nullptr;
  // Its barrier also orders the read of `target` before the gradient overwrites the row.
  const Statistics all = row_statistics(row, columns, valid, wide, keep, slots);
  const float log_sum = logf(all.sum) + all.maximum;
  if (threadIdx.x == 0) {
    row_loss[r] = counts ? (log_sum - target) * scale : 0.0f;
    if (log_sum_exp) log_sum_exp[r] = log_sum;
  }
  if (gradient)
    write_gradient<T>(keep ? keep : row, gradient + r * gradient_stride, columns, valid, wide, log_sum, scale, label,
                      counts);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    statistics(const T* __restrict__ logits, const int64_t* offset, float* __restrict__ maximum,
               float* __restrict__ sum, int64_t columns, int64_t vocabulary, int64_t stride, bool wide) {
  __shared__ Statistics slots[kThreads / 32];
  const int64_t valid = valid_columns(columns, offset ? *offset : 0, vocabulary);
  const Statistics all =
      row_statistics<T>(logits + int64_t{blockIdx.x} * stride, columns, valid, wide, nullptr, slots);
  if (threadIdx.x == 0) {
    maximum[blockIdx.x] = all.maximum;
    sum[blockIdx.x] = all.sum;
  }
}

template <typename T, typename Label>
__global__ void row_losses(const T* logits, const Label* labels, const int64_t* offset, const float* log_sum_exp,
                           float scale, float* out, int64_t rows, int64_t columns, int64_t stride) {
  const int64_t r = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (r >= rows) return;
  const int64_t label = static_cast<int64_t>(labels[r]), local = label - (offset ? *offset : 0);
  const bool here = label >= 0 && local >= 0 && local < columns;
  out[r] = here ? (log_sum_exp[r] - as_float(logits[r * stride + local])) * scale : 0.0f;
}

template <typename T, typename Label>
__global__ void __launch_bounds__(kThreads)
    softmax_gradient(const T* logits, const Label* __restrict__ labels, const int64_t* offset,
                     const float* __restrict__ log_sum_exp, float scale, T* gradient, int64_t columns,
                     int64_t vocabulary, int64_t stride, int64_t gradient_stride, bool wide) {
  const int64_t r = blockIdx.x;
  const int64_t label = static_cast<int64_t>(labels[r]), first = offset ? *offset : 0;
  write_gradient<T>(logits + r * stride, gradient + r * gradient_stride, columns,
                    valid_columns(columns, first, vocabulary), wide, log_sum_exp[r], scale,
                    label >= 0 ? label - first : -1, label >= 0);
}

__global__ void __launch_bounds__(1024) sum_rows(const float* __restrict__ values, int64_t count, float* out) {
  __shared__ double slots[32];
  double total = 0;
  for (int64_t i = threadIdx.x; i < count; i += 1024) total += values[i];
  total = warp_sum(total);
  if ((threadIdx.x & 31) == 0) slots[threadIdx.x >> 5] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    total = 0;
    for (int i = 0; i < 32; i++) total += slots[i];
    *out = static_cast<float>(total);
  }
}

bool is_wide(const gv_logits& s, const void* logits, const void* gradient) {
  return s.columns % 8 == 0 && s.stride % 8 == 0 && s.gradient_stride % 8 == 0 && aligned16(logits) &&
         aligned16(gradient);
}

template <typename T, typename Label>
int run(cudaStream_t stream, const gv_logits& s, const void* logits, const void* labels, float scale, float* row_loss,
        float* log_sum_exp, float* loss, void* gradient) {
  const size_t row_bytes = static_cast<size_t>(s.columns) * sizeof(T);
  const bool keep = gradient && row_bytes <= 220 * 1024;
  if (keep && row_bytes > 40 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(cross_entropy<T, Label>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(row_bytes));
    if (error != cudaSuccess) return fail(error, "cross entropy shared memory");
  }
  if (!row_loss) {
    row_loss = static_cast<float*>(gv_scratch(stream, static_cast<size_t>(s.rows) * 4));
    if (!row_loss) return -1;
  }
  cross_entropy<T, Label><<<static_cast<unsigned>(s.rows), kThreads, keep ? row_bytes : 0, stream>>>(
      static_cast<const T*>(logits), static_cast<const Label*>(labels), scale, row_loss, log_sum_exp,
      static_cast<T*>(gradient), s.columns, s.vocabulary, s.stride, s.gradient_stride, is_wide(s, logits, gradient),
      keep);
  if (const int code = launched("cross entropy")) return code;
  if (loss) sum_rows<<<1, 1024, 0, stream>>>(row_loss, s.rows, loss);
  return launched("cross entropy sum");
}

template <typename T, typename Label>
int run_loss(cudaStream_t stream, const gv_logits& s, const void* logits, const void* labels, const float* log_sum_exp,
             float scale, float* loss) {
  float* rows = static_cast<float*>(gv_scratch(stream, static_cast<size_t>(s.rows) * 4));
  if (!rows) return -1;
  row_losses<<<static_cast<unsigned>((s.rows + 127) / 128), 128, 0, stream>>>(
      static_cast<const T*>(logits), static_cast<const Label*>(labels), s.offset, log_sum_exp, scale, rows, s.rows,
      s.columns, s.stride);
  sum_rows<<<1, 1024, 0, stream>>>(rows, s.rows, loss);
  return launched("cross entropy loss");
}

template <typename T, typename Label>
int run_gradient(cudaStream_t stream, const gv_logits& s, const void* logits, const void* labels,
                 const float* log_sum_exp, float scale, void* gradient) {
  softmax_gradient<T, Label><<<static_cast<unsigned>(s.rows), kThreads, 0, stream>>>(
      static_cast<const T*>(logits), static_cast<const Label*>(labels), s.offset, log_sum_exp, scale,
      static_cast<T*>(gradient), s.columns, s.vocabulary, s.stride, s.gradient_stride, is_wide(s, logits, gradient));
  return launched("cross entropy gradient");
}

}  // namespace
}  // namespace gv

#define GV_BY_TYPE(FUNCTION, ...)                                                                   \
  (shape->type == GV_BFLOAT16                                                                       \
       ? (shape->label_type == GV_INT64 ? FUNCTION<gv::bf16, int64_t>(stream, *shape, __VA_ARGS__)  \
                                        : FUNCTION<gv::bf16, int32_t>(stream, *shape, __VA_ARGS__)) \
       : (shape->label_type == GV_INT64 ? FUNCTION<float, int64_t>(stream, *shape, __VA_ARGS__)     \
                                        : FUNCTION<float, int32_t>(stream, *shape, __VA_ARGS__)))

extern "C" int gv_cross_entropy(gv_stream stream, const gv_logits* shape, const void* logits, const void* labels,
                                float scale, float* row_loss, float* log_sum_exp, float* loss, void* gradient) {
  if (shape->rows == 0) return 0;
  return GV_BY_TYPE(gv::run, logits, labels, scale, row_loss, log_sum_exp, loss, gradient);
}

extern "C" int gv_softmax_statistics(gv_stream stream, const gv_logits* shape, const void* logits, float* maximum,
                                     float* sum) {
  if (shape->rows == 0) return 0;
  const gv_logits& s = *shape;
  const bool wide = gv::is_wide(s, logits, nullptr);
  const unsigned grid = static_cast<unsigned>(s.rows);
  if (s.type == GV_BFLOAT16)
    gv::statistics<<<grid, gv::kThreads, 0, stream>>>(static_cast<const gv::bf16*>(logits), s.offset, maximum, sum,
                                                      s.columns, s.vocabulary, s.stride, wide);
  else
    gv::statistics<<<grid, gv::kThreads, 0, stream>>>(static_cast<const float*>(logits), s.offset, maximum, sum,
                                                      s.columns, s.vocabulary, s.stride, wide);
  return gv::launched("softmax statistics");
}

extern "C" int gv_cross_entropy_loss(gv_stream stream, const gv_logits* shape, const void* logits, const void* labels,
                                     const float* log_sum_exp, float scale, float* loss) {
  if (shape->rows == 0) return 0;
  return GV_BY_TYPE(gv::run_loss, logits, labels, log_sum_exp, scale, loss);
}

extern "C" int gv_cross_entropy_gradient(gv_stream stream, const gv_logits* shape, const void* logits,
                                         const void* labels, const float* log_sum_exp, float scale, void* gradient) {
  if (shape->rows == 0) return 0;
  return GV_BY_TYPE(gv::run_gradient, logits, labels, log_sum_exp, scale, gradient);
}
