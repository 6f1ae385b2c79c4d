import { criticalPath } from "../cost/critical-path.js";
import { pipelineTime, type StageWork } from "../cost/pipeline-time.js";
import { divide, type Suffix, suffixStages } from "./division.js";
import type { OuterChoice } from "./outer-choice.js";
import { bestSharedPath, dividePath, exactDividePath } from "./path-room.js";
import { type PeakClass, peakClasses } from "./peak-class.js";
import { type RelaxedDivision, relaxDivision } from "./relaxed-division.js";
import { criticalBound, type SchedulePath, type StepBound, scheduleBound } from "./schedule-bound.js";
import type { ShapeTable, VocabularyChoice } from "./shape-table.js";
import { type Floors, stageFloors } from "./stage-floor.js";
import { criticalTime, everyTime, type StageOrder, stageOptions } from "./stage-options.js";
import { leastValue, prefix, SAME } from "./worth.js";

/** One sub-search. */
export interface Problem {
  readonly shape: ShapeTable;
  readonly outer: OuterChoice;
  /** Kinds of the body, layer by layer. */
  readonly kinds: readonly string[];
  /** Bytes of a rank, the worker's reserve taken off. */
  readonly budgetBytes: number;
  /** Layers of every stage where stages must be equal, otherwise 0. */
  readonly even: number;
}

/** A plan in the search's own terms. */
export interface Found {
  readonly problem: Problem;
  readonly stepMs: number;
  readonly vocabulary: VocabularyChoice;
  readonly suffix: Suffix;
}

export interface Solved {
  readonly best: Found | null;
  /** No plan of this sub-search is faster. */
  readonly lowerBoundMs: number;
  /** The part of the bound that sub-searches of one shape share (siblings.ts). */
  readonly sharedMs: number;
  /** A table grew beyond the labels it may have, so that the bound says no more than before. */
  readonly overgrown?: boolean;
}

/** What is known of a pipeline before any stage is filled: floors by hulls, and the division by them. */
export interface Relaxation {
  readonly floors: Floors;
  readonly relaxed: RelaxedDivision;
}

export function hullRelaxation(problem: Problem, classes: readonly PeakClass[]): Relaxation {
  const floors = stageFloors(problem, classes, null);
  return { floors, relaxed: relaxDivision(problem, floors) };
}

function exactRelaxation(problem: Problem, relaxation: Relaxation, limitMs: number): Relaxation {
  const floors = stageFloors(problem, peakClasses(problem.shape), { ...relaxation, limitMs });
  return { floors, relaxed: relaxDivision(problem, floors) };
}

/** Layers alike of a stage from which on whole numbers of them differ so little from parts that hulls say enough. */
const ENOUGH_ALIKE = 16;

const nearHulls = ({ shape, outer, kinds }: Problem): boolean =>
  kinds.length >= ENOUGH_ALIKE * outer.stages * shape.choices.size;

/** Stages whose updates are weighed together: with more of them it takes longer than it saves. */
const MOST_SHARING = 8;

/** With one micro-batch all paths are one, up to the updates, which can be a large part of a step. */
const sharesUpdates = ({ microBatches, stages }: OuterChoice): boolean =>
  microBatches === 1 && stages <= MOST_SHARING;

/** Critical paths that may be learnt before a gap is accepted. */
const MOST_PATHS = 24;
/** Divisions of one bound that are priced in search of a good plan. */
const MOST_PRICED = 256;

/** The stage works of a division, for the schedule's recurrence. */
export function suffixWorks(suffix: Suffix): StageWork[] {
  return suffixStages(suffix).map(({ option, sendMs, gradientMs }) => ({
    forwardMs: option.forwardMs,
    backwardMs: option.backwardMs,
    leadMs: option.leadMs,
    sendMs,
    gradientMs,
    reduceMs: option.reduceMs,
    afterMs: option.afterMs,
  }));
}

/**
 * Best plan of one sub-search whose step is at most `limitMs`, with a bound that none of its plans is below: the
 * limit where there is none. `relaxation` is that of the hulls; a single stage needs none. With `exact` its floors are those
 * of whole numbers of layers in any case.
 *
 * A pipeline is solved twice. First its stages are told apart by two costs only, which gives a bound, nearly always
 * tight, and a plan; only if the plan is above the bound, by every time up to what that plan takes.
 */
