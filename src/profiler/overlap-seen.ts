import type { Slowdowns } from "../cluster/hardware-profile.js";
import type { Program } from "../program/program.js";
import { gathersParameters, scattersGradients } from "../program/span-kind.js";
import { endOf, gapMs, startOf, type Timed } from "./measure-steps.js";

/** Of a layer, in ms. */
export interface LayerTimes {
  readonly forwardMs: number;
  readonly backwardMs: number;
}

/** Steps of one Program for each rank: `[step][rank]`. */
export interface RanProgram {
  readonly programs: readonly Program[];
  readonly steps: readonly (readonly Timed[])[];
}

type InKind = (layer: number) => boolean;
type AloneMs = (instruction: number) => number;

type Pass = "forward" | "backward";

/** How long a collective took, and how much of that it ran beside layers, in ms. */
interface Beside {
  readonly besideMs: number;
  readonly durationMs: number;
}

/** Less of a collective beside layers than this, and it says nothing of how long one takes there. */
const MOSTLY = 0.8;
/** No layer loses more than this share of its speed. */
const MOST_LOST = 0.9;

/**
 * How layers and gathers of parameters slowed each other down in a plan that was run: what layers with a gather beside their
 * forward took longer than those without.
 *
 * Layers of one step are compared, because a gather costs a layer less than its time differs from step to step and from
 * plan to plan where power is capped.
 *
 * A collective's time is that of the rank which waited least for the others.
 *
 * @param inKind - layers whose times are compared
 * @param aloneMs - a collective of the Program with nothing beside it
 * @returns null where no gather ran beside layers
 */
export function gathersSeen(ran: RanProgram, inKind: InKind, aloneMs: AloneMs): Slowdowns | null {
  const program = ran.programs[0]!;
  const gathers = indices(program, gathersParameters);
  const layers = [
    ...new Set(
      program.instructions.flatMap(({ op, label }) =>
        op === "run" && label.layer !== undefined && inKind(label.layer) ? [label.layer] : [],
      ),
    ),
  ];
  const lostShare = slope(layers.map((layer) => besideForward(ran, gathers, layer)));
  return slowdowns(
    gathers.map((index) => ({ index, ...besideOf(ran, index, inKind, "forward") })),
    lostShare,
    aloneMs,
  );
}

/**
 * How layers and reductions of gradients slowed each other down: what layers took longer than alone, in a plan whose
 * backward has nothing else beside it.
 *
 * Both passes count. A device whose power is capped changes its clock within tens of ms: in a long forward, which takes less
 * power, it is faster than alone, in a long backward slower, whatever is beside it.
 *
 * @param alone - one such layer on a device that does nothing else
 * @param gathers - what gathers beside forward cost
 */
export function reductionsSeen(
  ran: RanProgram,
  inKind: InKind,
  alone: LayerTimes,
  aloneMs: AloneMs,
  gathers: Slowdowns,
): Slowdowns | null {
  const program = ran.programs[0]!;
  const reductions = indices(
    program,
    (instruction) =>
      scattersGradients(instruction) ||
      (instruction.op === "allReduce" && instruction.label.phase === "reduce"),
  ).map((index) => ({ index, ...besideOf(ran, index, inKind, "backward") }));
  const count = runsOf(program, inKind, "backward").length;
  const gatheringMs = indices(program, gathersParameters).reduce(
    (total, index) => total + besideOf(ran, index, inKind, "forward").besideMs,
    0,
  );
  const excessMs =
    layersMs(ran, inKind) -
    count * (alone.forwardMs + alone.backwardMs) -
    gatheringMs * (1 - 1 / gathers.computeSlowdown);
  const besideMs = reductions.reduce((total, one) => total + one.besideMs, 0);
  return slowdowns(reductions, besideMs > 0 ? excessMs / besideMs : 0, aloneMs);
}

/** Of collectives that were mostly beside layers; null without any. */
function slowdowns(
  collectives: readonly (Beside & { readonly index: number })[],
  lostShare: number,
  aloneMs: AloneMs,
): Slowdowns | null {
  const hidden = collectives.filter(
    ({ besideMs, durationMs }) => durationMs > 0 && besideMs >= MOSTLY * durationMs,
  );
  const tookMs = hidden.reduce((total, one) => total + one.durationMs, 0);
  const quietMs = hidden.reduce((total, { index }) => total + aloneMs(index), 0);
  if (!(quietMs > 0)) return null;
  return {
    computeSlowdown: 1 / (1 - Math.min(MOST_LOST, Math.max(0, lostShare))),
    communicationSlowdown: Math.max(1, tookMs / quietMs),
  };
}

