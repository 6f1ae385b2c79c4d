// Conversions, accumulation, addition and filling. CPU twins: the host device's copy, accumulate and fill.
#include "vector.cuh"

namespace gv {
namespace {

template <typename In, typename Out, bool ADD>
__global__ void __launch_bounds__(256) convert(const In* x, Out* out, int64_t elements, bool wide) {
  const int64_t start = int64_t{blockIdx.x} * 256 + threadIdx.x, step = int64_t{gridDim.x} * 256;
  const int64_t packs = wide ? elements / 8 : 0;
  for (int64_t p = start; p < packs; p += step) {
    float v[8];
    load8(x + p * 8, v);
    if constexpr (ADD) {
      float o[8];
      load8(out + p * 8, o);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += o[j];
    }
    store8(out + p * 8, v);
  }
  for (int64_t i = packs * 8 + start; i < elements; i += step)
    out[i] = from_float<Out>(as_float(x[i]) + (ADD ? as_float(out[i]) : 0.0f));
}

template <typename T>
__global__ void __launch_bounds__(256) add(const T* a, const T* b, T* out, int64_t elements, bool wide) {
  const int64_t start = int64_t{blockIdx.x} * 256 + threadIdx.x, step = int64_t{gridDim.x} * 256;
  const int64_t packs = wide ? elements / 8 : 0;
  for (int64_t p = start; p < packs; p += step) {
    float v[8], o[8];
    load8(a + p * 8, v);
    load8(b + p * 8, o);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += o[j];
    store8(out + p * 8, v);
  }
  for (int64_t i = packs * 8 + start; i < elements; i += step) out[i] = from_float<T>(as_float(a[i]) + as_float(b[i]));
}

struct Pieces {
  const void* at[GV_MOST_PIECES];
  int count;
};

template <typename T>
__global__ void __launch_bounds__(256) sum_pieces(Pieces pieces, T* out, int64_t elements, bool wide) {
  const int64_t start = int64_t{blockIdx.x} * 256 + threadIdx.x, step = int64_t{gridDim.x} * 256;
  const int64_t packs = wide ? elements / 8 : 0;
  for (int64_t p = start; p < packs; p += step) {
    float sum[8] = {};
    for (int piece = 0; piece < pieces.count; piece++) {
      float v[8];
      load8(static_cast<const T*>(pieces.at[piece]) + p * 8, v);
#pragma unroll
      for (int j = 0; j < 8; j++) sum[j] += v[j];
    }
    store8(out + p * 8, sum);
  }
  for (int64_t i = packs * 8 + start; i < elements; i += step) {
    float sum = 0;
    for (int piece = 0; piece < pieces.count; piece++) sum += as_float(static_cast<const T*>(pieces.at[piece])[i]);
    out[i] = from_float<T>(sum);
  }
}

// float64 scalars (sums of squares) and anything else that is no float32 or bfloat16.
template <typename In, typename Out, bool ADD>
__global__ void convert_any(const In* x, Out* out, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i < elements) out[i] = static_cast<Out>(ADD ? out[i] + static_cast<Out>(x[i]) : static_cast<Out>(x[i]));
}

template <typename T>
__global__ void __launch_bounds__(256) fill(T* out, T value, int64_t elements) {
  const int64_t start = int64_t{blockIdx.x} * 256 + threadIdx.x, step = int64_t{gridDim.x} * 256;
  for (int64_t i = start; i < elements; i += step) out[i] = value;
}

template <typename Unit>
__global__ void __launch_bounds__(256) copy_block(gv_block b, const char* in, char* out, int64_t row_units, int64_t units) {
  const int64_t step = int64_t{gridDim.x} * 256;
  for (int64_t i = int64_t{blockIdx.x} * 256 + threadIdx.x; i < units; i += step) {
    const int64_t unit = i % row_units;
    int64_t rest = i / row_units;
    const int64_t third = rest % b.extent[2];
    rest /= b.extent[2];
    const int64_t second = rest % b.extent[1], first = rest / b.extent[1];
    const int64_t at = unit * static_cast<int64_t>(sizeof(Unit));
    *reinterpret_cast<Unit*>(out + first * b.output_stride[0] + second * b.output_stride[1] +
                             third * b.output_stride[2] + at) =
        *reinterpret_cast<const Unit*>(in + first * b.input_stride[0] + second * b.input_stride[1] +
                                       third * b.input_stride[2] + at);
  }
}

unsigned grid_of(int64_t elements) {
  const int64_t blocks = (elements + 2047) / 2048;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks);
}

