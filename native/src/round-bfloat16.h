#pragma once

#include <stddef.h>
#include <stdint.h>

namespace galvatron {

// To nearest, ties to even, over all cores; values are finite.
void roundBfloat16(const float* source, uint16_t* target, size_t count);

}  // namespace galvatron
