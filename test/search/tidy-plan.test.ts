import { expect, it } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { predictWith } from "../../src/cost/predict.js";
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
