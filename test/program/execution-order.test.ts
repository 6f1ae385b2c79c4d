import fc from "fast-check";
import { expect, test } from "vitest";
import { uniformPlan } from "../../src/plan/uniform.js";
import { executionOrder } from "../../src/program/execution-order.js";
import type { Program } from "../../src/program/program.js";
import { findRendezvous } from "../../src/program/rendezvous.js";
import { drawnPlan } from "./drawn-plan.js";
import { lower, smallModel } from "./small-model.js";

/** The programs with every instruction made to wait for the one before it: one queue per rank, blocking sends. */
function oneByOne(programs: readonly Program[]): readonly Program[] {
  return programs.map((program) => ({
    ...program,
    instructions: program.instructions.map((instruction, index) => ({
      ...instruction,
      waits: index === 0 ? [] : [index - 1],
    })),
  }));
}

function stuck(programs: readonly Program[]): number {
  return executionOrder(programs, findRendezvous(programs)).stuck.length;
}

test("no waits for earlier instructions can deadlock: the lists run even one instruction at a time", () => {
  const plans = fc.record({
    ranks: fc.constantFrom(2, 4, 6, 8),
    globalBatch: fc.constantFrom(4, 12, 24),
    layers: fc.integer({ min: 2, max: 6 }),
    choices: fc.array(fc.nat(), { minLength: 30, maxLength: 60 }),
  });
  fc.assert(
    fc.property(plans, ({ ranks, globalBatch, layers, choices }) => {
      const model = smallModel(layers);
      let at = 0;
      const pick = (count: number): number => choices[at++ % choices.length]! % count;
      const plan = drawnPlan(model, { ranks, globalBatch }, pick);
      expect(stuck(oneByOne(lower(model, plan).programs))).toBe(0);
    }),
    { numRuns: 25 },
  );
});

test.each([
  [2, 1],
  [2, 6],
  [3, 2],
  [4, 3],
  [4, 4],
  [6, 4],
  [6, 12],
] as const)("pipelines of %i stages and %i micro-batches too", (stages, microBatches) => {
  const model = smallModel(6);
  for (const schedule of ["gpipe", "1f1b"] as const) {
    const plan = uniformPlan(model, {
      ranks: stages,
      pipelineDegree: stages,
      globalBatch: 12,
      microBatches,
      schedule,
    });
    expect(stuck(oneByOne(lower(model, plan).programs))).toBe(0);
  }
});

test("sends before the receives that must come first do deadlock one by one: the order is no accident", () => {
  const model = smallModel(4);
  const { programs } = lower(
    model,
    uniformPlan(model, { ranks: 2, pipelineDegree: 2, globalBatch: 4, microBatches: 4 }),
  );
  const swapped = programs.map((program) => {
    const instructions = [...program.instructions];
    for (let index = 1; index < instructions.length; index++) {
      if (instructions[index]!.op === "send" && instructions[index - 1]!.op === "receive") {
        [instructions[index - 1], instructions[index]] = [instructions[index]!, instructions[index - 1]!];
      }
    }
    return { ...program, instructions };
  });
  expect(stuck(oneByOne(programs))).toBe(0);
  expect(stuck(oneByOne(swapped))).toBeGreaterThan(0);
});
