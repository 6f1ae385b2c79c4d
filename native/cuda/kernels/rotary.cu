// Rotary position embedding (Su et al. 2021), halves rotated. CPU twin: Split, Mul, Sub, Add, Concat.
#include "vector.cuh"

namespace gv {
namespace {

template <typename T, typename Table>
__global__ void __launch_bounds__(256)
    rotary(const T* x, int64_t x_stride, const Table* __restrict__ cosine, const Table* __restrict__ sine, T* y,
           int64_t y_stride, int64_t batch, int heads, int half_packs, float direction, int64_t packs) {
  const int64_t step = int64_t{gridDim.x} * 256;
  for (int64_t p = int64_t{blockIdx.x} * 256 + threadIdx.x; p < packs; p += step) {
    const int pack = static_cast<int>(p % half_packs);
    const int64_t rest = p / half_packs;
    const int head = static_cast<int>(rest % heads);
    const int64_t token = rest / heads, position = token / batch;
    const int64_t half = half_packs * 8, in_row = head * half * 2 + pack * 8;
    float a[8], b[8], c[8], s[8], first[8], second[8];
    load8(x + token * x_stride + in_row, a);
    load8(x + token * x_stride + in_row + half, b);
    load8(cosine + position * half + pack * 8, c);
    load8(sine + position * half + pack * 8, s);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      first[j] = a[j] * c[j] - direction * b[j] * s[j];
      second[j] = b[j] * c[j] + direction * a[j] * s[j];
    }
    store8(y + token * y_stride + in_row, first);
    store8(y + token * y_stride + in_row + half, second);
  }
}

template <typename T, typename Table>
__global__ void rotary_any(const T* x, int64_t x_stride, const Table* cosine, const Table* sine, T* y,
                           int64_t y_stride, int64_t batch, int64_t heads, int64_t half, float direction,
                           int64_t pairs) {
  const int64_t p = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (p >= pairs) return;
  const int64_t i = p % half, head = p / half % heads, token = p / half / heads, position = token / batch;
  const int64_t in_row = head * half * 2 + i;
  const float a = as_float(x[token * x_stride + in_row]), b = as_float(x[token * x_stride + in_row + half]);
  const float c = as_float(cosine[position * half + i]), s = as_float(sine[position * half + i]) * direction;
  y[token * y_stride + in_row] = from_float<T>(a * c - b * s);
  y[token * y_stride + in_row + half] = from_float<T>(b * c + a * s);
}

template <typename T, typename Table>
int run(cudaStream_t stream, int inverse, const void* x, int64_t x_stride, const void* cosine, const void* sine,
        void* y, int64_t y_stride, int64_t sequence, int64_t batch, int64_t heads, int64_t size) {
  const int64_t half = size / 2, pairs = sequence * batch * heads * half;
  if (pairs == 0) return 0;
  const float direction = inverse ? -1.0f : 1.0f;
  if (half % 8 == 0 && x_stride % 8 == 0 && y_stride % 8 == 0 && aligned16(x) && aligned16(y) && aligned16(cosine) &&
      aligned16(sine)) {
    const int64_t packs = pairs / 8;
    rotary<<<static_cast<unsigned>((packs + 255) / 256), 256, 0, stream>>>(
        static_cast<const T*>(x), x_stride, static_cast<const Table*>(cosine), static_cast<const Table*>(sine),
        static_cast<T*>(y), y_stride, batch, static_cast<int>(heads), static_cast<int>(half / 8), direction, packs);
  } else {
    rotary_any<<<static_cast<unsigned>((pairs + 255) / 256), 256, 0, stream>>>(
        static_cast<const T*>(x), x_stride, static_cast<const Table*>(cosine), static_cast<const Table*>(sine),
        static_cast<T*>(y), y_stride, batch, heads, half, direction, pairs);
  }
  return launched("rotary");
}

}  // namespace
}  // namespace gv

extern "C" int gv_rotary(gv_stream stream, int type, int table_type, int inverse, const void* x, int64_t x_stride,
                         const void* cosine, const void* sine, void* y, int64_t y_stride, int64_t sequence,
                         int64_t batch, int64_t heads, int64_t size) {
  using namespace gv;
  if (size % 2 != 0) return fail_message("rotary: the head size must be even, got %lld", static_cast<long long>(size));
#define GV_CALL(T, TABLE) run<T, TABLE>(stream, inverse, x, x_stride, cosine, sine, y, y_stride, sequence, batch, heads, size)
  if (type == GV_BFLOAT16) return table_type == GV_BFLOAT16 ? GV_CALL(bf16, bf16) : GV_CALL(bf16, float);
  return table_type == GV_BFLOAT16 ? GV_CALL(float, bf16) : GV_CALL(float, float);
#undef GV_CALL
}
