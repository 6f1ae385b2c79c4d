import { expect, test } from "vitest";
import { uniformPlan } from "../../src/plan/uniform.js";
import { lowerPlan } from "../../src/program/lower-plan.js";
import { verifyProgram } from "../../src/program/verify-program.js";
import { fakeLayerGraphs } from "./fake-layer-graphs.js";
import { smallModel } from "./small-model.js";

for (const tied of [false, true]) {
  const model = smallModel(5, { tied });
  const graphsFor = fakeLayerGraphs(model, { tied });
  const plans = {
    "one rank": uniformPlan(model, { ranks: 1, globalBatch: 8, microBatches: 2 }),
    "data parallel": uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 2 }),
    "zero1": uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero1" }),
    "zero2": uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero2" }),
    "zero3": uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero3" }),
    "tensor": uniformPlan(model, { ranks: 4, tensorDegree: 4, globalBatch: 8, microBatches: 2, recompute: true }),
    "tensor·zero3": uniformPlan(model, { ranks: 4, tensorDegree: 2, globalBatch: 8, dataParallel: "zero3", placement: "strided" }),
    "ulysses·zero2": uniformPlan(model, { ranks: 4, tensorDegree: 2, tensorSplit: "sequence", globalBatch: 8, microBatches: 2, dataParallel: "zero2" }),
    "1f1b": uniformPlan(model, { ranks: 4, pipelineDegree: 4, globalBatch: 8, microBatches: 8 }),
    "gpipe": uniformPlan(model, { ranks: 4, pipelineDegree: 2, globalBatch: 8, microBatches: 4, schedule: "gpipe" }),
    "bfloat16 zero1": uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero1", precision: "bfloat16" }),
    "bfloat16 zero3": uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero3", precision: "bfloat16" }),
  };
  for (const [name, plan] of Object.entries(plans)) {
    test(`${name}${tied ? ", tied" : ""} lowers to programs that fit together`, () => {
      const { programs } = lowerPlan(model, plan, { graphsFor });
      expect(verifyProgram(programs, model)).toEqual([]);
    });
  }
}
