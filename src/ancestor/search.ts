import { type Assignment, type Candidate, evenDivision } from "./assignment.js";
import type { AncestorCase } from "./case.js";
import type { FittedProfile } from "./cost/fitted-profile.js";
import { assignmentOf, evenBound, type StageSet, solveEven, stageOptions, stageSet } from "./even-search.js";
import { freedoms, kindsOfLayers } from "./search-space.js";
import type { Proof } from "./stage-choice.js";
import { type StrategySpace, strategySpace } from "./strategy-space.js";
import { memoryBudget } from "./sub-search.js";

/** A proven optimum of the compatibility search, or proof that nothing fits. */
export interface SearchOutcome {
  readonly best: Assignment | null;
  /** Places of the outer loops in which something may fit, and those that had to be solved. */
  readonly candidates: number;
  readonly solved: number;
  /** False only where a search had to be cut short: then a better plan may exist. */
  readonly proven: boolean;
}

interface Place extends Candidate {
  readonly set: StageSet;
}

/**
 * The fastest plan of the ancestor's 3.0 space under its cost model: its batches, micro-batches, pipeline degrees,
 * sub-searches, embedding strategies, reserve, floors and even division, but the optimum of its own step time,
 * where it takes each stage's least sum of layer times with switch costs that its step time then leaves out.
 *
 * All places of the outer loops are bounded first (fractional layers), then solved exactly from the most promising on
 * until no bound beats the best plan.
 */
export function searchEven(
  search: AncestorCase,
  profile: FittedProfile,
  space: StrategySpace = strategySpace(search, false),
): SearchOutcome {
  const kindOfLayer = kindsOfLayers(search);
  const { usableMB } = memoryBudget(search.memoryGB);
  const places: Place[] = [];
  for (const { tables, sub, allowed, vocabulary, bufferMB } of freedoms(
    search,
    profile,
    space,
    false,
    false,
  )) {
    const options = stageOptions(tables, allowed, profile.kinds.length);
    const set = stageSet(tables, options, kindOfLayer, evenDivision(kindOfLayer.length, tables.stages));
    for (const choice of vocabulary) {
      const budgetMB = choice.memoryMB.map((used) => usableMB - used - bufferMB);
      const bound = evenBound(tables, set, choice.unsynced, budgetMB);
      if (bound < Infinity) places.push({ tables, sub, vocabulary: choice, budgetMB, bound, set });
    }
  }
  places.sort((a, b) => perSample(a) - perSample(b));
  let best: Assignment | null = null;
  let fastest = Infinity;
  let solved = 0;
  const proof: Proof = { complete: true, laterExposed: false, divisions: 0 };
  for (const place of places) {
    if (perSample(place) >= fastest * (1 - 1e-12)) break;
    solved++;
    const { tables, set, vocabulary, budgetMB } = place;
    const cutoff = fastest * tables.globalBatch;
    const solution = solveEven(tables, set, vocabulary.unsynced, budgetMB, cutoff, proof);
    if (solution === null) continue;
    best = assignmentOf(place, kindOfLayer, set, solution, usableMB);
    fastest = best.time / best.globalBatch;
  }
  return { best, candidates: places.length, solved, proven: proof.complete };
}

/** Seconds per sample at best: what throughput ranks. */
export function perSample(candidate: Candidate): number {
  return candidate.bound / candidate.tables.globalBatch;
}
