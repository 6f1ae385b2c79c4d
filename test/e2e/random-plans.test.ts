import { afterAll, beforeAll, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { lossesOf, trainPlan } from "../support/train-plan.js";

const model = modelSpec("gpt", { layers: 5, hidden: 32, heads: 8, sequence: 16, vocabulary: 250 });
const training = { steps: 6, seed: 5, optimizer: { learningRate: 3e-3, weightDecay: 0.1, maxNorm: 1 } };

let pool: WorkerPool;
let reference: readonly number[];
beforeAll(async () => {
  pool = await openHostPool(8, 1);
  reference = await losses(uniformPlan(model, { ranks: 1, globalBatch: 8 }));
});
afterAll(() => pool.close());

async function losses(plan: Plan): Promise<readonly number[]> {
  return lossesOf(await trainPlan(pool, model, plan, training));
}

it.each([2, 4, 8])(
  "random plans mixed in every dimension train as one rank does (%i ranks)",
  async (ranks) => {
    let state = ranks;
    const pick = (count: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % count;
    };
    for (let draw = 0; draw < 4; draw++) {
      const plan = drawPlan(model, { ranks, globalBatch: 8 }, pick);
      const found = await losses(plan);
      const worst = Math.max(...found.map((loss, step) => Math.abs(loss / reference[step]! - 1)));
      expect(worst, describePlan(plan).join("\n")).toBeLessThanOrEqual(1e-5);
    }
  },
);
