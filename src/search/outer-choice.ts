import { GalvatronError } from "../base/errors.js";
import type { Schedule } from "../plan/plan.js";
import { divisors, type SpaceOptions } from "./space.js";

/** Samples per step when nobody says how many. */
export const DEFAULT_GLOBAL_BATCH = 8;

/** A range of global batches: `from` to `to`, both counted, in steps of `step` (default: of `from`). */
export interface BatchRange {
  readonly from: number;
  readonly to: number;
  readonly step?: number;
}

/** What stands outside the layers: one sub-search each. */
export interface OuterChoice {
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly stages: number;
  readonly schedule: Schedule;
}

/**
 * Global batches that a search considers, ascending.
 *
 * @throws ARGUMENT_INVALID
 */
export function batchList(globalBatch: number | BatchRange | undefined): number[] {
  const range = globalBatch ?? DEFAULT_GLOBAL_BATCH;
  const { from, to, step = from } = typeof range === "number" ? { from: range, to: range, step: 1 } : range;
  const whole = [from, to, step].every((value) => Number.isSafeInteger(value) && value > 0);
  if (!whole || to < from) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected a global batch as a positive whole number or a range { from ≤ to, step }, but got from ${from} to ${to} in steps of ${step}.`,
      { from, to, step },
    );
  }
  const result: number[] = [];
  for (let batch = from; batch <= to; batch += step) result.push(batch);
  return result;
}

/** All outer choices of a space, in a fixed order. */
export function outerChoices(
  ranks: number,
  layers: number,
  globalBatch: number | BatchRange | undefined,
  space: SpaceOptions,
): OuterChoice[] {
  const allowed = typeof space.microBatches === "number" ? [space.microBatches] : space.microBatches;
  const schedules = space.schedules ?? (["1f1b", "gpipe"] as const);
  const result: OuterChoice[] = [];
  for (const batch of batchList(globalBatch)) {
    for (const stages of divisors(ranks)) {
      if (stages > layers || stages > (space.maxPipelineDegree ?? Number.POSITIVE_INFINITY)) continue;
      if (space.pipelineDegrees && !space.pipelineDegrees.includes(stages)) continue;
      if (space.evenStages && layers % stages !== 0) continue;
      for (const microBatches of divisors(batch)) {
        if (allowed && !allowed.includes(microBatches)) continue;
        if (microBatches > (space.maxMicroBatches ?? Number.POSITIVE_INFINITY)) continue;
        for (const schedule of schedules) {
          // With one stage or one micro-batch there is no order to choose; GPipe only holds more.
          const same = stages === 1 || microBatches === 1;
          if (same && schedule === "gpipe" && schedules.includes("1f1b")) continue;
          result.push({ globalBatch: batch, microBatches, stages, schedule });
        }
      }
    }
  }
  return result;
}
