import { DTYPE_BYTES } from "../base/units.js";
import type { Precision } from "../plan/plan.js";
import { computeDtype, gradientDtype } from "../plan/precision.js";
import { stateRanks } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { type CollectiveTimes, collectiveMs } from "./collective-time.js";
import type { GroupShape } from "./group-shape.js";
import type { GradientSums } from "./state-memory.js";

/** What keeping one layer's states over its data ranks costs. */
export interface StateTime {
  /** ZeRO-3: gathering the parameters, before forward and again before backward, every micro-batch. */
  readonly gatherMs: number;
  /** ZeRO-2 and 3, in the canonical order all: reduce-scattering the gradients, every micro-batch. */
  readonly scatterMs: number;
  /** DDP and ZeRO-1: reducing the gradients, once a step; in the canonical order DDP's gathering their sums. */
  readonly reduceMs: number;
  /** DDP and ZeRO-1: converting sums to the type that is reduced, and back, once a step. */
  readonly convertMs: number;
  /** ZeRO-1 and 2: gathering the parameters before the first forward, once a step. */
  readonly firstGatherMs: number;
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
 * @param elements parameters of the layer that this rank's tensor share reads; of these, what the layer itself keeps
 * and updates once a step; and what is reduced once a step
 */
export function stateTime(
  times: CollectiveTimes,
  group: GroupShape,
  elements: { readonly read: number; readonly held: number; readonly reduced: number },
  strategy: Strategy,
  precision: Precision,
  { addsUp, inOrder, reducedBytes }: GradientSums,
  optimizerGBps: number,
): StateTime {
  const kind = strategy.dataParallel;
  const { read, held, reduced } = elements;
  const computeBytes = DTYPE_BYTES[computeDtype(precision)];
  const gradientBytes = DTYPE_BYTES[gradientDtype(precision)];
  const owned = kind === "ddp" ? held : held / stateRanks(strategy);
  const copyBytes = computeBytes === 4 ? 0 : computeBytes;
  // Update and norm each read what is not added up as it was made.
  const savedBytes = addsUp ? 0 : 2 * (4 - gradientBytes);
  const updateBytes = ADAMW_BYTES_PER_ELEMENT + NORM_BYTES_PER_ELEMENT + copyBytes - savedBytes;
  // Sums are reduced in the gradients' type: converted before, and what is owned back again after.
  const converted = addsUp && reducedBytes < 4 ? (held + owned) * (4 + reducedBytes) : 0;
  const convertMs = streamMs(converted, optimizerGBps);
  const optimizerMs = streamMs(owned * updateBytes, optimizerGBps);
  const none = { gatherMs: 0, scatterMs: 0, reduceMs: 0, convertMs: 0, firstGatherMs: 0, optimizerMs };
  if (group.ranks <= 1) return none;
  const readBytes = read * computeBytes;
  const heldBytes = held * computeBytes;
  const scatter = (): number => collectiveMs(times, "reduceScatter", group, reducedBytes * read);
  const once = (collective: "allReduce" | "allGather" | "reduceScatter"): number =>
    collectiveMs(times, collective, group, reducedBytes * reduced);
  switch (kind) {
    case "ddp":
      return inOrder
        ? { ...none, scatterMs: scatter(), reduceMs: once("allGather") }
        : { ...none, convertMs, reduceMs: once("allReduce") };
    case "zero1":
      return {
        ...none,
        ...(inOrder ? { scatterMs: scatter() } : { convertMs, reduceMs: once("reduceScatter") }),
        firstGatherMs: collectiveMs(times, "allGather", group, heldBytes),
      };
    case "zero2":
      return {
        ...none,
        scatterMs: scatter(),
        firstGatherMs: collectiveMs(times, "allGather", group, heldBytes),
      };
    case "zero3":
      return {
        ...none,
        gatherMs: collectiveMs(times, "allGather", group, readBytes),
        scatterMs: scatter(),
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
  return streamMs((2 + addedShare) * gradientBytes, optimizerGBps);
}

/** Work that is bound by memory: bytes read and written, over the optimizer's bandwidth. */
export function streamMs(bytes: number, optimizerGBps: number): number {
  return bytes / (optimizerGBps * 1e6);
}
