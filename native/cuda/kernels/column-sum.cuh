// Column sums of values that a functor produces (and may store on its way): the first stage of bias gradients.
#pragma once
#include "vector.cuh"

namespace gv {

// 32 lanes x 8 columns wide, 8 rows at a time; a block sums the rows of its chunk.
template <typename Source>
__global__ void __launch_bounds__(256)
    column_partials(Source source, float* __restrict__ partial, int64_t rows, int64_t columns, int64_t chunk) {
  __shared__ float sums[8][32][9];
  const int lane = threadIdx.x & 31, slice = threadIdx.x >> 5;
  const int64_t column = (int64_t{blockIdx.x} * 32 + lane) * 8;
  const int64_t first = int64_t{blockIdx.y} * chunk;
  const int64_t last = first + chunk < rows ? first + chunk : rows;
  float total[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = first + slice; row < last; row += 8) {
      float v[8];
      source.pack(row, column, v);
#pragma unroll
      for (int j = 0; j < 8; j++) total[j] += v[j];
    }
  }
  if (partial == nullptr) return;
#pragma unroll
  for (int j = 0; j < 8; j++) sums[slice][lane][j] = total[j];
  __syncthreads();
  // 256 threads, 256 columns: thread t sums column t of the tile.
  const int64_t c = int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (c < columns) {
    float value = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) value += sums[i][threadIdx.x >> 3][threadIdx.x & 7];
    partial[int64_t{blockIdx.y} * columns + c] = value;
  }
}

template <typename Source>
__global__ void __launch_bounds__(128)
    column_partials_any(Source source, float* __restrict__ partial, int64_t rows, int64_t columns, int64_t chunk) {
  const int64_t c = int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (c >= columns) return;
  const int64_t first = int64_t{blockIdx.y} * chunk;
  const int64_t last = first + chunk < rows ? first + chunk : rows;
  float total = 0;
  for (int64_t row = first; row < last; row++) total += source.one(row, c);
  if (partial) partial[int64_t{blockIdx.y} * columns + c] = total;
}

// out may be null: then the source runs for its stores alone.
template <typename Source>
int column_sums(gv_stream stream, int out_type, int accumulate, Source source, void* out, int64_t rows,
                int64_t columns, bool wide) {
  if (rows == 0 || columns == 0) return 0;
  const int64_t tiles = wide ? (columns + 255) / 256 : (columns + 127) / 128;
  int64_t chunks = int64_t{8} * multiprocessors() / tiles;
  if (chunks < 1) chunks = 1;
  int64_t chunk = (rows + chunks - 1) / chunks;
  chunk = (chunk + 31) / 32 * 32;
  chunks = (rows + chunk - 1) / chunk;
  float* partial = nullptr;
  if (out) {
    partial = static_cast<float*>(gv_scratch(stream, static_cast<size_t>(chunks * columns) * 4));
    if (!partial) return -1;
  }
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(chunks));
  if (wide)
    column_partials<<<grid, 256, 0, stream>>>(source, partial, rows, columns, chunk);
  else
    column_partials_any<<<grid, 128, 0, stream>>>(source, partial, rows, columns, chunk);
  if (const int code = launched("column sums")) return code;
  return out ? reduce_partials(stream, out_type, accumulate, partial, chunks, columns, columns, out) : 0;
}

}  // namespace gv
