import { expect, test } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { predictWith } from "../../src/cost/predict.js";
import { modelSpec } from "../../src/families/registry.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import type { DataParallel } from "../../src/plan/strategy.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { programDurations } from "../../src/program/program-durations.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { lower } from "../program/small-model.js";
import { exampleHardware } from "../search/example-inputs.js";

const RANKS = 4;
const precision = "bfloat16-gradients";
const model = modelSpec("gpt", {
  layers: 8,
  hidden: 256,
  heads: 8,
  sequence: 64,
  vocabulary: 61,
  tied: false,
});

/** The simulated step over the price, on a machine whose memory is so slow that adding up takes long. */
function simulatedOverPrice(dataParallel: DataParallel, microBatches: number, linkSpeed: number): number {
  const usual = exampleHardware(RANKS);
  const hardware = {
    ...usual,
    optimizerGBps: usual.optimizerGBps / 10,
    collectives: usual.collectives.map((sample) => ({ ...sample, timeMs: sample.timeMs / linkSpeed })),
  };
  const cost = costModel(model, analyticProfile(model, hardware, { precision }), hardware);
  const globalBatch = RANKS * microBatches;
  const plan = uniformPlan(model, { ranks: RANKS, globalBatch, microBatches, dataParallel, precision });
  const { programs } = lower(model, plan);
  const { stepMs } = simulateTimes(programs, programDurations(cost), { overlap: cost.overlap });
  return stepMs / predictWith(cost, plan).stepMs;
}

test("what adding up and converting take from computing is priced as the Programs do it", () => {
  for (const dataParallel of ["ddp", "zero1", "zero2", "zero3"] as const)
    for (const linkSpeed of [0.1, 1, 30]) {
      // Against one micro-batch, which adds nothing up.
      const once = simulatedOverPrice(dataParallel, 1, linkSpeed);
      const often = simulatedOverPrice(dataParallel, 8, linkSpeed);
      expect(Math.abs(often / once - 1), `${dataParallel}, links × ${linkSpeed}`).toBeLessThan(0.03);
    }
});

test("adding up hides nothing of the reduction that it waits for", () => {
  // Links so slow that reductions take longer than backward: counted as computing, adding would hide a part of them.
  const [once, often] = [1, 8].map((microBatches) => simulatedOverPrice("zero2", microBatches, 0.01));
  expect(Math.abs(often! / once! - 1)).toBeLessThan(0.03);
});
