import type { Strategy } from "../plan/strategy.js";
import type { LayerWork } from "./layer-lookup.js";
import type { StateMemory } from "./state-memory.js";

/** What one layer adds to the memory of a rank. Bytes. */
export interface LayerMemory {
  /** Live across steps. */
  readonly parameterBytes: number;
  readonly optimizerBytes: number;
  /** Live at the peak beside `activationBytes`; what only lives when activations are gone is in `transientBytes`. */
  readonly gradientBytes: number;
  /** Kept from forward to backward, for every micro-batch in flight. */
  readonly activationBytes: number;
  /** At its peak while this layer runs: gathered parameters, gradients on their way, what recompute makes again. */
  readonly transientBytes: number;
  readonly workspaceBytes: number;
}

/** How a layer's states and gradients are handled in its stage. */
export interface StateHandling {
  /** What the layer keeps; what it reads and makes gradients of; what of these is added to gradients made before. */
  readonly states: StateMemory;
  readonly read: StateMemory;
  readonly added: StateMemory;
  /** There is more than one micro-batch. */
  readonly accumulates: boolean;
  /** Reduced to shards after every micro-batch; and added there, from shards of their own. */
  readonly scattered: boolean;
  readonly addsToShards: boolean;
  /** Sums are converted before they are reduced, or gradients to float32 before they are added up. */
  readonly converts: boolean;
  readonly widens: boolean;
  readonly pipelined: boolean;
  /** More than one rank shares the states. */
  readonly shares: boolean;
  /** The head: its backward follows its forward at once, while nothing else runs. */
  readonly isHead: boolean;
  /** The gradient that reaches an embedding, which has no border in front; 0 for others, whose borders are alike. */
  readonly arrivingBytes: number;
}

/**
 * Liveness of a layer's buffers as in the Programs.
 *
 * With one micro-batch a layer's gradients come when its activations go. Let layer i be in its backward: of layers
 * before it activations live, of layers behind it gradients, of itself both. That is at most the larger of the two of
 * every layer, and the smaller of the two of one: a sum and a peak, exact where all layers have the same larger one.
 * The head's activations meet no other layer's peak.
 */
export function layerMemory(work: LayerWork, strategy: Strategy, how: StateHandling): LayerMemory {
  const { states, read, added, accumulates, isHead } = how;
  const { gradientBytes } = states;
  const kept = strategy.recompute ? work.inputBytes : work.activationBytes;
  const gradientsLead = isHead || gradientBytes > kept;
  const sharded = strategy.dataParallel === "zero3" && how.shares;
  let transientBytes = how.arrivingBytes + borderBytes(work, strategy, how.pipelined);
  if (sharded) transientBytes += 2 * read.gatheredBytes;
  // Whole gradients on their way: to a reduction, those of the layer before still lingering, or to be added.
  transientBytes += how.scattered
    ? 2 * read.wholeGradientBytes * (how.widens ? 2 : 1) + (how.addsToShards ? 2 * read.gradientBytes : 0)
    : added.wholeGradientBytes + (how.converts && how.shares ? 2 * states.wholeGradientBytes : 0);
  if (how.widens) transientBytes += read.wholeGradientBytes;
  if (strategy.recompute) transientBytes += Math.max(0, work.activationBytes - work.inputBytes);
  if (!accumulates) transientBytes += gradientsLead ? kept : gradientBytes;
  return {
    parameterBytes: states.parameterBytes,
    optimizerBytes: states.optimizerBytes,
    gradientBytes: accumulates || gradientsLead ? gradientBytes : 0,
    activationBytes: accumulates || !gradientsLead ? kept : 0,
    transientBytes,
    workspaceBytes: work.workspaceBytes,
  };
}

/**
 * Border activations and their gradients: the layer's own, and what an exchange of a sequence split or a neighbouring
 * stage receives or has not sent yet; under weights split beside two of them the gathered sequence and the sums that
 * are not scattered yet.
 */
function borderBytes(work: LayerWork, { tensorDegree, tensorSplit }: Strategy, pipelined: boolean): number {
  const gathers = tensorDegree > 1 && tensorSplit === "weights";
  return (gathers ? 2 + 2 * tensorDegree : pipelined || tensorDegree > 1 ? 4 : 3) * work.inputBytes;
}
