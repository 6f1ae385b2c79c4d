import type { Label } from "./label.js";
import { asFirst, type Choice, type ShapeTable } from "./shape-table.js";

/** How often a stage's times count in the cost that labels are ranked by. */
export interface Weights {
  readonly forward: number;
  readonly backward: number;
  readonly reduce: number;
  readonly after: number;
}

/** Step time of a stage as if it were alone: every micro-batch, then what comes once a step. */
export const aloneWeights = (microBatches: number): Weights => ({
  forward: microBatches,
  backward: microBatches,
  reduce: 1,
  after: 1,
});

/** One time alone. */
export const FORWARD_WEIGHTS: Weights = { forward: 1, backward: 0, reduce: 0, after: 0 };
export const BACKWARD_WEIGHTS: Weights = { forward: 0, backward: 1, reduce: 0, after: 0 };
export const REDUCE_WEIGHTS: Weights = { forward: 0, backward: 0, reduce: 1, after: 0 };
export const AFTER_WEIGHTS: Weights = { forward: 0, backward: 0, reduce: 0, after: 1 };
/** One micro-batch there and back. */
export const PASS_WEIGHTS: Weights = { forward: 1, backward: 1, reduce: 0, after: 0 };

/**
 * One micro-batch goes on and comes back while the stage works off the others. 1F1B: with `held` micro-batches in
 * flight their forwards but the first are done while it waits. GPipe: all forwards before, all backwards after, 1.
 */
export const criticalWeights = (microBatches: number, held: number): Weights => ({
  forward: microBatches - held + 1,
  backward: microBatches,
  reduce: 0,
  after: 1,
});

interface Times {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly reduceMs: number;
  readonly afterMs: number;
}

export function weighted(weights: Weights, times: Times): number {
  return (
    weights.forward * times.forwardMs +
    weights.backward * times.backwardMs +
    weights.reduce * times.reduceMs +
    weights.after * times.afterMs
  );
}

/** What a table of one stage depends on, beside its prices. */
export interface StageQuery {
  /** Kinds of the layers from the stage's first layer on; the stage takes some first part of them. */
  readonly kinds: readonly string[];
  readonly inFlight: number;
  /** What labels are ranked by. */
  readonly weights: Weights;
  /** Bytes that the layers may use. */
  readonly budgetBytes: number;
  /** Of the pipeline. */
  readonly stage: number;
  /** Keeps the labels worth keeping, of one first and last layout. */
  readonly frontier: (labels: Label[]) => Label[];
  /** Of labels that more layers follow, across layouts; the layer that comes next has this kind. */
  readonly continuing: (labels: Label[], nextKind: string) => Label[];
  /** More labels than this on one layer end the table (`null` is returned), or are thinned out to so many. */
  readonly mostLabels: number;
  readonly thins: boolean;
  /** Whether a label of so many layers can still become part of a plan that is worth having. */
  readonly worth: (label: Label, layers: number) => boolean;
}

type Draft = { -readonly [Key in keyof Label]: Label[Key] };

/** Fills `out` with the label of one layer more; false where it does not fit. */
function extend(
  previous: Label | null,
  choice: Choice,
  index: number,
  relayout: number,
  query: StageQuery,
  out: Draft,
): boolean {
  const sumBytes =
    (previous === null ? 0 : previous.sumBytes) + choice.stateBytes + query.inFlight * choice.activationBytes;
  const peak = Math.max(previous === null ? 0 : previous.peakBytes - previous.sumBytes, choice.peakBytes);
  if (sumBytes + peak > query.budgetBytes) return false;
  const forwardMs = (previous === null ? 0 : previous.forwardMs) + choice.forwardMs + relayout;
  const backwardMs = (previous === null ? 0 : previous.backwardMs) + choice.backwardMs + relayout;
  const reduceMs = (previous === null ? 0 : previous.reduceMs) + choice.reduceMs;
  const afterMs = (previous === null ? 0 : previous.afterMs) + choice.afterMs;
  out.sumBytes = sumBytes;
  out.peakBytes = sumBytes + peak;
  out.forwardMs = forwardMs;
  out.backwardMs = backwardMs;
  out.leadMs = choice.leadMs;
  out.reduceMs = reduceMs;
  out.afterMs = afterMs;
  out.rankMs = weighted(query.weights, out);
  out.strategy = index;
  out.first = previous === null ? choice.layout : previous.first;
  out.last = choice.layout;
  out.previous = previous;
  return true;
}

const blank = (): Draft => ({
  sumBytes: 0,
  peakBytes: 0,
  rankMs: 0,
  forwardMs: 0,
  backwardMs: 0,
  leadMs: 0,
  reduceMs: 0,
  afterMs: 0,
  strategy: 0,
  first: 0,
  last: 0,
  previous: null,
});

/** Evenly along the frontier from the fastest label to the leanest, both ends kept. */
function thinned(labels: readonly (Label | null)[], count: number): (Label | null)[] {
  const step = (labels.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, index) => labels[Math.round(index * step)]!);
}

/**
 * Frontiers of a stage by its number of layers: entry ℓ − 1 holds every label worth keeping for the first ℓ layers.
 *
 * Layer after layer: a label is extended by every strategy; of equal first and last layouts only the frontier stays.
 * Orders of the same strategies behind the same first layer give equal labels, of which one stays, so identical layers cost
 * little more than their counts would.
 */
export function stageTable(shape: ShapeTable, query: StageQuery): Label[][] | null {
  const result: Label[][] = [];
  let current: (Label | null)[] = [null];
  const layouts = shape.layouts.length;
  let draft = blank();
  for (const [position, kind] of query.kinds.entries()) {
    const all = shape.choices.get(kind)!;
    const choices = position === 0 ? all.map((one) => asFirst(one, query.stage)) : all;
    const relayouts = shape.relayouts.get(kind)!;
    const buckets: Label[][] = [];
    for (const previous of current) {
      const row = previous === null ? undefined : relayouts[previous.last]!;
      for (let index = 0; index < choices.length; index++) {
        const choice = choices[index]!;
        if (!extend(previous, choice, index, row ? row[choice.layout]! : 0, query, draft)) continue;
        if (!query.worth(draft, position + 1)) continue;
        const bucket = draft.first * layouts + draft.last;
        const list = buckets[bucket];
        if (list) list.push(draft);
        else buckets[bucket] = [draft];
        // Most drafts are worth nothing, so only what is kept is a new object.
        draft = blank();
      }
    }
    const kept: Label[] = [];
    for (const bucket of buckets) if (bucket) kept.push(...query.frontier(bucket));
    if (kept.length === 0) break;
    result.push(kept);
    const nextKind = query.kinds[position + 1];
    current = nextKind === undefined ? [] : query.continuing([...kept], nextKind);
    if (current.length > query.mostLabels) {
      if (!query.thins) return null;
      current = thinned(current, query.mostLabels);
    }
  }
  return result;
}
