// Compiled once per instruction set with GALVATRON_KERNELS set to the table's name (native/build.mjs). No template of
// the standard library may be instantiated here: the linker keeps one copy of each, and it could be the one that this
// machine cannot run.

#include "kernels.h"

#include <cmath>
#include <cstring>

#include "normal-numbers.h"

namespace galvatron {
namespace {

struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};
struct Bool {
  uint8_t bits;
};

inline uint32_t bitsOf(float value) { return __builtin_bit_cast(uint32_t, value); }
inline float floatOf(uint32_t bits) { return __builtin_bit_cast(float, bits); }

// --- One element to and from the type it is computed in ---

template <typename T>
struct Element {
  using Compute = T;
  static inline Compute load(T stored) { return stored; }
  static inline T store(Compute value) { return value; }
};

template <>
struct Element<Bfloat16> {
  using Compute = float;
  static inline float load(Bfloat16 stored) { return floatOf(static_cast<uint32_t>(stored.bits) << 16); }
  // Rounds to nearest, ties to even; a NaN stays one.
  static inline Bfloat16 store(float value) {
    const uint32_t bits = bitsOf(value);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40u;
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return {static_cast<uint16_t>(nan ? quiet : rounded)};
  }
};

template <>
struct Element<Float16> {
  using Compute = float;
  static inline float load(Float16 stored) {
    const uint32_t sign = static_cast<uint32_t>(stored.bits & 0x8000u) << 16;
    const uint32_t exponent = (stored.bits >> 10) & 0x1fu;
    const uint32_t fraction = stored.bits & 0x3ffu;
    if (exponent == 0x1fu) return floatOf(sign | 0x7f800000u | (fraction << 13));
    // Subnormals come out right through the float product.
    if (exponent == 0) return floatOf(sign | bitsOf(static_cast<float>(fraction) * 0x1p-24f));
    return floatOf(sign | ((exponent + 112u) << 23) | (fraction << 13));
  }
  static inline Float16 store(float value) {
    const uint32_t bits = bitsOf(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
    if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
    if (magnitude < 0x38800000u) {
      // Adding 0.5 shifts the fraction into place and rounds to even on the way.
      const float shifted = floatOf(magnitude) + 0.5f;
      return {static_cast<uint16_t>(sign | (bitsOf(shifted) - 0x3f000000u))};
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return {static_cast<uint16_t>(sign | ((rounded >> 13) - 0x1c000u))};
  }
};

template <>
struct Element<Bool> {
  using Compute = int32_t;
  static inline int32_t load(Bool stored) { return stored.bits != 0; }
  static inline Bool store(int32_t value) { return {static_cast<uint8_t>(value != 0)}; }
};

template <typename From, typename To>
inline To converted(From value) {
  if constexpr (__is_same(To, Bool)) {
    return {static_cast<uint8_t>(Element<From>::load(value) != 0)};
  } else {
    return Element<To>::store(static_cast<typename Element<To>::Compute>(Element<From>::load(value)));
  }
}

// --- Elementwise ---

template <typename From, typename To>
void convertSpan(const From* input, To* output, size_t count) {
  for (size_t i = 0; i < count; i++) output[i] = converted<From, To>(input[i]);
}

template <typename From, typename To>
void accumulateSpan(const From* input, To* output, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const auto addend = Element<To>::load(converted<From, To>(input[i]));
    output[i] = Element<To>::store(Element<To>::load(output[i]) + addend);
  }
}

template <typename From>
void convertFrom(const From* input, Dtype outputDtype, void* output, size_t count, bool add) {
  switch (outputDtype) {
#define GALVATRON_TO(dtype, Type)                              \
  case Dtype::dtype: {                                         \
    auto* to = static_cast<Type*>(output);                     \
    if (add) return accumulateSpan<From, Type>(input, to, count); \
    return convertSpan<From, Type>(input, to, count);          \
  }
    GALVATRON_TO(float32, float)
    GALVATRON_TO(float64, double)
    GALVATRON_TO(bfloat16, Bfloat16)
    GALVATRON_TO(float16, Float16)
    GALVATRON_TO(int64, int64_t)
    GALVATRON_TO(int32, int32_t)
    GALVATRON_TO(uint8, uint8_t)
    GALVATRON_TO(boolean, Bool)
#undef GALVATRON_TO
  }
}

void convertAny(Dtype inputDtype, const void* input, Dtype outputDtype, void* output, size_t count, bool add) {
  switch (inputDtype) {
#define GALVATRON_FROM(dtype, Type) \
  case Dtype::dtype:                \
    return convertFrom<Type>(static_cast<const Type*>(input), outputDtype, output, count, add);
    GALVATRON_FROM(float32, float)
    GALVATRON_FROM(float64, double)
    GALVATRON_FROM(bfloat16, Bfloat16)
    GALVATRON_FROM(float16, Float16)
    GALVATRON_FROM(int64, int64_t)
    GALVATRON_FROM(int32, int32_t)
    GALVATRON_FROM(uint8, uint8_t)
    GALVATRON_FROM(boolean, Bool)
#undef GALVATRON_FROM
  }
}

void convert(Dtype inputDtype, const void* input, Dtype outputDtype, void* output, size_t count) {
  if (inputDtype == outputDtype) {
    memmove(output, input, count * dtypeBytes(inputDtype));
    return;
  }
  convertAny(inputDtype, input, outputDtype, output, count, false);
}

void accumulate(Dtype inputDtype, const void* input, Dtype outputDtype, void* output, size_t count) {
  convertAny(inputDtype, input, outputDtype, output, count, true);
}

template <typename T>
void fillSpan(double value, T* output, size_t count) {
  const T element = Element<T>::store(static_cast<typename Element<T>::Compute>(value));
  for (size_t i = 0; i < count; i++) output[i] = element;
}

void fill(Dtype dtype, double value, void* output, size_t count) {
  switch (dtype) {
    case Dtype::float32:
      return fillSpan(value, static_cast<float*>(output), count);
    case Dtype::float64:
      return fillSpan(value, static_cast<double*>(output), count);
    case Dtype::bfloat16:
      return fillSpan(value, static_cast<Bfloat16*>(output), count);
    case Dtype::float16:
      return fillSpan(value, static_cast<Float16*>(output), count);
    case Dtype::int64:
      return fillSpan(value, static_cast<int64_t*>(output), count);
    case Dtype::int32:
      return fillSpan(value, static_cast<int32_t*>(output), count);
    case Dtype::uint8:
      return fillSpan(value, static_cast<uint8_t*>(output), count);
    case Dtype::boolean:
      return fillSpan(value, static_cast<Bool*>(output), count);
  }
}

// --- Sum of squares ---

constexpr size_t kLanes = 16;

template <typename T>
double sumSquaresSpan(const T* input, size_t count) {
  double lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; lane++) {
      const double value = static_cast<double>(Element<T>::load(input[i + lane]));
      lanes[lane] += value * value;
    }
  }
  for (size_t lane = 0; i < count; i++, lane++) {
    const double value = static_cast<double>(Element<T>::load(input[i]));
    lanes[lane] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

double sumSquares(Dtype dtype, const void* input, size_t count) {
  switch (dtype) {
    case Dtype::float64:
      return sumSquaresSpan(static_cast<const double*>(input), count);
    case Dtype::bfloat16:
      return sumSquaresSpan(static_cast<const Bfloat16*>(input), count);
    default:
      return sumSquaresSpan(static_cast<const float*>(input), count);
  }
}

// Halves onto halves: no long chain, and one order.
double sumOfLanes(double* lanes) {
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

void runSquares(const float* input, size_t count, double* sums) {
  for (; count >= kSquaresRun; count -= kSquaresRun, input += kSquaresRun, sums++) {
    double lanes[kLanes] = {};
    for (size_t i = 0; i < kSquaresRun; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; lane++) {
        const double value = input[i + lane];
        lanes[lane] += value * value;
      }
    }
    *sums = sumOfLanes(lanes);
  }
  if (count == 0) return;
  double lanes[kLanes] = {};
  for (size_t i = 0; i < count; i++) lanes[i % kLanes] += static_cast<double>(input[i]) * input[i];
  *sums = sumOfLanes(lanes);
}

// --- AdamW ---

// The decimal that a float32 hyperparameter stands for: 1 - 0.999 is 0.001, not what the rounding of 0.999 leaves.
double decimalOf(float value) {
  const double rounded = std::round(static_cast<double>(value) * 1e7) / 1e7;
  return static_cast<float>(rounded) == value ? rounded : value;
}

struct AdamwFactors {
  float beta1, beta2, oneMinusBeta1, oneMinusBeta2, stepSize, inverseRootCorrection2, epsilon, clip;
};

template <typename Gradient, bool copies>
void adamwSpan(const AdamwSpan& span, size_t from, size_t to, float keep, const AdamwFactors& f) {
  float* __restrict parameter = span.parameter;
  const auto* __restrict gradient = static_cast<const Gradient*>(span.gradient);
  float* __restrict moment1 = span.moment1;
  float* __restrict moment2 = span.moment2;
  auto* __restrict copy = reinterpret_cast<Bfloat16*>(span.computeCopy);
  for (size_t i = from; i < to; i++) {
    const float g = Element<Gradient>::load(gradient[i]) * f.clip;
    const float m = f.beta1 * moment1[i] + f.oneMinusBeta1 * g;
    const float v = f.beta2 * moment2[i] + f.oneMinusBeta2 * g * g;
    const float denominator = __builtin_sqrtf(v) * f.inverseRootCorrection2 + f.epsilon;
    const float p = parameter[i] * keep - f.stepSize * (m / denominator);
    moment1[i] = m;
    moment2[i] = v;
    parameter[i] = p;
    if constexpr (copies) copy[i] = Element<Bfloat16>::store(p);
  }
}

void adamw(const AdamwSpan& span) {
  const float* hyper = span.hyper;
  const double rate = hyper[kLearningRate];
  const double beta1 = decimalOf(hyper[kBeta1]);
  const double beta2 = decimalOf(hyper[kBeta2]);
  AdamwFactors f;
  f.beta1 = static_cast<float>(beta1);
  f.beta2 = static_cast<float>(beta2);
  f.oneMinusBeta1 = static_cast<float>(1 - beta1);
  f.oneMinusBeta2 = static_cast<float>(1 - beta2);
  f.stepSize = static_cast<float>(rate / hyper[kBiasCorrection1]);
  f.inverseRootCorrection2 = static_cast<float>(1 / __builtin_sqrt(static_cast<double>(hyper[kBiasCorrection2])));
  f.epsilon = hyper[kEpsilon];
  f.clip = span.clipFactor;
  const float keep = static_cast<float>(1 - rate * decimalOf(hyper[kWeightDecay]));
  const auto update = span.gradientDtype == Dtype::bfloat16
                          ? (span.computeCopy != nullptr ? adamwSpan<Bfloat16, true> : adamwSpan<Bfloat16, false>)
                          : (span.computeCopy != nullptr ? adamwSpan<float, true> : adamwSpan<float, false>);
  update(span, 0, span.decayElements, keep, f);
  update(span, span.decayElements, span.count, 1, f);
}

// --- Reductions between ranks ---

constexpr size_t kBlock = 1024;

template <typename T, bool maximum>
void reduceSpan(const void* const* sources, int sourceCount, T* output, size_t count) {
  using Compute = typename Element<T>::Compute;
  Compute block[kBlock];
  for (size_t start = 0; start < count; start += kBlock) {
    const size_t length = count - start < kBlock ? count - start : kBlock;
    const T* first = static_cast<const T*>(sources[0]) + start;
    for (size_t i = 0; i < length; i++) block[i] = Element<T>::load(first[i]);
    for (int s = 1; s < sourceCount; s++) {
      const T* source = static_cast<const T*>(sources[s]) + start;
      for (size_t i = 0; i < length; i++) {
        const Compute value = Element<T>::load(source[i]);
        if constexpr (maximum) {
          block[i] = block[i] > value ? block[i] : value;
        } else {
          block[i] = block[i] + value;
        }
      }
    }
    for (size_t i = 0; i < length; i++) output[start + i] = Element<T>::store(block[i]);
  }
}

template <typename T>
void reduceTyped(Reduction reduction, const void* const* sources, int sourceCount, void* output, size_t count) {
  auto* to = static_cast<T*>(output);
  if (reduction == Reduction::max) return reduceSpan<T, true>(sources, sourceCount, to, count);
  return reduceSpan<T, false>(sources, sourceCount, to, count);
}

void reduce(Dtype dtype, Reduction reduction, const void* const* sources, int sourceCount, void* output,
            size_t count) {
  switch (dtype) {
    case Dtype::float64:
      return reduceTyped<double>(reduction, sources, sourceCount, output, count);
    case Dtype::bfloat16:
      return reduceTyped<Bfloat16>(reduction, sources, sourceCount, output, count);
    default:
      return reduceTyped<float>(reduction, sources, sourceCount, output, count);
  }
}

}  // namespace

#define GALVATRON_TEXT(name) #name
#define GALVATRON_NAME(name) GALVATRON_TEXT(name)

extern const Kernels GALVATRON_KERNELS;
const Kernels GALVATRON_KERNELS = {GALVATRON_NAME(GALVATRON_KERNELS), convert, accumulate, fill, sumSquares, runSquares,
                                   adamw, reduce, normals};

}  // namespace galvatron
