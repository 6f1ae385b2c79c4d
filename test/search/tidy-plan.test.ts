import { expect, it } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { predictWith } from "../../src/cost/predict.js";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { tidied } from "../../src/search/tidy-plan.js";
import { exampleInputs } from "./example-inputs.js";

it("puts layers of equal strategy side by side inside their stage, where that fits and is as fast", () => {
  const { model, modelProfile, hardware } = exampleInputs(4, 400, 4);
  const cost = costModel(model, modelProfile, hardware);
  const uniform = uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 4 });
  const layers = uniform.layers.map((strategy, layer) => ({ ...strategy, recompute: layer % 2 === 1 }));
  const mixed = { ...uniform, layers };
  const { plan, prediction } = tidied(cost, mixed, Number.POSITIVE_INFINITY, {});
  expect(plan.layers.map(({ recompute }) => Number(recompute)).join("")).toBe("0011");
  expect(plan.stageLayers).toEqual(mixed.stageLayers);
  expect(prediction.stepMs).toBeLessThanOrEqual(predictWith(cost, mixed).stepMs * (1 + 1e-12));
  expect(tidied(cost, mixed, 1, {}).plan).toEqual(mixed);
});

it("keeps no second way of data parallelism that gains nothing", () => {
  const { model, modelProfile, hardware } = exampleInputs(4, 400, 4);
  const cost = costModel(model, modelProfile, hardware);
  const mixed = (microBatches: number): Plan => {
    const uniform = uniformPlan(model, { ranks: 4, globalBatch: 16, microBatches, dataParallel: "zero1" });
    const layers = uniform.layers.map((strategy, layer) => ({
      ...strategy,
      dataParallel: layer === 1 ? ("zero2" as const) : strategy.dataParallel,
    }));
    return { ...uniform, layers };
  };
  const ways = (plan: Plan): readonly string[] => plan.layers.map(({ dataParallel }) => dataParallel);
  const same = predictWith(cost, mixed(1)).stepMs;
  const tidy = tidied(cost, mixed(1), Number.POSITIVE_INFINITY, {});
  expect(ways(tidy.plan)).toEqual(["zero1", "zero1", "zero1", "zero1"]);
  expect(tidy.prediction.stepMs).toBeLessThanOrEqual(same * (1 + 1e-12));
  const needed = Math.max(...predictWith(cost, mixed(4)).stages.map(({ memory }) => memory.totalBytes));
  expect(ways(tidied(cost, mixed(4), needed, {}).plan)).toContain("zero2");
});
