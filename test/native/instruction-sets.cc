// Runs every kernel of every instruction set that this machine has on the same bytes; ends with 1 where two differ.
// Built and run by instruction-sets.test.ts.

#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels.h"

using namespace galvatron;

namespace {

// Any bits at all: subnormals, infinities and NaNs included.
std::vector<unsigned char> randomBytes(size_t count, uint64_t seed) {
  std::vector<unsigned char> bytes(count);
  for (unsigned char& byte : bytes) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    byte = static_cast<unsigned char>(seed >> 56);
  }
  return bytes;
}

std::vector<float> randomFloats(size_t count, uint64_t seed, float scale) {
  const auto bytes = randomBytes(count * 4, seed);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, &bytes[4 * i], 4);
    values[i] = (static_cast<float>(bits >> 8) / 16777216.0f - 0.5f) * scale;
  }
  return values;
}

std::vector<unsigned char> outputsOf(const Kernels& with) {
  std::vector<unsigned char> all;
  const auto keep = [&](const void* data, size_t bytes) {
    const auto* from = static_cast<const unsigned char*>(data);
    all.insert(all.end(), from, from + bytes);
  };
  constexpr size_t count = 3001;
  const Dtype floats[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16};
  for (const Dtype from : floats) {
    for (const Dtype to : floats) {
      const auto input = randomBytes(count * dtypeBytes(from), 1 + static_cast<int>(from));
      auto output = randomBytes(count * dtypeBytes(to), 20 + static_cast<int>(to));
      // Widening a NaN may or may not quieten it; numbers decide here.
      std::vector<unsigned char> numbers = input;
      with.convert(Dtype::float32, randomFloats(count, 5, 3e4f).data(), from, numbers.data(), count);
      with.accumulate(from, numbers.data(), to, output.data(), 0);
      with.convert(from, numbers.data(), to, output.data(), count);
      keep(output.data(), output.size());
      with.accumulate(from, numbers.data(), to, output.data(), count);
      keep(output.data(), output.size());
    }
  }
  const auto a = randomFloats(count, 6, 100), b = randomFloats(count, 7, 1e-3f), c = randomFloats(count, 8, 1e6f);
  const double sum = with.sumSquares(Dtype::float32, a.data(), count);
  keep(&sum, sizeof sum);
  double runs[count / kSquaresRun + 1];
  with.runSquares(a.data(), count, runs);
  keep(runs, sizeof runs);
  std::vector<float> drawn(count);
  with.normals(drawn.data(), count, 0x1234567u, 0x89abcdefu, 3, 0.02);
  keep(drawn.data(), count * sizeof(float));
  for (const Dtype dtype : {Dtype::float32, Dtype::float64, Dtype::bfloat16}) {
    std::vector<unsigned char> inputs[3];
    const std::vector<float>* values[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) {
      inputs[i].resize(count * dtypeBytes(dtype));
      with.convert(Dtype::float32, values[i]->data(), dtype, inputs[i].data(), count);
    }
    const void* sources[] = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
    std::vector<unsigned char> output(count * dtypeBytes(dtype));
    for (const Reduction reduction : {Reduction::sum, Reduction::max}) {
      with.reduce(dtype, reduction, sources, 3, output.data(), count);
      keep(output.data(), output.size());
    }
  }
  std::vector<float> parameter = a, gradient = b, moment1 = randomFloats(count, 9, 1), moment2 = randomFloats(count, 10, 1);
  for (float& value : moment2) value = value * value;
  std::vector<uint16_t> copy(count);
  const float hyper[] = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.19f, 0.0975f, 1.0f};
  std::vector<uint16_t> narrow(count);
  with.convert(Dtype::float32, gradient.data(), Dtype::bfloat16, narrow.data(), count);
  for (int step = 0; step < 3; step++) {
    with.adamw({parameter.data(), gradient.data(), Dtype::float32, moment1.data(), moment2.data(), copy.data(), count,
                1234, hyper, 0.7f});
    with.adamw({parameter.data(), narrow.data(), Dtype::bfloat16, moment1.data(), moment2.data(), copy.data(), count,
                1234, hyper, 0.7f});
  }
  keep(parameter.data(), count * 4);
  keep(moment1.data(), count * 4);
  keep(moment2.data(), count * 4);
  keep(copy.data(), count * 2);
  return all;
}

}  // namespace

int main() {
  const auto baseline = outputsOf(kernelsBaseline);
  int compared = 0, different = 0;
  const auto compare = [&](const Kernels& with) {
    compared++;
    if (outputsOf(with) != baseline) {
      different++;
      std::printf("%s differs\n", with.name);
    }
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) compare(kernelsAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    compare(kernelsAvx512);
  }
#endif
  std::printf("%zu bytes, %d other instruction sets\n", baseline.size(), compared);
  return different == 0 ? 0 : 1;
}
