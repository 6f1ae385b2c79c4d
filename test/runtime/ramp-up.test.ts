import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { keepsStates } from "../../src/program/state-region.js";
import { type BatchRamp, batchPhases } from "../../src/runtime/batch-ramp.js";
import { readManifest } from "../../src/runtime/checkpoint/checkpoint-folder.js";
import { compileRamp } from "../../src/runtime/compile-ramp.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import type { Training, TrainReport } from "../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { trainPlan } from "../support/train-plan.js";

const model = modelSpec("gpt", { layers: 4, hidden: 32, heads: 4, sequence: 16, tied: true, dropout: 0.1 });
/** Two steps of 4 samples, two of 6 (20 of 20), then 8. */
const ramp: BatchRamp = { start: 4, increment: 2, samples: 16 };
const SIZES = [4, 4, 6, 6, 8, 8, 8, 8];
const STEPS = SIZES.length;
const plans: readonly (readonly [string, Plan])[] = [
  ["data parallel, ZeRO-2", plan({ dataParallel: "zero2" })],
  ["ZeRO-3 with recompute", plan({ dataParallel: "zero3", recompute: true })],
  ["two stages", plan({ pipelineDegree: 2 })],
  ["tensor parallel", plan({ tensorDegree: 2 })],
];

function plan(options: Partial<Parameters<typeof uniformPlan>[1]>): Plan {
  return uniformPlan(model, { ranks: 2, globalBatch: 8, microBatches: 4, ...options });
}

let pool: WorkerPool;
let folder: string;
beforeAll(async () => {
  pool = await openHostPool(2, 1);
  folder = mkdtempSync(join(tmpdir(), "galvatron-ramp-"));
});
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true, force: true });
});

function trace(report: TrainReport): readonly (readonly number[])[] {
  return report.records
    .filter(({ rank }) => rank === 0)
    .map(({ samples, loss, gradientNorm, learningRate }) => [samples, loss, gradientNorm, learningRate]);
}

const settings = { steps: STEPS, seed: 5, rampUp: ramp, optimizer: { learningRate: 5e-3 } };

describe("a training whose batch grows", () => {
  it.each(plans)("is the one-rank training under %s", async (_, spread) => {
    const alone = uniformPlan(model, { ranks: 1, globalBatch: 8, microBatches: 4 });
    const reference = trace(await trainPlan(pool, model, alone, settings));
    const found = trace(await trainPlan(pool, model, spread, settings));
    expect(reference.map(([samples]) => samples)).toEqual(SIZES);
    expect(found.map(([samples]) => samples)).toEqual(SIZES);
    for (const [step, [, loss, norm, rate]] of found.entries()) {
      expect(Math.abs(loss! / reference[step]![1]! - 1)).toBeLessThan(1e-5);
      expect(Math.abs(norm! / reference[step]![2]! - 1)).toBeLessThan(1e-4);
      expect(rate).toBe(reference[step]![3]);
    }
    // It is not what the whole batch gives from the start.
    const { rampUp: _ramp, ...whole } = settings;
    const level = trace(await trainPlan(pool, model, spread, whole));
    expect(level[0]![1]).not.toBe(found[0]![1]);
  });

  it("gives the same bits on one rank and two in the canonical order", async () => {
    const gradientOrder = "canonical" as const;
    const alone = uniformPlan(model, { ranks: 1, globalBatch: 8, microBatches: 8, gradientOrder });
    const reference = trace(await trainPlan(pool, model, alone, settings));
    const spread = plan({ dataParallel: "zero3", gradientOrder });
    expect(trace(await trainPlan(pool, model, spread, settings))).toEqual(reference);
  });

  it("is resumed at any step, at the exact sample and bit for bit", async () => {
    const spread = plan({ dataParallel: "zero1" });
    const saved = join(folder, "all");
    const straight = await trainPlan(pool, model, spread, {
      ...settings,
      checkpoints: { folder: saved, every: 1 },
    });
    let samples = 0;
    for (const [step, { path }] of straight.checkpoints.slice(0, -1).entries()) {
      samples += SIZES[step]!;
      expect(readManifest(path)).toMatchObject({ step: step + 1, samples, data: { rampUp: ramp } });
      const resumed = await trainPlan(pool, model, spread, {
        ...settings,
        from: path,
        // What it came from is not needed any more when the size changes.
        onStep: () => rmSync(path, { recursive: true, force: true }),
      });
      expect(trace(resumed)).toEqual(trace(straight).slice(step + 1));
    }
    expect(samples).toBe(44);
  });

  it("saves what it was stopped for in the middle of the ramp", async () => {
    const stopped = await trainPlan(pool, model, plan({}), {
      ...settings,
      checkpoints: { folder: join(folder, "stopped") },
      onStep: (step, training) => {
        if (step === 1) training.stop(true);
      },
    });
    expect(stopped.outcome).toBe("stopped");
    expect(stopped.checkpoints.map(({ step }) => step)).toEqual([stopped.steps]);
  });

  it("saves its states, and not another tensor, when it is stopped while the next size is loaded", async () => {
    const spread = plan({ dataParallel: "zero1" });
    const straight = trace(await trainPlan(pool, model, spread, settings));
    let running: Training | null = null;
    let loads = 0;
    const stopping: WorkerPool = {
      ...pool,
      load: (job) => {
        const loading = pool.load(job);
        loads++;
        if (loads === 2) running!.stop(true);
        return loading;
      },
    };
    const stopped = await trainPlan(stopping, model, spread, {
      ...settings,
      checkpoints: { folder: join(folder, "between") },
      onStep: (_, training) => {
        running = training;
      },
    });
    expect(stopped.checkpoints.map(({ step }) => step)).toEqual([2]);
    const resumed = await trainPlan(pool, model, spread, { ...settings, from: stopped.checkpoints[0]!.path });
    expect(trace(resumed)).toEqual(straight.slice(2));
  });
});

it.each(plans)("keeps the states where they are under %s: Programs of every size agree", (_, spread) => {
  const phases = batchPhases(ramp, 8, 2);
  const compiled = compileRamp(model, spread, phases, 16, {});
  expect(compiled.map(({ programs }) => programs[0]!.plan.microBatches)).toEqual([2, 3, 4]);
  const [first] = compiled;
  for (const { programs } of compiled)
    for (const [rank, program] of programs.entries())
      expect(keepsStates(first!.programs[rank]!, program)).toBe(true);
  // Those of a plan that keeps other states do not.
  const [whole] = compileRamp(model, plan({ ranks: 1 }), [phases.at(-1)!], 16, {});
  const alone = { ...whole!.programs[0]!, arenaBytes: first!.programs[0]!.arenaBytes };
  expect(keepsStates(first!.programs[0]!, alone)).toBe(false);
});
