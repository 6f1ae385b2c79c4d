#include "exact-squares.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

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
  int64_t sums[kExactLimbs] = {};
  bool finite = true;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, input + i, sizeof bits);
    const int exponent = static_cast<int>((bits >> 23) & 0xffu);
    if (exponent == 0xff) {
      finite = false;
      break;
    }
    const uint64_t fraction = (bits & 0x7fffffu) | (exponent > 0 ? 0x800000u : 0u);
    uint64_t square = fraction * fraction;  // below 2^48, times 2^(2 · max(exponent, 1) - 300)
    int shift = 2 * (exponent > 0 ? exponent : 1) - 300 - kLowestExponent;
    if (shift < 0) {
      square = shift <= -48 ? 0 : square >> -shift;
      shift = 0;
    }
    const int limb = shift / kLimbBits;
    const int offset = shift % kLimbBits;
    sums[limb] += static_cast<int64_t>(square << offset) & kLimbMask;
    sums[limb + 1] += static_cast<int64_t>(square >> (kLimbBits - offset)) & kLimbMask;
    sums[limb + 2] += static_cast<int64_t>(square >> (2 * kLimbBits - offset));
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
