#pragma once

#include <stddef.h>
#include <stdint.h>

namespace galvatron {

// Elements [start, start + count) of the stream of normal numbers under a key: src/base/random.ts over all cores, for
// vectors of billions of elements. Logarithm and cosine are the C library's: a value may differ in its last bit.
void fillNormal(float* target, size_t count, uint32_t key0, uint32_t key1, uint64_t start, double deviation);

}  // namespace galvatron