/** Of one layer: what it ran beside and what it took, in ms. */
interface Point {
  readonly besideMs: number;
  readonly tookMs: number;
}

/**
 * How long collectives ran beside a layer's forward and what that took, the mean over ranks and steps. Without the pause
 * after it, which is longer where the next layer waits for its gather.
 */
function besideForward(
  { programs, steps }: RanProgram,
  collectives: readonly number[],
  layer: number,
): Point {
  let besideMs = 0;
  let tookMs = 0;
  for (const ranks of steps)
    for (const [rank, step] of ranks.entries())
      for (const run of runsOf(programs[rank]!, (other) => other === layer, "forward")) {
        tookMs += endOf(step, run) - startOf(step, run);
        for (const index of collectives) besideMs += togetherMs(step, index, run);
      }
  const count = steps.length * programs.length;
  return { besideMs: besideMs / count, tookMs: tookMs / count };
}

/** Points whose spread is a smaller share of their mean than this tell no slope from noise. */
const LEAST_SPREAD = 0.25;

/** By least squares; 0 where all ran beside about as much. */
function slope(points: readonly Point[]): number {
  const mean = (of: (point: Point) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const besideMs = mean((point) => point.besideMs);
  const tookMs = mean((point) => point.tookMs);
  const variance = mean((point) => (point.besideMs - besideMs) ** 2);
  const together = mean((point) => (point.besideMs - besideMs) * (point.tookMs - tookMs));
  return variance > (LEAST_SPREAD * besideMs) ** 2 ? together / variance : 0;
}

/** How many times as long collectives took in a plan as by themselves, all together; no less than 1. */
export function slowdownSeen(ran: RanProgram, aloneMs: ReadonlyMap<number, number>): number {
  let tookMs = 0;
  let quietMs = 0;
  for (const [index, ms] of aloneMs) {
    tookMs += besideOf(ran, index, () => false, "forward").durationMs;
    quietMs += ms;
  }
  return quietMs > 0 ? Math.max(1, tookMs / quietMs) : 1;
}

/** What layers of one kind took on the slowest rank of a step, for which the others wait; the mean over steps. */
function layersMs({ programs, steps }: RanProgram, inKind: InKind): number {
  const took = (step: Timed, program: Program): number =>
    runsMs(program, step, inKind, "forward") + runsMs(program, step, inKind, "backward");
  const slowest = steps.map((ranks) => Math.max(...ranks.map((step, rank) => took(step, programs[rank]!))));
  return slowest.reduce((sum, ms) => sum + ms, 0) / steps.length;
}

/** What a rank's layers of one kind took in a pass of one step, the pauses between their graphs counted. */
export function runsMs(program: Program, step: Timed, inKind: InKind, pass: Pass): number {
  return runsOf(program, inKind, pass).reduce((own, index) => {
    const { stream } = program.instructions[index]!;
    const next = program.instructions.findIndex((other, at) => at > index && other.stream === stream);
    const gap = next < 0 ? 0 : gapMs(step, index, next);
    return own + endOf(step, index) - startOf(step, index) + gap;
  }, 0);
}

function runsOf(program: Program, inKind: InKind, pass: Pass): readonly number[] {
  return indices(
    program,
    ({ op, label }) =>
      op === "run" && label.phase === pass && label.layer !== undefined && inKind(label.layer),
  );
}

function indices(
  program: Program,
  wanted: (instruction: Program["instructions"][number]) => boolean,
): readonly number[] {
  return program.instructions.flatMap((instruction, index) => (wanted(instruction) ? [index] : []));
}

/** In each step on the rank that had the collective shortest, for it waited least for the others. */
function besideOf({ programs, steps }: RanProgram, index: number, inKind: InKind, pass: Pass): Beside {
  const total = { besideMs: 0, durationMs: 0 };
  for (const ranks of steps) {
    const durations = ranks.map((step) => endOf(step, index) - startOf(step, index));
    const durationMs = Math.min(...durations);
    const rank = durations.indexOf(durationMs);
    for (const run of runsOf(programs[rank]!, inKind, pass))
      total.besideMs += togetherMs(ranks[rank]!, index, run) / steps.length;
    total.durationMs += durationMs / steps.length;
  }
  return total;
}

/** How long two instructions of a step ran at once. */
function togetherMs(step: Timed, one: number, other: number): number {
  const from = Math.max(startOf(step, one), startOf(step, other));
  return Math.max(0, Math.min(endOf(step, one), endOf(step, other)) - from);
}
