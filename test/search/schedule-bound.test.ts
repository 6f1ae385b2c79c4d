import { describe, expect, it } from "vitest";
import { pipelineTime } from "../../src/cost/pipeline-time.js";
import {
  criticalBound,
  pathWeights,
  type StepBound,
  type SuffixTimes,
  scheduleBound,
  sharedPath,
} from "../../src/search/schedule-bound.js";
import type { StageOption } from "../../src/search/stage-option.js";
import { weighted } from "../../src/search/stage-table.js";
import { randomNumbers } from "./brute-force.js";

/** Stages with arbitrary times and links: some all but free, some slower than computing. */
function randomStages(random: () => number, count: number) {
  const link = random() < 0.5 ? 0.02 : 3;
  return Array.from({ length: count }, (_, stage) => {
    const last = stage === count - 1;
    const leadMs = last || random() < 0.5 ? 0 : random();
    const option = {
      forwardMs: 0.2 + random(),
      backwardMs: leadMs + 0.2 + 2 * random(),
      leadMs,
      reduceMs: random() < 0.5 ? 0 : 4 * random(),
      afterMs: random() < 0.5 ? 0 : 4 * random(),
    };
    return { ...option, sendMs: last ? 0 : link * random(), gradientMs: last ? 0 : link * random() };
  });
}

function boundOf(step: StepBound, stages: ReturnType<typeof randomStages>): number {
  let times: SuffixTimes | null = null;
  for (let stage = stages.length - 1; stage >= 0; stage--) {
    const { sendMs, gradientMs, ...option } = stages[stage]!;
    times = step.fold(stage, option as unknown as StageOption, sendMs, gradientMs, times);
  }
  return step.bound(times!, 0, 0);
}

describe("bounds on a schedule", () => {
  it.each(["1f1b", "gpipe"] as const)("never lie above what the recurrence of %s takes", (schedule) => {
    const random = randomNumbers(7);
    let tight = 0;
    for (let round = 0; round < 4000; round++) {
      const count = 2 + Math.floor(7 * random());
      const m = 1 + Math.floor(24 * random());
      const stages = randomStages(random, count);
      const { stepMs } = pipelineTime(schedule, m, stages);
      const critical = boundOf(criticalBound(schedule, count, m, []), stages);
      const every = boundOf(scheduleBound(schedule, count, m, []), stages);
      expect(critical).toBeLessThanOrEqual(stepMs * (1 + 1e-12));
      expect(every).toBeLessThanOrEqual(stepMs * (1 + 1e-12));
      if (every >= stepMs * (1 - 1e-12)) tight++;
    }
    expect(tight).toBeGreaterThan(1000);
  });

  it.each(["1f1b", "gpipe"] as const)("nor does a path of %s that shares the updates", (schedule) => {
    const random = randomNumbers(9);
    let nearest = 0;
    for (let round = 0; round < 4000; round++) {
      const count = 2 + Math.floor(7 * random());
      const m = random() < 0.5 ? 1 : 2 + Math.floor(23 * random());
      const stages = randomStages(random, count);
      const { stepMs } = pipelineTime(schedule, m, stages);
      const parts = stages.map(() => random() ** 4);
      const sum = parts.reduce((a, b) => a + b, 0);
      const path = sharedPath(
        schedule,
        m,
        parts.map((part) => part / sum),
      );
      let lengthMs = 0;
      for (const [stage, one] of stages.entries())
        lengthMs +=
          weighted(pathWeights(path, stage), one) +
          path.sends[stage]! * one.sendMs +
          path.gradients[stage]! * one.gradientMs -
          path.leads[stage]! * one.leadMs;
      expect(lengthMs).toBeLessThanOrEqual(stepMs * (1 + 1e-12));
      expect(boundOf(criticalBound(schedule, count, m, [path]), stages)).toBeLessThanOrEqual(
        stepMs * (1 + 1e-12),
      );
      if (lengthMs >= stepMs * 0.97) nearest++;
    }
    expect(nearest).toBeGreaterThan(100);
  });

  it("per sample, fall with the number of micro-batches", () => {
    const random = randomNumbers(8);
    for (let round = 0; round < 2000; round++) {
      const count = 1 + Math.floor(6 * random());
      const stages = randomStages(random, count);
      const bounds = Array.from({ length: 12 }, (_, index) => {
        const m = count + 1 + index;
        return boundOf(criticalBound("1f1b", count, m, []), stages) / m;
      });
      for (let i = 1; i < bounds.length; i++)
        expect(bounds[i]).toBeLessThanOrEqual(bounds[i - 1]! * (1 + 1e-12));
    }
  });
});
