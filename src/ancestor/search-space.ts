import type { AncestorStrategy } from "./ancestor-strategy.js";
import type { AncestorCase } from "./case.js";
import type { CostOptions, FittedProfile } from "./cost/fitted-profile.js";
import { type CostTables, costTables, type VocabularyChoice, vocabularyChoice } from "./cost-tables.js";
import { divisors } from "./divisors.js";
import type { StrategySpace } from "./strategy-space.js";
import { allows, mostData, type SubSearch, subSearches } from "./sub-search.js";

/** Layers and vocabularies that may be combined freely, and what their sub-search takes of every stage. */
export interface Freedom {
  readonly tables: CostTables;
  readonly sub: SubSearch;
  /** Columns of the tables. */
  readonly allowed: readonly number[];
  readonly vocabulary: readonly VocabularyChoice[];
  /** Whole MB of the shared buffer. */
  readonly bufferMB: number;
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
  return Int32Array.from(
    search.layers.flatMap((layer, kind) => Array.from({ length: layer.layers }, () => kind)),
  );
}

/**
 * The ancestor's outer loops: batch, micro-batches, pipeline degree, sub-search; in its coarse mode also the one
 * strategy of all layers, which then embedding and head share.
 *
 * @param space what layers and vocabulary may be
 * @param everyDegree also buffers for degrees that are no powers of two
 * @param every false leaves out sub-searches whose plans another one contains
 */
export function* freedoms(
  search: AncestorCase,
  profile: FittedProfile,
  space: StrategySpace,
  everyDegree: boolean,
  every: boolean,
): Generator<Freedom> {
  for (const tables of allTables(search, profile, space)) {
    const { globalBatch, microBatches, stages } = tables;
    const subs = subSearches(search, profile, globalBatch, microBatches, stages, everyDegree);
    if (!search.fineGrained) {
      yield* uniformFreedoms(search, profile, tables, subs);
      continue;
    }
    for (const sub of every ? subs : needed(subs)) {
      const allowed = tables.strategies.map((_, s) => s).filter((s) => allows(sub, tables.strategies[s]!));
      const vocabulary = tables.vocabulary.filter((choice) => allows(sub, choice.strategy));
      yield { tables, sub, allowed, vocabulary, bufferMB: Math.trunc(sub.bufferMB) };
    }
  }
}

/** One strategy for all layers, embedding and head, in the sub-search that takes the least buffer for it. */
function* uniformFreedoms(
  search: AncestorCase,
  profile: FittedProfile,
  tables: CostTables,
  subs: readonly SubSearch[],
): Generator<Freedom> {
  const options = costOptions(search);
  for (const [s, layer] of tables.strategies.entries()) {
    let cheapest: SubSearch | undefined;
    for (const sub of subs) {
      if (allows(sub, layer) && (cheapest === undefined || sub.bufferMB < cheapest.bufferMB)) cheapest = sub;
    }
    if (cheapest === undefined) continue;
    const strategy = { ...layer, recompute: false };
    const choice = vocabularyChoice(profile, options, strategy, tables.globalBatch, tables.microBatches);
    if (choice === undefined) continue;
    // here the ancestor rounds the buffer up, where its fine mode rounds down
    yield {
      tables,
      sub: cheapest,
      allowed: [s],
      vocabulary: [choice],
      bufferMB: Math.ceil(cheapest.bufferMB),
    };
  }
}

/** Priced strategies of every batch, number of micro-batches and pipeline degree, in the ancestor's order. */
function* allTables(
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
function microBatchCounts(search: AncestorCase, globalBatch: number): number[] {
  if (search.microBatches !== null) {
    return globalBatch % search.microBatches === 0 ? [search.microBatches] : [];
  }
  return divisors(globalBatch);
}

/**
 * Leaves out sub-searches that another contains: with both splits allowed and no more buffer, a plan with one split is
 * there too, since the step time charges no switches.
 */
function needed(subs: readonly SubSearch[]): readonly SubSearch[] {
  return subs.filter(
    (sub) =>
      !subs.some(
        (other) =>
          other !== sub &&
          other.mode === "tp_with_sp" &&
          other.bufferSplit >= sub.bufferSplit &&
          other.bufferMB <= sub.bufferMB,
      ),
  );
}
