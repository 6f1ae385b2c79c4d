import { inFlight } from "../cost/pipeline-time.js";
import { bytesOf, kindCounts, mostLead } from "./candidate-bound.js";
import type { Label } from "./label.js";
import { type Alternative, memoryPrice, type Part } from "./memory-price.js";
import { peakClasses } from "./peak-class.js";
import type { RelaxedDivision } from "./relaxed-division.js";
import { type Addend, asFirst, type Choice, type ShapeTable } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";
import type { Floors } from "./stage-floor.js";
import { aloneWeights, criticalWeights, PASS_WEIGHTS, type Weights, weighted } from "./stage-table.js";

/** Relative difference below which two step times are the same. */
export const SAME: number = 1e-12;

/** Bytes by which sums in another order may differ. */
const ROUNDING = 1;

/** Running sums over the layers: entry i holds the first i. */
export function prefix(kinds: readonly string[], value: (kind: string) => number): Float64Array {
  const sums = new Float64Array(kinds.length + 1);
  for (const [index, kind] of kinds.entries()) sums[index + 1] = sums[index]! + value(kind);
  return sums;
}

/**
 * Least cost of the layers still to come and of the stage's ends, at some price on memory: entry i of a row is for the
 * layers after the first i. Either they all stay in the layout of the layer before them, or at least one layout change
 * is paid.
 */
interface Rest {
  readonly price: number;
  readonly stay: readonly Float64Array[];
  readonly any: Float64Array;
  /** Cheapest change away from a layout, both ways of a micro-batch. */
  readonly change: Float64Array;
  readonly ends: number;
}

/** What a stage is made of, as far as its bounds go. */
interface StageParts {
  readonly shape: ShapeTable;
  readonly stage: number;
  /** Kinds from the stage's first layer on. */
  readonly ahead: readonly string[];
  readonly held: number;
  /** Alternatives of the embedding and of the head, where the stage has them. */
  readonly ends: readonly (readonly Addend[])[];
}

function restOf(
  { shape, ahead, held, ends }: StageParts,
  capBytes: number,
  price: number,
  changeWeight: number,
  cost: (one: Addend) => number,
): Rest {
  const least = (list: readonly Addend[]): number =>
    leastValue(list, (one) =>
      one.peakBytes > capBytes ? Number.POSITIVE_INFINITY : cost(one) + price * bytesOf(one, held),
    );
  const rows = (pick: (kind: string) => number): Float64Array => prefix(ahead, pick);
  const cached = (filter: (one: Choice) => boolean): ((kind: string) => number) => {
    const byKind = new Map([...shape.choices].map(([kind, list]) => [kind, least(list.filter(filter))]));
    return (kind) => byKind.get(kind)!;
  };
  return {
    price,
    stay: shape.layouts.map((_, layout) => rows(cached((one) => one.layout === layout))),
    any: rows(cached(() => true)),
    change: Float64Array.from(shape.layouts, (_, from) => {
      let low = Number.POSITIVE_INFINITY;
      for (const table of shape.relayouts.values())
        for (const [to, ms] of table[from]!.entries()) if (to !== from) low = Math.min(low, ms);
      return changeWeight * low;
    }),
    ends: ends.reduce((sum, list) => sum + least(list), 0),
  };
}

/** Least cost of layers `from` to `to`, behind a layer of that layout. */
function restBetween(rest: Rest, layout: number, from: number, to: number): number {
  const row = rest.stay[layout]!;
  const any = rest.any[to]! - rest.any[from]!;
  const stay = row[to]! - row[from]!;
  // A kind before may have no strategy in this layout: then sums are infinite, and their difference says nothing.
  if (Number.isNaN(stay)) return Number.isNaN(any) ? 0 : any;
  return Math.min(stay, any + rest.change[layout]!);
}

/**
 * Costs of a stage that the schedule bounds from above. What is reduced counts the stage's reduction too: on the first
 * stage, which comes back last, nothing hides it.
 */
export type StageCostName =
  | "alone"
  | "pass"
  | "critical"
  | "passReduced"
  | "tripsReduced"
  | "criticalReduced";

export type Worth = (label: Label, layers: number) => boolean;

/** What the rest of a division leaves to one stage, embedding and head included: by cost and by length. */
export interface StageRoom {
  /** Lengths that it can have at all, ascending. */
  readonly lengths: readonly number[];
  readonly most: Readonly<Record<StageCostName, Float64Array>>;
  /** Bytes for its layers, whatever its ends. */
  readonly bytes: number;
}

