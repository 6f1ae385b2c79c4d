import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { hyperValues, optimizerFrom } from "../../src/runtime/optimizer.js";

/** Made by test/python/make_gradients.py with PyTorch's AdamW and clip_grad_norm_ (CPU, float32). */
interface Golden {
  readonly model: Readonly<Record<string, number | boolean>>;
  readonly seed: number;
  readonly globalBatch: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly maxNorm: number;
  /** `[step][sample][sequence + 1]` */
  readonly tokens: readonly (readonly (readonly number[])[])[];
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
}

const golden = JSON.parse(readFileSync("test/golden/graph/gpt-training.json", "utf8")) as Golden;
const model = modelSpec("gpt", golden.model);
const optimizer = optimizerFrom(
  {
    ...golden,
    learningRate: { peak: golden.learningRate, warmupSteps: 0, schedule: { kind: "constant" } },
  },
  golden.steps,
);

let pool: WorkerPool;
beforeAll(async () => {
  pool = await openHostPool(2, 1);
});
afterAll(() => pool.close());

const bytesOf = (values: Float32Array | BigInt64Array): Uint8Array => new Uint8Array(values.buffer);

describe("20 steps of a 4-layer GPT", () => {
  it.each<[string, Omit<UniformPlanOptions, "globalBatch">]>([
    ["one rank", { ranks: 1 }],
    ["one rank, 2 micro-batches, recompute", { ranks: 1, microBatches: 2, recompute: true }],
    ["data parallel, ZeRO-3", { ranks: 2, dataParallel: "zero3" }],
    ["tensor parallel", { ranks: 2, tensorDegree: 2 }],
    ["pipeline", { ranks: 2, pipelineDegree: 2, microBatches: 4 }],
  ])("%s follows PyTorch's AdamW", async (_, choice) => {
    const plan = uniformPlan(model, { ...choice, globalBatch: golden.globalBatch });
    const { programs, graphs } = compilePlan(model, plan);
    await pool.load({ programs, graphs, seed: golden.seed, feed: null, firstStep: 0 });
    const perMicroBatch = plan.globalBatch / plan.microBatches;
    for (let step = 0; step < golden.steps; step++) {
      for (const program of programs) {
        const writes = [
          { tensor: program.io.hyper, bytes: bytesOf(hyperValues(optimizer, step, golden.steps)) },
        ];
        for (const [key, tensors] of Object.entries(program.io.inputs)) {
          const { value, firstSample, samples, tensorIndex } = program.io.inputPlaces[key]!;
          const ahead = value === "labels" ? 1 : 0;
          tensors.forEach((tensor, microBatch) => {
            const rows = program.tensors[tensor]!.shape[0]!;
            const firstRow = rows === model.sequence ? 0 : tensorIndex * rows;
            const values = new BigInt64Array(rows * samples);
            for (let row = 0; row < rows; row++)
              for (let column = 0; column < samples; column++) {
                const sample = golden.tokens[step]![microBatch * perMicroBatch + firstSample + column]!;
                values[row * samples + column] = BigInt(sample[firstRow + row + ahead]!);
              }
            writes.push({ tensor, bytes: bytesOf(values) });
          });
        }
        await pool.write(program.rank, writes);
      }
      const [ranks] = await pool.run(1);
      const loss = ranks!.reduce((sum, rank) => sum + rank.loss, 0);
      expect(Math.abs(loss - golden.losses[step]!), `loss of step ${step}`).toBeLessThanOrEqual(1e-4);
      for (const rank of ranks!)
        expect(rank.gradientNorm / golden.gradientNorms[step]!, `norm of step ${step}`).toBeCloseTo(1, 3);
    }
  });
});
