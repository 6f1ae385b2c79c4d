import type { AncestorStrategy } from "./ancestor-strategy.js";
import { type Assignment, type Candidate, evenDivision } from "./assignment.js";
import type { AncestorCase } from "./case.js";
import type { CostOptions, FittedProfile } from "./cost/fitted-profile.js";
import { type CostTables, costTables } from "./cost-tables.js";
import { assignmentOf, evenBound, type StageSet, solveEven, stageOptions, stageSet } from "./even-search.js";
import { type StrategySpace, strategySpace } from "./strategy-space.js";
import { allows, memoryBudget, mostData, type SubSearch, subSearches } from "./sub-search.js";

/** A proven optimum of the compatibility search, or proof that nothing fits. */
export interface SearchOutcome {
  readonly best: Assignment | null;
  /** Places of the outer loops that were considered, and those that had to be solved. */
  readonly candidates: number;
  readonly solved: number;
}

/** What the formulas need of a case. */
export function costOptions(search: AncestorCase): CostOptions {
  return {
    mixedPrecision: search.precision !== "fp32",
    asyncGradReduce: search.asyncGradReduce,
    sequenceParallel: search.sequenceParallel,
    pipeline: search.pipeline,
    timeFactor: search.timeFactor,
  };
}

/** Kind of every layer, in order. */
export function kindsOfLayers(search: AncestorCase): Int32Array {
  return Int32Array.from(search.layers.flatMap((layer, kind) => new Array<number>(layer.layers).fill(kind)));
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
export function searchEven(search: AncestorCase, profile: FittedProfile): SearchOutcome {
  const kindOfLayer = kindsOfLayers(search);
  const { usableMB } = memoryBudget(search.memoryGB);
  const places: Place[] = [];
  for (const tables of allTables(search, profile, strategySpace(search, false))) {
    const division = evenDivision(kindOfLayer.length, tables.stages);
    for (const sub of needed(
      subSearches(search, profile, tables.globalBatch, tables.microBatches, tables.stages, false),
    )) {
      const options = stageOptions(tables, sub, profile.kinds.length);
      const set = stageSet(tables, options, kindOfLayer, division);
      for (const vocabulary of tables.vocabulary) {
        if (!allows(sub, vocabulary.strategy)) continue;
        const budgetMB = vocabulary.memoryMB.map((used) => usableMB - used - Math.trunc(sub.bufferMB));
        const bound = evenBound(tables, set, vocabulary.unsynced, budgetMB);
        if (bound < Infinity) places.push({ tables, sub, vocabulary, budgetMB, bound, set });
      }
    }
  }
  const promise = (place: Place): number => place.bound / place.tables.globalBatch;
  places.sort((a, b) => promise(a) - promise(b));
  let best: Assignment | null = null;
  let perSample = Infinity;
  let solved = 0;
  for (const place of places) {
    if (promise(place) >= perSample * (1 - 1e-12)) break;
    solved++;
    const cutoff = perSample * place.tables.globalBatch;
    const solution = solveEven(place.tables, place.set, place.vocabulary.unsynced, place.budgetMB, cutoff);
    if (solution === null) continue;
    best = assignmentOf(place, kindOfLayer, place.set, solution, usableMB);
    perSample = best.time / best.globalBatch;
  }
  return { best, candidates: places.length, solved };
}

/** Priced strategies of every batch, number of micro-batches and pipeline degree, in the ancestor's order. */
export function* allTables(
  search: AncestorCase,
  profile: FittedProfile,
  space: StrategySpace,
): Generator<CostTables> {
  const options = costOptions(search);
  const degrees = [...new Set(space.vocabulary.map((strategy) => strategy.stages))].sort((a, b) => a - b);
  for (const globalBatch of search.batches) {
    for (const microBatches of microBatchCounts(search, globalBatch)) {
      for (const stages of degrees) {
        if (stages > microBatches) continue;
        const most = mostData(search, globalBatch, microBatches, stages);
        const fits = (strategy: AncestorStrategy): boolean =>
          strategy.stages === stages && strategy.data <= most;
        yield costTables(
          profile,
          options,
          space.layers.filter(fits),
          space.vocabulary.filter(fits),
          globalBatch,
          microBatches,
          stages,
        );
      }
    }
  }
}

/** The settled number, or every divisor of the batch. */
export function microBatchCounts(search: AncestorCase, globalBatch: number): number[] {
  if (search.microBatches !== null)
    return globalBatch % search.microBatches === 0 ? [search.microBatches] : [];
  const counts: number[] = [];
  for (let count = 1; count <= globalBatch; count++) if (globalBatch % count === 0) counts.push(count);
  return counts;
}

/**
 * Leaves out sub-searches that another contains: with both splits allowed and the same buffer a plan with one split is
 * there too, since the step time charges no switches.
 */
export function needed(subs: readonly SubSearch[]): readonly SubSearch[] {
  return subs.filter(
    (sub) =>
      !subs.some(
        (other) =>
          other !== sub &&
          other.mode === "tp_with_sp" &&
          other.bufferSplit >= sub.bufferSplit &&
          Math.trunc(other.bufferMB) <= Math.trunc(sub.bufferMB) &&
          !(sub.mode === "tp_with_sp" && other.bufferSplit === sub.bufferSplit),
      ),
  );
}
