// Embedding rows and their gradient. The gradient sorts tokens (stable, so equal tokens keep the order of their rows)
// and sums each segment in that order: same inputs, same bits. CPU twin: Gather; ScatterElements with reduction add.
#include <cub/device/device_radix_sort.cuh>

#include "vector.cuh"

namespace gv {
namespace {

template <typename T, typename Token>
__global__ void __launch_bounds__(256)
    gather(const Token* __restrict__ tokens, const T* __restrict__ table, const T* __restrict__ position,
           T* __restrict__ y, int64_t batch, int64_t columns, int64_t vocabulary, int64_t first, bool wide) {
  const int64_t r = blockIdx.x;
  const int64_t token = static_cast<int64_t>(tokens[r]) - first;
  const bool here = token >= 0 && token < vocabulary;
  const T* row = table + token * columns;
  const T* place = position ? position + r / batch * columns : nullptr;
  if (wide) {
    for (int64_t c = threadIdx.x * 8; c < columns; c += 256 * 8) {
      float v[8] = {0, 0, 0, 0, 0, 0, 0, 0}, p[8];
      if (here) load8(row + c, v);
      if (place) {
        load8(place + c, p);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] += p[j];
      }
      store8(y + r * columns + c, v);
    }
  } else {
    for (int64_t c = threadIdx.x; c < columns; c += 256)
      y[r * columns + c] =
          from_float<T>((here ? as_float(row[c]) : 0.0f) + (place ? as_float(place[c]) : 0.0f));
  }
}

template <typename Token>
__global__ void sort_keys(const Token* tokens, uint32_t* keys, uint32_t* places, int64_t rows, int64_t vocabulary,
                          int64_t first) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  const int64_t token = static_cast<int64_t>(tokens[i]) - first;
  keys[i] = token >= 0 && token < vocabulary ? static_cast<uint32_t>(token) : static_cast<uint32_t>(vocabulary);
  places[i] = static_cast<uint32_t>(i);
}

// One block a sorted position and 256 columns; only the first position of a segment works. Eight row lanes sum every
// eighth row of the segment; the lanes are then added in order.
template <typename T, typename Out>
__global__ void __launch_bounds__(256)
    sum_segments(const uint32_t* __restrict__ keys, const uint32_t* __restrict__ places, const T* __restrict__ dy,
                 Out* table, int64_t rows, int64_t columns, int64_t vocabulary, int accumulate, bool wide) {
  const int64_t start = blockIdx.x;
  const uint32_t key = keys[start];
  if (key >= vocabulary || (start > 0 && keys[start - 1] == key)) return;
  int64_t low = start + 1, high = rows;  // the end of the segment
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (keys[middle] == key) low = middle + 1;
    else high = middle;
  }
  const int64_t end = low;
  __shared__ float sums[8][32][9];
  const int lane = threadIdx.x & 31, slice = threadIdx.x >> 5;
  for (int64_t tile = int64_t{blockIdx.y} * 256; tile < columns; tile += int64_t{gridDim.y} * 256) {
    const int64_t column = tile + lane * 8;
    float total[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (wide) {
      if (column < columns) {
#pragma unroll 2
        for (int64_t i = start + slice; i < end; i += 8) {
          float v[8];
          load8(dy + int64_t{places[i]} * columns + column, v);
#pragma unroll
          for (int j = 0; j < 8; j++) total[j] += v[j];
        }
      }
    } else {
      for (int64_t i = start + slice; i < end; i += 8)
        for (int j = 0; j < 8; j++)
          if (column + j < columns) total[j] += as_float(dy[int64_t{places[i]} * columns + column + j]);
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sums[slice][lane][j] = total[j];
    __syncthreads();
    const int64_t c = tile + threadIdx.x;
    if (c < columns) {
      float value = 0;
#pragma unroll
      for (int i = 0; i < 8; i++) value += sums[i][threadIdx.x >> 3][threadIdx.x & 7];
      Out* out = table + int64_t{key} * columns + c;
      *out = from_float<Out>(accumulate ? as_float(*out) + value : value);
    }
    __syncthreads();
  }
}

template <typename T, typename Token>
int run_forward(cudaStream_t stream, const void* tokens, const void* table, const void* position, void* y,
                int64_t rows, int64_t batch, int64_t columns, int64_t vocabulary, int64_t first) {
  const bool wide = columns % 8 == 0 && aligned16(table) && aligned16(position) && aligned16(y);
  gather<<<static_cast<unsigned>(rows), 256, 0, stream>>>(static_cast<const Token*>(tokens),
                                                          static_cast<const T*>(table),
                                                          static_cast<const T*>(position), static_cast<T*>(y), batch,
                                                          columns, vocabulary, first, wide);
  return launched("embedding forward");
}

template <typename T, typename Out>
int run_segments(cudaStream_t stream, const uint32_t* keys, const uint32_t* places, const void* dy, void* table,
                 int64_t rows, int64_t columns, int64_t vocabulary, int accumulate) {
  if (!accumulate) {
    const cudaError_t error =
        cudaMemsetAsync(table, 0, static_cast<size_t>(vocabulary * columns) * sizeof(Out), stream);
    if (error != cudaSuccess) return fail(error, "embedding backward");
  }
  const bool wide = columns % 8 == 0 && aligned16(dy);
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>((columns + 1023) / 1024));
  sum_segments<<<grid, 256, 0, stream>>>(keys, places, static_cast<const T*>(dy), static_cast<Out*>(table), rows,
                                         columns, vocabulary, accumulate, wide);
  return launched("embedding backward");
}

}  // namespace
}  // namespace gv

