import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import type { GradientOrder, Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { readManifest } from "../../src/runtime/checkpoint/checkpoint-folder.js";
import { machinePoolOptions } from "../../src/runtime/coordinator/host-pool.js";
import { startTraining } from "../../src/runtime/coordinator/train.js";
import { hostMachine } from "../../src/runtime/machine.js";
import { ClusterHandle } from "../../src/session/cluster-handle.js";
import { planByHand } from "../../src/session/find-plan.js";
import { ModelHandle } from "../../src/session/model-handle.js";
import { newSession } from "../../src/session/session.js";
import { type TrainOptions, trainingJob } from "../../src/session/training-job.js";
import { exampleHardware } from "../search/example-inputs.js";

const model = modelSpec("gpt", { layers: 2, hidden: 32, heads: 4, sequence: 16 });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-order-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const planFor = (ranks: number, gradientOrder: GradientOrder): Plan =>
  uniformPlan(model, {
    ranks,
    globalBatch: 8,
    microBatches: 8 / ranks,
    dataParallel: "zero2",
    gradientOrder,
  });

/** A training of a plan as a person would start it, on one thread a rank. */
function jobOf(plan: Plan, options: Partial<TrainOptions> = {}) {
  const { ranks } = plan;
  const hardware = exampleHardware(ranks);
  const machine = { machine: { ...hostMachine(ranks), threadsPerRank: 1 }, hardware, elsewhere: false };
  const found = planByHand({ model, modelProfile: analyticProfile(model, hardware), machine, plan });
  const all: TrainOptions = { data: { format: "synthetic" }, steps: 4, seed: 3, ...options };
  return { ...trainingJob(found, all, newSession()), machine: machine.machine };
}

async function losses(plan: Plan, asked: Partial<TrainOptions> = {}): Promise<readonly number[]> {
  const { job, feed, machine } = jobOf(plan, asked);
  const options = machinePoolOptions(machine, plan.ranks);
  const { records } = await startTraining({ ...job, feed: await feed() }, { options }, () => {}).done;
  return records.filter(({ rank }) => rank === 0).map(({ loss }) => loss);
}

it("the canonical order gives the same bits on one rank and on two", async () => {
  const one = await losses(planFor(1, "canonical"));
  expect(new Set(one).size).toBe(4);
  expect(await losses(planFor(2, "canonical"))).toEqual(one);
  expect(await losses(planFor(2, "deferred"))).not.toEqual(one);
  expect(await losses(planFor(2, "deferred"), { gradientOrder: "canonical" })).toEqual(one);
}, 60_000);

it("a resumed training keeps the order that it was begun with", async () => {
  const checkpoint = { folder, every: 2 };
  const steps = 10;
  const canonical = await losses(planFor(1, "canonical"), { checkpoint, steps });
  const resume = join(folder, "step-00000002");
  expect(readManifest(resume).plan.gradientOrder).toBe("canonical");
  const other = planFor(2, "deferred");
  expect(await losses(other, { resume, steps })).toEqual(canonical.slice(2));
  expect(await losses(other, { resume, steps, gradientOrder: "deferred" })).not.toEqual(canonical.slice(2));
  const again = { folder: join(folder, "again"), every: 1 };
  const { job } = jobOf(other, { resume, steps, checkpoint: again });
  expect(job.checkpoints!.origin.plan.gradientOrder).toBe("canonical");
}, 60_000);

it("a session completes a plan that says no order: canonical on the host, deferred on GPUs", async () => {
  const session = newSession();
  const asked = uniformPlan(model, { ranks: 2, globalBatch: 8, microBatches: 4 });
  const on = (device: "host" | "cuda"): ClusterHandle => {
    const usual = exampleHardware(2);
    const hardware = { ...usual, cluster: { ...usual.cluster, device } };
    return new ClusterHandle(session, { ...hostMachine(2), cluster: hardware.cluster }, hardware);
  };
  const handle = new ModelHandle(session, model);
  const orders: (GradientOrder | undefined)[] = [];
  for (const device of ["host", "cuda"] as const) {
    const machine = on(device);
    const byHand = await handle.plan(asked, { on: machine });
    const searched = await handle.search("1GB", { on: machine, globalBatch: 8 });
    const deferred = await handle.search("1GB", {
      on: machine,
      globalBatch: 8,
      gradientOrder: "deferred",
    });
    orders.push(byHand.data.gradientOrder, searched.data.gradientOrder, deferred.data.gradientOrder);
    expect(describePlan(byHand.data).join().includes("canonical")).toBe(device === "host");
  }
  expect(orders).toEqual(["canonical", "canonical", "deferred", "deferred", "deferred", "deferred"]);
  const canonical = await handle.plan({ ...asked, gradientOrder: "canonical" }, { on: on("cuda") });
  expect(() => canonical.programs()).toThrow(/for the host.*--gradient-order deferred/);
});
