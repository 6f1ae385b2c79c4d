import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { permuted, sampleAt } from "../../../src/runtime/data/sample-order.js";

describe("sample order", () => {
  it("visits every sample exactly once in every epoch", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(), fc.nat(5), (count, seed, epoch) => {
        const seen = Array.from({ length: count }, (_, i) => permuted(i, count, seed, epoch));
        expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      }),
      { numRuns: 60 },
    );
  });

  it("differs between seeds and between epochs", () => {
    const order = (seed: number, epoch: number): string =>
      Array.from({ length: 50 }, (_, i) => permuted(i, 50, seed, epoch)).join();
    expect(new Set([order(1, 0), order(2, 0), order(1, 1), order(2, 1)]).size).toBe(4);
  });

  it("mixes well: neighbours in the order are far apart in the text", () => {
    const count = 10_000;
    let near = 0;
    for (let i = 1; i < count; i++)
      if (Math.abs(permuted(i, count, 7, 0) - permuted(i - 1, count, 7, 0)) < 100) near++;
    // Uniform pairs lie within 100 of each other about 2 % of the time.
    expect(near / count).toBeGreaterThan(0.01);
    expect(near / count).toBeLessThan(0.03);
  });

  it("keeps the order of the text when it is not to shuffle, epoch after epoch", () => {
    expect([0, 1, 2, 3, 4, 5, 6].map((place) => sampleAt(place, 3, 9, false))).toEqual([0, 1, 2, 0, 1, 2, 0]);
  });

  it("works on counts beyond 32 bits", () => {
    const count = 2 ** 40 + 3;
    const sample = permuted(2 ** 39, count, 1, 0);
    expect(sample).toBeGreaterThanOrEqual(0);
    expect(sample).toBeLessThan(count);
    expect(Number.isInteger(sample)).toBe(true);
  });
});
