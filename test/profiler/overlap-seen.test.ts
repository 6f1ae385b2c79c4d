import { expect, test } from "vitest";
import type { Overlap } from "../../src/cluster/hardware-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { everyOtherLayerZero3 } from "../../src/profiler/measure-in-plans.js";
import { overlapOf, overlapSeen, slowdownSeen } from "../../src/profiler/overlap-seen.js";
import type { Program } from "../../src/program/program.js";
import { type DurationOf, simulateTimes } from "../../src/program/simulate.js";
import { isCollective } from "../../src/program/span-kind.js";
import { lower, smallModel } from "../program/small-model.js";

const LAYERS = 7;
const model = smallModel(LAYERS);
const alone = { forwardMs: 10, backwardMs: 20 };
const COLLECTIVE_MS = 4;

/** Layers of a step take `factor` times as long as alone. */
type Factor = (rank: number, layer: number) => number;

function durationWith(factor: Factor): DurationOf {
  return (program, index) => {
    const instruction = program.instructions[index]!;
    const { phase, layer } = instruction.label;
    if (instruction.op === "run")
      return (phase === "forward" ? alone.forwardMs : alone.backwardMs) * factor(program.rank, layer ?? 0);
    return isCollective(instruction) && (phase === "gather" || phase === "reduce") ? COLLECTIVE_MS : 0;
  };
}

/** What a simulated step shows of the slowdowns that it was simulated with. */
function seen(
  dataParallel: "ddp" | "zero",
  overlap: Overlap,
  factor: Factor = () => 1,
): ReturnType<typeof overlapSeen> {
  const uniform = uniformPlan(model, {
    ranks: 4,
    globalBatch: 8,
    dataParallel: dataParallel === "zero" ? "zero2" : "ddp",
  });
  const plan = dataParallel === "zero" ? everyOtherLayerZero3(uniform, 0) : uniform;
  const { programs } = lower(model, plan);
  const duration = durationWith(factor);
  const { times } = simulateTimes(programs, duration, { overlap });
  const steps = [times.map((ofRank) => ({ instructionsMs: Float64Array.from(ofRank) }))];
  const ms = (index: number): number => duration(programs[0] as Program, index);
  return overlapSeen({ programs, steps }, (layer) => layer >= 0 && layer < LAYERS, alone, ms);
}

test("slowdowns are found again in the steps of plans that have them", () => {
  const overlap = {
    computeSlowdown: 1.4,
    communicationSlowdown: 1.6,
    gathers: { computeSlowdown: 1.2, communicationSlowdown: 1.5 },
    reductions: { computeSlowdown: 1.1, communicationSlowdown: 2 },
  };
  const found = overlapOf(seen("zero", overlap), seen("ddp", overlap))!;
  expect(found.computeSlowdown).toBeCloseTo(1.4, 6);
  expect(found.communicationSlowdown).toBeCloseTo(1.6, 6);
  expect(found.gathers!.computeSlowdown).toBeCloseTo(1.2, 6);
  expect(found.gathers!.communicationSlowdown).toBeCloseTo(1.5, 6);
  // Where both run, what both take is less than their sum.
  expect(found.reductions!.computeSlowdown).toBeGreaterThan(1.08);
  expect(found.reductions!.computeSlowdown).toBeLessThan(1.1 + 1e-6);
  expect(found.reductions!.communicationSlowdown).toBeCloseTo(2, 6);
});

test("what a gather costs is found in steps that are slower, or get slower, or in which ranks differ", () => {
  const overlap = {
    computeSlowdown: 1,
    communicationSlowdown: 1,
    gathers: { computeSlowdown: 1.2, communicationSlowdown: 1.5 },
    reductions: { computeSlowdown: 1.1, communicationSlowdown: 2 },
  };
  const gathers = (factor: Factor): number => seen("zero", overlap, factor).gathers!.computeSlowdown;
  for (const share of [0.9, 1.1]) expect(gathers(() => share)).toBeCloseTo(1.2, 6);
  expect(gathers((_rank, layer) => 1 + 0.01 * layer)).toBeCloseTo(1.2, 6);
  expect(gathers((rank) => 1 + 0.02 * rank)).toBeCloseTo(1.2, 2);
});

test("layers that are no slower than alone lose nothing", () => {
  const none = { computeSlowdown: 1, communicationSlowdown: 1 };
  const found = overlapOf(seen("zero", none), seen("ddp", none))!;
  expect(found).toEqual({ ...none, gathers: none, reductions: none });
});

test("collectives that take longer in a plan than alone are seen, though ranks wait for each other", () => {
  const { programs } = lower(model, uniformPlan(model, { ranks: 4, globalBatch: 8, tensorDegree: 4 }));
  const between = programs[0]!.instructions.flatMap((it, index) =>
    isCollective(it) && it.stream === "compute" ? [index] : [],
  );
  const duration: DurationOf = (program, index) => {
    const { op } = program.instructions[index]!;
    if (op === "run") return 10 + 0.1 * program.rank;
    return between.includes(index) ? 1.3 * COLLECTIVE_MS : 0;
  };
  const { times } = simulateTimes(programs, duration, {});
  const steps = [times.map((ofRank) => ({ instructionsMs: Float64Array.from(ofRank) }))];
  const alone = (ms: number): ReadonlyMap<number, number> => new Map(between.map((index) => [index, ms]));
  expect(slowdownSeen({ programs, steps }, alone(COLLECTIVE_MS))).toBeCloseTo(1.3, 9);
  expect(slowdownSeen({ programs, steps }, alone(2 * COLLECTIVE_MS))).toBe(1);
});
