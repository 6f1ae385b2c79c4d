import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { modelSpec } from "../../../src/families/registry.js";
import { uniformPlan } from "../../../src/plan/uniform.js";
import {
  findCheckpoint,
  listCheckpoints,
  openCheckpointFolder,
  readManifest,
} from "../../../src/runtime/checkpoint/checkpoint-folder.js";
import { openHostPool } from "../../../src/runtime/coordinator/host-pool.js";
import type { TrainReport } from "../../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../../src/runtime/coordinator/worker-pool.js";
import { trainPlan } from "../../support/train-plan.js";

const model = modelSpec("gpt", { layers: 3, hidden: 32, heads: 4, sequence: 16, vocabulary: 61, tied: true });
const STEPS = 9;

let pool: WorkerPool;
let base: string;
let folder: string;
beforeAll(async () => {
  pool = await openHostPool(4, 1);
  base = mkdtempSync(join(tmpdir(), "galvatron-saving-"));
});
afterAll(async () => {
  await pool.close();
  rmSync(base, { recursive: true, force: true });
});
let runs = 0;
beforeEach(() => {
  folder = join(base, `run${runs++}`);
});

/** Every figure of a step that depends on every bit of the weights. */
const curve = (report: TrainReport): readonly (readonly number[])[] =>
  report.records
    .filter(({ rank }) => rank === 0)
    .map(({ step, loss, gradientNorm, learningRate }) => [step, loss, gradientNorm, learningRate]);

const stepsIn = (path: string): readonly number[] => listCheckpoints(path).map(({ step }) => step);

describe.each([
  ["data parallel", { ranks: 2 }],
  ["ZeRO-1 in bfloat16", { ranks: 2, dataParallel: "zero1", precision: "bfloat16" }],
  ["ZeRO-2", { ranks: 4, dataParallel: "zero2", microBatches: 2 }],
  ["ZeRO-3 in bfloat16", { ranks: 4, dataParallel: "zero3", precision: "bfloat16" }],
  ["tensor parallel", { ranks: 4, tensorDegree: 2, dataParallel: "zero3" }],
  ["a pipeline with tied ends", { ranks: 4, pipelineDegree: 2, microBatches: 2, tensorDegree: 2 }],
] as const)("%s", (_, choice) => {
  it("resumes bit for bit under the same plan, to the same files", async () => {
    const plan = uniformPlan(model, { globalBatch: 8, ...choice });
    const straight = await trainPlan(pool, model, plan, { steps: STEPS, checkpoints: { folder, every: 4 } });
    expect(stepsIn(folder)).toEqual([4, 8, 9]);
    const [first, , last] = straight.checkpoints;
    const again = join(base, `again${runs++}`);
    const resumed = await trainPlan(pool, model, plan, {
      steps: STEPS,
      from: first!.path,
      checkpoints: { folder: again },
    });
    expect(curve(resumed)).toEqual(curve(straight).slice(4));
    const [files, sameFiles] = [last!.path, findCheckpoint(again)].map((path) => readManifest(path).files);
    expect(sameFiles).toEqual(files);
  });
});

describe("a folder of checkpoints", () => {
  const plan = uniformPlan(model, { ranks: 2, globalBatch: 8, dataParallel: "zero3" });

  it("keeps the newest, and sweeps what interrupted saves left", async () => {
    mkdirSync(join(folder, "step-00000003.partial"), { recursive: true });
    writeFileSync(join(folder, "step-00000003.partial", "rank"), "half");
    mkdirSync(join(folder, "step-00000001.removed"));
    writeFileSync(join(folder, "notes.txt"), "mine");
    await trainPlan(pool, model, plan, { steps: STEPS, checkpoints: { folder, every: 2, keep: 2 } });
    expect(readdirSync(folder).sort()).toEqual(["notes.txt", "step-00000008", "step-00000009"]);
  });

  it("takes a save when the run is stopped, if asked", async () => {
    const report = await trainPlan(pool, model, plan, {
      steps: 100_000,
      checkpoints: { folder, every: 50_000 },
      onStep: (step, training) => {
        if (step === 3) training.stop(true);
      },
    });
    expect(report.outcome).toBe("stopped");
    expect(stepsIn(folder)).toEqual([report.steps]);
    const none = join(base, "none");
    await trainPlan(pool, model, plan, {
      steps: 100_000,
      checkpoints: { folder: none, every: 50_000 },
      onStep: (step, training) => {
        if (step === 3) training.stop();
      },
    });
    expect(existsSync(none)).toBe(false);
  });

  it("belongs to one training", async () => {
    await trainPlan(pool, model, plan, { steps: 4, checkpoints: { folder, every: 2 } });
    const [older, newer] = listCheckpoints(folder);
    expect(() => openCheckpointFolder(folder, null)).toThrow(
      /holds checkpoints of another training, up to step 4/,
    );
    expect(() => openCheckpointFolder(folder, older!.path)).toThrow(/up to step 4/);
    openCheckpointFolder(folder, newer!.path);
    openCheckpointFolder(join(base, "new"), null);
  });

  it("is made or refused before anything starts", () => {
    openCheckpointFolder(join(folder, "a", "b"), null);
    expect(readdirSync(join(folder, "a"))).toEqual(["b"]);
    writeFileSync(join(folder, "file"), "");
    expect(() => openCheckpointFolder(join(folder, "file", "b"), null)).toThrow(
      /Cannot save checkpoints in .*file/,
    );
  });

  it("without a checkpoint says what it has", () => {
    mkdirSync(join(folder, "step-00000003.partial"), { recursive: true });
    expect(() => findCheckpoint(folder)).toThrow(/No checkpoint in .*only 1 interrupted save/);
    expect(() => findCheckpoint(join(base, "nowhere"))).toThrow(/No checkpoint in .*nowhere/);
  });

  it("that cannot be written ends the run in words", async () => {
    writeFileSync(folder, "a file where the folder should be");
    const own = await openHostPool(2, 1);
    const run = trainPlan(own, model, plan, { steps: 4, checkpoints: { folder } });
    await expect(run).rejects.toMatchObject({
      code: "FILE_UNWRITABLE",
      message: expect.stringContaining("Cannot write the checkpoint"),
    });
    await own.close();
  });

  it("that goes while it is written ends the run in words", async () => {
    const own = await openHostPool(2, 1);
    const run = trainPlan(own, model, plan, {
      steps: 100_000,
      checkpoints: { folder, every: 1 },
      onStep: (step) => {
        if (step > 3) rmSync(folder, { recursive: true, force: true });
      },
    });
    await expect(run).rejects.toMatchObject({ code: "FILE_UNWRITABLE" });
    await own.close();
  });
});
