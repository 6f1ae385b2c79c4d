import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gpipeStage } from "../../src/program/gpipe.js";
import { oneForwardOneBackwardStage } from "../../src/program/one-f-one-b.js";
import type { StageOperation } from "../../src/program/schedule.js";

/** Most micro-batches that a stage holds between their forward and their backward. */
function mostInFlight(operations: readonly StageOperation[]): number {
  let now = 0;
  let most = 0;
  for (const { pass } of operations) {
    now += pass === "forward" ? 1 : -1;
    most = Math.max(most, now);
  }
  return most;
}

/** Makespan of a pipeline whose forwards take 1 and backwards 2, transfers nothing. */
function makespan(stages: number, operationsOf: (stage: number) => readonly StageOperation[]): number {
  const lists = Array.from({ length: stages }, (_, stage) => operationsOf(stage));
  const next = lists.map(() => 0);
  const free = lists.map(() => 0);
  const ended = new Map<string, number>();
  for (let progress = true; progress; ) {
    progress = false;
    for (const [stage, list] of lists.entries()) {
      const operation = list[next[stage]!];
      if (operation === undefined) continue;
      const { pass, microBatch } = operation;
      const needs =
        pass === "forward" ? `forward ${stage - 1} ${microBatch}` : `backward ${stage + 1} ${microBatch}`;
      const outermost = pass === "forward" ? stage === 0 : stage === stages - 1;
      const ready = outermost ? 0 : ended.get(needs);
      if (ready === undefined) continue;
      free[stage] = Math.max(free[stage]!, ready) + (pass === "forward" ? 1 : 2);
      ended.set(`${pass} ${stage} ${microBatch}`, free[stage]!);
      next[stage] = next[stage]! + 1;
      progress = true;
    }
  }
  expect(next).toEqual(lists.map(({ length }) => length));
  return Math.max(...free);
}

const shapes = fc.record({
  stages: fc.integer({ min: 1, max: 8 }),
  microBatches: fc.integer({ min: 1, max: 20 }),
});

describe("schedules", () => {
  test("every stage runs every micro-batch forward, then backward, in order", () => {
    fc.assert(
      fc.property(shapes, ({ stages, microBatches }) => {
        const order = Array.from({ length: microBatches }, (_, microBatch) => microBatch);
        for (let stage = 0; stage < stages; stage++) {
          for (const list of [
            gpipeStage(microBatches),
            oneForwardOneBackwardStage(stages, stage, microBatches),
          ]) {
            const of = (wanted: string) =>
              list.filter(({ pass }) => pass === wanted).map((one) => one.microBatch);
            expect(of("forward")).toEqual(order);
            expect(of("backward")).toEqual(order);
            expect(mostInFlight(list)).toBeGreaterThanOrEqual(1);
          }
        }
      }),
    );
  });

  test("1F1B holds at most stages - stage micro-batches, GPipe all of them", () => {
    fc.assert(
      fc.property(shapes, ({ stages, microBatches }) => {
        for (let stage = 0; stage < stages; stage++) {
          const flight = mostInFlight(oneForwardOneBackwardStage(stages, stage, microBatches));
          expect(flight).toBe(Math.min(stages - stage, microBatches));
        }
        expect(mostInFlight(gpipeStage(microBatches))).toBe(microBatches);
      }),
    );
  });

  test("both take (micro-batches + stages - 1) slots of one forward and one backward", () => {
    fc.assert(
      fc.property(shapes, ({ stages, microBatches }) => {
        const slots = 3 * (microBatches + stages - 1);
        expect(makespan(stages, (stage) => oneForwardOneBackwardStage(stages, stage, microBatches))).toBe(
          slots,
        );
        expect(makespan(stages, () => gpipeStage(microBatches))).toBe(slots);
      }),
    );
  });
});
