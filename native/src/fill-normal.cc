#include "fill-normal.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

namespace galvatron {
namespace {

struct Words {
  uint32_t w[4];
};

// Philox 4x32-10, as src/base/random.ts has it.
Words philox(uint32_t k0, uint32_t k1, uint64_t block) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = 0, c3 = 0;
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t{0xd2511f53u} * c0, p1 = uint64_t{0xcd9e8d57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {{c0, c1, c2, c3}};
}

void fill(float* target, size_t count, uint32_t k0, uint32_t k1, uint64_t start, double deviation) {
  for (size_t i = 0; i < count;) {
    const uint64_t element = start + i;
    const Words words = philox(k0, k1, element / 4);
    double normals[4];
    for (int pair = 0; pair < 4; pair += 2) {
      const double radius = std::sqrt(-2 * std::log((words.w[pair] + 0.5) / 4294967296.0));
      const double angle = 2 * M_PI * ((words.w[pair + 1] + 0.5) / 4294967296.0);
      normals[pair] = radius * std::cos(angle);
      normals[pair + 1] = radius * std::sin(angle);
    }
    for (size_t lane = element % 4; lane < 4 && i < count; lane++, i++)
      target[i] = static_cast<float>(normals[lane] * deviation);
  }
}

}  // namespace

void fillNormal(float* target, size_t count, uint32_t key0, uint32_t key1, uint64_t start, double deviation) {
  constexpr size_t kLeastPerThread = size_t{1} << 18;
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t threads = std::min(cores, std::max<size_t>(1, count / kLeastPerThread));
  const size_t share = (count + threads - 1) / threads;
  std::vector<std::thread> running;
  for (size_t t = 1; t < threads; t++) {
    const size_t from = t * share;
    if (from >= count) break;
    running.emplace_back(
        [=] { fill(target + from, std::min(share, count - from), key0, key1, start + from, deviation); });
  }
  fill(target, std::min(share, count), key0, key1, start, deviation);
  for (std::thread& thread : running) thread.join();
}

}  // namespace galvatron
