import { describe, expect, it } from "vitest";
import { criticalPath } from "../../src/cost/critical-path.js";
import { inFlight, pipelineTime, type StageWork, stageOrder } from "../../src/cost/pipeline-time.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { stageOperations } from "../../src/program/schedule.js";
import { smallModel } from "../program/small-model.js";
import { randomNumbers } from "../search/brute-force.js";
import { simulatedAndClosed } from "./random-pipeline.js";

function randomStages(random: () => number): StageWork[] {
  const count = 1 + Math.floor(random() * 6);
  return Array.from({ length: count }, (_, stage) => {
    const last = stage === count - 1;
    const backwardMs = random() * 20;
    return {
      forwardMs: random() * 10,
      backwardMs,
      leadMs: last || random() < 0.5 ? 0 : backwardMs * random() * 0.5,
      sendMs: last ? 0 : random() * 6,
      gradientMs: last ? 0 : random() * 6,
      reduceMs: random() * 10,
      afterMs: random() * 5,
    };
  });
}

describe("pipelineTime", () => {
  it("equals the simulation of the compiled Programs", () => {
    let pipelines = 0;
    for (let seed = 0; seed < 40; seed++) {
      const { simulatedMs, closedMs, stages } = simulatedAndClosed(seed);
      expect(Math.abs(simulatedMs / closedMs - 1), `seed ${seed}`).toBeLessThan(1e-9);
      if (stages > 1) pipelines++;
    }
    expect(pipelines).toBeGreaterThanOrEqual(36);
  });

  it("is the textbook formula for equal stages without transfers", () => {
    for (const schedule of ["1f1b", "gpipe"] as const) {
      for (const stages of [1, 2, 4, 7]) {
        for (const m of [1, 3, 8, 20]) {
          const stage = {
            forwardMs: 1,
            backwardMs: 2,
            leadMs: 0,
            sendMs: 0,
            gradientMs: 0,
            reduceMs: 0,
            afterMs: 0,
          };
          const { stepMs } = pipelineTime(schedule, m, new Array<StageWork>(stages).fill(stage));
          expect(stepMs).toBeCloseTo((m + stages - 1) * 3, 9);
        }
      }
    }
  });

  it("is as long as its critical path", () => {
    const random = randomNumbers(5);
    for (let round = 0; round < 300; round++) {
      const stages = randomStages(random);
      const m = 1 + Math.floor(random() * 12);
      const schedule = random() < 0.5 ? "1f1b" : "gpipe";
      const { stepMs } = pipelineTime(schedule, m, stages);
      const path = criticalPath(schedule, m, stages);
      let length = stages[path.end]!.reduceMs + Math.max(...stages.map(({ afterMs }) => afterMs));
      for (const [s, work] of stages.entries()) {
        length += path.forwards[s]! * work.forwardMs + path.backwards[s]! * work.backwardMs;
        length += path.sends[s]! * work.sendMs + path.gradients[s]! * work.gradientMs;
        length -= path.leads[s]! * work.leadMs;
      }
      expect(length).toBeCloseTo(stepMs, 6);
    }
  });

  it("has the order and the micro-batches in flight of the compiler's schedules", () => {
    const model = smallModel(6);
    for (const schedule of ["1f1b", "gpipe"] as const) {
      for (const pipelineDegree of [1, 2, 3, 6]) {
        for (const microBatches of [1, 2, 5, 8]) {
          const options = { ranks: pipelineDegree, globalBatch: microBatches, microBatches, pipelineDegree };
          const plan = uniformPlan(model, { ...options, schedule });
          for (let stage = 0; stage < pipelineDegree; stage++) {
            const operations = stageOperations(plan, stage);
            const order = operations.map(({ pass, microBatch }) =>
              pass === "forward" ? microBatch : -1 - microBatch,
            );
            expect(stageOrder(schedule, stage, pipelineDegree, microBatches)).toEqual(order);
            let held = 0;
            let most = 0;
            for (const { pass } of operations) {
              held += pass === "forward" ? 1 : -1;
              most = Math.max(most, held);
            }
            expect(inFlight(schedule, stage, pipelineDegree, microBatches)).toBe(most);
          }
        }
      }
    }
  });
});
