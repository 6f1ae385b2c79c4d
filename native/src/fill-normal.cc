#include "fill-normal.h"

#include <algorithm>
#include <thread>

#include "kernels.h"
#include "parallel-blocks.h"

namespace galvatron {

void fillNormal(float* target, size_t count, uint32_t key0, uint32_t key1, const StreamRuns& runs, double deviation) {
  const auto fill = [&](size_t, size_t start, size_t length) {
    for (size_t i = start; i < start + length;) {
      const uint64_t row = i / runs.run, column = i % runs.run;
      const size_t part = std::min<size_t>(runs.run - column, start + length - i);
      kernels().normals(target + i, part, key0, key1, runs.start + row * runs.stride + column, deviation);
      i += part;
    }
  };
  inBlocks(count, static_cast<int>(std::max(1u, std::thread::hardware_concurrency())), fill);
}

}  // namespace galvatron
