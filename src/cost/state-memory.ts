import { DTYPE_BYTES } from "../base/units.js";
import type { Precision } from "../plan/plan.js";
import { computeDtype, gradientDtype } from "../plan/precision.js";
import { stateRanks } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";

/** How the contributions to a layer's gradients come together. */
export interface GradientSums {
  /** Sums of several, or in the canonical order: kept in float32. */
  readonly addsUp: boolean;
  /** Reduced after every micro-batch, onto what those before have left: the canonical order. */
  readonly inOrder: boolean;
  /** Bytes of an element that ranks reduce. */
  readonly reducedBytes: number;
}

/** Bytes of one layer's states on one rank that live across the step. */
export interface StateMemory {
  readonly parameterBytes: number;
  readonly gradientBytes: number;
  readonly optimizerBytes: number;
  /** Whole parameters in the type that forward reads: what a ZeRO-3 gather makes. */
  readonly gatheredBytes: number;
  /** Whole gradients in the type in which a backward makes them, before they are added or reduced. */
  readonly wholeGradientBytes: number;
}

/** Shards start at multiples of this many elements; the same number as in the Program's flat layout. */
const SHARD_ALIGNMENT = 64;

/**
 * Model states (Rajbhandari et al. 2020, section 5): float32 parameters and gradients (4 bytes an element each),
 * two float32 moments (8). For bfloat16 forward reads a copy (2), and the float32 master counts as optimizer state,
 * which is sharded from ZeRO-1 on.
 *
 * @param elements parameters of the layer that this rank's tensor share holds
 */
export function stateMemory(
  elements: number,
  strategy: Strategy,
  precision: Precision,
  { addsUp, inOrder }: GradientSums,
): StateMemory {
  const shards = stateRanks(strategy);
  const kind = strategy.dataParallel;
  const unit = SHARD_ALIGNMENT * shards;
  const whole = Math.ceil(elements / unit) * unit;
  const shard = whole / shards;
  const scattered = kind === "zero2" || kind === "zero3" || (kind === "zero1" && inOrder);
  const gradients = scattered ? shard : whole;
  const moments = kind === "ddp" ? whole : shard;
  const kept = kind === "zero3" ? shard : whole;
  const mixed = computeDtype(precision) === "bfloat16";
  const madeBytes = DTYPE_BYTES[gradientDtype(precision)];
  return {
    parameterBytes: kept * (mixed ? 2 : 4),
    gradientBytes: gradients * (addsUp ? 4 : madeBytes),
    optimizerBytes: moments * (mixed ? 12 : 8),
    gatheredBytes: whole * (mixed ? 2 : 4),
    wholeGradientBytes: whole * madeBytes,
  };
}