template <typename In, typename Out, bool ADD>
int run(cudaStream_t stream, const void* x, void* out, int64_t elements) {
  convert<In, Out, ADD><<<grid_of(elements), 256, 0, stream>>>(static_cast<const In*>(x), static_cast<Out*>(out),
                                                              elements, aligned16(x) && aligned16(out));
  return launched(ADD ? "accumulate" : "cast");
}

template <bool ADD>
int by_types(cudaStream_t stream, int in_type, int out_type, const void* x, void* out, int64_t elements) {
  if (elements == 0) return 0;
  if (in_type == GV_FLOAT32 && out_type == GV_FLOAT32) return run<float, float, ADD>(stream, x, out, elements);
  if (in_type == GV_FLOAT32 && out_type == GV_BFLOAT16) return run<float, bf16, ADD>(stream, x, out, elements);
  if (in_type == GV_BFLOAT16 && out_type == GV_FLOAT32) return run<bf16, float, ADD>(stream, x, out, elements);
  if (in_type == GV_BFLOAT16 && out_type == GV_BFLOAT16) return run<bf16, bf16, ADD>(stream, x, out, elements);
  const unsigned grid = static_cast<unsigned>((elements + 255) / 256);
#define GV_CASE(IN, IN_T, OUT, OUT_T)                                                                       \
  if (in_type == IN && out_type == OUT) {                                                                   \
    convert_any<IN_T, OUT_T, ADD>                                                                           \
        <<<grid, 256, 0, stream>>>(static_cast<const IN_T*>(x), static_cast<OUT_T*>(out), elements);        \
    return launched("convert");                                                                             \
  }
  GV_CASE(GV_FLOAT64, double, GV_FLOAT64, double)
  GV_CASE(GV_FLOAT64, double, GV_FLOAT32, float)
  GV_CASE(GV_FLOAT32, float, GV_FLOAT64, double)
  GV_CASE(GV_INT32, int32_t, GV_INT32, int32_t)
  GV_CASE(GV_INT32, int32_t, GV_INT64, int64_t)
  GV_CASE(GV_INT64, int64_t, GV_INT32, int32_t)
  GV_CASE(GV_INT64, int64_t, GV_INT64, int64_t)
#undef GV_CASE
  return fail_message("conversion from type %d to type %d is not offered", in_type, out_type);
}

}  // namespace
}  // namespace gv