/** How the layers of a stage are priced by each of its costs. */
export function stageWeights(problem: Problem, stage: number): Readonly<Record<StageCostName, Weights>> {
  const { stages, microBatches: m, schedule } = problem.outer;
  const held = inFlight(schedule, stage, stages, m);
  const critical = criticalWeights(m, schedule === "gpipe" ? 1 : held);
  const turns = Math.max(1, m - held + 1);
  return {
    alone: aloneWeights(m),
    pass: PASS_WEIGHTS,
    critical,
    passReduced: { ...PASS_WEIGHTS, reduce: 1 },
    tripsReduced: { forward: turns, backward: turns, reduce: 1, after: 0 },
    criticalReduced: { ...critical, reduce: 1 },
  };
}

/**
 * A stage among others: with t its time for one micro-batch, r its time alone and c its critical time, the relaxed
 * division demands r ≤ limit, before + m t ≤ limit, before + t + through(behind) ≤ limit, busy(before) + t +
 * round(behind) ≤ limit, before + c + round(behind) ≤ limit and, with w micro-batches in flight, before + (m − w + 1) t +
 * 2 round(behind) ≤ limit, where t and c may be shorter by the lead whenever the path comes back. The first
 * stage's reduction comes on top of each.
 */
export function stageRoom(
  problem: Problem,
  relaxed: RelaxedDivision,
  floors: Floors,
  stage: number,
  starts: readonly number[],
  count: number,
  limitMs: number,
): StageRoom {
  const { shape, outer, budgetBytes, kinds, even } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const held = inFlight(schedule, stage, stages, m);
  const width = kinds.length + 1;
  const slack = limitMs * (1 + SAME);
  const none = (): Float64Array => new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const most = {
    alone: none(),
    pass: none(),
    critical: none(),
    passReduced: none(),
    tripsReduced: none(),
    criticalReduced: none(),
  };
  const last = stage === stages - 1;
  const lead = last ? 0 : mostLead(shape);
  for (const start of starts) {
    const here = stage * width + start;
    const before = relaxed.beforeMs[here]!;
    const busy = relaxed.busyMs[here]!;
    if (relaxed.fullestMs[here]! > slack) continue;
    for (let l = 1; l <= count && start + l <= kinds.length; l++) {
      if (even !== 0 && l !== even) continue;
      const behind = (stage + 1) * width + start + l;
      const link = relaxed.linkMs[start + l]!;
      const through = relaxed.throughMs[behind]! + link;
      const round = relaxed.roundMs[behind]! + link;
      if (through === Number.POSITIVE_INFINITY) continue;
      const floor = floors(stage, start, l);
      if (floor.rankMs > slack) continue;
      const alone = (slack - before) / m;
      let led = Math.min(slack - before - through, slack - busy - round);
      if (schedule === "gpipe") led = Math.min(led, (slack - before - round) / m);
      let pass = Math.min(alone, led + lead);
      if (m > held) pass = Math.min(pass, (slack - before - 2 * (round - lead)) / (m - held + 1));
      const critical = slack - before - round;
      if (floor.passMs > alone || floor.ledMs > led || floor.criticalMs > critical) continue;
      if (floor.ledReducedMs > slack - through || floor.criticalReducedMs > slack - round) continue;
      most.alone[l] = slack;
      most.pass[l] = Math.max(most.pass[l]!, pass);
      most.critical[l] = Math.max(most.critical[l]!, critical + lead);
      const trips = m > held ? slack - 2 * (round - lead) : slack - through + lead;
      most.tripsReduced[l] = Math.max(most.tripsReduced[l]!, trips);
      most.passReduced[l] = Math.max(most.passReduced[l]!, slack - through + lead);
      most.criticalReduced[l] = Math.max(most.criticalReduced[l]!, slack - round + lead);
    }
  }
  const lengths: number[] = [];
  for (let l = 1; l <= count; l++) if (most.pass[l]! > 0) lengths.push(l);
  const endBytes = stageEnds(shape, stage, stages).reduce(
    (sum, list) => sum + leastValue(list, (one) => bytesOf(one, held)),
    0,
  );
  return { lengths, most, bytes: budgetBytes - endBytes };
}

/** Alternatives of the embedding and of the head, where a stage has them. */
export function stageEnds(shape: ShapeTable, stage: number, stages: number): Addend[][] {
  const ends: Addend[][] = [];
  if (stage === 0) ends.push(leadingEmbeddings(shape));
  if (stage === stages - 1) ends.push(shape.vocabulary.map(({ head }) => head));
  return ends;
}

