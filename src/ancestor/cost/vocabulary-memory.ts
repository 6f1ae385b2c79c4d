import { type AncestorStrategy, shareDegree, splitDegree } from "../ancestor-strategy.js";
import { CONTEXT_MB, type CostOptions, type FittedProfile, type VocabularyMemory } from "./fitted-profile.js";
import { heldMicroBatches } from "./layer-memory.js";
import { stateRatio } from "./zero-ratio.js";

/** Memory of embedding and head by stage on one rank, in MB. The framework's context comes on top. */
export interface VocabularyStageMemory {
  readonly statesMB: readonly number[];
  readonly activationMB: readonly number[];
  readonly contextMB: number;
}

/**
 * The ancestor's embedding and head memory (its version 3.0). Returns undefined where the profile lacks the degree.
 */
export function vocabularyMemory(
  profile: FittedProfile,
  options: CostOptions,
  strategy: AncestorStrategy,
  samples: number,
  microBatches: number,
): VocabularyStageMemory | undefined {
  const { stages, tensor } = strategy;
  const split = splitDegree(strategy);
  const ratio = stateRatio(strategy.dataParallel, shareDegree(strategy), microBatches, options);
  const statesMB = Array.from({ length: stages }, () => 0);
  const activationMB = Array.from({ length: stages }, () => 0);
  const place = (stage: number, table: VocabularyMemory): boolean => {
    const states = table.statesMB.get(tensor);
    const activation = table.activationMB.get(split);
    if (states === undefined || activation === undefined) return false;
    statesMB[stage] = states * ratio;
    activationMB[stage] =
      activation * heldMicroBatches(options.pipeline, stages, stage, microBatches) * samples;
    return true;
  };
  const known =
    stages === 1
      ? place(0, profile.vocabularyWhole)
      : place(0, profile.vocabularyFirst) && place(stages - 1, profile.vocabularyLast);
  return known ? { statesMB, activationMB, contextMB: CONTEXT_MB } : undefined;
}
