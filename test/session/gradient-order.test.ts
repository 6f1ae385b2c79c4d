import { expect, it } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { machinePoolOptions } from "../../src/runtime/coordinator/host-pool.js";
import { startTraining } from "../../src/runtime/coordinator/train.js";
import { hostMachine } from "../../src/runtime/machine.js";
import { planByHand } from "../../src/session/find-plan.js";
import { newSession } from "../../src/session/session.js";
import { trainingJob } from "../../src/session/training-job.js";
import { exampleHardware } from "../search/example-inputs.js";

const model = modelSpec("gpt", { layers: 2, hidden: 32, heads: 4, sequence: 16 });

/** Losses of a plan as a person would train it, on one thread a rank. */
async function losses(ranks: number, gradientOrder: "deferred" | "canonical"): Promise<readonly number[]> {
  const hardware = exampleHardware(ranks);
  const machine = { machine: { ...hostMachine(ranks), threadsPerRank: 1 }, hardware, elsewhere: false };
  const plan = uniformPlan(model, { ranks, globalBatch: 8, microBatches: 8 / ranks, dataParallel: "zero2" });
  const found = planByHand({ model, modelProfile: analyticProfile(model, hardware), machine, plan });
  const { job, feed } = trainingJob(
    found,
    { data: { format: "synthetic" }, steps: 4, seed: 3, gradientOrder },
    newSession(),
  );
  const options = machinePoolOptions(machine.machine, ranks);
  const { records } = await startTraining({ ...job, feed: await feed() }, { options }, () => {}).done;
  return records.filter(({ rank }) => rank === 0).map(({ loss }) => loss);
}

it("training in the canonical order gives the same bits on one rank and on two", async () => {
  const one = await losses(1, "canonical");
  expect(new Set(one).size).toBe(4);
  expect(await losses(2, "canonical")).toEqual(one);
  expect(await losses(2, "deferred")).not.toEqual(one);
}, 60_000);
