import { describe, expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import type { Plan } from "../../src/plan/plan.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { canonicalStrategy, uniformPlan } from "../../src/plan/uniform.js";
import { verifyPlan } from "../../src/plan/verify-plan.js";

const model = modelSpec("gpt", { layers: 4, hidden: 24, heads: 6, sequence: 12, vocabulary: 50 });
const valid = uniformPlan(model, {
  ranks: 4,
  pipelineDegree: 2,
  tensorDegree: 2,
  globalBatch: 8,
  microBatches: 4,
});

function withLayer(plan: Plan, layer: number, change: Partial<Strategy>): Plan {
  return {
    ...plan,
    layers: plan.layers.map((one, index) => (index === layer ? { ...one, ...change } : one)),
  };
}

test("a valid plan has no problems", () => {
  expect(verifyPlan(model, valid)).toEqual([]);
});

const BROKEN: Readonly<Record<string, readonly [Plan, RegExp]>> = {
  "ranks that are no whole number": [{ ...valid, ranks: 1.5 }, /ranks: expected a whole number/],
  "no stages": [{ ...valid, stageLayers: [] }, /number of stages/],
  "ranks that do not divide into stages": [{ ...valid, ranks: 5 }, /do not divide into 2 equal stages/],
  "an empty stage": [{ ...valid, stageLayers: [4, 0] }, /stage 1: expected at least one layer/],
  "stages that miss a layer": [{ ...valid, stageLayers: [1, 2] }, /hold 3 layers, the model has 4/],
  "too few strategies": [{ ...valid, layers: valid.layers.slice(1) }, /3 layer strategies for 4 layers/],
  "a batch that does not divide": [{ ...valid, globalBatch: 9 }, /9 does not divide into 4 micro-batches/],
  "degrees that do not fill the stage": [
    withLayer(valid, 1, { dataDegree: 2 }),
    /layer 1: .* = 4, but a stage has 2/,
  ],
  "a degree of zero": [withLayer(valid, 0, { tensorDegree: 0 }), /layer 0: degrees are whole numbers/],
  "micro-batches that do not divide over data ranks": [
    uniformPlan(model, { ranks: 4, globalBatch: 8, microBatches: 4 }),
    /a micro-batch of 2 samples does not divide over data degree 4/,
  ],
  "a split of one rank": [
    withLayer(uniformPlan(model, { ranks: 1, globalBatch: 1 }), 0, { tensorSplit: "sequence" }),
    /tensorSplit is "weights" where the tensor degree is 1/,
  ],
  "ZeRO on one rank": [
    withLayer(valid, 2, { dataParallel: "zero2" }),
    /layer 2: dataParallel is "ddp".*got "zero2"/,
  ],
  "strided with one data rank": [withLayer(valid, 3, { placement: "strided" }), /placement is "consecutive"/],
  "heads that do not divide": [
    uniformPlan(model, { ranks: 4, tensorDegree: 4, globalBatch: 8 }),
    /6 attention heads/,
  ],
  "heads that do not divide under Ulysses": [
    uniformPlan(model, { ranks: 4, tensorDegree: 4, tensorSplit: "sequence", globalBatch: 8 }),
    /6 attention heads .* do not divide over sequence split 4/,
  ],
  "a sequence that does not divide": [
    uniformPlan(modelSpec("gpt", { layers: 1, hidden: 30, heads: 5, sequence: 12 }), {
      ranks: 5,
      tensorDegree: 5,
      globalBatch: 5,
    }),
    /12 positions/,
  ],
};

describe("every broken rule is told in words", () => {
  test.each(Object.entries(BROKEN))("%s", (_, [plan, words]) => {
    const of =
      plan.layers.length === 1 ? modelSpec("gpt", { layers: 1, hidden: 30, heads: 5, sequence: 12 }) : model;
    expect(verifyPlan(of, plan).join("\n")).toMatch(words);
  });
});

test("ZeRO under Ulysses shards over the tensor group too", () => {
  const plan = uniformPlan(model, {
    ranks: 2,
    tensorDegree: 2,
    tensorSplit: "sequence",
    dataParallel: "zero3",
    globalBatch: 2,
  });
  expect(plan.layers[0]?.dataParallel).toBe("zero3");
  expect(verifyPlan(model, plan)).toEqual([]);
});

test("a vocabulary that does not divide is no problem: it is padded", () => {
  expect(verifyPlan(model, uniformPlan(model, { ranks: 3, tensorDegree: 3, globalBatch: 3 }))).toEqual([]);
});

test("the canonical form changes nothing that counts", () => {
  const strategy: Strategy = {
    tensorDegree: 1,
    tensorSplit: "sequence",
    dataDegree: 1,
    dataParallel: "zero3",
    recompute: true,
    placement: "strided",
  };
  expect(canonicalStrategy(strategy)).toEqual({
    tensorDegree: 1,
    tensorSplit: "weights",
    dataDegree: 1,
    dataParallel: "ddp",
    recompute: true,
    placement: "consecutive",
  });
});
