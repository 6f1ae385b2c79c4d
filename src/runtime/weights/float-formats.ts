/** Element types that weights can have in a file. */
export type WeightDtype = "F32" | "BF16" | "F16";

export const WEIGHT_BYTES: Readonly<Record<WeightDtype, number>> = { F32: 4, BF16: 2, F16: 2 };

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 0x1f) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** IEEE 754 binary16, rounded to nearest, ties to even. */
function floatToHalf(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const shifted = magnitude - 0x38000000;
    return sign | ((shifted + 0xfff + ((shifted >>> 13) & 1)) >>> 13);
  }
  // Below the smallest normal number the mantissa counts units of 2^-24: a power of two, so the quotient is exact.
  const units = Math.abs(value) * 2 ** 24;
  const below = Math.floor(units);
  const rest = units - below;
  return sign | (below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0));
}

/** bfloat16: the upper half of a float32, rounded to nearest, ties to even; NaN stays NaN. */
function floatToBfloat16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** bfloat16 of every element, as its bits. */
export function roundBfloat16(source: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) target[i] = floatToBfloat16(bits[i]!);
}

/** Little-endian elements as float32: exact, for every number of the short formats is a float32. */
export function decodeFloats(bytes: Uint8Array, dtype: WeightDtype): Float32Array {
  const count = bytes.byteLength / WEIGHT_BYTES[dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(count);
  const bits = new Uint32Array(values.buffer);
  switch (dtype) {
    case "F32":
      new Uint8Array(values.buffer).set(bytes);
      break;
    case "BF16":
      for (let i = 0; i < count; i++) bits[i] = view.getUint16(2 * i, true) << 16;
      break;
    case "F16":
      for (let i = 0; i < count; i++) values[i] = halfToFloat(view.getUint16(2 * i, true));
      break;
  }
  return values;
}

/** The way back, rounded to nearest where the format is shorter. */
export function encodeFloats(values: Float32Array, dtype: WeightDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
  const encoded = new Uint16Array(values.length);
  if (dtype === "F16") for (let i = 0; i < values.length; i++) encoded[i] = floatToHalf(values[i]!);
  else roundBfloat16(values, encoded);
  return new Uint8Array(encoded.buffer);
}
