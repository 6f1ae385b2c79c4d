import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import type { Plan } from "../../src/plan/plan.js";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { lossesOf, trainPlan } from "../support/train-plan.js";

const STEPS = 20;
const model = modelSpec("gpt", { layers: 4, hidden: 32, heads: 4, sequence: 16 });
const training = { steps: STEPS, seed: 3, optimizer: { learningRate: 3e-3, weightDecay: 0.1, maxNorm: 1 } };

type Choice = Omit<UniformPlanOptions, "globalBatch">;

const CHOICES: Readonly<Record<string, Choice>> = {
  "1 rank, 4 micro-batches": { ranks: 1, microBatches: 4 },
  "1 rank, recompute": { ranks: 1, recompute: true },
  "2 ranks, data parallel": { ranks: 2 },
  "2 ranks, data parallel, 2 micro-batches": { ranks: 2, microBatches: 2 },
  "2 ranks, ZeRO-1": { ranks: 2, dataParallel: "zero1" },
  "2 ranks, ZeRO-2, 2 micro-batches": { ranks: 2, dataParallel: "zero2", microBatches: 2 },
  "2 ranks, ZeRO-3": { ranks: 2, dataParallel: "zero3" },
  "2 ranks, ZeRO-3, recompute, 2 micro-batches": {
    ranks: 2,
    dataParallel: "zero3",
    recompute: true,
    microBatches: 2,
  },
  "2 ranks, tensor parallel": { ranks: 2, tensorDegree: 2 },
  "2 ranks, tensor parallel, recompute": { ranks: 2, tensorDegree: 2, recompute: true, microBatches: 2 },
  "2 ranks, Ulysses": { ranks: 2, tensorDegree: 2, tensorSplit: "sequence" },
  "2 ranks, Ulysses, ZeRO-3": {
    ranks: 2,
    tensorDegree: 2,
    tensorSplit: "sequence",
    dataParallel: "zero3",
  },
  "2 ranks, pipeline, 1F1B": { ranks: 2, pipelineDegree: 2, microBatches: 4 },
  "2 ranks, pipeline, GPipe": { ranks: 2, pipelineDegree: 2, microBatches: 4, schedule: "gpipe" },
  "4 ranks, data parallel": { ranks: 4 },
  "4 ranks, ZeRO-3": { ranks: 4, dataParallel: "zero3" },
  "4 ranks, tensor × data": { ranks: 4, tensorDegree: 2 },
  "4 ranks, tensor × data, strided, ZeRO-2": {
    ranks: 4,
    tensorDegree: 2,
    placement: "strided",
    dataParallel: "zero2",
  },
  "4 ranks, tensor parallel": { ranks: 4, tensorDegree: 4 },
  "4 ranks, pipeline of 4": { ranks: 4, pipelineDegree: 4, microBatches: 8 },
  "4 ranks, pipeline × data, ZeRO-3": {
    ranks: 4,
    pipelineDegree: 2,
    microBatches: 2,
    dataParallel: "zero3",
  },
  "4 ranks, pipeline × tensor, recompute": {
    ranks: 4,
    pipelineDegree: 2,
    tensorDegree: 2,
    microBatches: 4,
    recompute: true,
  },
};

let pool: WorkerPool;
let reference: readonly number[];

beforeAll(async () => {
  pool = await openHostPool(4, 1);
  reference = await losses(uniformPlan(model, { ranks: 1, globalBatch: 8 }));
});
afterAll(() => pool.close());

async function losses(plan: Plan): Promise<readonly number[]> {
  return lossesOf(await trainPlan(pool, model, plan, training));
}

describe("training under any plan", () => {
  it("learns on one rank", () => {
    expect(reference).toHaveLength(STEPS);
    expect(reference[0]).toBeGreaterThan(5);
    expect(reference.at(-1)!).toBeLessThan(reference[0]! - 0.3);
  });

  it.each(Object.entries(CHOICES))("%s: the losses of one rank", async (_, choice) => {
    const found = await losses(uniformPlan(model, { ...choice, globalBatch: 8 }));
    expect(found).toHaveLength(STEPS);
    const worst = Math.max(...found.map((loss, step) => Math.abs(loss / reference[step]! - 1)));
    expect(worst).toBeLessThanOrEqual(1e-5);
  });

  it("a different strategy for every layer", async () => {
    const base = uniformPlan(model, { ranks: 4, globalBatch: 8, tensorDegree: 2, microBatches: 2 });
    const strategy = base.layers[0]!;
    const plan: Plan = {
      ...base,
      layers: [
        strategy,
        { ...strategy, dataParallel: "zero3" },
        { ...strategy, recompute: true, dataParallel: "zero1" },
        { ...strategy, tensorSplit: "sequence", dataParallel: "zero2" },
      ],
    };
    const found = await losses(plan);
    expect(Math.max(...found.map((loss, step) => Math.abs(loss / reference[step]! - 1)))).toBeLessThanOrEqual(
      1e-5,
    );
  });

  it.each([
    ["data parallel", { ranks: 2 }],
    ["pipeline", { ranks: 2, pipelineDegree: 2, microBatches: 4 }],
    ["tensor × data, ZeRO-3", { ranks: 4, tensorDegree: 2, dataParallel: "zero3" }],
  ] as const)("%s repeats bit for bit", async (_, choice) => {
    const plan = uniformPlan(model, { ...choice, globalBatch: 8 });
    expect(await losses(plan)).toEqual(await losses(plan));
  });
});
