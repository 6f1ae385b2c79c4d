import { inFlight } from "../cost/pipeline-time.js";
import { bytesOf, mostLead } from "./candidate-bound.js";
import { type Alternative, memoryPrice, type Part, priceHull } from "./memory-price.js";
import type { PeakClass } from "./peak-class.js";
import type { RelaxedDivision } from "./relaxed-division.js";
import { type ScalarFloor, scalarFloor } from "./scalar-floor.js";
import { type Addend, asFirst } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";
import { type Weights, weighted } from "./stage-table.js";
import {
  leadingEmbeddings,
  leastValue,
  type StageCostName,
  stageRoom,
  stageWeights,
  worthInPipeline,
} from "./worth.js";

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
  /** The stage for a whole step while one micro-batch is gone, what is behind it not counted. */
  readonly criticalMs: number;
  /** `ledMs`, paths that go round twice, and `criticalMs` with the reduction behind them: on the first stage, elsewhere 0. */
  readonly ledReducedMs: number;
  readonly tripsReducedMs: number;
  readonly criticalReducedMs: number;
}

/** Floors of stages by their place and number of layers. */
export type Floors = (stage: number, start: number, layers: number) => Floor;

const COSTS: readonly StageCostName[] = ["alone", "pass", "critical"];
const FIRST_COSTS: readonly StageCostName[] = [...COSTS, "passReduced", "criticalReduced", "tripsReduced"];

const NEAREST: readonly StageCostName[] = ["critical", "alone", "pass"];
const FIRST_NEAREST: readonly StageCostName[] = [
  "criticalReduced",
  "tripsReduced",
  "passReduced",
  ...NEAREST,
];

function byCost<T>(value: (name: StageCostName) => T): Record<StageCostName, T> {
  const [alone, pass, critical] = [value("alone"), value("pass"), value("critical")];
  const [passReduced, tripsReduced] = [value("passReduced"), value("tripsReduced")];
  return { alone, pass, critical, passReduced, tripsReduced, criticalReduced: value("criticalReduced") };
}

interface KindFloor {
  /** Of a stage's first layer. */
  readonly first: Hulls;
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly hulls: Hulls;
}

/** Floors by the number of micro-batches that a stage holds, and whether it is the first. */
interface HeldFloors {
  readonly embedding: EndFloor;
  readonly head: EndFloor;
  readonly byKind: readonly KindFloor[];
}

/** By classes of peaks. */
type Hulls = readonly Readonly<Record<StageCostName, readonly Alternative[]>>[];

/** Embedding or head, by its least terms, and as one part of a stage. */
interface EndFloor {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly costs: Readonly<Record<StageCostName, number>>;
  readonly hulls: Hulls;
}

type CostWeights = Readonly<Record<StageCostName, Weights>>;

function hullsOf(
  list: readonly Addend[],
  classes: readonly PeakClass[],
  held: number,
  weights: CostWeights,
): Hulls {
  return classes.map(({ capBytes }) => {
    const allowed = list.filter(({ peakBytes }) => peakBytes <= capBytes);
    return byCost((cost) =>
      priceHull(allowed.map((one) => ({ bytes: bytesOf(one, held), ms: weighted(weights[cost], one) }))),
    );
  });
}

function endFloor(
  list: readonly Addend[],
  classes: readonly PeakClass[],
  held: number,
  weights: CostWeights,
): EndFloor {
  return {
    forwardMs: leastValue(list, (one) => one.forwardMs),
    backwardMs: leastValue(list, (one) => one.backwardMs),
    costs: byCost((name) => leastValue(list, (one) => weighted(weights[name], one))),
    hulls: hullsOf(list, classes, held, weights),
  };
}

/** Least time of parts, whatever their memory: the last of a hull is its fastest. */
function leastMs(parts: readonly Part[]): number {
  let sum = 0;
  for (const { count, alternatives } of parts)
    sum += count * (alternatives.at(-1)?.ms ?? Number.POSITIVE_INFINITY);
  return sum;
}

/** Where whole-number floors are wanted: below a step time, where hulls leave room. */
export interface ExactWithin {
  readonly floors: Floors;
  readonly relaxed: RelaxedDivision;
  readonly limitMs: number;
}

