import { expect, test } from "vitest";
import type { Overlap } from "../../src/cluster/hardware-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { overlapOf, overlapSeen } from "../../src/profiler/overlap-seen.js";
import type { Program } from "../../src/program/program.js";
import { type DurationOf, simulateTimes } from "../../src/program/simulate.js";
import { isCollective } from "../../src/program/span-kind.js";
import { lower, smallModel } from "../program/small-model.js";

const LAYERS = 6;
const model = smallModel(LAYERS);
const alone = { forwardMs: 10, backwardMs: 20 };
const COLLECTIVE_MS = 4;

const duration: DurationOf = (program, index) => {
  const instruction = program.instructions[index]!;
  const { phase } = instruction.label;
  if (instruction.op === "run") return phase === "forward" ? alone.forwardMs : alone.backwardMs;
  return isCollective(instruction) && (phase === "gather" || phase === "reduce") ? COLLECTIVE_MS : 0;
};

/** What a simulated step shows of the slowdowns that it was simulated with. */
function seen(
  dataParallel: "ddp" | "zero3" | "mixed",
  overlap: Overlap,
  quiet = alone,
): ReturnType<typeof overlapSeen> {
  const plan = uniformPlan(model, {
    ranks: 4,
    globalBatch: 8,
    dataParallel: dataParallel === "mixed" ? "zero2" : dataParallel,
  });
  const layers = plan.layers.map((strategy, layer) =>
    dataParallel === "mixed" && layer % 2 === 1 ? { ...strategy, dataParallel: "zero3" as const } : strategy,
  );
  const { programs } = lower(model, { ...plan, layers });
  const { times } = simulateTimes(programs, duration, { overlap });
  const steps = [times.map((ofRank) => ({ instructionsMs: Float64Array.from(ofRank) }))];
  const ms = (index: number): number => duration(programs[0] as Program, index);
  return overlapSeen({ programs, steps }, (layer) => layer >= 0 && layer < LAYERS, quiet, ms);
}

test("slowdowns are found again in the steps of plans that have them", () => {
  const overlap = {
    computeSlowdown: 1.4,
    communicationSlowdown: 1.6,
    gathers: { computeSlowdown: 1.2, communicationSlowdown: 1.5 },
    reductions: { computeSlowdown: 1.1, communicationSlowdown: 2 },
  };
  const found = overlapOf(seen("zero3", overlap), seen("ddp", overlap))!;
  expect(found.computeSlowdown).toBeCloseTo(1.4, 6);
  expect(found.communicationSlowdown).toBeCloseTo(1.6, 6);
  expect(found.gathers!.computeSlowdown).toBeCloseTo(1.2, 6);
  expect(found.gathers!.communicationSlowdown).toBeCloseTo(1.5, 6);
  // Where both run, what both take is less than their sum.
  expect(found.reductions!.computeSlowdown).toBeGreaterThan(1.08);
  expect(found.reductions!.computeSlowdown).toBeLessThan(1.1 + 1e-6);
  expect(found.reductions!.communicationSlowdown).toBeCloseTo(2, 6);
});

test("what a gather costs does not depend on what layers take alone", () => {
  const overlap = {
    computeSlowdown: 1,
    communicationSlowdown: 1,
    gathers: { computeSlowdown: 1.2, communicationSlowdown: 1.5 },
    reductions: { computeSlowdown: 1.1, communicationSlowdown: 2 },
  };
  for (const share of [0.9, 1, 1.1]) {
    const other = { forwardMs: alone.forwardMs * share, backwardMs: alone.backwardMs * share };
    for (const plan of ["zero3", "mixed"] as const) {
      const { gathers } = seen(plan, overlap, other);
      expect(gathers!.computeSlowdown, plan).toBeCloseTo(1.2, 6);
      expect(gathers!.communicationSlowdown, plan).toBeCloseTo(1.5, 6);
    }
  }
});

test("layers that are no slower than alone lose nothing", () => {
  const none = { computeSlowdown: 1, communicationSlowdown: 1 };
  const found = overlapOf(seen("zero3", none), seen("ddp", none))!;
  expect(found).toEqual({ ...none, gathers: none, reductions: none });
});
