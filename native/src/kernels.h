#pragma once

// What the host does to bytes besides running graphs. kernels.cc is compiled once per instruction set; `kernels()`
// picks the best that this machine has. All of them give the same bits: products and sums are never contracted and
// every sum has one order, whatever the vector width.

#include <cstddef>
#include <cstdint>

#include "program.h"

namespace galvatron {

// Host twins of the tensors of AdamwInstruction; `count` elements each.
struct AdamwSpan {
  float* parameter;
  // float32 or bfloat16
  const void* gradient;
  Dtype gradientDtype;
  float* moment1;
  float* moment2;
  // null where there is none
  uint16_t* computeCopy;
  size_t count;
  size_t decayElements;
  // HYPER_FIELDS
  const float* hyper;
  float clipFactor;
};

// Shards of a flat vector start at multiples of it (SHARD_ALIGNMENT of src/program/flat-layout.ts).
constexpr size_t kSquaresRun = 64;

struct Kernels {
  const char* name;
  // output = input, converted.
  void (*convert)(Dtype inputDtype, const void* input, Dtype outputDtype, void* output, size_t count);
  // output += input, the input converted to the output's dtype first.
  void (*accumulate)(Dtype inputDtype, const void* input, Dtype outputDtype, void* output, size_t count);
  void (*fill)(Dtype dtype, double value, void* output, size_t count);
  // Sum of squares in float64: sixteen lanes, then the lanes in order. float32, float64 or bfloat16.
  double (*sumSquares)(Dtype dtype, const void* input, size_t count);
  // Of every kSquaresRun elements by themselves, the last run as long as there are elements; the lanes halves onto halves.
  void (*runSquares)(const float* input, size_t count, double* sums);
  void (*adamw)(const AdamwSpan& span);
  // output = the reduction of `sources` from first to last; bfloat16 adds in float32 and rounds once. The output may
  // be one of the sources.
  void (*reduce)(Dtype dtype, Reduction reduction, const void* const* sources, int sourceCount, void* output,
                 size_t count);
  // Elements [start, start + count) of the stream of normal numbers under a key, times the deviation.
  void (*normals)(float* target, size_t count, uint32_t key0, uint32_t key1, uint64_t start, double deviation);
};

const Kernels& kernels();

extern const Kernels kernelsBaseline;
extern const Kernels kernelsAvx2;
extern const Kernels kernelsAvx512;

}  // namespace galvatron
