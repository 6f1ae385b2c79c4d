import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fillNormal, fillUniform, philox } from "../../src/base/random.js";

describe("random numbers", () => {
  it("are Philox 4x32-10: the known answers of Random123's kat_vectors", () => {
    const out = new Uint32Array(4);
    philox(0, 0, 0, out);
    expect([...out]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  });

  it("do not depend on where a stream is cut", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(50), fc.nat(1000), (skip, count, seed) => {
        const whole = fillNormal(seed, "w", 0, skip + count, 0.5);
        expect(fillNormal(seed, "w", skip, count, 0.5)).toEqual(whole.slice(skip));
      }),
    );
  });

  it("differ by name and seed", () => {
    const first = fillNormal(1, "layers.0.weight", 0, 8, 1);
    expect(fillNormal(1, "layers.1.weight", 0, 8, 1)).not.toEqual(first);
    expect(fillNormal(2, "layers.0.weight", 0, 8, 1)).not.toEqual(first);
  });

  it("have the moments of their distributions", () => {
    const count = 200_000;
    const normal = fillNormal(7, "moments", 0, count, 2);
    const uniform = fillUniform(7, "moments", 0, count);
    const mean = (values: ArrayLike<number>, power: number): number => {
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i]! ** power;
      return sum / values.length;
    };
    expect(mean(normal, 1)).toBeCloseTo(0, 1);
    expect(mean(normal, 2) / 4).toBeCloseTo(1, 1);
    expect(mean(normal, 4) / 16).toBeCloseTo(3, 0);
    expect(mean(uniform, 1)).toBeCloseTo(0.5, 2);
    expect(mean(uniform, 2)).toBeCloseTo(1 / 3, 2);
  });
});
