import type { AncestorStrategy } from "../ancestor-strategy.js";
import type { CostOptions } from "./fitted-profile.js";

/** Share of the states that sharding never gets rid of. */
const RESIDUE: number = 0.003;

/**
 * Share of a layer's states (weights, gradients, moments) that one rank keeps, by the ancestor's account: it depends on
 * whether gradients of several micro-batches pile up unsharded, and on an extra float32 gradient where they do not.
 */
export function stateRatio(
  dataParallel: AncestorStrategy["dataParallel"],
  share: number,
  microBatches: number,
  options: CostOptions,
): number {
  if (dataParallel === "ddp") return 1;
  const sharded = 1 / share + RESIDUE;
  const mixed = options.mixedPrecision;
  const zero3 = dataParallel === "zero3";
  if (microBatches === 1) {
    if (zero3) return sharded;
    return mixed ? (7 / 8) * sharded + 1 / 8 : (3 / 4) * sharded + 1 / 4;
  }
  if (options.asyncGradReduce) {
    if (zero3) return mixed ? (7 / 8) * sharded + 1 / 8 : (3 / 4) * sharded + 1 / 4;
    return mixed ? (6 / 8) * sharded + 2 / 8 : (2 / 4) * sharded + 2 / 4;
  }
  if (zero3) return (sharded * 5) / 4;
  return mixed ? (((7 / 8) * sharded + 1 / 8) * 5) / 4 : (3 / 4) * sharded + 1 / 4;
}
