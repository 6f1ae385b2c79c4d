import { fork } from "node:child_process";
import { readdirSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { GalvatronError } from "../../../src/base/errors.js";
import { modelSpec } from "../../../src/families/registry.js";
import { type UniformPlanOptions, uniformPlan } from "../../../src/plan/uniform.js";
import { compilePlan } from "../../../src/runtime/compile-plan.js";
import { hostPoolOptions, openHostPool } from "../../../src/runtime/coordinator/host-pool.js";
import { startTraining, type Training } from "../../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../../src/runtime/coordinator/worker-pool.js";
import { syntheticDataset } from "../../../src/runtime/data/find-data.js";
import { optimizerFrom } from "../../../src/runtime/optimizer.js";

const model = modelSpec("gpt", { layers: 4, hidden: 64, heads: 4, sequence: 64 });
/** The limit from the kill to the error. */
const LIMIT_MS = 10_000;

let training: Training | null = null;
let pool: WorkerPool | null = null;
afterEach(async () => {
  training?.stop();
  await training?.done.catch(() => {});
  await pool?.close();
  training = null;
  pool = null;
});

function train(choice: Omit<UniformPlanOptions, "globalBatch">, onStep: (step: number) => void): Training {
  const { programs, graphs } = compilePlan(model, uniformPlan(model, { ...choice, globalBatch: 8 }));
  training = startTraining(
    {
      programs,
      graphs,
      seed: 0,
      firstStep: 0,
      tokensPerStep: 8 * 64,
      feed: {
        dataset: syntheticDataset(model, 0),
        optimizer: optimizerFrom({}, 100_000),
        steps: 100_000,
      },
    },
    { options: hostPoolOptions(choice.ranks, 1) },
    (records) => onStep(records[0]!.step),
  );
  training.done.catch(() => {});
  return training;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const segments = (): readonly string[] =>
  readdirSync("/dev/shm").filter((name) => name.includes(`galvatron-${process.pid}-`));

describe("a lost rank", () => {
  it.each([
    ["data parallel", { ranks: 2 }],
    ["tensor parallel", { ranks: 2, tensorDegree: 2 }],
    ["pipeline of 4", { ranks: 4, pipelineDegree: 4, microBatches: 8 }],
  ] as const)("%s: SIGKILL in the middle of a step ends the run with the rank's name", async (_, choice) => {
    const victim = choice.ranks - 1;
    let killedAt = 0;
    const run = train(choice, (step) => {
      if (step === 3) {
        killedAt = performance.now();
        process.kill(run.pids()[victim]!, "SIGKILL");
      }
    });
    await expect(run.done).rejects.toMatchObject({
      code: "WORKER_LOST",
      message: expect.stringContaining(`Rank ${victim} `),
      context: { rank: victim },
    });
    expect(performance.now() - killedAt).toBeLessThan(LIMIT_MS);
    expect(run.pids().filter(isAlive)).toEqual([]);
    expect(segments()).toEqual([]);
  });

  it("that hangs is killed with the pool", async () => {
    pool = await openHostPool(2, 1);
    process.kill(pool.pids[1]!, "SIGSTOP");
    const failed = new Promise((resolve) => pool!.listen(() => {}, resolve));
    pool.abort(new GalvatronError("RUN_STOPPED", "given up"));
    await expect(failed).resolves.toMatchObject({ code: "RUN_STOPPED" });
    expect(pool.pids.filter(isAlive)).toEqual([]);
  });
});

describe("the coordinator's own end", () => {
  it("leaves no worker and no shared memory", async () => {
    const child = fork("test/support/orphan-maker.cjs", [], {
      execArgv: [],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const pids = await new Promise<readonly number[]>((resolve, reject) => {
      child.once("message", (message) => resolve(message as number[]));
      child.once("exit", () => reject(new TypeError("the coordinator ended before it told its workers")));
    });
    expect(pids.filter(isAlive)).toHaveLength(2);
    child.kill("SIGKILL");
    for (let waited = 0; waited < 100 && pids.some(isAlive); waited++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(pids.filter(isAlive)).toEqual([]);
    expect(readdirSync("/dev/shm").filter((name) => name.includes(`galvatron-${child.pid}-`))).toEqual([]);
  });
});

describe("stop, pause, resume", () => {
  it("stops after the steps under way, and keeps what was done", async () => {
    const run = train({ ranks: 2 }, (step) => {
      if (step === 4) run.stop();
    });
    const report = await run.done;
    expect(report.outcome).toBe("stopped");
    expect(report.steps).toBeGreaterThanOrEqual(5);
    expect(report.steps).toBeLessThan(10);
    expect(report.records).toHaveLength(2 * report.steps);
  });

  it("starts no step while it is paused", async () => {
    let last = 0;
    const run = train({ ranks: 2 }, (step) => {
      last = step;
      if (step === 4) run.pause();
    });
    while (last < 4) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const paused = last;
    expect(paused).toBeLessThan(10);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(last).toBe(paused);
    run.resume();
    while (last < paused + 5) await new Promise((resolve) => setTimeout(resolve, 10));
    run.stop();
    await run.done;
  });
});

describe("worker processes", () => {
  it("load no JavaScript of onnxruntime-node", async () => {
    pool = await openHostPool(2, 1);
    for (const rank of [0, 1]) {
      const modules = await pool.modules(rank);
      expect(modules.some((name) => name.endsWith("runtime/worker/rank.js"))).toBe(true);
      expect(modules.filter((name) => name.includes("onnxruntime"))).toEqual([]);
    }
  });

  it("run one Program after another", async () => {
    pool = await openHostPool(2, 1);
    for (const choice of [{ ranks: 2 }, { ranks: 1 }, { ranks: 2, tensorDegree: 2 }]) {
      const { programs, graphs } = compilePlan(model, uniformPlan(model, { ...choice, globalBatch: 4 }));
      await pool.load({ programs, graphs, seed: 1, feed: null, firstStep: 0 });
      const steps = await pool.run(2);
      expect(steps.map((ranks) => ranks.length)).toEqual([choice.ranks, choice.ranks]);
    }
  });
});
