import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { familyOf, modelSpec } from "../../src/families/registry.js";
import type { ModelOptions } from "../../src/model/model-options.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import type { Plan } from "../../src/plan/plan.js";
import type { Strategy, TensorSplit } from "../../src/plan/strategy.js";
import { canonicalStrategy, uniformPlan } from "../../src/plan/uniform.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { openHostPool } from "../../src/runtime/coordinator/host-pool.js";
import { startTraining } from "../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { syntheticDataset } from "../../src/runtime/data/find-data.js";
import { hostMachine } from "../../src/runtime/machine.js";
import { optimizerFrom } from "../../src/runtime/optimizer.js";
import { ClusterHandle } from "../../src/session/cluster-handle.js";
import { ModelHandle } from "../../src/session/model-handle.js";
import { newSession } from "../../src/session/session.js";
import { exampleHardware } from "../search/example-inputs.js";

const STEPS = 6;
const BATCH = 8;
const sizes = { layers: 4, hidden: 32, heads: 4, sequence: 16, tied: true };
const plain = modelSpec("gpt", sizes);

let pool: WorkerPool;
beforeAll(async () => {
  pool = await openHostPool(8, 1);
});
afterAll(() => pool.close());

const session = newSession();

/** The plan as a session completes it on a host, without measuring this one. */
async function asOnHost(model: ModelSpec, plan: Plan): Promise<Plan> {
  const hardware = exampleHardware(plan.ranks);
  const host = new ClusterHandle(
    session,
    { ...hostMachine(plan.ranks), cluster: hardware.cluster },
    hardware,
  );
  return (await new ModelHandle(session, model).plan(plan, { on: host })).data;
}

/** Loss and gradient norm of every step: they depend on every bit of every gradient and weight. */
async function traces(plan: Plan, model: ModelSpec = plain): Promise<readonly (readonly number[])[]> {
  const { programs, graphs } = compilePlan(model, await asOnHost(model, plan));
  const report = await startTraining(
    {
      programs,
      graphs,
      seed: 3,
      firstStep: 0,
      tokensPerStep: BATCH * model.sequence,
      feed: {
        dataset: syntheticDataset(model, 3),
        optimizer: optimizerFrom({ learningRate: 3e-3, weightDecay: 0.1, maxNorm: 1 }, STEPS),
        steps: STEPS,
      },
    },
    { pool },
    () => {},
  ).done;
  return report.records
    .filter(({ rank }) => rank === 0)
    .map(({ loss, gradientNorm }) => [loss, gradientNorm]);
}

function smallOf(name: string): ModelOptions {
  return familyOf(name).small;
}

/** Random plans that differ in data parallel, ZeRO, stages, recompute, schedule and placement only: one sample a graph. */
function plansAlike(tensorDegree: number, tensorSplit: TensorSplit, count: number): readonly Plan[] {
  let state = 99 + tensorDegree;
  const pick = (choices: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % choices;
  };
  const plans: Plan[] = [];
  while (plans.length < count) {
    const drawn = drawPlan(plain, { ranks: [2, 4, 8][pick(3)]!, globalBatch: BATCH }, pick);
    const stageRanks = drawn.ranks / drawn.stageLayers.length;
    if (stageRanks % tensorDegree !== 0) continue;
    const dataDegree = stageRanks / tensorDegree;
    const alike = (strategy: Strategy): Strategy =>
      canonicalStrategy({ ...strategy, tensorDegree, tensorSplit, dataDegree });
    plans.push({
      ...drawn,
      microBatches: BATCH / dataDegree,
      layers: drawn.layers.map(alike),
      vocabulary: alike(drawn.vocabulary),
    });
  }
  return plans;
}

describe.each([
  [1, "weights"],
  [2, "weights"],
  [2, "sequence"],
] as const)("tensor degree %i, %s split", (tensorDegree, tensorSplit) => {
  it("gives the same bits by default, whoever holds the gradients", async () => {
    const options = {
      ranks: tensorDegree,
      tensorDegree,
      tensorSplit,
      globalBatch: BATCH,
      microBatches: BATCH,
    };
    const reference = await traces(uniformPlan(plain, options));
    expect(new Set(reference.flat()).size).toBe(2 * STEPS);
    for (const plan of plansAlike(tensorDegree, tensorSplit, 5)) {
      expect(await traces(plan), describePlan(plan).join("\n")).toEqual(reference);
    }
  });
});

it.each(["bfloat16", "bfloat16-gradients"] as const)(
  "gives the same bits in %s, whose masters and copies ZeRO cuts differently",
  async (precision) => {
    const options = { ranks: 1, globalBatch: BATCH, microBatches: BATCH, precision };
    const reference = await traces(uniformPlan(plain, options));
    for (const plan of plansAlike(1, "weights", 5)) {
      const found = await traces({ ...plan, precision });
      expect(found, describePlan(plan).join("\n")).toEqual(reference);
    }
  },
);

it("gives the same bits with dropout, and other masks at every step", async () => {
  const dropping = modelSpec("gpt", { ...sizes, dropout: 0.1, attentionDropout: 0.1 });
  const options = { ranks: 1, globalBatch: BATCH, microBatches: BATCH };
  const reference = await traces(uniformPlan(plain, options), dropping);
  expect(reference).not.toEqual(await traces(uniformPlan(plain, options)));
  for (const plan of plansAlike(1, "weights", 4)) {
    expect(await traces(plan, dropping), describePlan(plan).join("\n")).toEqual(reference);
  }
});

it.each([
  ["T5's feed-forward and last norms", modelSpec("t5", { ...smallOf("t5"), dropout: 0.2 })],
  ["whole branches of Swin", modelSpec("swin", { ...smallOf("swin"), dropPath: 0.5 })],
])("gives the same bits where %s drop out", async (_, dropping) => {
  const alone = { ranks: 1, globalBatch: BATCH, microBatches: BATCH };
  const reference = await traces(uniformPlan(dropping, alone), dropping);
  const { dropout: _d, dropPath: _p, ...options } = dropping.options;
  const whole = { ...dropping, options };
  expect(await traces(uniformPlan(whole, alone), whole)).not.toEqual(reference);
  for (const choice of [
    { ranks: 2, microBatches: BATCH / 2, dataParallel: "zero3", recompute: true },
    { ranks: 2, microBatches: BATCH, pipelineDegree: 2 },
  ] as const) {
    const plan = uniformPlan(dropping, { globalBatch: BATCH, ...choice });
    expect(await traces(plan, dropping), describePlan(plan).join("\n")).toEqual(reference);
  }
});

it("does not in the deferred order: the property says something", async () => {
  const one = await traces(
    uniformPlan(plain, { ranks: 1, globalBatch: BATCH, microBatches: BATCH, gradientOrder: "deferred" }),
  );
  const two = await traces(
    uniformPlan(plain, { ranks: 2, globalBatch: BATCH, microBatches: BATCH / 2, gradientOrder: "deferred" }),
  );
  expect(two).not.toEqual(one);
  for (const [step, [loss, norm]] of two.entries()) {
    expect(Math.abs(loss! / one[step]![0]! - 1)).toBeLessThan(1e-5);
    expect(Math.abs(norm! / one[step]![1]! - 1)).toBeLessThan(1e-5);
  }
});