extern "C" int gv_embedding_forward(gv_stream stream, int type, int token_type, const void* tokens, const void* table,
                                    const void* position, void* y, int64_t rows, int64_t batch, int64_t columns,
                                    int64_t vocabulary, int64_t first) {
  using namespace gv;
  if (rows == 0) return 0;
#define GV_CALL(T, TOKEN) run_forward<T, TOKEN>(stream, tokens, table, position, y, rows, batch, columns, vocabulary, first)
  if (type == GV_BFLOAT16) return token_type == GV_INT64 ? GV_CALL(bf16, int64_t) : GV_CALL(bf16, int32_t);
  return token_type == GV_INT64 ? GV_CALL(float, int64_t) : GV_CALL(float, int32_t);
#undef GV_CALL
}

extern "C" int gv_embedding_backward(gv_stream stream, int type, int gradient_type, int token_type, int accumulate,
                                     const void* tokens, const void* dy, void* table_gradient, int64_t rows,
                                     int64_t columns, int64_t vocabulary, int64_t first) {
  using namespace gv;
  if (rows == 0) return 0;
  int bits = 1;
  while ((int64_t{1} << bits) <= vocabulary) bits++;
  size_t temporary = 0;
  cub::DoubleBuffer<uint32_t> none_keys, none_places;
  cudaError_t error =
      cub::DeviceRadixSort::SortPairs(nullptr, temporary, none_keys, none_places, static_cast<int>(rows), 0, bits, stream);
  if (error != cudaSuccess) return fail(error, "embedding backward sort");
  const size_t list = (static_cast<size_t>(rows) * 4 + 255) & ~size_t{255};
  char* scratch = static_cast<char*>(gv_scratch(stream, list * 4 + temporary));
  if (!scratch) return -1;
  cub::DoubleBuffer<uint32_t> keys(reinterpret_cast<uint32_t*>(scratch), reinterpret_cast<uint32_t*>(scratch + list));
  cub::DoubleBuffer<uint32_t> places(reinterpret_cast<uint32_t*>(scratch + 2 * list),
                                     reinterpret_cast<uint32_t*>(scratch + 3 * list));
  const unsigned grid = static_cast<unsigned>((rows + 255) / 256);
  if (token_type == GV_INT64)
    sort_keys<<<grid, 256, 0, stream>>>(static_cast<const int64_t*>(tokens), keys.Current(), places.Current(), rows,
                                        vocabulary, first);
  else
    sort_keys<<<grid, 256, 0, stream>>>(static_cast<const int32_t*>(tokens), keys.Current(), places.Current(), rows,
                                        vocabulary, first);
  error = cub::DeviceRadixSort::SortPairs(scratch + 4 * list, temporary, keys, places, static_cast<int>(rows), 0, bits,
                                          stream);
  if (error != cudaSuccess) return fail(error, "embedding backward sort");
#define GV_CALL(T, OUT) \
  run_segments<T, OUT>(stream, keys.Current(), places.Current(), dy, table_gradient, rows, columns, vocabulary, accumulate)
  if (type == GV_BFLOAT16) return gradient_type == GV_BFLOAT16 ? GV_CALL(bf16, bf16) : GV_CALL(bf16, float);
  return gradient_type == GV_BFLOAT16 ? GV_CALL(float, bf16) : GV_CALL(float, float);
#undef GV_CALL
}
