import { costModel } from "../cost/cost-model.js";
import { fitsWithin, hasStrategies, leastBudget, memoryKey } from "./memory-floor.js";
import { type OuterChoice, outerChoices } from "./outer-choice.js";
import { outerShapes } from "./outer-shapes.js";
import type { SearchInputs } from "./search.js";

/** What the leanest plan of an outer choice needs. */
export interface LeastMemory {
  readonly outer: OuterChoice;
  /** Bytes of its fullest rank, reserve counted. */
  readonly bytes: number;
}

/** The least memory of every outer choice of a space, leanest first; choices that need the same are told once. */
export function leastMemories(inputs: Omit<SearchInputs, "budgetBytes">): LeastMemory[] {
  const { model, hardware, space = {} } = inputs;
  const cost = costModel(model, inputs.modelProfile, hardware, inputs.gradientOrder);
  const kinds = model.layers;
  const ranks = cost.cluster.nodes * cost.cluster.ranksPerNode;
  const shapeOf = outerShapes(cost, space);
  const found = new Map<string, LeastMemory>();
  for (const outer of outerChoices(ranks, kinds.length, inputs.globalBatch, space)) {
    const shape = shapeOf(outer);
    const key = memoryKey(shape, outer);
    if (found.has(key) || !hasStrategies(shape)) continue;
    const even = space.evenStages ? kinds.length / outer.stages : 0;
    const fits = (bytes: number): boolean => fitsWithin(shape, outer, kinds, even, bytes);
    let enough = 1;
    while (!fits(enough)) enough *= 2;
    found.set(key, { outer, bytes: leastBudget(fits, 0, enough, 1) + hardware.reservedBytes });
  }
  return [...found.values()].sort((a, b) => a.bytes - b.bytes);
}
