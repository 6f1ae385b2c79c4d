import { inFlight } from "../cost/pipeline-time.js";
import { mostLead } from "./candidate-bound.js";
import { memoryPrice } from "./memory-price.js";
import { peakClasses } from "./peak-class.js";
import { pathWeights, type SchedulePath } from "./schedule-bound.js";
import type { Addend } from "./shape-table.js";
import type { Problem, Relaxation } from "./solve-candidate.js";
import { weighted } from "./stage-table.js";
import { pricedStage, SAME, stageEnds } from "./worth.js";

/** What a path leaves to a stage, by its number of layers, whatever it is filled with and wherever it starts. */
export type PathRoom = (stage: number, starts: readonly number[], count: number) => Float64Array;

/**
 * A path that was learnt adds up over all stages, so that what the others cost at least is not left to a stage. Floors
 * are Lagrangian, as those of hulls; only divisions that the relaxation allows within the limit count.
 */
export function pathRoom(
  problem: Problem,
  relaxation: Relaxation,
  path: SchedulePath,
  limitMs: number,
): PathRoom {
  const { kinds, outer } = problem;
  const { stages } = outer;
  const { relaxed, floors } = relaxation;
  const layers = kinds.length;
  const width = layers + 1;
  const slack = limitMs * (1 + SAME);
  const lead = mostLead(problem.shape);
  const floorOf = pathFloors(problem, path);
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
  return (stage, starts, count) => {
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
}

/** Least that a stage adds to a path. */
function pathFloors(
  problem: Problem,
  path: SchedulePath,
): (stage: number, start: number, count: number) => number {
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
      const parts = { shape, ahead, held, ends: stageEnds(shape, stage, outer.stages) };
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
