#include "round-bfloat16.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

namespace galvatron {
namespace {

void round(const float* source, uint16_t* target, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, source + i, sizeof bits);
    target[i] = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
}

}  // namespace

void roundBfloat16(const float* source, uint16_t* target, size_t count) {
  constexpr size_t kLeastPerThread = size_t{1} << 20;
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t threads = std::min(cores, std::max<size_t>(1, count / kLeastPerThread));
  const size_t share = (count + threads - 1) / threads;
  std::vector<std::thread> running;
  for (size_t from = share; from < count; from += share)
    running.emplace_back([=] { round(source + from, target + from, std::min(share, count - from)); });
  round(source, target, std::min(share, count));
  for (std::thread& thread : running) thread.join();
}

}  // namespace galvatron
