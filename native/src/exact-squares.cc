#include "exact-squares.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels.h"

namespace galvatron {
namespace {

constexpr int kLimbBits = 24;
constexpr int64_t kLimbMask = (int64_t{1} << kLimbBits) - 1;
constexpr int kLowestExponent = -168;

void carry(int64_t* limbs) {
  for (size_t limb = 0; limb + 1 < kExactLimbs; limb++) {
    limbs[limb + 1] += limbs[limb] >> kLimbBits;
    limbs[limb] &= kLimbMask;
  }
}

}  // namespace

void exactSquares(const float* input, size_t count, double* limbs) {
  constexpr size_t kRuns = 256;
  double runs[kRuns];
  // A sum reaches into four limbs, of which those above the last are always 0.
  int64_t sums[kExactLimbs + 3] = {};
  bool finite = true;
  for (size_t start = 0; start < count && finite; start += kRuns * kSquaresRun) {
    const size_t length = std::min(kRuns * kSquaresRun, count - start);
    kernels().runSquares(input + start, length, runs);
    for (size_t run = 0; run * kSquaresRun < length; run++) {
      uint64_t bits;
      std::memcpy(&bits, runs + run, sizeof bits);
      const int exponent = static_cast<int>(bits >> 52);
      if (exponent == 0) continue;
      if (exponent == 0x7ff) {
        finite = false;
        break;
      }
      // Below 2^53, times 2^(exponent - 1075).
      unsigned __int128 sum = (bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1} << 52);
      int shift = exponent - 1075 - kLowestExponent;
      if (shift < 0) {
        sum = shift <= -53 ? 0 : sum >> -shift;
        shift = 0;
      }
      sum <<= shift % kLimbBits;
      for (int64_t* limb = sums + shift / kLimbBits; sum != 0; limb++, sum >>= kLimbBits)
        *limb += static_cast<int64_t>(sum) & kLimbMask;
    }
  }
  carry(sums);
  for (size_t limb = 0; limb < kExactLimbs; limb++) limbs[limb] = static_cast<double>(sums[limb]);
  if (!finite) limbs[0] = std::numeric_limits<double>::quiet_NaN();
}

double exactValue(const double* limbs) {
  if (std::isnan(limbs[0])) return limbs[0];
  int64_t sums[kExactLimbs];
  for (size_t limb = 0; limb < kExactLimbs; limb++) sums[limb] = static_cast<int64_t>(limbs[limb]);
  carry(sums);
  double value = 0;
  for (size_t limb = kExactLimbs; limb-- > 0;)
    value += std::ldexp(static_cast<double>(sums[limb]), static_cast<int>(limb) * kLimbBits + kLowestExponent);
  return value;
}

}  // namespace galvatron
