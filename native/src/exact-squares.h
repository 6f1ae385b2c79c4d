#pragma once

// A sum of squares that does not depend on how its elements are dealt out: runs of 64 are added up in float64, their
// sums are cut into limbs of a fixed-point number, and limbs are added as integers. Whoever holds which runs, the sum
// has the same bits.

#include <cstddef>

namespace galvatron {

// Limb k counts multiples of 2^(24k - 168); together they hold every sum of 64 squares from 2^-168 up.
constexpr size_t kExactLimbs = 18;

// Limbs, each below 2^24, of the squares of `count` elements (below 2^38), whose runs start with the first. Where one is
// not finite the first limb is NaN.
void exactSquares(const float* input, size_t count, double* limbs);

// The number that limbs stand for, after they may have been added up over ranks.
double exactValue(const double* limbs);

}  // namespace galvatron
