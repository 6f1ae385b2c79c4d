#pragma once

// Normal numbers by counter (Philox 4x32-10, Salmon et al. 2011; Box & Muller 1958), as src/base/random.ts has them,
// many at a time: written so that compilers make vector instructions of it. Included by kernels.cc alone, once per
// instruction set.

#include <cstddef>
#include <cstdint>

namespace galvatron {
namespace {

inline uint64_t bitsOf(double value) { return __builtin_bit_cast(uint64_t, value); }
inline double doubleOf(uint64_t bits) { return __builtin_bit_cast(double, bits); }

// A whole number below 2^52 as a double, by the bits: older instruction sets have no conversion.
inline double wholeDouble(uint64_t value) { return doubleOf(value | 0x4330000000000000u) - 4503599627370496.0; }
// (word + 1/2) / 2^32, in (0, 1).
inline double unitDouble(uint32_t word) { return (wholeDouble(word) + 0.5) * (1.0 / 4294967296.0); }

// ln x for x in (2^-60, 2): x = 2^k m with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m - 1) / (m + 1)).
inline double logarithm(double x) {
  const uint64_t bits = bitsOf(x);
  // 64 more than k, so that no sign has to be shifted.
  const uint64_t power = (bits - 0x3fe6a09e667f3bcdu + (uint64_t{64} << 52)) >> 52;
  const double m = doubleOf(bits - (power << 52) + (uint64_t{64} << 52));
  const double s = (m - 1) / (m + 1), z = s * s;
  double series = 1.0 / 17;
  series = series * z + 1.0 / 15;
  series = series * z + 1.0 / 13;
  series = series * z + 1.0 / 11;
  series = series * z + 1.0 / 9;
  series = series * z + 1.0 / 7;
  series = series * z + 1.0 / 5;
  series = series * z + 1.0 / 3;
  return (wholeDouble(power) - 64) * 0.6931471805599453 + 2 * (s + s * z * series);
}

// Cosine and sine of a share x of a turn, in (0, 1): by quadrants, and Taylor's series on an eighth of a turn.
inline void cosineAndSine(double x, double& cosine, double& sine) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to a whole number, its low bits
  const double turns = 4 * x, shifted = turns + kRound;
  const uint64_t quadrant = bitsOf(shifted);
  const double a = (turns - (shifted - kRound)) * 1.5707963267948966, z = a * a;
  double s = -1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = s * z * a + a;
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 0.5;
  c = c * z + 1.0;
  // All ones in odd quadrants, where the two change places; signs follow.
  const uint64_t odd = uint64_t{0} - (quadrant & 1);
  const uint64_t sineBits = bitsOf(s), cosineBits = bitsOf(c);
  cosine = doubleOf(((sineBits & odd) | (cosineBits & ~odd)) ^ (((quadrant + 1) & 2) << 62));
  sine = doubleOf(((cosineBits & odd) | (sineBits & ~odd)) ^ ((quadrant & 2) << 62));
}

constexpr size_t kBlocks = 16;

// Four normal numbers of each block [first, first + kBlocks).
inline void normalBlocks(uint32_t key0, uint32_t key1, uint64_t first, double deviation, float (&out)[4][kBlocks]) {
  uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks] = {}, c3[kBlocks] = {};
  for (size_t i = 0; i < kBlocks; i++) {
    c0[i] = static_cast<uint32_t>(first + i);
    c1[i] = static_cast<uint32_t>((first + i) >> 32);
  }
  for (int round = 0; round < 10; round++) {
    for (size_t i = 0; i < kBlocks; i++) {
      const uint64_t p0 = uint64_t{0xd2511f53u} * c0[i], p1 = uint64_t{0xcd9e8d57u} * c2[i];
      c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ key0;
      c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ key1;
      c1[i] = static_cast<uint32_t>(p1);
      c3[i] = static_cast<uint32_t>(p0);
    }
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  const auto pairs = [&](const uint32_t(&radii)[kBlocks], const uint32_t(&angles)[kBlocks], float(&first_of)[kBlocks],
                         float(&second_of)[kBlocks]) {
    for (size_t i = 0; i < kBlocks; i++) {
      const double radius = __builtin_sqrt(-2 * logarithm(unitDouble(radii[i])));
      double cosine, sine;
      cosineAndSine(unitDouble(angles[i]), cosine, sine);
      first_of[i] = static_cast<float>(radius * cosine * deviation);
      second_of[i] = static_cast<float>(radius * sine * deviation);
    }
  };
  pairs(c0, c1, out[0], out[1]);
  pairs(c2, c3, out[2], out[3]);
}

void normals(float* target, size_t count, uint32_t key0, uint32_t key1, uint64_t start, double deviation) {
  float block[4][kBlocks];
  for (size_t i = 0; i < count;) {
    const uint64_t element = start + i;
    normalBlocks(key0, key1, element / 4, deviation, block);
    const size_t skipped = element % 4;
    const size_t length = count - i < 4 * kBlocks - skipped ? count - i : 4 * kBlocks - skipped;
    for (size_t at = 0; at < length; at++) target[i + at] = block[(skipped + at) % 4][(skipped + at) / 4];
    i += length;
  }
}

}  // namespace
}  // namespace galvatron
