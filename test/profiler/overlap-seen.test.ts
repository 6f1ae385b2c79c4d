import { expect, test } from "vitest";
import type { Overlap, Slowdowns } from "../../src/cluster/hardware-profile.js";
import type { Plan } from "../../src/plan/plan.js";
import type { DataParallel } from "../../src/plan/strategy.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { everyOtherLayerZero3 } from "../../src/profiler/measure-in-plans.js";
import {
  gathersSeen,
  type RanProgram,
  reductionsSeen,
  slowdownSeen,
} from "../../src/profiler/overlap-seen.js";
import { type DurationOf, simulateTimes } from "../../src/program/simulate.js";
import { isCollective } from "../../src/program/span-kind.js";
import { lower, smallModel } from "../program/small-model.js";

const LAYERS = 7;
const model = smallModel(LAYERS);
const alone = { forwardMs: 10, backwardMs: 20 };
const COLLECTIVE_MS = 4;

/** Layers of a step take `factor` times as long as alone. */
type Factor = (rank: number, layer: number, phase: string) => number;

function durationWith(factor: Factor): DurationOf {
  return (program, index) => {
    const instruction = program.instructions[index]!;
    const { phase, layer } = instruction.label;
    if (instruction.op === "run")
      return (
        (phase === "forward" ? alone.forwardMs : alone.backwardMs) * factor(program.rank, layer ?? 0, phase)
      );
    return isCollective(instruction) && (phase === "gather" || phase === "reduce") ? COLLECTIVE_MS : 0;
  };
}

/** What simulated steps show of the slowdowns that they were simulated with. */
function seen(
  overlap: Overlap,
  factor: Factor = () => 1,
  aloneFactor = 1,
): Record<"gathers" | "scatters" | "reductions", Slowdowns> {
  const duration = durationWith(factor);
  const step = (dataParallel: DataParallel, change = (plan: Plan): Plan => plan): RanProgram => {
    const plan = change(uniformPlan(model, { ranks: 4, globalBatch: 8, dataParallel }));
    const { programs } = lower(model, plan);
    const { times } = simulateTimes(programs, duration, { overlap });
    return { programs, steps: [times.map((ofRank) => ({ instructionsMs: Float64Array.from(ofRank) }))] };
  };
  const inKind = (layer: number): boolean => layer >= 0 && layer < LAYERS;
  const aloneMs =
    ({ programs }: RanProgram) =>
    (index: number) =>
      duration(programs[0]!, index);
  const slowest = {
    forwardMs: alone.forwardMs * aloneFactor,
    backwardMs: alone.backwardMs * aloneFactor,
  };
  const gathering = step("ddp", (plan) => everyOtherLayerZero3(plan, 0));
  const gathers = gathersSeen(gathering, inKind, aloneMs(gathering))!;
  const reduced = (ran: RanProgram): Slowdowns =>
    reductionsSeen(ran, inKind, slowest, aloneMs(ran), gathers)!;
  return {
    gathers,
    scatters: reduced(step("zero2")),
    reductions: reduced(step("ddp")),
  };
}

test("slowdowns are found again in the steps of plans that have them", () => {
  const overlap = {
    computeSlowdown: 1.4,
    communicationSlowdown: 1.6,
    gathers: { computeSlowdown: 1.2, communicationSlowdown: 1.5 },
    reductions: { computeSlowdown: 1.1, communicationSlowdown: 2 },
  };
  const found = seen(overlap);
  for (const [slowdowns, expected] of [
    [found.reductions, overlap],
    [found.gathers, overlap.gathers],
    [found.scatters, overlap.reductions],
  ] as const) {
    expect(slowdowns.computeSlowdown).toBeCloseTo(expected.computeSlowdown, 6);
    expect(slowdowns.communicationSlowdown).toBeCloseTo(expected.communicationSlowdown, 6);
  }
});

test("what a gather costs is found in steps that are slower, or get slower, or in which ranks differ", () => {
  const overlap = {
    computeSlowdown: 1,
    communicationSlowdown: 1,
    gathers: { computeSlowdown: 1.2, communicationSlowdown: 1.5 },
    reductions: { computeSlowdown: 1.1, communicationSlowdown: 2 },
  };
  const gathers = (factor: Factor): number => seen(overlap, factor).gathers.computeSlowdown;
  for (const share of [0.9, 1.1]) expect(gathers(() => share)).toBeCloseTo(1.2, 6);
  expect(gathers((_rank, layer) => 1 + 0.01 * layer)).toBeCloseTo(1.2, 6);
  expect(gathers((rank) => 1 + 0.02 * rank)).toBeCloseTo(1.2, 2);
});

test("what a reduction costs is found where one rank is slower than the others, alone as in the plan", () => {
  const overlap = { computeSlowdown: 1.4, communicationSlowdown: 1.6 };
  const { scatters } = seen(overlap, (rank) => (rank === 2 ? 1.05 : 1), 1.05);
  expect(scatters.computeSlowdown).toBeCloseTo(1.4, 1);
});

const none = { computeSlowdown: 1, communicationSlowdown: 1 };

test("layers that are no slower than alone lose nothing", () => {
  expect(seen(none)).toEqual({ gathers: none, scatters: none, reductions: none });
});

test("a clock that is higher in forward and lower in backward is no slowdown", () => {
  const { scatters, reductions } = seen(none, (_rank, _layer, phase) => (phase === "forward" ? 0.92 : 1.04));
  for (const { computeSlowdown } of [scatters, reductions]) expect(computeSlowdown).toBeCloseTo(1, 9);
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
