import { describe, expect, it } from "vitest";
import { explain } from "../../src/search/explain.js";
import { paretoFront } from "../../src/search/pareto-front.js";
import { search } from "../../src/search/search.js";
import { whatIf } from "../../src/search/what-if.js";
import { exampleInputs } from "./example-inputs.js";

describe("explain", () => {
  it("prices the best plan without each dimension, and never finds a better one", () => {
    const inputs = exampleInputs(4, 130, 4);
    const report = search(inputs);
    const told = explain(inputs, report);
    expect(told.dimensions).toHaveLength(9);
    for (const { speedup } of told.dimensions)
      if (speedup !== null) expect(speedup).toBeGreaterThan(1 - 1e-9);
    expect(told.binding.share).toBeGreaterThan(0);
    expect(told.memory.freeBytes).toBeGreaterThanOrEqual(0);
    for (const { asNext, nextAsThis } of told.differences)
      for (const one of [asNext, nextAsThis])
        if (one.fits) expect(one.stepMs).toBeGreaterThan(report.prediction.stepMs * (1 - 1e-9));
    expect(told.text).toContain("sets the pace");
  });
});

describe("paretoFront", () => {
  it("rises in memory and in speed, from the smallest budget up", () => {
    const inputs = exampleInputs(2, 400, 4);
    const front = paretoFront(inputs, 6);
    expect(front.length).toBeGreaterThan(2);
    for (let i = 1; i < front.length; i++) {
      expect(front[i]!.memoryBytes).toBeGreaterThan(front[i - 1]!.memoryBytes);
      expect(front[i]!.samplesPerSecond).toBeGreaterThan(front[i - 1]!.samplesPerSecond);
    }
    expect(front.at(-1)!.stepMs).toBe(search(inputs).prediction.stepMs);
    expect(front[0]!.memoryBytes).toBeLessThanOrEqual(search(inputs).smallestBudgetBytes);
  });
});

describe("whatIf", () => {
  const inputs = exampleInputs(2, 150, 4);

  it("is never slower with more memory, faster links or faster devices", () => {
    for (const change of [{ budgetBytes: inputs.budgetBytes * 2 }, { bandwidth: 4 }, { compute: 2 }])
      expect(whatIf(inputs, change).speedup).toBeGreaterThan(1 - 1e-9);
    expect(whatIf(inputs, { compute: 2 }).speedup).toBeGreaterThan(1.3);
  });

  it("plans for another batch, sequence and number of ranks", () => {
    expect(whatIf(inputs, { globalBatch: 16 }).after?.plan.globalBatch).toBe(16);
    const shorter = whatIf(inputs, { sequence: 128 });
    expect(shorter.inputs.model.kinds.decoder?.sequence).toBe(128);
    expect(shorter.speedup).toBeGreaterThan(1.5);
    expect(whatIf({ ...inputs, budgetBytes: 1e9 }, { ranksPerNode: 4 }).after?.plan.ranks).toBe(4);
    expect(whatIf(inputs, { budgetBytes: 1e6 }).after).toBeNull();
    expect(() => whatIf(inputs, { sequence: -1 })).toThrow(/above 0/);
  });
});