/**
 * Floors of a sub-search: layers priced under the stage's own memory, embedding and head as if each
 * could choose. Layers are priced by the hull of their alternatives, or with `within` by the best
 * whole-number choice, infinite where no step within that limit has such a stage.
 *
 * @param classes the largest peaks of a stage, told apart or not
 */
export function stageFloors(
  problem: Problem,
  classes: readonly PeakClass[],
  within: ExactWithin | null,
): Floors {
  const { shape, outer, kinds, budgetBytes } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const kindNames = [...shape.choices.keys()];
  const counts = kindNames.map((name) => {
    const sums = new Int32Array(kinds.length + 1);
    for (let i = 0; i < kinds.length; i++) sums[i + 1] = sums[i]! + (kinds[i] === name ? 1 : 0);
    return sums;
  });
  const lead = mostLead(shape);
  const leadGain = [...shape.choices.values()].reduce((gain, list) => {
    const led = leastValue(list, (one) => one.backwardMs - one.leadMs);
    return Math.max(gain, leastValue(list, (one) => one.backwardMs) - led);
  }, 0);
  const byHeld = new Map<string, HeldFloors>();
  const heldFloors = (held: number, stage: number): HeldFloors => {
    const key = `${held} ${stage === 0}`;
    let floors = byHeld.get(key);
    if (!floors) {
      const weights = stageWeights(problem, stage);
      const end = (list: readonly Addend[]): EndFloor => endFloor(list, classes, held, weights);
      const embedding = end(leadingEmbeddings(shape));
      const head = end(shape.vocabulary.map((one) => one.head));
      const byKind = kindNames.map((name) => {
        const list = shape.choices.get(name)!;
        return {
          forwardMs: leastValue(list, (one) => one.forwardMs),
          backwardMs: leastValue(list, (one) => one.backwardMs),
          hulls: hullsOf(list, classes, held, weights),
          first: hullsOf(
            list.map((one) => asFirst(one, stage)),
            classes,
            held,
            weights,
          ),
        };
      });
      floors = { embedding, head, byKind };
      byHeld.set(key, floors);
    }
    return floors;
  };
  const width = kinds.length + 1;
  const oneKind = kindNames.length === 1;
  const exact = new Map<number, ReadonlyMap<StageCostName, ScalarFloor> | null>();
  const exactFloors = (stage: number, start: number): ReadonlyMap<StageCostName, ScalarFloor> | null => {
    const key = oneKind ? stage : stage * width + start;
    let found = exact.get(key);
    if (found === undefined) {
      found = within && exactStage(problem, within, stage, oneKind ? null : start);
      exact.set(key, found);
    }
    return found;
  };
  const made = new Map<number, Floor>();
  return (stage, start, layers) => {
    const held = inFlight(schedule, stage, stages, m);
    const isFirst = stage === 0;
    const isLast = stage === stages - 1;
    const end = (isFirst ? 1 : 0) + (isLast ? 2 : 0);
    const place = oneKind ? stage : stage * width + start;
    const key = (place * width + layers) * 4 + end;
    const known = made.get(key);
    if (known) return known;
    let forwardMs = 0;
    let backwardMs = 0;
    const { embedding, head, byKind } = heldFloors(held, stage);
    const names = isFirst ? FIRST_COSTS : COSTS;
    const parts = classes.map(() => byCost((): Part[] => []));
    for (const [index, floor] of byKind.entries()) {
      const sums = counts[index]!;
      const count = oneKind ? layers : sums[start + layers]! - sums[start]!;
      if (count === 0) continue;
      forwardMs += count * floor.forwardMs;
      backwardMs += count * floor.backwardMs;
      const firsts = kindNames[index] === kinds[start] ? 1 : 0;
      for (const [at, own] of parts.entries())
        for (const name of names) {
          if (firsts > 0) own[name].push({ count: firsts, alternatives: floor.first[at]![name] });
          if (count > firsts) own[name].push({ count: count - firsts, alternatives: floor.hulls[at]![name] });
        }
    }
    const ends = byCost(() => 0);
    for (const part of [...(isFirst ? [embedding] : []), ...(isLast ? [head] : [])]) {
      forwardMs += part.forwardMs;
      backwardMs += part.backwardMs;
      for (const name of names) ends[name] += part.costs[name];
      for (const [at, own] of parts.entries())
        for (const name of names) own[name].push({ count: 1, alternatives: part.hulls[at]![name] });
    }
    const priced = (name: StageCostName): number => {
      // From the highest peak down: where memory is no matter, the others are no faster.
      let boundMs = Number.POSITIVE_INFINITY;
      for (let at = classes.length - 1; at >= 0; at--) {
        const own = parts[at]![name];
        if (leastMs(own) >= boundMs) continue;
        boundMs = Math.min(boundMs, memoryPrice(own, budgetBytes - classes[at]!.floorBytes).boundMs);
      }
      return boundMs;
    };
    let passMs = priced("pass");
    let rankMs = priced("alone");
    let criticalMs = priced("critical") - (isLast ? 0 : lead);
    let ledMs = isLast ? passMs : Math.max(passMs - lead, forwardMs + backwardMs - leadGain);
    let ledReducedMs = isFirst ? priced("passReduced") - lead : 0;
    let tripsReducedMs = isFirst ? priced("tripsReduced") - 2 * lead : 0;
    let criticalReducedMs = isFirst ? priced("criticalReduced") - lead : 0;
    if (within) {
      const own = exactFloors(stage, start);
      const led = isLast ? "cost" : "led";
      const floorOf = (name: StageCostName, which: keyof ScalarFloor): number =>
        own ? own.get(name)![which][layers]! + ends[name] : Number.POSITIVE_INFINITY;
      passMs = Math.max(passMs, floorOf("pass", "cost"));
      ledMs = Math.max(ledMs, floorOf("pass", led));
      rankMs = Math.max(rankMs, floorOf("alone", "cost"));
      criticalMs = Math.max(criticalMs, floorOf("critical", led));
      if (isFirst) {
        ledReducedMs = Math.max(ledReducedMs, floorOf("passReduced", led));
        tripsReducedMs = Math.max(tripsReducedMs, floorOf("tripsReduced", "cost") - 2 * lead);
        criticalReducedMs = Math.max(criticalReducedMs, floorOf("criticalReduced", led));
      }
    }
    const reduced = { ledReducedMs, tripsReducedMs, criticalReducedMs };
    const result = { forwardMs, backwardMs, passMs, ledMs, rankMs, criticalMs, ...reduced };
    made.set(key, result);
    return result;
  };
}

