import { describe, expect, it } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { outerChoices } from "../../src/search/outer-choice.js";
import { outerShapes } from "../../src/search/outer-shapes.js";
import { bestSharedPath, exactDividePath } from "../../src/search/path-room.js";
import { peakClasses } from "../../src/search/peak-class.js";
import { hullRelaxation, solveWithin } from "../../src/search/solve-candidate.js";
import { bruteForce, randomInstance } from "./brute-force.js";

const exact = { mostLabels: Number.POSITIVE_INFINITY, exact: true };

describe("pipelines of one micro-batch by a path that shares the updates", () => {
  it("finds the best plan, and no bound lies above it", () => {
    let solved = 0;
    let near = 0;
    for (let seed = 30_000; seed < 30_060; seed++) {
      const inputs = randomInstance(seed);
      const ranks = inputs.hardware.cluster.ranksPerNode;
      const space = { ...inputs.space, microBatches: 1, schedules: ["1f1b"] as const };
      const cost = costModel(inputs.model, inputs.modelProfile, inputs.hardware, inputs.gradientOrder);
      const kinds = inputs.model.layers;
      const budgetBytes = inputs.budgetBytes - inputs.hardware.reservedBytes;
      for (const outer of outerChoices(ranks, kinds.length, inputs.globalBatch, space)) {
        if (outer.stages === 1) continue;
        const { stepMs } = bruteForce({ ...inputs, space: { ...space, pipelineDegrees: [outer.stages] } });
        const problem = { shape: outerShapes(cost, space)(outer), outer, kinds, budgetBytes, even: 0 };
        if (stepMs === Number.POSITIVE_INFINITY) continue;
        const relaxation = hullRelaxation(problem, peakClasses(problem.shape));
        for (const limitMs of [stepMs * (1 + 1e-11), stepMs * 1.2]) {
          const path = bestSharedPath(problem, relaxation, limitMs);
          const { leastMs } = exactDividePath(problem, relaxation, path, limitMs);
          const boundMs = leastMs + problem.shape.normMs;
          expect(boundMs, `seed ${seed}`).toBeLessThanOrEqual(stepMs * (1 + 1e-11));
          if (boundMs > stepMs * 0.95) near++;
          const { best, lowerBoundMs } = solveWithin(problem, relaxation, limitMs, exact);
          expect(Math.abs(best!.stepMs / stepMs - 1), `seed ${seed}`).toBeLessThan(1e-10);
          expect(Math.abs(lowerBoundMs / stepMs - 1), `seed ${seed}`).toBeLessThan(1e-10);
          solved++;
        }
        const below = solveWithin(problem, relaxation, stepMs * (1 - 1e-9), exact);
        expect(below.best, `seed ${seed}`).toBeNull();
      }
    }
    expect(solved).toBeGreaterThan(40);
    expect(near).toBeGreaterThan(20);
  });
});
