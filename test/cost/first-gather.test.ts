import { expect, test } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { type LayerCost, layerCost } from "../../src/cost/layer-cost.js";
import { predict } from "../../src/cost/predict.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import type { DataParallel } from "../../src/plan/strategy.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { smallModel } from "../program/small-model.js";
import { exampleHardware } from "../search/example-inputs.js";

const model = smallModel(4);
const hardware = exampleHardware(4);
const slow = { computeSlowdown: 1.2, communicationSlowdown: 1.5 };
const profile = {
  ...analyticProfile(model, hardware),
  overlap: { ...slow, gathers: { computeSlowdown: 1.1, communicationSlowdown: 1.3 }, reductions: slow },
};
const MICRO_BATCHES = 4;

function planUnder(dataParallel: DataParallel, ranks = 4): ReturnType<typeof uniformPlan> {
  return uniformPlan(model, { ranks, globalBatch: 16, microBatches: MICRO_BATCHES, dataParallel });
}

function bodyLayer(dataParallel: DataParallel, ranks = 4): LayerCost {
  const { layers } = planUnder(dataParallel, ranks);
  const samples = 16 / MICRO_BATCHES / ranks;
  return layerCost(costModel(model, profile, hardware), model.layers[0]!, layers[0]!, samples, true)!;
}

test("ZeRO-1 and 2 gather once what ZeRO-3 gathers before every forward, and as much of it is hidden", () => {
  const each = bodyLayer("zero3");
  expect(each.forwardDataMs).toBeGreaterThan(0);
  for (const dataParallel of ["zero1", "zero2"] as const) {
    const once = bodyLayer(dataParallel);
    expect(once.firstGatherMs).toBeCloseTo(each.forwardDataMs, 12);
    expect(once.forwardDataMs).toBe(0);
  }
  expect(each.firstGatherMs).toBe(0);
  expect(bodyLayer("ddp").firstGatherMs).toBe(0);
  expect(bodyLayer("zero2", 1).firstGatherMs).toBe(0);
});

test("it counts once a step, in what data parallelism takes", () => {
  const dataMs = (dataParallel: DataParallel): number =>
    predict(model, planUnder(dataParallel), profile, hardware).stages[0]!.time.dataMs;
  // Under ZeRO-3 every forward gathers, and every backward gathers and scatters; under ZeRO-2 every backward scatters.
  const [each, once] = [bodyLayer("zero3"), bodyLayer("zero2")];
  const saved =
    MICRO_BATCHES * (each.forwardDataMs + each.backwardDataMs - once.backwardDataMs) - once.firstGatherMs;
  expect(saved).toBeGreaterThan(0);
  expect(dataMs("zero3") - dataMs("zero2")).toBeGreaterThan(model.layers.length * saved);
});
