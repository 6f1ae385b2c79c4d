import type { Overlap, Slowdowns } from "../cluster/hardware-profile.js";
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

/** What of backward and of forward a collective ran beside, and how long it was there, in ms. */
interface Beside {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly durationMs: number;
}

/** Less of a collective beside layers than this, and it says nothing of how long one takes there. */
const MOSTLY = 0.8;
/** No layer loses more than this share of its speed. */
const MOST_LOST = 0.9;

/**
 * How layers and collectives slowed each other down in a plan that was run: what layers with a gather beside their
 * forward took longer than those without, and what backward took longer than alone, to which reductions are put down
 * once gathers' share is taken off.
 *
 * Layers of one step are compared for gathers, because they cost a layer less than its time differs from step to step
 * and from plan to plan where power is capped.
 *
 * A collective's time is that of the rank which waited least for the others.
 *
 * @param inKind - layers whose times are compared
 * @param alone - one such layer on a device that does nothing else
 * @param aloneMs - a collective of the Program with nothing beside it
 */
export function overlapSeen(
  ran: RanProgram,
  inKind: (layer: number) => boolean,
  alone: LayerTimes,
  aloneMs: (instruction: number) => number,
): { readonly gathers: Slowdowns | null; readonly reductions: Slowdowns | null } {
  const program = ran.programs[0]!;
  const layers = [
    ...new Set(
      program.instructions.flatMap(({ op, label }) =>
        op === "run" && label.layer !== undefined && inKind(label.layer) ? [label.layer] : [],
      ),
    ),
  ];
  const beside = program.instructions.map((_, index) => besideOf(ran, index, inKind));
  const gathers = indices(program, (instruction) => gathersParameters(instruction));
  const reductions = indices(
    program,
    (instruction) =>
      scattersGradients(instruction) ||
      (instruction.op === "allReduce" && instruction.label.phase === "reduce"),
  );
  const sum = (list: readonly number[], of: (one: Beside) => number): number =>
    list.reduce((total, index) => total + of(beside[index]!), 0);
  const lost = (share: number): number => Math.min(MOST_LOST, Math.max(0, share));
  const slowdowns = (list: readonly number[], lostShare: number): Slowdowns | null => {
    const hidden = list.filter((index) => {
      const { forwardMs, backwardMs, durationMs } = beside[index]!;
      return durationMs > 0 && forwardMs + backwardMs >= MOSTLY * durationMs;
    });
    const quietMs = hidden.reduce((total, index) => total + aloneMs(index), 0);
    if (!(quietMs > 0)) return null;
    return {
      computeSlowdown: 1 / (1 - lostShare),
      communicationSlowdown: Math.max(1, sum(hidden, (one) => one.durationMs) / quietMs),
    };
  };
  const gathersLose = lost(slope(layers.map((layer) => besideForward(ran, gathers, layer))));
  const excessMs =
    layersMs(ran, inKind, "backward") -
    layers.length * alone.backwardMs -
    gathersLose * sum(gathers, (one) => one.backwardMs);
  const besideMs = sum(reductions, (one) => one.backwardMs);
  const reductionsLose = besideMs > 0 ? lost(excessMs / besideMs) : 0;
  return { gathers: slowdowns(gathers, gathersLose), reductions: slowdowns(reductions, reductionsLose) };
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

/** What takes the place of the machine's slowdowns; null where one of them was not seen. */
export function overlapOf(
  zero: ReturnType<typeof overlapSeen>,
  ddp: ReturnType<typeof overlapSeen>,
): Overlap | null {
  const { gathers, reductions } = zero;
  return gathers && reductions && ddp.reductions ? { ...ddp.reductions, gathers, reductions } : null;
}

/** How many times as long collectives took in a plan as by themselves, all together; no less than 1. */
export function slowdownSeen(ran: RanProgram, aloneMs: ReadonlyMap<number, number>): number {
  let tookMs = 0;
  let quietMs = 0;
  for (const [index, ms] of aloneMs) {
    tookMs += besideOf(ran, index, () => false).durationMs;
    quietMs += ms;
  }
  return quietMs > 0 ? Math.max(1, tookMs / quietMs) : 1;
}

/** What layers of one kind took in a pass, the mean over ranks and steps. */
function layersMs(
  { programs, steps }: RanProgram,
  inKind: (layer: number) => boolean,
  pass: "forward" | "backward",
): number {
  const total = steps.reduce(
    (sum, ranks) =>
      sum + ranks.reduce((ofRanks, step, rank) => ofRanks + runsMs(programs[rank]!, step, inKind, pass), 0),
    0,
  );
  return total / steps.length / programs.length;
}

/** What a rank's layers of one kind took in a pass of one step, the pauses between their graphs counted. */
export function runsMs(
  program: Program,
  step: Timed,
  inKind: (layer: number) => boolean,
  pass: "forward" | "backward",
): number {
  return runsOf(program, inKind, pass).reduce((own, index) => {
    const { stream } = program.instructions[index]!;
    const next = program.instructions.findIndex((other, at) => at > index && other.stream === stream);
    const gap = next < 0 ? 0 : gapMs(step, index, next);
    return own + endOf(step, index) - startOf(step, index) + gap;
  }, 0);
}

function runsOf(program: Program, inKind: (layer: number) => boolean, pass: string): readonly number[] {
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
function besideOf(
  { programs, steps }: RanProgram,
  index: number,
  inKind: (layer: number) => boolean,
): Beside {
  const total = { forwardMs: 0, backwardMs: 0, durationMs: 0 };
  for (const ranks of steps) {
    const durations = ranks.map((step) => endOf(step, index) - startOf(step, index));
    const durationMs = Math.min(...durations);
    const rank = durations.indexOf(durationMs);
    const during = (pass: string): number =>
      runsOf(programs[rank]!, inKind, pass).reduce(
        (sum, run) => sum + togetherMs(ranks[rank]!, index, run),
        0,
      );
    total.forwardMs += during("forward") / steps.length;
    total.backwardMs += during("backward") / steps.length;
    total.durationMs += durationMs / steps.length;
  }
  return total;
}

/** How long two instructions of a step ran at once. */
function togetherMs(step: Timed, one: number, other: number): number {
  const from = Math.max(startOf(step, one), startOf(step, other));
  return Math.max(0, Math.min(endOf(step, one), endOf(step, other)) - from);
}
