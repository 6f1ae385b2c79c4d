import { DTYPE_BYTES } from "../base/units.js";
import type { Precision } from "../plan/plan.js";
import { computeDtype, gradientDtype } from "../plan/precision.js";
import { stateRanks } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { type CollectiveTimes, collectiveMs } from "./collective-time.js";
import type { GroupShape } from "./group-shape.js";

/** What keeping one layer's states over its data ranks costs. */
export interface StateTime {
  /** ZeRO-3: gathering the parameters, before forward and again before backward, every micro-batch. */
  readonly gatherMs: number;
  /** ZeRO-2 and 3: reduce-scattering the gradients, every micro-batch. */
  readonly scatterMs: number;
  /** DDP and ZeRO-1: reducing the gradients, once a step. */
  readonly reduceMs: number;
  /** ZeRO-1 and 2: gathering the parameters after the update, once a step. */
  readonly afterUpdateMs: number;
  /** The update itself, once a step. */
  readonly optimizerMs: number;
}

/** Bytes that AdamW moves per element: reads parameter, gradient and two moments, writes all but the gradient. */
export const ADAMW_BYTES_PER_ELEMENT: number = 7 * 4;
/** Bytes that the sum of squares reads per element of gradient. */
const NORM_BYTES_PER_ELEMENT = 4;

/**
 * Times of ZeRO's stages (Rajbhandari et al. 2020, section 7), in full: what overlap hides is taken off later.
 *
 * @param elements parameters of the layer that this rank's tensor share reads
 * @param held of these, what the layer itself keeps: reduced and updated once a step
 * @param addsUp several contributions make a gradient: they are added up, and the sum read, in float32
 */
export function stateTime(
  times: CollectiveTimes,
  group: GroupShape,
  elements: number,
  held: number,
  strategy: Strategy,
  precision: Precision,
  addsUp: boolean,
  optimizerGBps: number,
): StateTime {
  const kind = strategy.dataParallel;
  const computeBytes = DTYPE_BYTES[computeDtype(precision)];
  const gradientBytes = DTYPE_BYTES[gradientDtype(precision)];
  const owned = kind === "ddp" ? held : held / stateRanks(strategy);
  const copyBytes = computeBytes === 4 ? 0 : computeBytes;
  // Update and norm each read what is not added up as it was made.
  const savedBytes = addsUp ? 0 : 2 * (4 - gradientBytes);
  const updateBytes = ADAMW_BYTES_PER_ELEMENT + NORM_BYTES_PER_ELEMENT + copyBytes - savedBytes;
  // Sums are reduced in the gradients' type: converted before, and what is owned back again after.
  const converted = addsUp && gradientBytes < 4 ? (held + owned) * (4 + gradientBytes) : 0;
  const convertMs = converted / (optimizerGBps * 1e6);
  const optimizerMs = (owned * updateBytes) / (optimizerGBps * 1e6);
  const none = { gatherMs: 0, scatterMs: 0, reduceMs: 0, afterUpdateMs: 0, optimizerMs };
  if (group.ranks <= 1) return none;
  const readBytes = elements * computeBytes;
  const heldBytes = held * computeBytes;
  switch (kind) {
    case "ddp":
      return { ...none, reduceMs: convertMs + collectiveMs(times, "allReduce", group, gradientBytes * held) };
    case "zero1":
      return {
        ...none,
        reduceMs: convertMs + collectiveMs(times, "reduceScatter", group, gradientBytes * held),
        afterUpdateMs: collectiveMs(times, "allGather", group, heldBytes),
      };
    case "zero2":
      return {
        ...none,
        scatterMs: collectiveMs(times, "reduceScatter", group, gradientBytes * elements),
        afterUpdateMs: collectiveMs(times, "allGather", group, heldBytes),
      };
    case "zero3":
      return {
        ...none,
        gatherMs: collectiveMs(times, "allGather", group, readBytes),
        scatterMs: collectiveMs(times, "reduceScatter", group, gradientBytes * elements),
      };
  }
}

/**
 * Adding one micro-batch's gradients to the step's: every float32 element is read and written, and what is added read.
 *
 * @param gradientBytes of the sums
 */
export function accumulateTimeMs(gradientBytes: number, precision: Precision, optimizerGBps: number): number {
  const addedShare = DTYPE_BYTES[gradientDtype(precision)] / 4;
  return ((2 + addedShare) * gradientBytes) / (optimizerGBps * 1e6);
}
