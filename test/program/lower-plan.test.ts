import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describePlan } from "../../src/plan/describe-plan.js";
import { PRECISIONS } from "../../src/plan/precision.js";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import { verifyProgram } from "../../src/program/verify-program.js";
import { drawnPlan } from "./drawn-plan.js";
import { lower, smallModel } from "./small-model.js";

const CASES: Readonly<Record<string, UniformPlanOptions>> = {
  "one rank": { ranks: 1, globalBatch: 8, microBatches: 2 },
  "data parallel": { ranks: 4, globalBatch: 8, microBatches: 2 },
  "ZeRO-1": { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero1" },
  "ZeRO-2": { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero2" },
  "ZeRO-3": { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel: "zero3" },
  "tensor parallel with recompute": {
    ranks: 4,
    tensorDegree: 4,
    globalBatch: 8,
    microBatches: 2,
    recompute: true,
  },
  "tensor parallel, strided, ZeRO-3": {
    ranks: 4,
    tensorDegree: 2,
    globalBatch: 8,
    dataParallel: "zero3",
    placement: "strided",
  },
  "Ulysses with ZeRO-2": {
    ranks: 4,
    tensorDegree: 2,
    tensorSplit: "sequence",
    globalBatch: 8,
    microBatches: 2,
    dataParallel: "zero2",
  },
  "1F1B over four stages": { ranks: 4, pipelineDegree: 4, globalBatch: 8, microBatches: 8 },
  "1F1B with fewer micro-batches than stages": {
    ranks: 4,
    pipelineDegree: 4,
    globalBatch: 8,
    microBatches: 2,
  },
  GPipe: { ranks: 4, pipelineDegree: 2, globalBatch: 8, microBatches: 4, schedule: "gpipe" },
  bfloat16: { ranks: 1, globalBatch: 8, microBatches: 2, precision: "bfloat16" },
  "bfloat16 with ZeRO-1": {
    ranks: 4,
    globalBatch: 8,
    microBatches: 2,
    dataParallel: "zero1",
    precision: "bfloat16",
  },
  "bfloat16 with ZeRO-3": {
    ranks: 4,
    globalBatch: 8,
    microBatches: 2,
    dataParallel: "zero3",
    precision: "bfloat16",
  },
};

describe.each([true, false])("a GPT whose head is tied: %s", (tied) => {
  const model = smallModel(5, { tied });

  test.each(Object.entries(CASES))("%s lowers to programs that fit together", (_, options) => {
    const { programs } = lower(model, uniformPlan(model, options));
    expect(verifyProgram(programs, model)).toEqual([]);
  });
});

test("every random plan lowers to programs that fit together", () => {
  const plans = fc.record({
    ranks: fc.constantFrom(1, 2, 3, 4, 6, 8),
    globalBatch: fc.constantFrom(8, 12, 24),
    layers: fc.integer({ min: 1, max: 5 }),
    tied: fc.boolean(),
    precision: fc.constantFrom(...PRECISIONS),
    gradientOrder: fc.constantFrom("deferred" as const, "canonical" as const),
    choices: fc.infiniteStream(fc.nat()),
  });
  fc.assert(
    fc.property(plans, ({ ranks, globalBatch, layers, tied, precision, gradientOrder, choices }) => {
      const model = smallModel(layers, { tied });
      const pick = (count: number): number => choices.next().value! % count;
      const plan = drawnPlan(model, { ranks, globalBatch, precision }, pick);
      const { programs } = lower(model, { ...plan, gradientOrder });
      expect(verifyProgram(programs, model), describePlan(plan).join("\n")).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

test("what the last layer of a stage recomputes waits for no gradient, whatever layout that comes in", () => {
  const model = smallModel(2, { tied: false });
  const plan = uniformPlan(model, { ranks: 4, pipelineDegree: 2, globalBatch: 4, tensorDegree: 2 });
  const [first, second] = plan.layers;
  const layers = [
    { ...first!, recompute: true },
    { ...second!, tensorDegree: 1, dataDegree: 2 },
  ];
  const { programs } = lower(model, { ...plan, layers });
  for (const { instructions } of programs.slice(0, 2)) {
    const at = (phase: string, from = 0): number =>
      instructions.findIndex(
        ({ label }, index) => index >= from && label.phase === phase && label.layer === 0,
      );
    const recompute = at("recompute");
    const backward = at("backward");
    const joined = at("relayout", recompute);
    expect(recompute).toBeGreaterThan(0);
    expect(joined).toBeGreaterThan(recompute);
    expect(joined).toBeLessThan(backward);
    const gradients = instructions.flatMap(({ stream }, index) => (stream === "gradientsIn" ? [index] : []));
    expect(gradients.length).toBeGreaterThan(1);
    for (const { waits } of instructions.slice(recompute, joined))
      expect(waits.filter((wait) => gradients.includes(wait))).toEqual([]);
  }
});
