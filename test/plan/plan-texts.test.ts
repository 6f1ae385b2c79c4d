import { expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { allStrategies } from "../../src/plan/draw-plan.js";
import { strategyText } from "../../src/plan/strategy-text.js";
import { uniformPlan } from "../../src/plan/uniform.js";

const model = modelSpec("gpt", { layers: 5, hidden: 32, heads: 4, sequence: 16 });

test("short names say what differs from one plain rank", () => {
  const strategy = uniformPlan(model, { ranks: 1, globalBatch: 1 }).layers[0]!;
  expect(strategyText(strategy)).toBe("single");
  expect(strategyText({ ...strategy, recompute: true })).toBe("single·recompute");
  expect(
    strategyText({ ...strategy, tensorDegree: 2, dataDegree: 4, dataParallel: "zero3", recompute: true }),
  ).toBe("tp2·dp4·zero3·recompute");
  expect(
    strategyText({
      ...strategy,
      tensorDegree: 2,
      tensorSplit: "sequence",
      dataDegree: 2,
      placement: "strided",
    }),
  ).toBe("sp2·dp2·strided");
});

test("no two strategies of a stage share a name", () => {
  for (const ranks of [1, 2, 4, 8, 6]) {
    const strategies = allStrategies(ranks);
    expect(new Set(strategies.map(strategyText)).size).toBe(strategies.length);
  }
});

test("a plan in lines: outer choices, then runs of equal layers by stage", () => {
  const base = uniformPlan(model, { ranks: 4, pipelineDegree: 2, globalBatch: 8, microBatches: 2 });
  const plan = {
    ...base,
    layers: base.layers.map((strategy, layer) => (layer === 2 ? { ...strategy, recompute: true } : strategy)),
  };
  expect(describePlan(plan)).toEqual([
    "4 ranks, 2 stage(s), 1f1b, float32",
    "global batch 8 in 2 micro-batch(es)",
    "embedding and head: dp2",
    "stage 0: layers 0-1 dp2, layer 2 dp2·recompute",
    "stage 1: layers 3-4 dp2",
  ]);
});

test("equal stages in a row are one line", () => {
  const deep = modelSpec("gpt", { layers: 8, hidden: 32, heads: 4, sequence: 16 });
  const plan = uniformPlan(deep, { ranks: 4, pipelineDegree: 4, globalBatch: 8, microBatches: 4 });
  expect(describePlan(plan).slice(3)).toEqual(["stages 0-3: 2 layer(s) each, single"]);
  const layers = plan.layers.map((strategy, layer) =>
    layer === 7 ? { ...strategy, recompute: true } : strategy,
  );
  expect(describePlan({ ...plan, layers }).slice(3)).toEqual([
    "stages 0-2: 2 layer(s) each, single",
    "stage 3: layer 6 single, layer 7 single·recompute",
  ]);
});
