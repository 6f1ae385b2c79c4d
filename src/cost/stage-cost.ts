import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { Plan } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import { collectiveMs } from "./collective-time.js";
import type { CostModel } from "./cost-model.js";
import { groupShape } from "./group-shape.js";
import {
  additiveBytes,
  afterMs,
  backwardMs,
  borderBytes,
  forwardMs,
  type LayerCost,
  peakBytes,
} from "./layer-cost.js";
import { inFlight, type StageWork } from "./pipeline-time.js";
import { layoutOf, relayoutMs } from "./relayout-time.js";

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

/** Sending one micro-batch's activation to the stage that starts with `kind`: rank i to rank i, `stageRanks` away. */
export function transferMs(
  cost: CostModel,
  kind: string,
  stageRanks: number,
  microBatchSamples: number,
): number {
  if (stageRanks >= cost.cluster.nodes * cost.cluster.ranksPerNode) return 0;
  const bytes = borderBytes(cost, kind, microBatchSamples) / stageRanks;
  return collectiveMs(cost.collectives, "sendReceive", groupShape(cost.cluster, 2, stageRanks), bytes);
}

/**
 * Adds up one stage. A layout change belongs to the layer it follows, also across the border of two stages: the
 * sender brings the activation into the receiver's layout.
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
  let update = 0;
  let relayout = 0;
  for (const [index, part] of parts.entries()) {
    forward += forwardMs(part.cost);
    backward += backwardMs(part.cost);
    reduce += index === 0 ? part.cost.reduceAloneMs : part.cost.reduceMs;
    update += afterMs(part.cost);
    const next = parts[index + 1] ?? after;
    if (next) {
      relayout += relayoutMs(
        cost,
        layoutOf(part.strategy),
        layoutOf(next.strategy),
        stageRanks,
        borderBytes(cost, next.kind, samples),
      );
    }
  }
  const send = after ? transferMs(cost, after.kind, stageRanks, samples) : 0;
  return {
    parts,
    forwardMs: forward + relayout,
    backwardMs: backward + relayout,
    sendMs: send,
    gradientMs: send,
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
