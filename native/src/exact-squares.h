#pragma once

// A sum of squares that does not depend on the order of its elements: each square is cut into limbs of a fixed-point
// number, and limbs are added as integers. Whoever holds which gradients, the sum has the same bits.

#include <cstddef>

namespace galvatron {

// Limb k counts multiples of 2^(24k - 168); together they hold every square of a float32 from 2^-168 up.
constexpr size_t kExactLimbs = 18;

// Limbs, each below 2^24, of the squares of `count` elements (below 2^38). Where one is not finite the first limb is NaN.
void exactSquares(const float* input, size_t count, double* limbs);

// The number that limbs stand for, after they may have been added up over ranks.
double exactValue(const double* limbs);

}  // namespace galvatron
