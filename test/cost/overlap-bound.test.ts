import { describe, expect, it } from "vitest";
import { overlappedAndClosed } from "./random-overlap.js";

describe("prediction of plans with overlap", () => {
  // Stated in docs/cost-model.md, measured over 5,500 plans by test/bench/search-agreement.mjs.
  it("stays within its stated bound of the simulated Programs", () => {
    const ratios: number[] = [];
    for (let seed = 2000; seed < 2030; seed++) {
      const { simulatedMs, closedMs } = overlappedAndClosed(seed);
      ratios.push(simulatedMs / closedMs);
      expect(simulatedMs / closedMs, `seed ${seed}`).toBeGreaterThan(0.75);
      expect(simulatedMs / closedMs, `seed ${seed}`).toBeLessThan(1.15);
    }
    ratios.sort((a, b) => a - b);
    expect(Math.abs(ratios[ratios.length >> 1]! - 1)).toBeLessThan(0.03);
  });
});
