import { inFlight } from "../cost/pipeline-time.js";
import { bytesOf, mostLead } from "./candidate-bound.js";
import { memoryPrice } from "./memory-price.js";
import { peakClasses } from "./peak-class.js";
import { scalarFloor } from "./scalar-floor.js";
import { pathWeights, type SchedulePath, sharedPath } from "./schedule-bound.js";
import type { Addend } from "./shape-table.js";
import type { Problem, Relaxation } from "./solve-candidate.js";
import { weighted } from "./stage-table.js";
import { leastValue, pricedStage, SAME, stageEnds, worthInPipeline } from "./worth.js";

/** What a path leaves to a stage, by its number of layers, whatever it is filled with and wherever it starts. */
export type PathRoom = (stage: number, starts: readonly number[], count: number) => Float64Array;

/** What a path says of the divisions within a limit. */
export interface PathDivision {
  /** Least that the path adds up to in a plan within the limit, the norm not counted. */
  readonly leastMs: number;
  readonly room: PathRoom;
}

/**
 * A path that was learnt adds up over all stages, so that what the others cost at least is not left to a stage. Floors
 * are Lagrangian, as those of hulls; only divisions that the relaxation allows within the limit count.
 */
export function dividePath(
  problem: Problem,
  relaxation: Relaxation,
  path: SchedulePath,
  limitMs: number,
  floorOf: PathFloors = hullFloors(problem, path),
): PathDivision {
  const { kinds, outer } = problem;
  const { stages } = outer;
  const { relaxed, floors } = relaxation;
  const layers = kinds.length;
  const width = layers + 1;
  const slack = limitMs * (1 + SAME);
  const lead = mostLead(problem.shape);
  const fits = (stage: number, start: number, count: number): boolean => {
    const here = stage * width + start;
    const next = here + width + count;
    const link = relaxed.linkMs[start + count]!;
    if (relaxed.fullestMs[here]! > slack || relaxed.throughMs[next] === Number.POSITIVE_INFINITY)
      return false;
    const { ledMs, criticalMs, rankMs } = floors(stage, start, count);
    const before = relaxed.beforeMs[here]! + link;
    return (
      rankMs <= slack &&
      before + ledMs + relaxed.throughMs[next]! <= slack &&
      before + criticalMs + relaxed.roundMs[next]! <= slack
    );
  };
  const filled = (): Float64Array => new Float64Array((stages + 1) * width).fill(Number.POSITIVE_INFINITY);
  const before = filled();
  const behind = filled();
  before[0] = 0;
  behind[stages * width + layers] = 0;
  const costs = new Map<number, number>();
  for (let stage = 0; stage < stages; stage++)
    for (let start = stage; start <= layers - (stages - stage); start++) {
      const here = stage * width + start;
      if (before[here] === Number.POSITIVE_INFINITY) continue;
      for (let count = 1; start + count <= layers; count++) {
        if (!fits(stage, start, count)) continue;
        const often = Math.min(path.sends[stage]!, path.gradients[stage]!);
        const cost = floorOf(stage, start, count) + often * relaxed.linkMs[start + count]!;
        costs.set(here * width + count, cost);
        const next = here + width + count;
        before[next] = Math.min(before[next]!, before[here]! + cost);
      }
    }
  for (let stage = stages - 1; stage >= 0; stage--)
    for (let start = stage; start < layers; start++) {
      const here = stage * width + start;
      for (let count = 1; start + count <= layers; count++) {
        const cost = costs.get(here * width + count) ?? Number.POSITIVE_INFINITY;
        behind[here] = Math.min(behind[here]!, cost + behind[here + width + count]!);
      }
    }
  const room: PathRoom = (stage, starts, count) => {
    const most = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
    for (const start of starts)
      for (let l = 1; l <= count && start + l <= layers; l++) {
        const here = stage * width + start;
        if (!costs.has(here * width + l)) continue;
        const room = slack - before[here]! - behind[here + width + l]! + path.leads[stage]! * lead;
        most[l] = Math.max(most[l]!, room);
      }
    return most;
  };
  return { leastMs: before[stages * width + layers]!, room };
}

/** Least that a stage adds to a path. */
type PathFloors = (stage: number, start: number, count: number) => number;

