import { describe, expect, it } from "vitest";
import { isGalvatronError } from "../../src/base/errors.js";
import { batchList } from "../../src/search/outer-choice.js";
import { type SearchInputs, search } from "../../src/search/search.js";
import { bruteForce, randomInstance, randomRange } from "./brute-force.js";

/** Samples per ms and gap, none where nothing fits. */
function fastest(inputs: SearchInputs): { readonly speed: number; readonly gap: number } {
  try {
    const { plan, prediction, gap } = search(inputs);
    return { speed: plan.globalBatch / prediction.stepMs, gap };
  } catch (error) {
    if (!isGalvatronError(error)) throw error;
    return { speed: 0, gap: 0 };
  }
}

describe("search against brute force", () => {
  it("finds the best of all plans, and knows that it is", () => {
    let pipelines = 0;
    for (let seed = 10_000; seed < 10_020; seed++) {
      const inputs = randomInstance(seed);
      const { stepMs } = bruteForce(inputs);
      try {
        const report = search(inputs);
        expect(Math.abs(report.prediction.stepMs / stepMs - 1), `seed ${seed}`).toBeLessThan(1e-10);
        expect(report.gap, `seed ${seed}`).toBe(0);
        if (report.plan.stageLayers.length > 1) pipelines++;
      } catch (error) {
        if (!isGalvatronError(error)) throw error;
        expect(error.code, `seed ${seed}`).toBe("NO_FEASIBLE_PLAN");
        expect(stepMs, `seed ${seed}`).toBe(Number.POSITIVE_INFINITY);
      }
    }
    expect(pipelines).toBeGreaterThan(5);
  });

  it("finds in a range of batches, which share bounds, what each batch by itself can do", () => {
    let feasible = 0;
    for (let seed = 11_000; seed < 11_030; seed++) {
      const inputs = randomRange(seed);
      const together = fastest(inputs);
      const single = batchList(inputs.globalBatch).map(
        (globalBatch) => fastest({ ...inputs, globalBatch }).speed,
      );
      const best = Math.max(...single);
      if (best > 0) feasible++;
      expect(Math.abs(together.speed - best), `seed ${seed}`).toBeLessThanOrEqual(1e-10 * best);
      expect(together.gap, `seed ${seed}`).toBe(0);
    }
    expect(feasible).toBeGreaterThan(20);
  });
});
