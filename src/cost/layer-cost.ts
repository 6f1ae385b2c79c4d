import { DTYPE_BYTES } from "../base/units.js";
import type { Slowdowns } from "../cluster/hardware-profile.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import { gradientDtype } from "../plan/precision.js";
import { stateRanks } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { borderTensors, collectiveCounts } from "./collective-counts.js";
import type { CostModel } from "./cost-model.js";
import { stateGroup, tensorGroup } from "./group-shape.js";
import { layerWork } from "./layer-lookup.js";
import { type LayerMemory, layerMemory } from "./layer-memory.js";
import { overlappedMs } from "./overlap.js";
import { tiedTable, wholeMs } from "./shared-gradients.js";
import { type GradientSums, stateMemory } from "./state-memory.js";
import { accumulateTimeMs, stateTime, streamMs } from "./state-time.js";
import { type TensorTime, tensorCollectives } from "./tensor-collectives.js";

/** One layer under one strategy on one rank: every term of its time (in ms) and of its memory. */
export interface LayerCost extends LayerMemory {
  /** Every micro-batch. */
  readonly forwardComputeMs: number;
  readonly forwardTensorMs: number;
  /** ZeRO-3's gather before forward, less what computing hides. */
  readonly forwardDataMs: number;
  readonly backwardComputeMs: number;
  readonly recomputeMs: number;
  readonly backwardTensorMs: number;
  /** Part of recompute and its collectives: what of backward needs no gradient yet. */
  readonly leadMs: number;
  /** ZeRO-3's gather before backward and the reduce-scatter behind it, less what computing hides. */
  readonly backwardDataMs: number;
  /** Once a step: the gradient reduction behind the last micro-batch's backward, less what that hides. */
  readonly reduceMs: number;
  /** In full, and what backward hides of the last reduce-scatter: for a stage's first layer, behind which no backward comes. */
  readonly reduceAloneMs: number;
  /**
   * For the model's first layer, before which no forward comes: what its gather takes more than another layer's. Less under
   * ZeRO-1 and 2, where the step before gathers it while other layers are updated.
   */
  readonly edgeGatherMs: number;
  /** Once a step, after the norm is known: the update. */
  readonly optimizerMs: number;
  /** Once a step: ZeRO-1 and 2's gather before the first forward, less what that hides. */
  readonly firstGatherMs: number;
}

export const forwardMs = (cost: LayerCost): number =>
  cost.forwardComputeMs + cost.forwardTensorMs + cost.forwardDataMs;
export const backwardMs = (cost: LayerCost): number =>
  cost.backwardComputeMs + cost.recomputeMs + cost.backwardTensorMs + cost.backwardDataMs;
/** Gathers before the first forward count here, too: too much for later stages of a pipeline, which gather while they wait. */
export const afterMs = (cost: LayerCost): number => cost.optimizerMs + cost.firstGatherMs;
/**
 * Once a step: what the model's first layer, or its embedding, waits for at both ends of the step. Not below nothing, where a
 * gather was measured a little slower than the reduction.
 */
export const edgesMs = (cost: LayerCost): number => Math.max(0, cost.edgeGatherMs + cost.reduceAloneMs);
/** Bytes that add up over a stage's layers. */
export const additiveBytes = (cost: LayerCost, inFlight: number): number =>
  cost.parameterBytes + cost.gradientBytes + cost.optimizerBytes + inFlight * cost.activationBytes;
/** Bytes of which a stage needs only the largest of its layers. */
export const peakBytes = (cost: LayerCost): number => cost.transientBytes + cost.workspaceBytes;

/** Positions and width of a kind: those of the model for the embedding and the head. */
export function kindShape(
  model: CostModel["model"],
  kind: string,
): { readonly sequence: number; readonly hidden: number; readonly keyValueShare: number } {
  const end = kind === EMBEDDING_KIND ? model.layers[0] : kind === HEAD_KIND ? model.layers.at(-1) : kind;
  const found = model.kinds[end ?? ""]!;
  return {
    sequence: found.sequence,
    hidden: found.hidden,
    keyValueShare: found.keyValueHeads / found.heads,
  };
}

/** Bytes of what crosses a kind's border, `[S, b, H]` of `samples` samples, all tensors of the border together. */
export function borderBytes(cost: CostModel, kind: string, samples: number): number {
  const { sequence, hidden } = kindShape(cost.model, kind);
  return sequence * samples * hidden * cost.activationBytes * borderTensors(cost.model);
}

function tensorTime(cost: CostModel, kind: string, strategy: Strategy, samples: number): TensorTime {
  const { sequence, hidden, keyValueShare } = kindShape(cost.model, kind);
  return tensorCollectives(
    cost.betweenGraphs,
    tensorGroup(cost.cluster, strategy),
    collectiveCounts(cost.model, kind, strategy.tensorSplit),
    sequence * samples * hidden * cost.activationBytes,
    sequence * samples * 4,
    keyValueShare,
  );
}

/**
 * Prices one layer.
 *
 * @param samples samples of one micro-batch on one data rank
 * @param accumulates there is more than one micro-batch, so gradients are added up
 * @returns `undefined` when the profile holds nothing about this split
 */
