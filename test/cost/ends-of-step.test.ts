import { describe, expect, test } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { stateGroup } from "../../src/cost/group-shape.js";
import { edgesMs, type LayerCost, layerCost } from "../../src/cost/layer-cost.js";
import { planStages, predictWith } from "../../src/cost/predict.js";
import { exposedMs } from "../../src/cost/stage-cost.js";
import { stateTime } from "../../src/cost/state-time.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import type { DataParallel } from "../../src/plan/strategy.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { programDurations } from "../../src/program/program-durations.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { lower, smallModel } from "../program/small-model.js";
import { exampleHardware } from "../search/example-inputs.js";

const MODES: readonly DataParallel[] = ["ddp", "zero1", "zero2", "zero3"];
const model = smallModel(2, { tied: false });
const hardware = exampleHardware(4);
const slow = { computeSlowdown: 1.2, communicationSlowdown: 1.5 };
const profile = {
  ...analyticProfile(model, hardware),
  overlap: { ...slow, gathers: { computeSlowdown: 1.1, communicationSlowdown: 1.3 }, reductions: slow },
};
const cost = costModel(model, profile, hardware);
const planOf = (dataParallel: DataParallel, pipelineDegree = 1): ReturnType<typeof uniformPlan> =>
  uniformPlan(model, { ranks: 4, globalBatch: 8, dataParallel, pipelineDegree });

function bodyLayer(dataParallel: DataParallel): LayerCost {
  return layerCost(cost, model.layers[0]!, planOf(dataParallel).layers[0]!, 2, false)!;
}

describe("ends of a step", () => {
  test("what forward and backward hide of a gather and a reduction is waited for where they are alone", () => {
    const strategy = planOf("zero3").layers[0]!;
    const elements = profile.layers.find(({ kind }) => kind === model.layers[0])!.parameterElements;
    const sums = { addsUp: false, inOrder: false, reducedBytes: 4 };
    const whole = stateTime(
      cost.collectives,
      stateGroup(cost.cluster, strategy),
      { read: elements, held: elements, reduced: elements },
      strategy,
      "float32",
      sums,
      hardware.optimizerGBps,
    );
    for (const dataParallel of MODES) {
      const one = bodyLayer(dataParallel);
      expect(one.reduceAloneMs).toBeGreaterThan(one.reduceMs);
      const gathered = one.edgeGatherMs + one.forwardDataMs + one.firstGatherMs;
      // Under ZeRO-1 and 2 the step before has gathered what comes first.
      if (dataParallel === "zero3") {
        expect(one.edgeGatherMs).toBeGreaterThan(0);
        expect(gathered).toBeCloseTo(whole.gatherMs, 12);
      } else {
        expect(gathered).toBeGreaterThanOrEqual(0);
        expect(gathered).toBeLessThan(whole.gatherMs);
      }
    }
    // Backward gathers, which costs it something, and then reduces.
    const { backwardDataMs, reduceAloneMs } = bodyLayer("zero2");
    expect(backwardDataMs + reduceAloneMs).toBeCloseTo(whole.scatterMs, 12);
  });

  test("the embedding and the first layer wait at both ends, a later stage's first layer at its own", () => {
    const one = bodyLayer("zero2");
    expect([0, 1, 2].map((index) => exposedMs(one, 0, index))).toEqual([
      edgesMs(one),
      edgesMs(one),
      one.reduceMs,
    ]);
    expect([0, 1].map((index) => exposedMs(one, 1, index))).toEqual([one.reduceAloneMs, one.reduceMs]);
    const stages = planStages(cost, planOf("zero2", 2));
    for (const [stage, { parts, reduceMs }] of stages.entries())
      expect(reduceMs).toBeCloseTo(
        parts.reduce((sum, part, index) => sum + exposedMs(part.cost, stage, index), 0),
        12,
      );
  });

  test("with few layers the price stays near the simulated Programs", () => {
    for (const dataParallel of MODES) {
      const plan = planOf(dataParallel);
      const { programs } = lower(model, plan);
      const { stepMs } = simulateTimes(programs, programDurations(cost), { overlap: cost.overlap });
      const predictedMs = predictWith(cost, plan).stepMs;
      expect(Math.abs(stepMs / predictedMs - 1), dataParallel).toBeLessThan(0.01);
    }
  });
});
