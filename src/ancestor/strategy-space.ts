import { type AncestorStrategy, compareStrategies } from "./ancestor-strategy.js";
import type { AncestorCase } from "./case.js";
import { degreesUpTo } from "./divisors.js";

/** Everything that a layer, and that embedding and head, may be spread as, in the ancestor's order. */
export interface StrategySpace {
  readonly layers: readonly AncestorStrategy[];
  readonly vocabulary: readonly AncestorStrategy[];
}

/**
 * The ancestor's strategy lists: powers of two up to the number of GPUs, data degrees floored.
 * With `everyDegree`, every divisor instead, and only products that use all GPUs, beside the powers of two.
 */
export function strategySpace(search: AncestorCase, everyDegree: boolean): StrategySpace {
  const { disable } = search;
  const ranks = search.nodes * search.gpusPerNode;
  const depth = search.layers.reduce((sum, layer) => sum + layer.layers, 0);
  const degrees = degreesUpTo(ranks, everyDegree);
  const kinds: readonly AncestorStrategy["dataParallel"][] =
    search.defaultDataParallel === "ddp" ? ["ddp", "zero3"] : ["zero2", "zero3"];
  const layers = new Map<string, AncestorStrategy>();
  for (const stages of degrees) {
    if (stages > depth || stages > search.maxPipeline || (disable.pipeline && stages > 1)) continue;
    for (const ulysses of [false, true]) {
      for (const split of degrees) {
        if (split > (ulysses ? search.maxSequence : search.maxTensor) || split * stages > ranks) continue;
        if (split > 1 && (ulysses ? disable.sequence : disable.tensor)) continue;
        for (const context of degrees) {
          if (context > search.maxContext || stages * split * context > ranks) continue;
          if (context > 1 && disable.context) continue;
          const data = Math.floor(Math.floor(Math.floor(ranks / stages) / split) / context);
          if (data > 1 && disable.data) continue;
          for (const dataParallel of data === 1 ? (["ddp"] as const) : kinds) {
            if (dataParallel === "zero3" && disable.zero3) continue;
            for (const recompute of disable.recompute ? [false] : [false, true]) {
              const strategy: AncestorStrategy = {
                stages,
                tensor: ulysses ? 1 : split,
                sequence: ulysses ? split : 1,
                context,
                data,
                dataParallel,
                recompute,
              };
              layers.set(keyOf(strategy), strategy);
            }
          }
        }
      }
    }
  }
  const vocabulary = new Map<string, AncestorStrategy>();
  for (const strategy of layers.values()) {
    if (disable.vocabularyTensor && strategy.tensor > 1) continue;
    if (disable.vocabularySequence && strategy.sequence > 1) continue;
    const plain = { ...strategy, recompute: false };
    vocabulary.set(keyOf(plain), plain);
  }
  return {
    layers: [...layers.values()].sort(compareStrategies),
    vocabulary: [...vocabulary.values()].sort(compareStrategies),
  };
}

function keyOf(strategy: AncestorStrategy): string {
  const { stages, tensor, sequence, context, data, dataParallel, recompute } = strategy;
  return `${stages} ${tensor} ${sequence} ${context} ${data} ${dataParallel} ${recompute}`;
}
