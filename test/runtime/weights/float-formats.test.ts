import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFloats, encodeFloats } from "../../../src/runtime/weights/float-formats.js";

const ALL = Uint8Array.from({ length: 2 * 65536 }, (_, i) => (i % 2 === 0 ? (i / 2) & 0xff : i >> 9));

function isNaNPattern(bits: number, dtype: "F16" | "BF16"): boolean {
  return dtype === "F16" ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fff) > 0x7f80;
}

describe("short floats", () => {
  it.each(["F16", "BF16"] as const)("every %s is a float32 and comes back as it was", (dtype) => {
    const back = new Uint16Array(encodeFloats(decodeFloats(ALL, dtype), dtype).buffer);
    for (let bits = 0; bits < 65536; bits++)
      if (isNaNPattern(bits, dtype)) expect(isNaNPattern(back[bits]!, dtype)).toBe(true);
      else expect(back[bits]).toBe(bits);
  });

  it.each(["F16", "BF16"] as const)("a float32 becomes the nearest %s, the even one of two", (dtype) => {
    const finite = dtype === "F16" ? 65504 : 3.3e38;
    const value = fc.float({ min: Math.fround(-finite), max: Math.fround(finite), noNaN: true });
    fc.assert(
      fc.property(value, (x) => {
        const bits = new Uint16Array(encodeFloats(Float32Array.of(x), dtype).buffer)[0]!;
        const near = [bits - 1, bits, bits + 1].filter(
          (one) => one >= 0 && one < 65536 && !isNaNPattern(one, dtype),
        );
        const distance = (one: number): number =>
          Math.abs(decodeFloats(new Uint8Array(Uint16Array.of(one).buffer), dtype)[0]! - x);
        const best = Math.min(...near.map(distance));
        expect(distance(bits)).toBe(best);
        if (near.some((one) => one !== bits && distance(one) === best)) expect(bits % 2).toBe(0);
      }),
      { numRuns: 2000, seed: 1 },
    );
  });
});
