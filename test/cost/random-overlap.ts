import type { HardwareProfile, Slowdowns } from "../../src/cluster/hardware-profile.js";
import { costModel } from "../../src/cost/cost-model.js";
import { predictWith } from "../../src/cost/predict.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { EMBEDDING_KIND } from "../../src/model/model-profile.js";
import type { Plan, Precision } from "../../src/plan/plan.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { programDurations } from "../../src/program/program-durations.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { divisors } from "../../src/search/space.js";
import { strategiesOf } from "../../src/search/strategies.js";
import { lower, smallModel } from "../program/small-model.js";
import { randomNumbers } from "../search/brute-force.js";
import { exampleHardware } from "../search/example-inputs.js";

/**
 * A random plan of any strategies on 2 to 8 ranks, whose collectives run beside computing, on a machine with links
 * from a thirtieth to thirty times as fast as usual: its simulated step, instruction by instruction under the mutual
 * slowdown, and the closed form's prediction.
 */
export function overlappedAndClosed(
  seed: number,
  precision: Precision = "float32",
): {
  readonly simulatedMs: number;
  readonly closedMs: number;
  readonly plan: Plan;
} {
  const random = randomNumbers(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const ranks = pick([2, 4, 8]);
  const layers = 2 + Math.floor(random() * 5);
  const model = smallModel(layers, { tied: random() < 0.5 });
  const usual = exampleHardware(ranks);
  const faster = 30 ** (2 * random() - 1);
  const hardware: HardwareProfile = {
    ...usual,
    collectives: usual.collectives.map((sample) => ({ ...sample, timeMs: sample.timeMs / faster })),
    computeSlowdown: 1 + random() * 0.4,
    communicationSlowdown: 1 + random() * 0.4,
  };
  const stages = pick(divisors(ranks).filter((degree) => degree <= layers && degree <= 4));
  const stageRanks = ranks / stages;
  const microBatches = pick([1, 2, 4, 8]);
  const samples = stageRanks * pick([1, 2]);
  const stageLayers = new Array<number>(stages).fill(1);
  for (let extra = layers - stages; extra > 0; extra--) {
    const stage = Math.floor(random() * stages);
    stageLayers[stage] = stageLayers[stage]! + 1;
  }
  const all = strategiesOf(model, model.layers[0]!, stageRanks, {});
  const uniform = random() < 0.5;
  const first = pick(all);
  const plan: Plan = {
    ranks,
    globalBatch: samples * microBatches,
    microBatches,
    schedule: pick(["1f1b", "gpipe"]),
    precision,
    gradientOrder: pick(["deferred", "canonical"]),
    stageLayers,
    layers: model.layers.map((): Strategy => (uniform ? first : pick(all))),
    vocabulary: pick(strategiesOf(model, EMBEDDING_KIND, stageRanks, {})),
  };
  // Every other model met gathers and reductions that are copies, and was seen to rest.
  const copies = (): Slowdowns => ({
    computeSlowdown: 1 + random() * 0.1,
    communicationSlowdown: 1 + random() * 0.4,
  });
  const analytic = analyticProfile(model, hardware, { precision });
  const profile =
    seed % 2 === 0
      ? analytic
      : {
          ...analytic,
          overlap: { ...hardware, gathers: copies(), reductions: copies() },
          rest: [{ workShare: 0.4, timeFactor: 0.8 + 0.2 * random() }],
        };
  const cost = costModel(model, profile, hardware, plan.gradientOrder);
  const { programs } = lower(model, plan);
  const { stepMs: simulatedMs } = simulateTimes(programs, programDurations(cost), { overlap: cost.overlap });
  return { simulatedMs, closedMs: predictWith(cost, plan).stepMs, plan };
}
