import type { AncestorStrategy } from "./ancestor-strategy.js";
import type { CostOptions, FittedProfile } from "./cost/fitted-profile.js";
import { layerMemory } from "./cost/layer-memory.js";
import { layerTimes } from "./cost/layer-time.js";
import { localSamples } from "./cost/local-samples.js";
import { vocabularyMemory } from "./cost/vocabulary-memory.js";
import { vocabularyTimes } from "./cost/vocabulary-time.js";

/** Embedding and head under one strategy. */
export interface VocabularyChoice {
  readonly strategy: AncestorStrategy;
  /** Seconds per micro-batch by stage. */
  readonly synced: readonly number[];
  readonly unsynced: readonly number[];
  /** Whole MB by stage, framework's context included. */
  readonly memoryMB: readonly number[];
}

/** All prices of one global batch, one number of micro-batches and one pipeline degree. */
export interface CostTables {
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly stages: number;
  /** Columns S of the tables: strategies of this pipeline degree that the profile can price. */
  readonly strategies: readonly AncestorStrategy[];
  /** Seconds of a layer per micro-batch without gradient synchronisation, kinds × S. */
  readonly unsynced: Float64Array;
  /** What gradient synchronisation adds to it, kinds × S. */
  readonly exposed: Float64Array;
  /** Whole MB of a layer by stage, kinds × S. */
  readonly memoryMB: readonly Int32Array[];
  readonly vocabulary: readonly VocabularyChoice[];
}

/** Prices every strategy of one pipeline degree whose data ranks all get a sample. */
export function costTables(
  profile: FittedProfile,
  options: CostOptions,
  strategies: readonly AncestorStrategy[],
  vocabulary: readonly AncestorStrategy[],
  globalBatch: number,
  microBatches: number,
  stages: number,
): CostTables {
  const kinds = profile.kinds.length;
  const priced: AncestorStrategy[] = [];
  const times: number[] = [];
  const memories: number[] = [];
  for (const strategy of strategies) {
    const samples = localSamples(globalBatch, microBatches, strategy.data);
    const row: number[] = [];
    const sizes: number[] = [];
    for (let kind = 0; kind < kinds; kind++) {
      const time = layerTimes(profile, options, kind, strategy, samples);
      if (time === undefined) break;
      row.push(time.unsynced, time.synced - time.unsynced);
      for (let stage = 0; stage < stages; stage++) {
        const memory = layerMemory(profile.kinds[kind]!, options, strategy, samples, microBatches, stage);
        if (memory === undefined) break;
        sizes.push(Math.ceil(memory.statesMB + memory.activationMB));
      }
    }
    if (row.length < 2 * kinds || sizes.length < stages * kinds) continue;
    priced.push(strategy);
    times.push(...row);
    memories.push(...sizes);
  }
  const count = priced.length;
  const unsynced = new Float64Array(kinds * count);
  const exposed = new Float64Array(kinds * count);
  const memoryMB = Array.from({ length: stages }, () => new Int32Array(kinds * count));
  for (let s = 0; s < count; s++) {
    for (let kind = 0; kind < kinds; kind++) {
      unsynced[kind * count + s] = times[(s * kinds + kind) * 2]!;
      exposed[kind * count + s] = times[(s * kinds + kind) * 2 + 1]!;
      for (let stage = 0; stage < stages; stage++) {
        memoryMB[stage]![kind * count + s] = memories[(s * kinds + kind) * stages + stage]!;
      }
    }
  }
  const choices: VocabularyChoice[] = [];
  for (const strategy of vocabulary) {
    const choice = vocabularyChoice(profile, options, strategy, globalBatch, microBatches);
    if (choice !== undefined) choices.push(choice);
  }
  return {
    globalBatch,
    microBatches,
    stages,
    strategies: priced,
    unsynced,
    exposed,
    memoryMB,
    vocabulary: choices,
  };
}

/** Prices embedding and head under one strategy; undefined where the profile cannot. */
export function vocabularyChoice(
  profile: FittedProfile,
  options: CostOptions,
  strategy: AncestorStrategy,
  globalBatch: number,
  microBatches: number,
): VocabularyChoice | undefined {
  const samples = localSamples(globalBatch, microBatches, strategy.data);
  const times = vocabularyTimes(profile, options, strategy, samples);
  const memory = vocabularyMemory(profile, options, strategy, samples, microBatches);
  if (times === undefined || memory === undefined) return undefined;
  return {
    strategy,
    synced: times.synced,
    unsynced: times.unsynced,
    memoryMB: memory.statesMB.map((states, stage) =>
      Math.ceil(states + memory.activationMB[stage]! + memory.contextMB),
    ),
  };
}
