import type { Plan } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import { type AncestorStrategy, splitDegree } from "./ancestor-strategy.js";
import type { Assignment } from "./assignment.js";
import type { AncestorCase } from "./case.js";

/** A plan of the compatibility search in our own terms, and why no runtime could execute it, if so. */
export interface ConvertedPlan {
  readonly plan: Plan;
  readonly executable: boolean;
  /** In words, each reason once; empty when executable. */
  readonly reasons: readonly string[];
}

/** Converts what the compatibility search chose; everything that it floored or that our plans cannot say is told. */
export function planOfAssignment(search: AncestorCase, chosen: Assignment): ConvertedPlan {
  const ranks = search.nodes * search.gpusPerNode;
  const stages = chosen.stageLayers.length;
  const microBatch = chosen.globalBatch / chosen.microBatches;
  const reasons = new Set<string>();
  if (ranks % stages !== 0) reasons.add(`${ranks} ranks do not divide into ${stages} stages`);
  if (!Number.isInteger(microBatch)) {
    reasons.add(
      `a global batch of ${chosen.globalBatch} does not divide into ${chosen.microBatches} micro-batches`,
    );
  }
  if (search.precision === "fp16") reasons.add("fp16 training is not offered; the plan says bfloat16");
  const inspect = (strategy: AncestorStrategy): void => {
    const used = strategy.stages * strategy.tensor * strategy.sequence * strategy.context * strategy.data;
    if (used !== ranks) reasons.add(`its degrees use ${used} of ${ranks} ranks`);
    if (strategy.context > 1)
      reasons.add(`context parallel degree ${strategy.context} is counted as data parallel`);
    if (microBatch % strategy.data !== 0) {
      reasons.add(`a micro-batch of ${microBatch} samples does not divide over ${strategy.data} data ranks`);
    }
  };
  const layers: Strategy[] = [];
  const converted = new Map<AncestorStrategy, Strategy>();
  for (const strategy of chosen.layers) {
    let ours = converted.get(strategy);
    if (ours === undefined) {
      inspect(strategy);
      ours = ourStrategy(strategy);
      converted.set(strategy, ours);
    }
    layers.push(ours);
  }
  inspect(chosen.vocabulary);
  return {
    plan: {
      ranks,
      globalBatch: chosen.globalBatch,
      microBatches: chosen.microBatches,
      schedule: search.pipeline === "gpipe" ? "gpipe" : "1f1b",
      precision: search.precision === "fp32" ? "float32" : "bfloat16",
      stageLayers: chosen.stageLayers,
      layers,
      vocabulary: ourStrategy(chosen.vocabulary),
    },
    executable: reasons.size === 0,
    reasons: [...reasons],
  };
}

/** One strategy in our terms; groups of the ancestor's 3.0 are always consecutive. */
function ourStrategy(strategy: AncestorStrategy): Strategy {
  return {
    tensorDegree: splitDegree(strategy),
    tensorSplit: strategy.sequence > 1 ? "sequence" : "weights",
    dataDegree: strategy.data * strategy.context,
    dataParallel: strategy.dataParallel,
    recompute: strategy.recompute,
    placement: "consecutive",
  };
}
