import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { modelSpec } from "../../../src/families/registry.js";
import { describePlan } from "../../../src/plan/describe-plan.js";
import { drawPlan } from "../../../src/plan/draw-plan.js";
import type { Plan } from "../../../src/plan/plan.js";
import { uniformPlan } from "../../../src/plan/uniform.js";
import { findCheckpoint, listCheckpoints } from "../../../src/runtime/checkpoint/checkpoint-folder.js";
import { openHostPool } from "../../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../../src/runtime/coordinator/worker-pool.js";
import { BATCH, originOf } from "../../support/checkpoints.js";
import { picker } from "../../support/pick.js";
import { lossesOf, trainPlan } from "../../support/train-plan.js";

/** Kills that must fall into a save while a checkpoint is there to load; the long run sets it. */
const KILLS = Number(process.env["CHECKPOINT_KILLS"] ?? 3);
/** Longest that a training lives after its first step: a few steps, each with a save. */
const LIFE_MS = 400;

// Large for its steps, so that most of the time goes into saving.
const model = modelSpec("gpt", { layers: 2, hidden: 256, heads: 4, sequence: 4, vocabulary: 4001 });
const plan = uniformPlan(model, { ranks: 2, globalBatch: BATCH, dataParallel: "zero3" });
const { seed, steps, optimizer } = originOf(model, plan);

let pool: WorkerPool;
let folder: string;
beforeAll(async () => {
  pool = await openHostPool(4, 1);
  folder = mkdtempSync(join(tmpdir(), "galvatron-killed-"));
});
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true, force: true });
});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Trains in other processes and kills them at a random moment; true when that fell into a save. */
async function killOnce(pick: (count: number) => number): Promise<boolean> {
  const job = JSON.stringify({ model, plan, origin: originOf(model, plan) });
  // A process group of its own: everything in it dies at one instant.
  const child = fork("test/support/saving-trainer.cjs", [folder, job], {
    execArgv: [],
    detached: true,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [{ pids }] = (await once(child, "message")) as [{ pids: readonly number[] }];
  await new Promise((resolve) => setTimeout(resolve, pick(LIFE_MS)));
  const victims = [[-child.pid!], [child.pid!], [pids[0]!], [pids[1]!]][pick(4)]!;
  for (const victim of victims) process.kill(victim, "SIGKILL");
  for (let waited = 0; [child.pid!, ...pids].some(isAlive); waited++) {
    if (waited > 1000) throw new Error("the killed training lives on");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return readdirSync(folder).some((name) => /\.(partial|removed)$/.test(name));
}

it(
  "kill −9 while checkpoints are saved: the newest one loads into any plan and trains on",
  async () => {
    const pick = picker(KILLS + 7);
    const straight = lossesOf(
      await trainPlan(pool, model, uniformPlan(model, { ranks: 1, globalBatch: BATCH }), {
        steps,
        seed,
        optimizer,
        onStep: (step, training) => {
          if (step === 60) training.stop();
        },
      }),
    );
    let hits = 0;
    let kills = 0;
    while (hits < KILLS) {
      if (listCheckpoints(folder).some(({ step }) => step > 50)) rmSync(folder, { recursive: true });
      const hit = await killOnce(pick);
      kills++;
      if (listCheckpoints(folder).length === 0) continue; // killed before the first save was complete
      if (hit) hits++;
      const other: Plan = drawPlan(model, { ranks: [1, 2, 4][pick(3)]!, globalBatch: BATCH }, pick);
      const resumed = await trainPlan(pool, model, other, {
        steps,
        seed,
        optimizer,
        from: findCheckpoint(folder),
        onStep: (_, training) => training.stop(),
      });
      for (const { step, loss } of resumed.records)
        expect(
          Math.abs(loss / straight[step]! - 1),
          `kill ${kills}, step ${step}\n${describePlan(other).join("\n")}`,
        ).toBeLessThanOrEqual(1e-5);
    }
    if (KILLS > 3)
      process.stderr.write(
        `${kills} kills, ${hits} of them in a save with a checkpoint before it: all loaded\n`,
      );
  },
  60_000 + KILLS * 60_000,
);
