import { inFlight } from "../cost/pipeline-time.js";
import { bytesOf, kindCounts, mostLead, passMs, peakedPrice, rankOf } from "./candidate-bound.js";
import type { Label } from "./label.js";
import { memoryPrice } from "./memory-price.js";
import type { RelaxedDivision } from "./relaxed-division.js";
import type { Addend, Choice, ShapeTable } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";

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

/**
 * A stage among others: some start and length ℓ that it can still grow to must leave room for the rest of the
 * division. With t its time for one micro-batch and r its time alone, the relaxed division demands
 * r ≤ limit, before + m t ≤ limit and before + t + through(behind) ≤ limit, where t may be shorter by the lead.
 */
export function worthInPipeline(
  problem: Problem,
  relaxed: RelaxedDivision,
  stage: number,
  starts: readonly number[],
  ahead: readonly string[],
  limitMs: number,
): (label: Label, layers: number) => boolean {
  const { shape, outer, budgetBytes, kinds, even } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const held = inFlight(schedule, stage, stages, m);
  const count = ahead.length;
  const width = kinds.length + 1;
  const slack = limitMs * (1 + SAME);
  const ends: Addend[][] = [];
  if (stage === 0) ends.push(shape.vocabulary.map(({ embedding }) => embedding));
  if (stage === stages - 1) ends.push(shape.vocabulary.map(({ head }) => head));
  const endLeast = (value: (one: Addend) => number): number =>
    ends.reduce((sum, list) => sum + leastValue(list, value), 0);
  const endPass = endLeast(passMs);
  const endRank = endLeast((one) => rankOf(one, m));
  const endBytes = endLeast((one) => bytesOf(one, held));
  // The most that this stage may take for one micro-batch, by its length.
  const mostPass = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  let longest = 0;
  const lead = stage === stages - 1 ? 0 : mostLead(shape);
  for (const start of starts) {
    const here = stage * width + start;
    const before = relaxed.beforeMs[here]!;
    if (relaxed.fullestMs[here]! > slack) continue;
    for (let l = 1; l <= count && start + l <= kinds.length; l++) {
      if (even !== 0 && l !== even) continue;
      const behind = (stage + 1) * width + start + l;
      const through = relaxed.throughMs[behind]!;
      if (through === Number.POSITIVE_INFINITY) continue;
      let most = Math.min((slack - before) / m, slack - before - through + lead);
      if (schedule === "gpipe") most = Math.min(most, (slack - before - relaxed.roundMs[behind]! + lead) / m);
      if (most - endPass > mostPass[l]!) mostPass[l] = most - endPass;
      if (most > endPass) longest = Math.max(longest, l);
    }
  }
  // Prices on memory that fit about the lengths that stages will have, for both limits.
  const typical = kindCounts(ahead.slice(0, Math.max(1, Math.round(kinds.length / stages))));
  const room = budgetBytes - endBytes;
  const restAt = (changeWeight: number, cost: (one: Addend) => number, priced: boolean): Rest => {
    const parts = [...typical].map(([kind, number]) => ({
      count: number,
      alternatives: shape.choices.get(kind)!.map((one) => ({ bytes: bytesOf(one, held), ms: cost(one) })),
    }));
    const price = priced ? memoryPrice(parts, room).msPerByte : 0;
    return restOf(shape, ahead, held, price, changeWeight, cost);
  };
  const rank = (one: Addend): number => rankOf(one, m);
  const passRests = [restAt(1, passMs, false), restAt(1, passMs, true)];
  const rankRest = restAt(m, rank, true);
  const rankLimit = slack - endRank;
  return (label, layers) => {
    if (label.rankMs > rankLimit) return false;
    const over = label.peakBytes - room;
    if (over > 0) return false;
    const labelPass = label.forwardMs + label.backwardMs;
    const labelRank = label.rankMs + rankRest.price * over;
    next: for (let l = layers; l <= longest; l++) {
      if (labelRank + restBetween(rankRest, label.last, layers, l) > rankLimit) continue;
      for (const rest of passRests)
        if (labelPass + rest.price * over + restBetween(rest, label.last, layers, l) > mostPass[l]!)
          continue next;
      return true;
    }
    return false;
  };
}

export function leastValue(list: readonly Addend[], value: (one: Addend) => number): number {
  return list.reduce((low, one) => Math.min(low, value(one)), Number.POSITIVE_INFINITY);
}
