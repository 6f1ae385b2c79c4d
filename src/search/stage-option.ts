import type { Label } from "./label.js";
import type { Addend, ShapeTable, VocabularyChoice } from "./shape-table.js";
import { aloneWeights, type Weights, weighted } from "./stage-table.js";

/** One complete way to fill a stage, embedding and head included. */
export interface StageOption {
  readonly layers: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly leadMs: number;
  readonly reduceMs: number;
  readonly afterMs: number;
  readonly rankMs: number;
  /** At its peak, the worker's reserve not counted. */
  readonly bytes: number;
  /** Layouts in which activations must arrive and in which they leave. */
  readonly first: number;
  readonly last: number;
  readonly label: Label;
}

/** What stands around a stage's layers. */
export interface StageEnds {
  readonly inFlight: number;
  readonly microBatches: number;
  readonly firstKind: string;
  readonly headKind: string;
  readonly embedding: VocabularyChoice | undefined;
  readonly head: VocabularyChoice | undefined;
}

const partBytes = (part: Addend, inFlight: number): number =>
  part.stateBytes + inFlight * part.activationBytes;

/** Puts the embedding before a label's layers, the head behind them, or neither. */
export function stageOption(shape: ShapeTable, label: Label, layers: number, ends: StageEnds): StageOption {
  const { embedding, head, inFlight, microBatches } = ends;
  let f = label.forwardMs;
  let b = label.backwardMs;
  let reduce = label.reduceMs;
  let after = shape.normMs + label.afterMs;
  let bytes = label.sumBytes;
  let peak = label.peakBytes - label.sumBytes;
  if (embedding) {
    const relayout = shape.relayouts.get(ends.firstKind)![embedding.layout]![label.first]!;
    const part = embedding.embedding;
    f += part.forwardMs + relayout;
    b += part.backwardMs + relayout;
    reduce += part.edgesMs;
    after += part.afterMs;
    bytes += partBytes(part, inFlight);
    peak = Math.max(peak, part.peakBytes);
  }
  if (head) {
    const relayout = shape.relayouts.get(ends.headKind)![label.last]![head.layout]!;
    const part = head.head;
    f += part.forwardMs + relayout;
    b += part.backwardMs + relayout;
    reduce += part.reduceMs;
    after += part.afterMs;
    bytes += partBytes(part, inFlight);
    peak = Math.max(peak, part.peakBytes);
  }
  return {
    layers,
    forwardMs: f,
    backwardMs: b,
    leadMs: head ? 0 : label.leadMs,
    reduceMs: reduce,
    afterMs: after,
    rankMs: weighted(aloneWeights(microBatches), {
      forwardMs: f,
      backwardMs: b,
      reduceMs: reduce,
      afterMs: after,
    }),
    bytes: bytes + peak,
    first: embedding ? embedding.layout : label.first,
    last: head ? head.layout : label.last,
    label,
  };
}

/** Options that no other of the same length and outer layouts beats in all of some costs. */
export function optionFrontier(options: StageOption[], costs: readonly Weights[]): StageOption[] {
  options.sort(
    (a, b) =>
      a.layers - b.layers ||
      a.first - b.first ||
      a.last - b.last ||
      a.rankMs - b.rankMs ||
      a.forwardMs - b.forwardMs ||
      a.bytes - b.bytes,
  );
  const kept: StageOption[] = [];
  let from = 0;
  next: for (const option of options) {
    const head = kept[from];
    if (!head || head.layers !== option.layers || head.first !== option.first || head.last !== option.last)
      from = kept.length;
    for (let at = from; at < kept.length; at++) {
      const other = kept[at]!;
      if (other.leadMs < option.leadMs) continue;
      if (costs.every((cost) => weighted(cost, other) <= weighted(cost, option))) continue next;
    }
    kept.push(option);
  }
  return kept;
}