/** Embeddings as the model's first part. */
export function leadingEmbeddings(shape: ShapeTable): Addend[] {
  return shape.vocabulary.map(({ embedding }) => asFirst(embedding, 0));
}

/** One stage alone, whose step must stay within the limit. */
export function worthAlone(problem: Problem, limitMs: number): Worth {
  const count = problem.kinds.length;
  const most = new Float64Array(count + 1).fill(limitMs * (1 + SAME));
  const values = new Map([["alone" as const, aloneWeights(problem.outer.microBatches)]]);
  const room = { lengths: [count], most: { alone: most }, bytes: 0 };
  return worthInPipeline(problem, room, 0, problem.kinds, values);
}

/**
 * Whether a label can still grow to a length of the room within the given costs that it tells: there must be a peak,
 * not below its own, under which each cost, at every price on memory, leaves enough for the rest.
 */
export function worthInPipeline(
  problem: Problem,
  room: Pick<StageRoom, "lengths"> & { readonly most: Readonly<Record<string, Float64Array>> },
  stage: number,
  ahead: readonly string[],
  values: ReadonlyMap<string, Weights>,
): Worth {
  const { shape, outer, budgetBytes } = problem;
  const held = inFlight(outer.schedule, stage, outer.stages, outer.microBatches);
  const parts = { shape, stage, ahead, held, ends: stageEnds(shape, stage, outer.stages) };
  const { lengths } = room;
  const cases = peakClasses(shape).flatMap(({ floorBytes, capBytes }) => {
    const leanest = restOf(parts, capBytes, 1, 0, () => 0);
    const fitting: number[] = [];
    const prices = [...values].map(() => new Set([0]));
    for (const length of lengths) {
      const hulls = [...values].map(([name, own]) => {
        const cost = (one: Addend): number => weighted(own, one);
        const price = memoryPrice(pricedStage(parts, length, capBytes, cost), budgetBytes - floorBytes);
        return { ...price, most: room.most[name]![length]! };
      });
      if (hulls.some(({ boundMs, most }) => boundMs > most)) continue;
      fitting.push(length);
      for (const [index, { msPerByte }] of hulls.entries())
        if (prices[index]!.size < 3) prices[index]!.add(msPerByte);
    }
    if (fitting.length === 0) return [];
    const needs = [...values].map(([name, own], index) => {
      const cost = (one: Addend): number => weighted(own, one);
      const rests = [...prices[index]!].map((price) =>
        restOf(parts, capBytes, price, own.forward + own.backward, cost),
      );
      return { own, rests, most: room.most[name]! };
    });
    return [{ floorBytes, capBytes, lengths: fitting, leanest, needs }];
  });
  return (label, layers) => {
    const peak = label.peakBytes - label.sumBytes;
    for (const { floorBytes, capBytes, lengths: fitting, leanest, needs } of cases) {
      if (peak > capBytes + ROUNDING) continue;
      const over = label.sumBytes + Math.max(peak, floorBytes) - budgetBytes;
      next: for (const length of fitting) {
        if (length < layers) continue;
        if (over + leanest.ends + restBetween(leanest, label.last, layers, length) > ROUNDING) continue;
        for (const { own, rests, most } of needs) {
          const left = most[length]! - weighted(own, label);
          for (const rest of rests)
            if (rest.price * over + rest.ends + restBetween(rest, label.last, layers, length) > left)
              continue next;
        }
        return true;
      }
    }
    return false;
  };
}

/** A stage of some length as parts of a choice under one budget, of strategies with no peak above a cap. */
export function pricedStage(
  { shape, stage, ahead, held, ends }: StageParts,
  length: number,
  capBytes: number,
  cost: (one: Addend) => number,
): Part[] {
  const alternatives = (list: readonly Addend[]): Alternative[] =>
    list
      .filter(({ peakBytes }) => peakBytes <= capBytes)
      .map((one) => ({ bytes: bytesOf(one, held), ms: cost(one) }));
  const first = shape.choices.get(ahead[0]!)!.map((one) => asFirst(one, stage));
  return [
    { count: 1, alternatives: alternatives(first) },
    ...[...kindCounts(ahead.slice(1, length))].map(([kind, count]) => ({
      count,
      alternatives: alternatives(shape.choices.get(kind)!),
    })),
    ...ends.map((list) => ({ count: 1, alternatives: alternatives(list) })),
  ];
}

export function leastValue(list: readonly Addend[], value: (one: Addend) => number): number {
  return list.reduce((low, one) => Math.min(low, value(one)), Number.POSITIVE_INFINITY);
}
