import { type AncestorStrategy, shareDegree, splitDegree } from "../ancestor-strategy.js";
import type { CostOptions, KindProfile } from "./fitted-profile.js";
import { stateRatio } from "./zero-ratio.js";

/** Memory of one layer on one rank, in MB. */
export interface LayerMemory {
  readonly parameterMB: number;
  readonly statesMB: number;
  readonly activationMB: number;
}

/** Micro-batches whose activations a stage holds at once: all under GPipe, as many as stages are left under 1F1B. */
export function heldMicroBatches(
  pipeline: CostOptions["pipeline"],
  stages: number,
  stage: number,
  microBatches: number,
): number {
  if (stages === 1) return 1;
  return pipeline === "gpipe" ? microBatches : stages - stage;
}

/**
 * The ancestor's layer memory (its version 3.0): states of 4 float32 copies by ZeRO's share, activations of the
 * micro-batches held. Returns undefined where the profile has no activation for the split degree.
 */
export function layerMemory(
  kind: KindProfile,
  options: CostOptions,
  strategy: AncestorStrategy,
  samples: number,
  microBatches: number,
  stage: number,
): LayerMemory | undefined {
  const split = splitDegree(strategy);
  const parameterMB = kind.parameterMB / strategy.tensor;
  const statesMB =
    4 * parameterMB * stateRatio(strategy.dataParallel, shareDegree(strategy), microBatches, options);
  const held = heldMicroBatches(options.pipeline, strategy.stages, stage, microBatches) * samples;
  const perSample = strategy.recompute ? kind.recomputeActivationMB : kind.activationMB.get(split);
  if (perSample === undefined) return undefined;
  let activationMB = perSample * held;
  if (strategy.recompute && (strategy.sequence > 1 || (strategy.tensor > 1 && options.sequenceParallel))) {
    activationMB /= split;
  }
  return { parameterMB, statesMB, activationMB };
}
