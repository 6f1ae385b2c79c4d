import { inFlight } from "../cost/pipeline-time.js";
import { bytesOf, mostLead, passMs as passOf, rankOf } from "./candidate-bound.js";
import { type Alternative, memoryPrice, type Part, priceHull } from "./memory-price.js";
import { scalarFloor } from "./scalar-floor.js";
import type { Addend } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";

/** What no way to fill a stage with some layers can go below. */
export interface Floor {
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Forward and backward together, within the budget. */
  readonly passMs: number;
  /** The same for a micro-batch whose gradient finds the last layer's recompute done. */
  readonly ledMs: number;
  /** The stage alone for a whole step, within the budget. */
  readonly rankMs: number;
}

/** Floors of stages by their place and number of layers. */
export type Floors = (stage: number, start: number, layers: number) => Floor;

interface KindFloor {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly pass: readonly Alternative[];
  readonly rank: readonly Alternative[];
}

const least = (list: readonly Addend[], value: (one: Addend) => number): number =>
  list.reduce((low, one) => Math.min(low, value(one)), Number.POSITIVE_INFINITY);

/** Least of each term over a list: no entry is below it in any. */
export interface LeastAddend {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly passMs: number;
  readonly rankMs: number;
  readonly bytes: (held: number) => number;
}

function leastAddend(list: readonly Addend[], m: number): LeastAddend {
  const state = least(list, (one) => one.stateBytes);
  const activation = least(list, (one) => one.activationBytes);
  return {
    forwardMs: least(list, (one) => one.forwardMs),
    backwardMs: least(list, (one) => one.backwardMs),
    passMs: least(list, passOf),
    rankMs: least(list, (one) => rankOf(one, m)),
    bytes: (held) => state + held * activation,
  };
}

/**
 * Floors of a sub-search: layers priced under the stage's own memory, embedding and head by their least terms over
 * all vocabulary choices. Layers are priced by the hull of their alternatives, or with `exactWithinMs` by the best
 * whole-number choice, as far as a stage's step time stays within that.
 */
export function stageFloors(problem: Problem, exactWithinMs: number | null): Floors {
  const { shape, outer, kinds, budgetBytes } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const names = [...shape.choices.keys()];
  const embedding = leastAddend(
    shape.vocabulary.map((one) => one.embedding),
    m,
  );
  const head = leastAddend(
    shape.vocabulary.map((one) => one.head),
    m,
  );
  const counts = names.map((name) => {
    const sums = new Int32Array(kinds.length + 1);
    for (let i = 0; i < kinds.length; i++) sums[i + 1] = sums[i]! + (kinds[i] === name ? 1 : 0);
    return sums;
  });
  let leastPeak = Number.POSITIVE_INFINITY;
  for (const list of shape.choices.values())
    leastPeak = Math.min(
      leastPeak,
      least(list, (one) => one.peakBytes),
    );
  const byHeld = new Map<number, readonly KindFloor[]>();
  const kindFloors = (held: number): readonly KindFloor[] => {
    let floors = byHeld.get(held);
    if (!floors) {
      floors = names.map((name) => {
        const list = shape.choices.get(name)!;
        const hull = (cost: (one: Addend) => number): Alternative[] =>
          priceHull(list.map((one) => ({ bytes: bytesOf(one, held), ms: cost(one) })));
        return {
          forwardMs: least(list, (one) => one.forwardMs),
          backwardMs: least(list, (one) => one.backwardMs),
          pass: hull(passOf),
          rank: hull((one) => rankOf(one, m)),
        };
      });
      byHeld.set(held, floors);
    }
    return floors;
  };
  const lead = mostLead(shape);
  const leadGain = [...shape.choices.values()].reduce((gain, list) => {
    const led = least(list, (one) => one.backwardMs - one.leadMs);
    return Math.max(gain, least(list, (one) => one.backwardMs) - led);
  }, 0);
  // Exact floors by held micro-batches, ends and kinds ahead.
  const exact = new Map<string, { readonly pass: Float64Array; readonly rank: Float64Array }>();
  const exactFloor = (
    stage: number,
    start: number,
    held: number,
    budget: number,
    limitMs: number,
  ): { readonly pass: Float64Array; readonly rank: Float64Array } => {
    const key = `${held} ${budget} ${oneKind ? "" : `${stage} ${start}`}`;
    let found = exact.get(key);
    if (!found) {
      const ahead = kinds.slice(oneKind ? 0 : start, kinds.length - (stages - 1 - (oneKind ? 0 : stage)));
      found = {
        pass: scalarFloor(shape, ahead, held, m, budget, limitMs / m, "pass"),
        rank: scalarFloor(shape, ahead, held, m, budget, limitMs, "rank"),
      };
      exact.set(key, found);
    }
    return found;
  };
  const width = kinds.length + 1;
  const oneKind = names.length === 1;
  const made = new Map<number, Floor>();
  return (stage, start, layers) => {
    const held = inFlight(schedule, stage, stages, m);
    const isFirst = stage === 0;
    const isLast = stage === stages - 1;
    const end = (isFirst ? 1 : 0) + (isLast ? 2 : 0);
    const place = oneKind ? held : stage * width + start;
    const key = (place * width + layers) * 4 + end;
    const known = made.get(key);
    if (known) return known;
    let forwardMs = 0;
    let backwardMs = 0;
    let budget = budgetBytes - leastPeak;
    const pass: Part[] = [];
    const rank: Part[] = [];
    for (const [index, floor] of kindFloors(held).entries()) {
      const sums = counts[index]!;
      const count = oneKind ? layers : sums[start + layers]! - sums[start]!;
      if (count === 0) continue;
      forwardMs += count * floor.forwardMs;
      backwardMs += count * floor.backwardMs;
      pass.push({ count, alternatives: floor.pass });
      rank.push({ count, alternatives: floor.rank });
    }
    let endPass = 0;
    let endRank = 0;
    for (const part of [...(isFirst ? [embedding] : []), ...(isLast ? [head] : [])]) {
      forwardMs += part.forwardMs;
      backwardMs += part.backwardMs;
      endPass += part.passMs;
      endRank += part.rankMs;
      budget -= part.bytes(held);
    }
    let passMs = memoryPrice(pass, budget).boundMs + endPass;
    let rankMs = memoryPrice(rank, budget).boundMs + endRank;
    if (exactWithinMs !== null && rankMs <= exactWithinMs) {
      const { pass: passes, rank: ranks } = exactFloor(stage, start, held, budget + leastPeak, exactWithinMs);
      passMs = Math.max(passMs, passes[layers]! + endPass);
      rankMs = Math.max(rankMs, ranks[layers]! + endRank);
    }
    const result = {
      forwardMs,
      backwardMs,
      passMs,
      ledMs: isLast ? passMs : Math.max(passMs - lead, forwardMs + backwardMs - leadGain),
      rankMs,
    };
    made.set(key, result);
    return result;
  };
}
