import { describe, expect, it } from "vitest";
import { isGalvatronError } from "../../src/base/errors.js";
import { search } from "../../src/search/search.js";
import { bruteForce, randomInstance } from "./brute-force.js";

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
});
