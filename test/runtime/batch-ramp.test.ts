import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BatchRamp, batchPhases, firstSampleOf, phaseAt } from "../../src/runtime/batch-ramp.js";

const ramps = fc
  .record({
    microBatch: fc.integer({ min: 1, max: 4 }),
    start: fc.integer({ min: 1, max: 6 }),
    increment: fc.integer({ min: 1, max: 5 }),
    sizes: fc.integer({ min: 1, max: 8 }),
    samples: fc.integer({ min: 1, max: 500 }),
  })
  .map(({ microBatch, start, increment, sizes, samples }) => ({
    ramp: { start: start * microBatch, increment: increment * microBatch, samples },
    globalBatch: (start + sizes * increment) * microBatch,
    microBatch,
  }));

describe("batch-size ramp-up", () => {
  it("takes the sizes that Megatron's rule gives, step by step", () => {
    fc.assert(
      fc.property(ramps, ({ ramp, globalBatch, microBatch }) => {
        const phases = batchPhases(ramp, globalBatch, microBatch);
        const sizes = (globalBatch - ramp.start) / ramp.increment;
        let consumed = 0;
        for (let step = 0; step < 200; step++) {
          // The number of whole shares that are consumed, so many increments.
          const grown = Math.min(sizes, Math.floor((consumed * sizes) / ramp.samples));
          expect(phaseAt(phases, step).globalBatch).toBe(ramp.start + grown * ramp.increment);
          expect(firstSampleOf(phases, step)).toBe(consumed);
          consumed += phaseAt(phases, step).globalBatch;
        }
      }),
    );
  });

  it("is one phase without a ramp", () => {
    expect(batchPhases(null, 8, 2)).toEqual([{ globalBatch: 8, firstStep: 0, firstSample: 0 }]);
  });

  it.each<[string, Partial<BatchRamp>, RegExp]>([
    ["a start of nothing", { start: 0 }, /whole numbers of at least 1; got start 0/],
    ["half a sample", { increment: 0.5 }, /whole numbers/],
    ["a start that is the whole batch", { start: 16 }, /start below the plan's global batch/],
    ["an increment that misses the batch", { increment: 8 }, /leads from start to the plan's global batch/],
    ["half a micro-batch", { start: 6, increment: 2 }, /whole micro-batches/],
  ])("refuses %s in words", (_, change, words) => {
    expect(() => batchPhases({ start: 4, increment: 4, samples: 64, ...change }, 16, 4)).toThrow(words);
  });
});
