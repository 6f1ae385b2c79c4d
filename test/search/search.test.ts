import { describe, expect, it } from "vitest";
import { isGalvatronError } from "../../src/base/errors.js";
import { predict } from "../../src/cost/predict.js";
import { verifyPlan } from "../../src/plan/verify-plan.js";
import { completeReport } from "../../src/search/complete-report.js";
import { search } from "../../src/search/search.js";
import { exampleInputs } from "./example-inputs.js";

describe("search", () => {
  it.each([1, 2, 4])("finds a valid plan inside the budget on %i ranks", (ranks) => {
    for (const budgetMB of [2000, 400, 250]) {
      const inputs = exampleInputs(ranks, budgetMB);
      const report = search(inputs);
      expect(verifyPlan(inputs.model, report.plan)).toEqual([]);
      for (const { memory } of report.prediction.stages)
        expect(memory.totalBytes).toBeLessThanOrEqual(inputs.budgetBytes);
      expect(report.plan.globalBatch).toBe(8);
      expect(predict(inputs.model, report.plan, inputs.modelProfile, inputs.hardware)).toEqual(
        report.prediction,
      );
    }
  });

  it("promises what the prediction of the plan says", () => {
    for (const ranks of [2, 4]) {
      for (const pipelineDegrees of [[1], [2], [ranks]]) {
        const report = search({ ...exampleInputs(ranks, 2000), space: { pipelineDegrees } });
        const steps = report.candidates.flatMap(({ stepMs }) => stepMs ?? []);
        expect(Math.min(...steps) / report.prediction.stepMs).toBeCloseTo(1, 9);
      }
    }
  });

  it("is never slower with more memory", () => {
    let last = Number.POSITIVE_INFINITY;
    for (const budgetMB of [90, 100, 110, 130, 160, 200, 250, 300, 500, 1000]) {
      let stepMs = Number.POSITIVE_INFINITY;
      try {
        stepMs = search(exampleInputs(4, budgetMB)).prediction.stepMs;
      } catch (error) {
        if (!isGalvatronError(error)) throw error;
      }
      expect(stepMs).toBeLessThanOrEqual(last * (1 + 1e-12));
      last = stepMs;
    }
  });

  it("says the smallest budget that would do, and it does", () => {
    const inputs = exampleInputs(2, 64);
    let smallest = 0;
    try {
      search(inputs);
    } catch (error) {
      if (!isGalvatronError(error)) throw error;
      expect(error.code).toBe("NO_FEASIBLE_PLAN");
      smallest = Number(error.context.smallestBudgetBytes);
    }
    expect(smallest).toBeGreaterThan(0);
    const report = search({ ...inputs, budgetBytes: smallest });
    expect(report.smallestBudgetBytes).toBe(smallest);
    expect(() => search({ ...inputs, budgetBytes: smallest - 1024 })).toThrow(/smallest budget/);
  });

  it("tells every candidate's best time on demand, and none beats the winner", () => {
    const inputs = exampleInputs(4, 150, 4);
    const report = search(inputs);
    const complete = completeReport(inputs, report);
    expect(complete.candidates).toHaveLength(report.candidates.length);
    expect(report.candidates.some(({ status }) => status === "pruned")).toBe(true);
    for (const candidate of complete.candidates) {
      expect(candidate.status).not.toBe("pruned");
      if (candidate.status !== "ok") {
        expect(candidate.reason).not.toBe("");
        continue;
      }
      expect(candidate.stepMs!).toBeGreaterThanOrEqual(report.prediction.stepMs * (1 - 1e-9));
      expect(candidate.memoryBytes!).toBeLessThanOrEqual(inputs.budgetBytes);
    }
  });

  it("gives the same bytes for the same inputs", () => {
    const once = JSON.stringify(search(exampleInputs(4, 150)));
    expect(JSON.stringify(search(exampleInputs(4, 150)))).toBe(once);
  });
});
