import { type AncestorStrategy, shareDegree, splitDegree } from "../ancestor-strategy.js";
import { type CostOptions, type FittedProfile, messageMs, shareMsPerMB } from "./fitted-profile.js";

/** Time of one layer for one micro-batch, in seconds. */
export interface LayerTimes {
  /** With the gradient synchronisation, overlapped with backward. */
  readonly synced: number;
  readonly unsynced: number;
}

/** Backward costs twice forward. */
const BACKWARD_FACTOR: number = 2;
/** Messages of a Megatron-SP layer per micro-batch: three gathers or scatters in each of its two blocks. */
const TENSOR_MESSAGES: number = 6;
/** Messages of a Ulysses layer per micro-batch: two all-to-alls forward, two backward. */
const SEQUENCE_MESSAGES: number = 4;
/** Recompute repeats the forward messages. */
const RECOMPUTE_MESSAGES: number = 1.5;

const MB: number = 1024 * 1024;

/**
 * The ancestor's layer time (its version 3.0).
 *
 * forward f = line(samples / split); backward b = 2 f, and f more under recompute; gradients D = 2 (n - 1) / n · P MB
 * over the n ranks that share them (half under mixed precision), overlapped with backward; collectives of the split
 * on top; ZeRO-3 adds one gather of D / 2; a pipeline adds its transfer, spread over the layers of the kind.
 * Returns undefined where the profile lacks a number that the strategy needs.
 */
export function layerTimes(
  profile: FittedProfile,
  options: CostOptions,
  kindIndex: number,
  strategy: AncestorStrategy,
  samples: number,
): LayerTimes | undefined {
  const kind = profile.kinds[kindIndex]!;
  const split = splitDegree(strategy);
  const share = shareDegree(strategy);
  const shareMs = shareMsPerMB(profile, share, strategy.tensor);
  if (shareMs === undefined) return undefined;

  const forward = kind.forward.perUnit * (samples / split) + kind.forward.constant;
  let backward = forward * BACKWARD_FACTOR;
  if (strategy.recompute) backward += forward;

  let gradientMB = 2 * (share - 1) * (kind.parameterMB / strategy.tensor / share);
  if (options.mixedPrecision) gradientMB /= 2;

  let splitMs = 0;
  if (split > 1) {
    const messageMB = (samples * kind.sequence * kind.hidden * (options.mixedPrecision ? 2 : 4)) / MB;
    const tensor = strategy.tensor > 1;
    const message = messageMs(tensor ? profile.gather : profile.allToAll, split, messageMB);
    if (message === undefined) return undefined;
    const messages =
      (tensor ? TENSOR_MESSAGES : SEQUENCE_MESSAGES) * (strategy.recompute ? RECOMPUTE_MESSAGES : 1);
    splitMs = message * messages;
  }

  let transferMs = 0;
  if (strategy.stages > 1) {
    const perMB = profile.pipelineMsPerMB.get(strategy.stages);
    if (perMB === undefined) return undefined;
    let transferMB = (strategy.stages * 2 * samples * kind.sequence * kind.hidden * 4) / MB;
    if (options.mixedPrecision) transferMB /= 2;
    transferMs = (transferMB * perMB) / kind.layers;
  }

  const gatherMs = strategy.dataParallel === "zero3" ? gradientMB * 0.5 * shareMs : 0;
  const always = forward + splitMs + gatherMs + transferMs;
  const seconds = 0.001 * options.timeFactor;
  // with one data rank the ancestor charges no gradient synchronisation, whatever Ulysses shares
  const synced = strategy.data > 1 ? overlapped(gradientMB, shareMs, backward, profile.overlap) : backward;
  return { synced: (always + synced) * seconds, unsynced: (always + backward) * seconds };
}

/** Milliseconds of reducing gradients beside the backward pass: both run slower by `overlap` while they share. */
function overlapped(gradientMB: number, msPerMB: number, backward: number, overlap: number): number {
  const slowReduce = gradientMB * msPerMB * overlap;
  const slowBackward = backward * overlap;
  if (slowReduce > slowBackward) {
    return slowBackward + (gradientMB - slowBackward / (msPerMB * overlap)) * msPerMB;
  }
  return slowReduce + (backward - slowReduce / overlap);
}
