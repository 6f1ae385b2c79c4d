import type { Label } from "./label.js";
import type { Choice, ShapeTable } from "./shape-table.js";

/** What a table of one stage depends on, beside its prices. */
export interface StageQuery {
  /** Kinds of the layers from the stage's first layer on; the stage takes some first part of them. */
  readonly kinds: readonly string[];
  readonly inFlight: number;
  readonly microBatches: number;
  /** Bytes that the layers may use. */
  readonly budgetBytes: number;
  /** The embedding stands before the first layer, so that layer's reduction is not the last. */
  readonly afterEmbedding: boolean;
  readonly uniform: boolean;
  /** Keeps the labels worth keeping: of one first and last layout. */
  readonly frontier: (labels: Label[]) => Label[];
}

/** Step time of a stage as if it were alone: every micro-batch, then what comes once a step. */
export function rank(microBatches: number, f: number, b: number, reduce: number, after: number): number {
  return microBatches * (f + b) + reduce + after;
}

function extend(
  previous: Label | null,
  choice: Choice,
  index: number,
  relayout: number,
  query: StageQuery,
): Label | null {
  const alone = previous === null && !query.afterEmbedding;
  const sumBytes =
    (previous?.sumBytes ?? 0) + choice.stateBytes + query.inFlight * choice.cost.activationBytes;
  const peak = Math.max(previous ? previous.peakBytes - previous.sumBytes : 0, choice.peakBytes);
  if (sumBytes + peak > query.budgetBytes) return null;
  const forwardMs = (previous?.forwardMs ?? 0) + choice.forwardMs + relayout;
  const backwardMs = (previous?.backwardMs ?? 0) + choice.backwardMs + relayout;
  const reduceMs = (previous?.reduceMs ?? 0) + (alone ? choice.cost.reduceAloneMs : choice.cost.reduceMs);
  const afterMs = (previous?.afterMs ?? 0) + choice.afterMs;
  return {
    sumBytes,
    peakBytes: sumBytes + peak,
    rankMs: rank(query.microBatches, forwardMs, backwardMs, reduceMs, afterMs),
    forwardMs,
    backwardMs,
    reduceMs,
    afterMs,
    strategy: index,
    first: previous?.first ?? choice.layout,
    last: choice.layout,
    previous,
  };
}

/**
 * Frontiers of a stage by its number of layers: entry ℓ − 1 holds every label worth keeping for the first ℓ layers.
 *
 * Layer after layer: a label is extended by every strategy; of equal first and last layouts only the frontier stays.
 * Orders of the same strategies give equal labels, of which one stays, so identical layers cost no more than their
 * counts would.
 */
export function stageTable(shape: ShapeTable, query: StageQuery): Label[][] {
  const result: Label[][] = [];
  let current: Label[] = [];
  const layouts = shape.layouts.length;
  for (const [position, kind] of query.kinds.entries()) {
    const choices = shape.choices.get(kind)!;
    const buckets: Label[][] = [];
    const put = (label: Label | null): void => {
      if (!label) return;
      const bucket = label.first * layouts + label.last;
      const list = buckets[bucket];
      if (list) list.push(label);
      else buckets[bucket] = [label];
    };
    if (position === 0) {
      for (const [index, choice] of choices.entries()) put(extend(null, choice, index, 0, query));
    } else {
      const relayouts = shape.relayouts.get(kind)!;
      for (const label of current) {
        for (const [index, choice] of choices.entries()) {
          if (query.uniform && index !== label.strategy) continue;
          put(extend(label, choice, index, relayouts[label.last]![choice.layout]!, query));
        }
      }
    }
    current = buckets.flatMap((bucket) => (bucket ? query.frontier(bucket) : []));
    if (current.length === 0) break;
    result.push(current);
  }
  return result;
}
