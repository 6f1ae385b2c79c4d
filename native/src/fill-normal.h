#pragma once

#include <stddef.h>
#include <stdint.h>

namespace galvatron {

// Where elements lie in their stream: runs of `run`, the first at `start`, each `stride` after the one before.
struct StreamRuns {
  uint64_t start, run, stride;
};

// Elements of the stream of normal numbers under a key: src/base/random.ts over all cores, for vectors of billions of
// elements. Logarithm and cosine are our own: a value may differ in its last bit.
void fillNormal(float* target, size_t count, uint32_t key0, uint32_t key1, const StreamRuns& runs, double deviation);

}  // namespace galvatron