export function solveWithin(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  { mostLabels, exact }: { readonly mostLabels: number; readonly exact: boolean },
): Solved {
  if (!relaxation) {
    const solved = solveByEveryTime(problem, null, limitMs, mostLabels);
    return { ...solved, sharedMs: solved.lowerBoundMs };
  }
  const none: Solved = { best: null, lowerBoundMs: limitMs, sharedMs: limitMs };
  const whole = exact || !nearHulls(problem);
  const fixed = whole && sharesUpdates(problem.outer) ? [bestSharedPath(problem, relaxation, limitMs)] : [];
  for (const path of fixed) {
    const { leastMs } = exactDividePath(problem, relaxation, path, limitMs);
    if (leastMs + problem.shape.normMs > limitMs * (1 + SAME)) return none;
  }
  const nearer = whole && fixed.length === 0 ? exactRelaxation(problem, relaxation, limitMs) : relaxation;
  if (nearer.relaxed.boundMs > limitMs) return none;
  const first = solveByCriticalTime(problem, nearer, limitMs, fixed, mostLabels);
  const known = first.lowerBoundMs * (1 + SAME);
  if (first.overgrown || !first.best || first.best.stepMs <= known || limitMs <= known) return first;
  const second = solveByEveryTime(problem, nearer, Math.min(limitMs, first.best.stepMs), mostLabels);
  const best = second.best && second.best.stepMs < first.best.stepMs ? second.best : first.best;
  const lowerBoundMs = Math.max(first.lowerBoundMs, Math.min(second.lowerBoundMs, best.stepMs));
  return { best, lowerBoundMs, sharedMs: first.sharedMs, overgrown: second.overgrown ?? false };
}

/** Some good plan within a limit, soon: tables keep a sample of their labels. */
export function sampleWithin(problem: Problem, relaxation: Relaxation | null, limitMs: number): Found | null {
  if (!relaxation) return solveByEveryTime(problem, relaxation, limitMs, "sample").best;
  return criticalRound(problem, relaxation, limitMs, [], [], "sample")?.best ?? null;
}

type Divide = (step: StepBound, limitMs: number) => Suffix[];

/** How to divide the layers under one vocabulary choice. */
function divider(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  orderOf: (stage: number) => StageOrder,
  mostLabels: number | "sample",
): { readonly divideWith: (vocabulary: VocabularyChoice) => Divide; readonly overgrown: () => boolean } {
  const { shape, outer, kinds } = problem;
  const { stages, microBatches } = outer;
  const least = (value: (one: { forwardMs: number; backwardMs: number; leadMs: number }) => number) =>
    prefix(kinds, (kind) => leastValue(shape.choices.get(kind)!, value));
  const forwardSums = least((one) => one.forwardMs);
  const backwardSums = least((one) => one.backwardMs - one.leadMs);
  const { optionsWith, overgrown } = stageOptions(problem, relaxation, limitMs, orderOf, mostLabels);
  return {
    overgrown,
    divideWith: (vocabulary) => {
      const options = optionsWith(vocabulary);
      const { embedding } = vocabulary;
      return (step, within) =>
        divide({
          layers: kinds.length,
          stages,
          microBatches,
          options,
          transfer: (layer, from, to) => shape.transfers.get(kinds[layer]!)![from]![to]!,
          forwardBefore: (start) => (start > 0 ? forwardSums[start]! + embedding.forwardMs : 0),
          backwardBefore: (start) => (start > 0 ? backwardSums[start]! + embedding.backwardMs : 0),
          step,
          limitMs: within,
        });
    },
  };
}

function solveByCriticalTime(
  problem: Problem,
  relaxation: Relaxation,
  limitMs: number,
  fixed: readonly SchedulePath[],
  mostLabels: number,
): Solved {
  const { microBatches: m, schedule } = problem.outer;
  const learnt: SchedulePath[] = [];
  let boundMs = relaxation.relaxed.boundMs;
  let sharedMs = boundMs;
  let best: Found | null = null;
  for (;;) {
    const within: number = best ? Math.min(limitMs, best.stepMs) : limitMs;
    const round = criticalRound(problem, relaxation, within, fixed, learnt, mostLabels);
    if (round === null) return { best, lowerBoundMs: boundMs, sharedMs, overgrown: true };
    boundMs = Math.max(boundMs, round.lowerBoundMs);
    if (learnt.length === 0) sharedMs = boundMs;
    if (round.best && (!best || round.best.stepMs < best.stepMs * (1 - SAME))) best = round.best;
    const { nearest } = round;
    const open = nearest && best && boundMs < Math.min(limitMs, best.stepMs) * (1 - SAME);
    if (!open || learnt.length >= MOST_PATHS) return { best, lowerBoundMs: boundMs, sharedMs };
    const works = suffixWorks(nearest);
    let last = 0;
    for (const [stage, { afterMs }] of works.entries()) if (afterMs > works[last]!.afterMs) last = stage;
    const after = Float64Array.from(works, (_, stage) => (stage === last ? 1 : 0));
    learnt.push({ ...criticalPath(schedule, m, works), after });
  }
}

