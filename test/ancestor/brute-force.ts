import type { AncestorStrategy } from "../../src/ancestor/ancestor-strategy.js";
import { splitDegree } from "../../src/ancestor/ancestor-strategy.js";
import { bufferMB } from "../../src/ancestor/cost/buffer-memory.js";
import type { CostOptions } from "../../src/ancestor/cost/fitted-profile.js";
import { CONTEXT_MB } from "../../src/ancestor/cost/fitted-profile.js";
import { layerMemory } from "../../src/ancestor/cost/layer-memory.js";
import { layerTimes } from "../../src/ancestor/cost/layer-time.js";
import { localSamples } from "../../src/ancestor/cost/local-samples.js";
import { pipelineTime } from "../../src/ancestor/cost/pipeline-time.js";
import { vocabularyMemory } from "../../src/ancestor/cost/vocabulary-memory.js";
import { vocabularyTimes } from "../../src/ancestor/cost/vocabulary-time.js";
import type { Instance } from "./random-instance.js";

/**
 * Least seconds per sample over every plan of an instance, each priced from scratch: the slow twin of the search.
 * `uneven` tries every division of layers into stages.
 */
export function bruteForce({ search, profile, space }: Instance, uneven: boolean): number {
  const ranks = search.nodes * search.gpusPerNode;
  const kindOf = search.layers.flatMap((layer, kind) => Array.from({ length: layer.layers }, () => kind));
  const depth = kindOf.length;
  const totalMB = search.memoryGB * 1024;
  const usableMB = totalMB - (search.memoryGB > 20 ? Math.trunc(totalMB * 0.2) : 0);
  const options: CostOptions = {
    mixedPrecision: search.precision !== "fp32",
    asyncGradReduce: search.asyncGradReduce,
    sequenceParallel: search.sequenceParallel,
    pipeline: search.pipeline,
    timeFactor: search.timeFactor,
  };
  let best = Infinity;
  for (const globalBatch of search.batches) {
    for (let microBatches = 1; microBatches <= globalBatch; microBatches++) {
      if (globalBatch % microBatches !== 0) continue;
      if (search.microBatches !== null && search.microBatches !== microBatches) continue;
      for (const stages of [1, 2, 4, 8]) {
        if (stages > microBatches || stages > depth || stages > ranks) continue;
        const stageRanks = ranks / stages;
        const mostData = Math.max(1, Math.min(globalBatch / microBatches, stageRanks));
        const usable = (strategy: AncestorStrategy): boolean =>
          strategy.stages === stages && strategy.data <= mostData;
        const layers = space.layers.filter(usable);
        for (const mode of ["tp_only", "sp_only", "tp_with_sp"]) {
          const buffers: number[] = [];
          const widest = Math.min(stageRanks, search.maxTensor);
          if (mode === "sp_only") buffers.push(widest);
          else
            for (let split = Math.max(1, stageRanks / mostData) | 0; split <= widest; split++)
              if ((split & (split - 1)) === 0) buffers.push(split);
          for (const buffer of buffers) {
            const allowed = (strategy: AncestorStrategy): boolean =>
              splitDegree(strategy) <= buffer &&
              (mode !== "tp_only" || strategy.sequence === 1) &&
              (mode !== "sp_only" || strategy.tensor === 1);
            const shared =
              search.sequenceParallel && search.globalMemoryBuffer && mode !== "sp_only"
                ? bufferMB(profile, ranks, stages, buffer, globalBatch, microBatches)
                : 0;
            const choices = layers.filter(allowed);
            const pairs: [readonly AncestorStrategy[], AncestorStrategy[]][] = search.fineGrained
              ? [[choices, space.vocabulary.filter(usable).filter(allowed)]]
              : choices.map((one) => [[one], [{ ...one, recompute: false }]]);
            for (const [own, vocabularies] of pairs) {
              const prices = new Map<string, { c: number; s: number; mb: number }>();
              for (const strategy of own) {
                const samples = localSamples(globalBatch, microBatches, strategy.data);
                for (let kind = 0; kind < profile.kinds.length; kind++) {
                  const time = layerTimes(profile, options, kind, strategy, samples);
                  for (let stage = 0; stage < stages; stage++) {
                    const memory = layerMemory(
                      profile.kinds[kind]!,
                      options,
                      strategy,
                      samples,
                      microBatches,
                      stage,
                    );
                    if (time === undefined || memory === undefined) continue;
                    prices.set(`${own.indexOf(strategy)} ${kind} ${stage}`, {
                      c: time.unsynced,
                      s: time.synced,
                      mb: Math.ceil(memory.statesMB + memory.activationMB),
                    });
                  }
                }
              }
              for (const vocabulary of vocabularies) {
                const samples = localSamples(globalBatch, microBatches, vocabulary.data);
                const rest = vocabularyTimes(profile, options, vocabulary, samples);
                const restMemory = vocabularyMemory(profile, options, vocabulary, samples, microBatches);
                if (rest === undefined || restMemory === undefined) continue;
                const room = restMemory.statesMB.map(
                  (states, stage) =>
                    usableMB -
                    Math.ceil(states + restMemory.activationMB[stage]! + CONTEXT_MB) -
                    (search.fineGrained ? Math.trunc(shared) : Math.ceil(shared)),
                );
                for (const division of divisions(depth, stages, uneven)) {
                  const stageOf = division.flatMap((count, stage) =>
                    Array.from({ length: count }, () => stage),
                  );
                  const c = [...rest.unsynced];
                  const s = Array.from({ length: stages }, () => 0);
                  const used = Array.from({ length: stages }, () => 0);
                  const visit = (layer: number, only: number): void => {
                    if (layer === depth) {
                      best = Math.min(best, pipelineTime(c, s, microBatches) / globalBatch);
                      return;
                    }
                    const stage = stageOf[layer]!;
                    for (let i = Math.max(0, only); i < (only < 0 ? own.length : only + 1); i++) {
                      const price = prices.get(`${i} ${kindOf[layer]} ${stage}`);
                      if (price === undefined || used[stage]! + price.mb > room[stage]!) continue;
                      const before = [c[stage]!, s[stage]!, used[stage]!] as const;
                      c[stage]! += price.c;
                      s[stage]! += price.s;
                      used[stage]! += price.mb;
                      visit(layer + 1, search.fineGrained ? -1 : i);
                      [c[stage], s[stage], used[stage]] = before;
                    }
                  };
                  visit(0, -1);
                }
              }
            }
          }
        }
      }
    }
  }
  return best;
}

function divisions(depth: number, stages: number, uneven: boolean): number[][] {
  if (!uneven) {
    const each = Math.floor(depth / stages);
    return [[...Array.from({ length: stages - 1 }, () => each), depth - each * (stages - 1)]];
  }
  if (stages === 1) return [[depth]];
  const all: number[][] = [];
  for (let first = 1; first <= depth - stages + 1; first++) {
    for (const rest of divisions(depth - first, stages - 1, true)) all.push([first, ...rest]);
  }
  return all;
}
