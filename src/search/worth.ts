import { inFlight } from "../cost/pipeline-time.js";
import { bytesOf, kindCounts, mostLead, passMs, peakedPrice, rankOf } from "./candidate-bound.js";
import type { Label } from "./label.js";
import { memoryPrice } from "./memory-price.js";
import type { RelaxedDivision } from "./relaxed-division.js";
import type { Addend, Choice, ShapeTable } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";
import type { Floors } from "./stage-floor.js";
import { aloneWeights, criticalWeights, PASS_WEIGHTS, type Weights, weighted } from "./stage-table.js";

/** Relative difference below which two step times are the same. */
export const SAME: number = 1e-12;

/** Running sums over the layers: entry i holds the first i. */
export function prefix(kinds: readonly string[], value: (kind: string) => number): Float64Array {
  const sums = new Float64Array(kinds.length + 1);
  for (const [index, kind] of kinds.entries()) sums[index + 1] = sums[index]! + value(kind);
  return sums;
}

/**
 * Least time of the layers still to come, at some price on memory: entry i of a row is for the layers after the first
 * i. Either they all stay in the layout of the layer before them, or at least one layout change is paid.
 */
interface Rest {
  readonly price: number;
  readonly stay: readonly Float64Array[];
  readonly any: Float64Array;
  /** Cheapest change away from a layout, both ways of a micro-batch. */
  readonly change: Float64Array;
}

function restOf(
  shape: ShapeTable,
  ahead: readonly string[],
  held: number,
  price: number,
  changeWeight: number,
  cost: (one: Addend) => number,
): Rest {
  const least = (list: readonly Addend[]): number =>
    leastValue(list, (one) => cost(one) + price * bytesOf(one, held));
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
      return 2 * changeWeight * low;
    }),
  };
}

/** Least time of layers `from` to `to`, behind a layer of that layout. */
function restBetween(rest: Rest, layout: number, from: number, to: number): number {
  const row = rest.stay[layout]!;
  const any = rest.any[to]! - rest.any[from]!;
  const stay = row[to]! - row[from]!;
  // A kind before may have no strategy in this layout: then sums are infinite, and their difference says nothing.
  if (Number.isNaN(stay)) return any;
  return Math.min(stay, any + rest.change[layout]!);
}

/** One stage: time so far, plus what the rest takes at the best price on memory, must stay within the limit. */
export function worthAlone(problem: Problem, limitMs: number): (label: Label, layers: number) => boolean {
  const { shape, outer, kinds, budgetBytes } = problem;
  const m = outer.microBatches;
  const held = inFlight(outer.schedule, 0, 1, m);
  const cost = (one: Addend): number => rankOf(one, m);
  const { msPerByte } = peakedPrice(shape, kindCounts(kinds), held, m, budgetBytes);
  const rests = [0, msPerByte].map((price) => {
    const rest = restOf(shape, kinds, held, price, m, cost);
    const ends = shape.vocabulary.reduce(
      (low, { embedding, head }) =>
        Math.min(
          low,
          cost(embedding) + cost(head) + price * (bytesOf(embedding, held) + bytesOf(head, held)),
        ),
      Number.POSITIVE_INFINITY,
    );
    return { ...rest, ends };
  });
  const slack = limitMs * (1 + SAME);
  const count = kinds.length;
  return (label, layers) =>
    rests.every(
      (rest) =>
        label.rankMs +
          rest.price * (label.peakBytes - budgetBytes) +
          restBetween(rest, label.last, layers, count) +
          rest.ends <=
        slack,
    );
}

/** Costs of a stage that the schedule bounds from above. */
export type StageCostName = "alone" | "pass" | "critical";

export type Worth = (label: Label, layers: number) => boolean;

/** What the rest of a division leaves to one stage, its layers' share: by cost and by length. */
export interface StageRoom {
  /** Lengths that it can have at all, ascending. */
  readonly lengths: readonly number[];
  readonly most: Readonly<Record<StageCostName, Float64Array>>;
  /** Bytes for its layers. */
  readonly bytes: number;
}