export function layerCost(
  cost: CostModel,
  kind: string,
  strategy: Strategy,
  samples: number,
  accumulates: boolean,
): LayerCost | undefined {
  const { sequence } = kindShape(cost.model, kind);
  const work = layerWork(cost.layers, kind, strategy.tensorDegree, strategy.tensorSplit, samples, sequence);
  if (!work) return undefined;
  const { hardware, precision } = cost;
  const tensor = tensorTime(cost, kind, strategy, samples);
  const group = stateGroup(cost.cluster, strategy);
  const elements = work.parameterElements;
  const table = tiedTable(cost, kind, strategy);
  const held = Math.max(0, elements - table.heldElsewhere);
  const canonical = cost.gradientOrder === "canonical";
  const madeBytes = DTYPE_BYTES[gradientDtype(precision)];
  const sums: GradientSums = {
    // A shared table's gradient is the sum of both ends'.
    addsUp: accumulates || table.elements > 0 || canonical,
    inOrder: canonical && accumulates && group.ranks > 1,
    reducedBytes: canonical ? 4 : madeBytes,
  };
  const { inOrder } = sums;
  // A head's gradient of a table that the embedding holds is apart in the canonical order.
  const reduced = canonical ? elements : held;
  const time = stateTime(
    cost.collectives,
    group,
    { read: elements, held, reduced },
    strategy,
    precision,
    sums,
    hardware.optimizerGBps,
  );
  const read = stateMemory(elements, strategy, precision, sums);
  const own = held === elements ? read : stateMemory(held, strategy, precision, sums);
  const states = canonical ? { ...own, gradientBytes: read.gradientBytes } : own;
  const added = stateMemory(accumulates ? elements : table.added, strategy, precision, sums);
  const { overlap } = cost;
  const { gathers } = overlap;
  const reductions = strategy.dataParallel === "ddp" ? overlap : (overlap.reductions ?? overlap);
  const hide = (computeMs: number, communicationMs: number, slow: Slowdowns = overlap): number =>
    overlappedMs(computeMs, communicationMs, slow.computeSlowdown, slow.communicationSlowdown) - computeMs;
  const recomputeMs = strategy.recompute ? work.forwardMs : 0;
  const recomputeTensorMs = strategy.recompute ? tensor.forwardMs : 0;
  const { nodes, ranksPerNode } = cost.cluster;
  const stageRanks = strategy.tensorDegree * strategy.dataDegree;
  const pipelined = stageRanks < nodes * ranksPerNode;
  const sharded = strategy.dataParallel === "zero3" && group.ranks > 1;
  const scattered = sharded || inOrder || (strategy.dataParallel === "zero2" && group.ranks > 1);
  // In the canonical order reductions add by themselves, and read what they add to.
  const addMs = inOrder ? 0 : accumulateTimeMs(added.gradientBytes, precision, hardware.optimizerGBps);
  const readMs = inOrder ? streamMs((4 * elements) / stateRanks(strategy), hardware.optimizerGBps) : 0;
  const widens = canonical && madeBytes < 4 && (scattered || !accumulates);
  const widenMs = widens ? streamMs((madeBytes + 4) * elements, hardware.optimizerGBps) : 0;
  const accumulateMs = widenMs + (scattered ? 0 : addMs);
  const backwardComputeMs = work.backwardMs + recomputeMs + accumulateMs;
  // Gathers that are copies run beside reductions: they are hidden first, and reductions behind what that takes.
  const gatheredMs = gathers ? hide(backwardComputeMs, time.gatherMs, gathers) : 0;
  const scatterMs = time.scatterMs + readMs;
  const beforeScatterMs = gathers ? 0 : time.gatherMs;
  const besideMs = beforeScatterMs + scatterMs;
  const behindMs = (communicationMs: number): number =>
    hide(backwardComputeMs + gatheredMs, communicationMs, reductions);
  const reduceMs = time.reduceMs + wholeMs(cost, kind, strategy, reduced, sums.addsUp);
  const hiddenScatterMs = scatterMs - (behindMs(besideMs) - behindMs(beforeScatterMs));
  const forwardDataMs = hide(work.forwardMs, time.gatherMs, gathers);
  const firstGatherMs = hide(work.forwardMs, time.firstGatherMs, gathers);
  // As many layers as a stage has, each about as large, are updated meanwhile.
  const updatedMs = ((cost.model.layers.length * stageRanks) / (nodes * ranksPerNode)) * time.optimizerMs;
  const aheadMs = Math.max(0, time.firstGatherMs - updatedMs);
  return {
    forwardComputeMs: work.forwardMs,
    forwardTensorMs: tensor.forwardMs,
    forwardDataMs,
    backwardComputeMs: work.backwardMs + accumulateMs,
    recomputeMs,
    backwardTensorMs: tensor.backwardMs + recomputeTensorMs,
    leadMs: recomputeMs + recomputeTensorMs,
    // Shards are added up where they arrive, on the stream of the reductions, and sums are converted there. But that takes the
    // device from computing, so nothing hides it.
    backwardDataMs: gatheredMs + behindMs(besideMs) + (scattered ? addMs : 0),
    reduceMs: behindMs(besideMs + reduceMs) - behindMs(besideMs) + time.convertMs + table.reduceMs,
    reduceAloneMs: reduceMs + hiddenScatterMs + time.convertMs + table.reduceMs,
    edgeGatherMs: time.gatherMs - forwardDataMs + aheadMs - firstGatherMs,
    optimizerMs: time.optimizerMs,
    firstGatherMs,
    ...layerMemory(work, strategy, {
      states,
      read,
      added,
      accumulates,
      scattered,
      addsToShards: scattered && accumulates && !inOrder,
      converts: accumulates && sums.reducedBytes < 4,
      widens,
      pipelined,
      shares: group.ranks > 1,
      isHead: kind === HEAD_KIND,
      arrivingBytes: kind === EMBEDDING_KIND ? borderBytes(cost, kind, samples) / strategy.tensorDegree : 0,
    }),
  };
}
