import type { LayerCost } from "../cost/layer-cost.js";
import { backwardMs, forwardMs } from "../cost/layer-cost.js";
import type { Label } from "./label.js";
import type { ShapeTable, VocabularyChoice } from "./shape-table.js";
import { rank } from "./stage-table.js";

/** One complete way to fill a stage, embedding and head included; the layout change to the next stage is not. */
export interface StageOption {
  readonly layers: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
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

function peakOf(label: Label, parts: readonly LayerCost[]): number {
  let peak = label.peakBytes - label.sumBytes;
  for (const part of parts) peak = Math.max(peak, part.transientBytes + part.workspaceBytes);
  return peak;
}

function partSum(part: LayerCost, inFlight: number): number {
  return part.parameterBytes + part.gradientBytes + part.optimizerBytes + inFlight * part.activationBytes;
}

/** Puts the embedding before a label's layers, the head behind them, or neither. */
export function stageOption(
  shape: ShapeTable,
  label: Label,
  layers: number,
  inFlight: number,
  microBatches: number,
  firstKind: string,
  headKind: string,
  embedding: VocabularyChoice | undefined,
  head: VocabularyChoice | undefined,
): StageOption {
  let f = label.forwardMs;
  let b = label.backwardMs;
  let reduce = label.reduceMs;
  let after = label.afterMs;
  let bytes = label.sumBytes;
  const parts: LayerCost[] = [];
  let first = label.first;
  let last = label.last;
  if (embedding) {
    const relayout = shape.relayouts.get(firstKind)![embedding.layout]![label.first]!;
    const part = embedding.embedding;
    f += forwardMs(part) + relayout;
    b += backwardMs(part) + relayout;
    reduce += part.reduceAloneMs;
    after += part.optimizerMs + part.afterUpdateMs;
    bytes += partSum(part, inFlight);
    parts.push(part);
    first = embedding.layout;
  }
  if (head) {
    const relayout = shape.relayouts.get(headKind)![label.last]![head.layout]!;
    const part = head.head;
    f += forwardMs(part) + relayout;
    b += backwardMs(part) + relayout;
    reduce += part.reduceMs;
    after += part.optimizerMs + part.afterUpdateMs;
    bytes += partSum(part, inFlight);
    parts.push(part);
    last = head.layout;
  }
  return {
    layers,
    forwardMs: f,
    backwardMs: b,
    reduceMs: reduce,
    afterMs: after,
    rankMs: rank(microBatches, f, b, reduce, after),
    bytes: bytes + peakOf(label, parts),
    first,
    last,
    label,
  };
}