function hullFloors(problem: Problem, path: SchedulePath): PathFloors {
  const { shape, outer, kinds, budgetBytes } = problem;
  const lead = mostLead(shape);
  const known = new Map<string, number>();
  return (stage, start, count) => {
    const key = `${stage} ${shape.choices.size === 1 ? 0 : start} ${count}`;
    let floor = known.get(key);
    if (floor === undefined) {
      const weights = pathWeights(path, stage);
      const cost = (one: Addend): number => weighted(weights, one);
      const held = inFlight(outer.schedule, stage, outer.stages, outer.microBatches);
      const ahead = kinds.slice(start, start + count);
      const parts = { shape, stage, ahead, held, ends: stageEnds(shape, stage, outer.stages) };
      floor = Number.POSITIVE_INFINITY;
      for (const { floorBytes, capBytes } of peakClasses(shape)) {
        const priced = memoryPrice(pricedStage(parts, count, capBytes, cost), budgetBytes - floorBytes);
        floor = Math.min(floor, priced.boundMs - path.leads[stage]! * lead);
      }
      known.set(key, floor);
    }
    return floor;
  };
}

/** Steps by which shares are moved, each half as long as the one before. */
const FIRST_STEP = 0.5;
const LAST_STEP = 1 / 64;

/**
 * {@link sharedPath} by the shares under which it says most of the plans within a limit. What it says of a division is
 * concave in the shares, so they are moved towards one stage or another as long as that helps.
 */
export function bestSharedPath(problem: Problem, relaxation: Relaxation, limitMs: number): SchedulePath {
  const { schedule, stages, microBatches } = problem.outer;
  const valued = (shares: readonly number[]) => {
    const path = sharedPath(schedule, microBatches, shares);
    return { shares, path, leastMs: dividePath(problem, relaxation, path, limitMs).leastMs };
  };
  let best = valued(new Array<number>(stages).fill(1 / stages));
  for (let step = FIRST_STEP; step >= LAST_STEP; step /= 2) {
    const { shares } = best;
    for (let stage = 0; stage < stages; stage++) {
      const moved = shares.map((share, at) => (1 - step) * share + (at === stage ? step : 0));
      const other = valued(moved);
      if (other.leastMs > best.leastMs) best = other;
    }
  }
  return best.path;
}

/** {@link dividePath} by whole numbers of layers, layout changes counted, for a path that comes back once to every stage. */
export function exactDividePath(
  problem: Problem,
  relaxation: Relaxation,
  path: SchedulePath,
  limitMs: number,
): PathDivision {
  const { shape, outer, kinds, budgetBytes } = problem;
  const { stages } = outer;
  const hulls = hullFloors(problem, path);
  const { room } = dividePath(problem, relaxation, path, limitMs, hulls);
  const oneKind = shape.choices.size === 1;
  const known = new Map<string, Float64Array>();
  const exactFloors = (stage: number, start: number): Float64Array => {
    const from = oneKind ? stage : start;
    let floors = known.get(`${stage} ${from}`);
    if (!floors) {
      const ahead = kinds.slice(from, kinds.length - (stages - 1 - stage));
      const starts = oneKind ? ahead.map((_, index) => stage + index) : [start];
      const most = room(stage, starts, ahead.length);
      const lengths = [...most.keys()].filter((length) => most[length]! > Number.NEGATIVE_INFINITY);
      const held = inFlight(outer.schedule, stage, stages, outer.microBatches);
      const ends = stageEnds(shape, stage, stages);
      const weights = pathWeights(path, stage);
      const endMs = ends.reduce((sum, list) => sum + leastValue(list, (one) => weighted(weights, one)), 0);
      const endBytes = ends.reduce((sum, list) => sum + leastValue(list, (one) => bytesOf(one, held)), 0);
      const reached = ahead.slice(0, lengths.at(-1) ?? 0);
      const worth = worthInPipeline(
        problem,
        { lengths, most: { path: most } },
        stage,
        reached,
        new Map([["path", weights]]),
      );
      const { cost, led } = scalarFloor(shape, {
        stage,
        kinds: reached,
        held,
        budgetBytes: budgetBytes - endBytes,
        weights,
        worth,
      });
      floors = (path.leads[stage]! > 0 ? led : cost).map((ms) => ms + endMs);
      known.set(`${stage} ${from}`, floors);
    }
    return floors;
  };
  return dividePath(problem, relaxation, path, limitMs, (stage, start, count) =>
    Math.max(hulls(stage, start, count), exactFloors(stage, start)[count] ?? Number.POSITIVE_INFINITY),
  );
}
