/**
 * Mixing of whole numbers below 2^30 by products only, so that every device that multiplies int64 makes the same bits,
 * and no product overflows. The twin in graph ops is graph/layers/dropout.ts.
 */
const KEY_BITS = 30;
export const KEY_MASK: number = 2 ** KEY_BITS - 1;
/** Bits of a product of two keys that are thrown away: those that depend on few. */
export const LOW_BITS = 15;

/** The middle bits of a · b, which depend on all bits of both. */
function middle(a: number, b: number): number {
  return Number((BigInt(a) * BigInt(b)) >> BigInt(LOW_BITS)) & KEY_MASK;
}

/** Odd constants of the mixing: the fractional bits of √2, √3, √5 and √7. */
export const MIX_CONSTANTS: readonly [number, number, number, number] = [
  0x1a827999, 0x2ed9eba1, 0x0f1bbcdd, 0x2953fd4f,
];

/** Two keys below 2^30 from two keys below 2^30 and a whole number below 2^23. */
export function mixKeys(key0: number, key1: number, counter: number): readonly [number, number] {
  const [c0, c1, c2, c3] = MIX_CONSTANTS;
  const low = (value: number): number => Number(BigInt.asUintN(KEY_BITS, BigInt(value)));
  const a = low(key0 + counter * c0);
  const b = low(key1 + counter * c1 + c2);
  const first = middle(a, b);
  const second = middle(low(a + c3), low(b + first));
  const third = middle(low(first + b), low(second + c2));
  return [third, middle(low(second + a), low(third + c0))];
}
