// Sums over rows (bias gradients), in two stages with a fixed order. CPU twin: ReduceSum over axis 0 in float32.
#include "column-sum.cuh"

namespace gv {
namespace {

template <typename Out>
__global__ void __launch_bounds__(256)
    reduce_rows(const float* __restrict__ partial, int64_t rows, int64_t columns, int64_t stride, Out* out,
                int accumulate) {
  __shared__ float sums[8][33];
  const int lane = threadIdx.x & 31, slice = threadIdx.x >> 5;
  const int64_t c = int64_t{blockIdx.x} * 32 + lane;
  float total = 0;
  if (c < columns) {
    int64_t row = slice;
    for (; row + 24 < rows; row += 32) {
      const float a = partial[row * stride + c], b = partial[(row + 8) * stride + c];
      const float d = partial[(row + 16) * stride + c], e = partial[(row + 24) * stride + c];
      total += (a + b) + (d + e);
    }
    for (; row < rows; row += 8) total += partial[row * stride + c];
  }
  sums[slice][lane] = total;
  __syncthreads();
  if (slice == 0 && c < columns) {
    total = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) total += sums[i][lane];
    if (accumulate) total += as_float(out[c]);
    out[c] = from_float<Out>(total);
  }
}

template <typename T>
struct Identity {
  const T* x;
  int64_t stride;
  __device__ __forceinline__ void pack(int64_t row, int64_t column, float (&v)[8]) const {
    load8(x + row * stride + column, v);
  }
  __device__ __forceinline__ float one(int64_t row, int64_t column) const { return as_float(x[row * stride + column]); }
};

}  // namespace

int reduce_partials(gv_stream stream, int out_type, int accumulate, const float* partial, int64_t rows,
                    int64_t columns, int64_t stride, void* out) {
  const unsigned grid = static_cast<unsigned>((columns + 31) / 32);
  if (out_type == GV_BFLOAT16)
    reduce_rows<<<grid, 256, 0, stream>>>(partial, rows, columns, stride, static_cast<bf16*>(out), accumulate);
  else
    reduce_rows<<<grid, 256, 0, stream>>>(partial, rows, columns, stride, static_cast<float*>(out), accumulate);
  return launched("column sum");
}

}  // namespace gv

extern "C" int gv_column_sum(gv_stream stream, int type, int out_type, int accumulate, const void* x, void* out,
                             int64_t rows, int64_t columns, int64_t stride) {
  using namespace gv;
  if (type == GV_BFLOAT16)
    return column_sums(stream, out_type, accumulate, Identity<bf16>{static_cast<const bf16*>(x), stride}, out, rows,
                       columns, columns % 8 == 0 && stride % 8 == 0 && aligned16(x));
  return column_sums(stream, out_type, accumulate, Identity<float>{static_cast<const float*>(x), stride}, out, rows,
                     columns, columns % 8 == 0 && stride % 4 == 0 && aligned16(x));
}
