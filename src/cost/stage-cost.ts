import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { Plan } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import type { CostModel } from "./cost-model.js";
import {
  additiveBytes,
  afterMs,
  backwardMs,
  borderBytes,
  edgesMs,
  forwardMs,
  type LayerCost,
  peakBytes,
} from "./layer-cost.js";
import { inFlight, type StageWork } from "./pipeline-time.js";
import { layoutOf, relayoutMs } from "./relayout-time.js";
import { normMs } from "./shared-gradients.js";
import { transferMs } from "./transfer-time.js";

/** One part of a stage: a layer of the body, the embedding or the head. */
export interface StagePart {
  readonly kind: string;
  readonly strategy: Strategy;
  readonly cost: LayerCost;
}

/** All that the schedule and the prediction need to know of one stage. */
export interface StageCost extends StageWork {
  readonly parts: readonly StagePart[];
  /** Layout changes of one micro-batch, forward plus backward. */
  readonly relayoutMs: number;
  readonly inFlight: number;
}

/** The parts of every stage of a plan in order: embedding first, head last. */
export function stageParts(
  plan: Plan,
  layers: readonly string[],
): { readonly kind: string; readonly strategy: Strategy }[][] {
  let next = 0;
  return plan.stageLayers.map((count, stage) => {
    const parts: { kind: string; strategy: Strategy }[] = [];
    if (stage === 0) parts.push({ kind: EMBEDDING_KIND, strategy: plan.vocabulary });
    for (let i = 0; i < count; i++, next++) parts.push({ kind: layers[next]!, strategy: plan.layers[next]! });
    if (stage === plan.stageLayers.length - 1) parts.push({ kind: HEAD_KIND, strategy: plan.vocabulary });
    return parts;
  });
}

/** What nothing hides of a part's reductions, once a step; on the first stage, of its first gather too. */
export function exposedMs(cost: LayerCost, stage: number, index: number): number {
  // The embedding's own passes hide next to nothing of the first layer's.
  if (stage === 0) return index <= 1 ? edgesMs(cost) : cost.reduceMs;
  return index === 0 ? cost.reduceAloneMs : cost.reduceMs;
}

/**
 * Adds up one stage. A layout change inside the stage stands between its two layers; at the border of two stages the
 * transfer itself brings every piece to the rank that needs it.
 *
 * @param after first part of the next stage
 */
export function stageCost(
  cost: CostModel,
  plan: Plan,
  stage: number,
  parts: readonly StagePart[],
  after: { readonly kind: string; readonly strategy: Strategy } | undefined,
): StageCost {
  const stages = plan.stageLayers.length;
  const stageRanks = plan.ranks / stages;
  const samples = plan.globalBatch / plan.microBatches;
  let forward = 0;
  let backward = 0;
  let reduce = 0;
  let update = normMs(cost);
  let relayout = 0;
  for (const [index, part] of parts.entries()) {
    forward += forwardMs(part.cost);
    backward += backwardMs(part.cost);
    reduce += exposedMs(part.cost, stage, index);
    update += afterMs(part.cost);
    const next = parts[index + 1];
    if (!next) continue;
    const change = relayoutMs(
      cost,
      layoutOf(part.strategy),
      layoutOf(next.strategy),
      stageRanks,
      borderBytes(cost, next.kind, samples),
    );
    forward += change;
    backward += change;
    relayout += change;
  }
  const last = parts.at(-1)!;
  const send = (from: Strategy, to: Strategy, kind: string): number =>
    transferMs(cost, layoutOf(from), layoutOf(to), stageRanks, borderBytes(cost, kind, samples));
  return {
    parts,
    forwardMs: forward,
    backwardMs: backward,
    leadMs: after ? last.cost.leadMs : 0,
    sendMs: after ? send(last.strategy, after.strategy, after.kind) : 0,
    gradientMs: after ? send(after.strategy, last.strategy, after.kind) : 0,
    reduceMs: reduce,
    afterMs: update,
    relayoutMs: 2 * relayout,
    inFlight: inFlight(plan.schedule, stage, stages, plan.microBatches),
  };
}

/** Bytes of one rank of a stage at its peak, the worker's reserve not counted. */
export function stageBytes(stage: StageCost): number {
  let sum = 0;
  let peak = 0;
  for (const { cost } of stage.parts) {
    sum += additiveBytes(cost, stage.inFlight);
    peak = Math.max(peak, peakBytes(cost));
  }
  return sum + peak;
}
