import { GalvatronError } from "../base/errors.js";
import type { Schedule } from "../plan/plan.js";
import type { DataParallel, Placement, Strategy, TensorSplit } from "../plan/strategy.js";

/** Restricts the plans that a search considers. What is left out stays unrestricted. */
export interface SpaceOptions {
  readonly dataParallel?: readonly DataParallel[];
  readonly tensorSplits?: readonly TensorSplit[];
  readonly placements?: readonly Placement[];
  /** `[false]` forbids recompute, `[true]` forces it. */
  readonly recompute?: readonly boolean[];
  readonly schedules?: readonly Schedule[];
  /** The only degrees allowed. */
  readonly tensorDegrees?: readonly number[];
  readonly dataDegrees?: readonly number[];
  readonly pipelineDegrees?: readonly number[];
  readonly maxTensorDegree?: number;
  readonly maxDataDegree?: number;
  readonly maxPipelineDegree?: number;
  /** Micro-batches per step: one number, or those to choose from. */
  readonly microBatches?: number | readonly number[];
  readonly maxMicroBatches?: number;
  /** The only strategies of a kind ("embedding" for the vocabulary); kinds that are not named stay free. */
  readonly strategies?: Readonly<Record<string, readonly Strategy[]>>;
  /** The same strategy for every layer. */
  readonly uniformLayers?: boolean;
  /** Stages of equal length. */
  readonly evenStages?: boolean;
}

/** A well-known scheme that a search can be held against. */
export type Baseline = "dp" | "zero3" | "tp" | "pp" | "3d" | "dp+tp" | "dp+pp";

/** All of them, from the plainest on. */
export const BASELINES: readonly Baseline[] = ["dp", "zero3", "tp", "pp", "3d", "dp+tp", "dp+pp"];

const PLAIN: SpaceOptions = {
  dataParallel: ["ddp"],
  tensorSplits: ["weights"],
  placements: ["consecutive"],
  recompute: [false],
  tensorDegrees: [1],
  pipelineDegrees: [1],
};

/** The space of a well-known scheme, for comparison with the full one. */
export function baselineSpace(name: Baseline, ranks: number): SpaceOptions {
  switch (name) {
    case "dp":
      return PLAIN;
    case "zero3":
      return { ...PLAIN, dataParallel: ["zero3"] };
    case "tp":
      return { ...PLAIN, tensorDegrees: [ranks] };
    case "pp":
      return { ...PLAIN, pipelineDegrees: [ranks], schedules: ["1f1b"] };
    case "dp+tp": {
      const { tensorDegrees: _, ...rest } = PLAIN;
      return rest;
    }
    case "dp+pp": {
      const { pipelineDegrees: _, ...rest } = PLAIN;
      return rest;
    }
    case "3d": {
      // Two stages of two-way tensor parallelism, the rest data parallel: the usual hand-made plan.
      if (ranks % 4 !== 0) {
        throw new GalvatronError(
          "ARGUMENT_INVALID",
          `Expected a number of ranks divisible by 4 for the 3d baseline, but got ${ranks}.`,
          { ranks },
        );
      }
      return { ...PLAIN, tensorDegrees: [2], pipelineDegrees: [2] };
    }
  }
}

/** Divisors in ascending order. */
export function divisors(value: number): number[] {
  const small: number[] = [];
  const large: number[] = [];
  for (let i = 1; i * i <= value; i++) {
    if (value % i !== 0) continue;
    small.push(i);
    if (i * i !== value) large.push(value / i);
  }
  return small.concat(large.reverse());
}