/** How the layers of a stage are priced by each of its costs. */
export function stageWeights(problem: Problem, stage: number): Readonly<Record<StageCostName, Weights>> {
  const { stages, microBatches: m, schedule } = problem.outer;
  return {
    alone: aloneWeights(m),
    pass: PASS_WEIGHTS,
    critical: criticalWeights(m, schedule === "gpipe" ? m : inFlight(schedule, stage, stages, m)),
  };
}

/**
 * A stage among others: with t its time for one micro-batch, r its time alone and c its critical time, the relaxed
 * division demands r ≤ limit, before + m t ≤ limit, before + t + through(behind) ≤ limit, busy(before) + t +
 * round(behind) ≤ limit and before + c + round(behind) ≤ limit, where t and c may be shorter by the lead.
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
  const ends: Addend[][] = [];
  if (stage === 0) ends.push(shape.vocabulary.map(({ embedding }) => embedding));
  if (stage === stages - 1) ends.push(shape.vocabulary.map(({ head }) => head));
  const endLeast = (value: (one: Addend) => number): number =>
    ends.reduce((sum, list) => sum + leastValue(list, value), 0);
  const weights = stageWeights(problem, stage);
  const endPass = endLeast(passMs);
  const endCritical = endLeast((one) => weighted(weights.critical, one));
  const none = (): Float64Array => new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const most = { alone: none(), pass: none(), critical: none() };
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
      const critical = schedule === "gpipe" ? Number.POSITIVE_INFINITY : slack - before - round;
      if (floor.passMs > alone || floor.ledMs > led || floor.criticalMs > critical) continue;
      const pass = Math.min(alone, led + lead);
      most.alone[l] = slack - endLeast((one) => weighted(weights.alone, one));
      most.pass[l] = Math.max(most.pass[l]!, pass - endPass);
      most.critical[l] = Math.max(most.critical[l]!, critical + lead - endCritical);
    }
  }
  const lengths: number[] = [];
  for (let l = 1; l <= count; l++) if (most.pass[l]! > 0) lengths.push(l);
  return { lengths, most, bytes: budgetBytes - endLeast((one) => bytesOf(one, held)) };
}

/** Whether a label can still grow to a length of the room within the given costs that it tells. */
export function worthInPipeline(
  problem: Problem,
  room: StageRoom,
  stage: number,
  ahead: readonly string[],
  values: ReadonlyMap<StageCostName, Weights>,
): Worth {
  const { shape, outer } = problem;
  const held = inFlight(outer.schedule, stage, outer.stages, outer.microBatches);
  const { lengths, bytes } = room;
  const looked = [...new Set([lengths[0], lengths[lengths.length >> 1], lengths.at(-1)])];
  const needs = [...values].map(([name, own]) => {
    const cost = (one: Addend): number => weighted(own, one);
    // Prices on memory that fit the lengths in question.
    const prices = new Set([0]);
    for (const length of looked) {
      if (length === undefined) continue;
      const parts = [...kindCounts(ahead.slice(0, length))].map(([kind, number]) => ({
        count: number,
        alternatives: shape.choices.get(kind)!.map((one) => ({ bytes: bytesOf(one, held), ms: cost(one) })),
      }));
      prices.add(memoryPrice(parts, bytes).msPerByte);
    }
    const change = (own.forward + own.backward) / 2;
    const rests = [...prices].map((price) => restOf(shape, ahead, held, price, change, cost));
    return { own, rests, most: room.most[name] };
  });
  return (label, layers) => {
    const over = label.peakBytes - bytes;
    if (over > 0) return false;
    next: for (const length of lengths) {
      if (length < layers) continue;
      for (const { own, rests, most } of needs) {
        const left = most[length]! - weighted(own, label);
        for (const rest of rests)
          if (rest.price * over + restBetween(rest, label.last, layers, length) > left) continue next;
      }
      return true;
    }
    return false;
  };
}

export function leastValue(list: readonly Addend[], value: (one: Addend) => number): number {
  return list.reduce((low, one) => Math.min(low, value(one)), Number.POSITIVE_INFINITY);
}
