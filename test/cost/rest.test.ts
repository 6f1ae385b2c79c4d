import { expect, test } from "vitest";
import { costModel, inPipeline, restFactor } from "../../src/cost/cost-model.js";
import { layerWork } from "../../src/cost/layer-lookup.js";
import { predict } from "../../src/cost/predict.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { smallModel } from "../program/small-model.js";
import { exampleHardware } from "../search/example-inputs.js";

const model = smallModel(4);
const hardware = exampleHardware(4);
const usual = analyticProfile(model, hardware);
const rested = {
  ...usual,
  rest: [
    { workShare: 0.25, timeFactor: 0.8 },
    { workShare: 0.5, timeFactor: 0.9 },
  ],
};

test("layers of a pipeline are faster the more it waits, in between by what was measured", () => {
  const cost = costModel(model, rested, hardware);
  expect(restFactor(cost, 1, 1)).toBe(1);
  // 1 of 4, 1 of 8: no less than was seen.
  expect(restFactor(cost, 4, 1)).toBe(0.8);
  expect(restFactor(cost, 8, 1)).toBe(0.8);
  expect(restFactor(cost, 2, 1)).toBe(0.9);
  expect(restFactor(cost, 2, 3)).toBeCloseTo(0.95, 12);
  const ms = (of: typeof cost): number =>
    layerWork(of.layers, model.layers[0]!, 1, "weights", 2, 16)!.forwardMs;
  expect(ms(inPipeline(cost, 4, 1))).toBeCloseTo(0.8 * ms(cost), 12);
  expect(restFactor(costModel(model, usual, hardware), 4, 1)).toBe(1);
});

test("a plan without stages does not rest, one with stages is predicted faster", () => {
  const stepMs = (pipelineDegree: number, profile: typeof usual): number => {
    const plan = uniformPlan(model, { ranks: 4, globalBatch: 8, pipelineDegree, microBatches: 2 });
    return predict(model, plan, profile, hardware).stepMs;
  };
  expect(stepMs(1, rested)).toBe(stepMs(1, usual));
  expect(stepMs(4, rested)).toBeLessThan(stepMs(4, usual));
  expect(stepMs(4, rested)).toBeGreaterThan(0.8 * stepMs(4, usual));
});

test("on a machine of one device every plan's layers take what they were seen to take behind an update", () => {
  const alone = exampleHardware(1);
  const apart = smallModel(4, { tied: false });
  const seen = { ...analyticProfile(apart, alone), rest: [{ workShare: 0.9, timeFactor: 0.96 }] };
  const plan = uniformPlan(apart, { ranks: 1, globalBatch: 8 });
  const [usualTime, time] = [analyticProfile(apart, alone), seen].map(
    (profile) => predict(apart, plan, profile, alone).stages[0]!.time,
  );
  expect(time!.computeMs).toBeCloseTo(0.96 * usualTime!.computeMs, 9);
  expect(time!.optimizerMs).toBe(usualTime!.optimizerMs);
});