/** Whole-number floors of one stage from a layer on, or of all its starts where layers are of one kind. */
function exactStage(
  problem: Problem,
  { floors, relaxed, limitMs }: ExactWithin,
  stage: number,
  start: number | null,
): ReadonlyMap<StageCostName, ScalarFloor> | null {
  const { shape, outer, kinds } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const from = start ?? stage;
  const kindsAhead = kinds.slice(from, kinds.length - (stages - 1 - stage));
  const starts = start === null ? kindsAhead.map((_, index) => stage + index) : [start];
  const room = stageRoom(problem, relaxed, floors, stage, starts, kindsAhead.length, limitMs);
  const longest = room.lengths.at(-1);
  if (longest === undefined) return null;
  let ahead = kindsAhead.slice(0, longest);
  const weights = stageWeights(problem, stage);
  const whole = (list: Float64Array): Float64Array => {
    const result = new Float64Array(kinds.length + 1).fill(Number.POSITIVE_INFINITY);
    result.set(list);
    return result;
  };
  const found = new Map<StageCostName, ScalarFloor>();
  // The nearest first: a length that one of them rules out needs no other.
  for (const name of stage === 0 ? FIRST_NEAREST : NEAREST) {
    const { cost, led } = scalarFloor(shape, {
      stage,
      kinds: ahead,
      held: inFlight(schedule, stage, stages, m),
      budgetBytes: room.bytes,
      weights: weights[name],
      worth: worthInPipeline(problem, room, stage, ahead, new Map([[name, weights[name]]])),
    });
    const most = room.lengths.filter((length) => cost[length]! < Number.POSITIVE_INFINITY).at(-1);
    if (most === undefined) return null;
    found.set(name, { cost: whole(cost), led: whole(led) });
    ahead = ahead.slice(0, most);
  }
  return found;
}
