import type { Precision } from "../plan/plan.js";
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
 */
export function stateTime(
  times: CollectiveTimes,
  group: GroupShape,
  elements: number,
  held: number,
  strategy: Strategy,
  precision: Precision,
  optimizerGBps: number,
): StateTime {
  const kind = strategy.dataParallel;
  const computeBytes = precision === "bfloat16" ? 2 : 4;
  const owned = kind === "ddp" ? held : held / stateRanks(strategy);
  const updateBytes = ADAMW_BYTES_PER_ELEMENT + NORM_BYTES_PER_ELEMENT + (precision === "bfloat16" ? 2 : 0);
  const optimizerMs = (owned * updateBytes) / (optimizerGBps * 1e6);
  const none = { gatherMs: 0, scatterMs: 0, reduceMs: 0, afterUpdateMs: 0, optimizerMs };
  if (group.ranks <= 1) return none;
  const readBytes = elements * computeBytes;
  const heldBytes = held * computeBytes;
  switch (kind) {
    case "ddp":
      return { ...none, reduceMs: collectiveMs(times, "allReduce", group, 4 * held) };
    case "zero1":
      return {
        ...none,
        reduceMs: collectiveMs(times, "reduceScatter", group, 4 * held),
        afterUpdateMs: collectiveMs(times, "allGather", group, heldBytes),
      };
    case "zero2":
      return {
        ...none,
        scatterMs: collectiveMs(times, "reduceScatter", group, 4 * elements),
        afterUpdateMs: collectiveMs(times, "allGather", group, heldBytes),
      };
    case "zero3":
      return {
        ...none,
        gatherMs: collectiveMs(times, "allGather", group, readBytes),
        scatterMs: collectiveMs(times, "reduceScatter", group, 4 * elements),
      };
  }
}

/** Adding one micro-batch's gradients to the step's: two reads and a write of every float32 element. */
export function accumulateTimeMs(gradientBytes: number, optimizerGBps: number): number {
  return (3 * gradientBytes) / (optimizerGBps * 1e6);
}