/** `null` where a table grew too large; `nearest` is what the bound belongs to. */
function criticalRound(
  problem: Problem,
  relaxation: Relaxation,
  limitMs: number,
  fixed: readonly SchedulePath[],
  learnt: readonly SchedulePath[],
  mostLabels: number | "sample",
): (Omit<Solved, "sharedMs"> & { readonly nearest: Suffix | null }) | null {
  const { shape, outer } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const paths = [...fixed, ...learnt];
  const step = criticalBound(schedule, stages, m, paths);
  const { relaxed } = relaxation;
  const rooms = paths.map((path, index) => {
    const dividing = index < fixed.length ? exactDividePath : dividePath;
    return { path, room: dividing(problem, relaxation, path, limitMs).room };
  });
  const orders = Array.from({ length: stages }, (_, stage) =>
    criticalTime(problem, relaxed, limitMs, stage, learnt, rooms),
  );
  const { divideWith, overgrown } = divider(
    problem,
    relaxation,
    limitMs,
    (stage) => orders[stage]!,
    mostLabels,
  );
  let best: Found | null = null;
  let nearest: Suffix | null = null;
  let lowerBoundMs = limitMs;
  for (const vocabulary of shape.vocabulary) {
    const within: number = best ? Math.min(limitMs, best.stepMs) : limitMs;
    const divisions = divideWith(vocabulary)(step, within);
    if (overgrown()) return null;
    const first = divisions[0];
    if (first && (!nearest || first.boundMs < nearest.boundMs)) nearest = first;
    lowerBoundMs = Math.min(lowerBoundMs, first?.boundMs ?? within);
    for (const suffix of divisions.slice(0, MOST_PRICED)) {
      if (best && suffix.boundMs >= best.stepMs * (1 - SAME)) break;
      const { stepMs } = pipelineTime(schedule, m, suffixWorks(suffix));
      if (!best || stepMs < best.stepMs * (1 - SAME)) best = { problem, stepMs, vocabulary, suffix };
    }
  }
  return { best, lowerBoundMs, nearest };
}

function solveByEveryTime(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  mostLabels: number | "sample",
): Omit<Solved, "sharedMs"> {
  const { shape, outer } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const order = (stage: number): StageOrder => everyTime(problem, stage);
  const { divideWith, overgrown } = divider(problem, relaxation, limitMs, order, mostLabels);
  let best: Found | null = null;
  let lowerBoundMs = limitMs;
  for (const vocabulary of shape.vocabulary) {
    const divideBy = divideWith(vocabulary);
    const paths: SchedulePath[] = [];
    for (;;) {
      const within: number = best ? Math.min(limitMs, best.stepMs * (1 - SAME)) : limitMs;
      const divisions = divideBy(scheduleBound(schedule, stages, m, paths), within);
      if (overgrown()) return { best, lowerBoundMs: relaxation?.relaxed.boundMs ?? 0, overgrown: true };
      for (const suffix of divisions) {
        if (best && suffix.boundMs >= best.stepMs * (1 - SAME)) break;
        const { stepMs } = pipelineTime(schedule, m, suffixWorks(suffix));
        if (stepMs <= limitMs && (!best || stepMs < best.stepMs * (1 - SAME)))
          best = { problem, stepMs, vocabulary, suffix };
      }
      const first = divisions[0];
      if (!first) break;
      if (best && first.boundMs >= best.stepMs * (1 - SAME)) break;
      if (paths.length >= MOST_PATHS) {
        lowerBoundMs = Math.min(lowerBoundMs, first.boundMs);
        break;
      }
      paths.push(criticalPath(schedule, m, suffixWorks(first)));
    }
  }
  return { best, lowerBoundMs: Math.min(lowerBoundMs, best ? best.stepMs : limitMs) };
}