extern "C" int gv_cast(gv_stream stream, int in_type, int out_type, const void* x, void* out, int64_t elements) {
  return gv::by_types<false>(stream, in_type, out_type, x, out, elements);
}
extern "C" int gv_accumulate(gv_stream stream, int in_type, int out_type, const void* x, void* out,
                             int64_t elements) {
  return gv::by_types<true>(stream, in_type, out_type, x, out, elements);
}
extern "C" int gv_add(gv_stream stream, int type, const void* a, const void* b, void* out, int64_t elements) {
  using namespace gv;
  if (elements == 0) return 0;
  const bool wide = aligned16(a) && aligned16(b) && aligned16(out);
  if (type == GV_BFLOAT16)
    add<<<grid_of(elements), 256, 0, stream>>>(static_cast<const bf16*>(a), static_cast<const bf16*>(b),
                                               static_cast<bf16*>(out), elements, wide);
  else
    add<<<grid_of(elements), 256, 0, stream>>>(static_cast<const float*>(a), static_cast<const float*>(b),
                                               static_cast<float*>(out), elements, wide);
  return launched("add");
}
extern "C" int gv_sum_pieces(gv_stream stream, int type, const void* const* pieces, int count, void* out,
                             int64_t elements) {
  using namespace gv;
  if (elements == 0) return 0;
  if (count < 1 || count > GV_MOST_PIECES) return fail_message("sum of %d pieces is not offered", count);
  Pieces all{};
  all.count = count;
  bool wide = aligned16(out);
  for (int i = 0; i < count; i++) {
    all.at[i] = pieces[i];
    wide = wide && aligned16(pieces[i]);
  }
  if (type == GV_BFLOAT16)
    sum_pieces<<<grid_of(elements), 256, 0, stream>>>(all, static_cast<bf16*>(out), elements, wide);
  else if (type == GV_FLOAT32)
    sum_pieces<<<grid_of(elements), 256, 0, stream>>>(all, static_cast<float*>(out), elements, wide);
  else
    return fail_message("sum of pieces: type %d is not offered", type);
  return launched("sum of pieces");
}
extern "C" int gv_fill(gv_stream stream, int type, void* out, double value, int64_t elements) {
  using namespace gv;
  if (elements == 0) return 0;
  const unsigned grid = grid_of(elements);
  switch (type) {
    case GV_FLOAT32: fill<<<grid, 256, 0, stream>>>(static_cast<float*>(out), static_cast<float>(value), elements); break;
    case GV_BFLOAT16:
      fill<<<grid, 256, 0, stream>>>(static_cast<bf16*>(out), __float2bfloat16(static_cast<float>(value)), elements);
      break;
    case GV_FLOAT64: fill<<<grid, 256, 0, stream>>>(static_cast<double*>(out), value, elements); break;
    case GV_INT32:
      fill<<<grid, 256, 0, stream>>>(static_cast<int32_t*>(out), static_cast<int32_t>(value), elements);
      break;
    case GV_INT64:
      fill<<<grid, 256, 0, stream>>>(static_cast<int64_t*>(out), static_cast<int64_t>(value), elements);
      break;
    default: return fail_message("fill: type %d is not offered", type);
  }
  return launched("fill");
}

namespace gv {
namespace {
template <typename Unit>
int run_copy_block(cudaStream_t stream, const gv_block& b, const void* in, void* out) {
  const int64_t row_units = b.row_bytes / static_cast<int64_t>(sizeof(Unit));
  const int64_t units = row_units * b.extent[0] * b.extent[1] * b.extent[2];
  copy_block<Unit><<<grid_of(units * 8), 256, 0, stream>>>(b, static_cast<const char*>(in), static_cast<char*>(out),
                                                           row_units, units);
  return launched("block copy");
}
}  // namespace
}  // namespace gv

extern "C" int gv_copy_block(gv_stream stream, const gv_block* block, const void* in, void* out) {
  const gv_block& b = *block;
  if (b.row_bytes * b.extent[0] * b.extent[1] * b.extent[2] == 0) return 0;
  uint64_t bits = static_cast<uint64_t>(b.row_bytes) | reinterpret_cast<uintptr_t>(in) | reinterpret_cast<uintptr_t>(out);
  for (int i = 0; i < 3; i++)
    if (b.extent[i] > 1) bits |= static_cast<uint64_t>(b.input_stride[i]) | static_cast<uint64_t>(b.output_stride[i]);
  if (bits % 16 == 0) return gv::run_copy_block<uint4>(stream, b, in, out);
  if (bits % 4 == 0) return gv::run_copy_block<uint32_t>(stream, b, in, out);
  if (bits % 2 == 0) return gv::run_copy_block<uint16_t>(stream, b, in, out);
  return gv::run_copy_block<uint8_t>(stream, b, in, out);
}
