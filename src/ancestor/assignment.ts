import type { AncestorStrategy } from "./ancestor-strategy.js";
import type { CostTables, VocabularyChoice } from "./cost-tables.js";
import type { SubSearch } from "./sub-search.js";

/** A complete choice of the compatibility search, in the ancestor's terms. */
export interface Assignment {
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly sub: SubSearch;
  /** Layers of each stage. */
  readonly stageLayers: readonly number[];
  readonly layers: readonly AncestorStrategy[];
  readonly vocabulary: AncestorStrategy;
  /** Seconds of one step. */
  readonly time: number;
  /** MB in use per stage, without the reserve. */
  readonly usedMB: readonly number[];
}

/** One place for a plan in the outer loops: tables, sub-search, and how embedding and head are spread. */
export interface Candidate {
  readonly tables: CostTables;
  readonly sub: SubSearch;
  readonly vocabulary: VocabularyChoice;
  /** MB left for the layers of each stage. */
  readonly budgetMB: readonly number[];
  /** Seconds: no plan of this place is faster. */
  readonly bound: number;
}

/** Even division, as the ancestor makes it: what is left over goes to the last stage. */
export function evenDivision(layers: number, stages: number): number[] {
  const each = Math.floor(layers / stages);
  const division = Array.from({ length: stages }, () => each);
  division[stages - 1] = layers - each * (stages - 1);
  return division;
}

/** Layers of every kind between two layers of the model. */
export function kindCounts(kindOfLayer: Int32Array, kinds: number, from: number, to: number): Int32Array {
  const counts = new Int32Array(kinds);
  for (let layer = from; layer < to; layer++) counts[kindOfLayer[layer]!]!++;
  return counts;
}

/**
 * Writes counts out as a list of layers. Within a stage equal layers are interchangeable: those of equal split stand
 * together (fewest switches), and sharded, recomputed layers first, as the ancestor's ties order them.
 */
export function layersOfCounts(
  tables: CostTables,
  kindOfLayer: Int32Array,
  from: number,
  to: number,
  counts: Int32Array,
): AncestorStrategy[] {
  const size = tables.strategies.length;
  const order = tables.strategies
    .map((_, s) => s)
    .sort((a, b) => comparePlaces(tables.strategies[a]!, tables.strategies[b]!) || a - b);
  const left = Int32Array.from(counts);
  const layers: AncestorStrategy[] = [];
  for (let layer = from; layer < to; layer++) {
    const row = kindOfLayer[layer]! * size;
    const s = order.find((candidate) => left[row + candidate]! > 0)!;
    left[row + s]!--;
    layers.push(tables.strategies[s]!);
  }
  return layers;
}

function comparePlaces(a: AncestorStrategy, b: AncestorStrategy): number {
  return (
    a.tensor - b.tensor ||
    a.sequence - b.sequence ||
    a.data - b.data ||
    Number(b.recompute) - Number(a.recompute) ||
    Number(b.dataParallel === "zero3") - Number(a.dataParallel === "zero3")
  );
}
